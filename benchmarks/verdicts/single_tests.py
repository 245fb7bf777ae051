"""The tests that reports judged arms by before the engine, of many studies at once: log scores against one control."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import NamedTuple

import numpy as np

from gan_ablate.stats import t_test
from gan_ablate.stats.corrections import holm
from gan_ablate.stats.paired import POOL_FROM, Comparison, Scores, compare, family_correlation

MEDIAN_SD, SPREAD_OF_SD = 0.12, 0.5  # of log FID over seeds: an earlier study of 12 tricks, see `observed`


ARMS, ALPHA = 40, 0.05


class Family(NamedTuple):
    """Comparisons with one control, as reports made them before the engine of two parts."""

    comparisons: Mapping[str, Comparison]
    correlation: float  # mean over all pairs of arms, the control among them: decides whether seeds are paired


def compare_family(
    arms: Mapping[str, Scores],
    control: Scores,
    alpha: float = 0.05,
    *,
    pooled: float | None = None,
    one_training: Collection[str] = (),
) -> Family:
    """Each arm's log scores against the control's, at `alpha` over the number of arms; their common correlation decides
    whether seeds are paired.

    Arms of `one_training` sample from the control's own trained weights: their seeds are pairs by construction,
    whatever the others' correlation, to which they add nothing.

    `pooled` gives that correlation from a larger table of the same model. Without it, under three arms that share seeds
    with the control, it could not be told from the tests' own noise: then Welch's test, whose level holds for any
    correlation that is not negative.
    """
    apart = [side for k, side in arms.items() if k not in one_training]
    measured = family_correlation([control, *apart]) if pooled is None else pooled
    telling = sum(_shared(side, control) >= 3 for side in apart)
    pooled = 0.0 if pooled is None and telling < POOL_FROM else measured
    by_arm = {k: 1.0 if k in one_training else pooled for k in arms}
    share = alpha / max(1, len(arms))
    return Family({k: compare(v, control, share, pooled=by_arm[k]) for k, v in arms.items()}, measured)


def _shared(a: Scores, b: Scores) -> int:
    """Seeds that have a score on both sides."""
    return sum(v is not None and b.get(s) is not None for s, v in a.items())


class Noise(NamedTuple):
    """How log scores vary. `shared`: share of the variance that all arms of a seed have in common."""

    shared: float = 0.1
    tails: str = "normal"  # or "t4"
    spread: float = SPREAD_OF_SD

    def draw(self, rng: np.random.Generator, studies: int, arms: int, seeds: int) -> np.ndarray:
        """Log scores about 0 (studies, 1 + arms, seeds); the control comes first."""
        size = (studies, 1 + arms, seeds)
        own = rng.normal(size=size) if self.tails == "normal" else rng.standard_t(4, size) / math.sqrt(2)
        sd = MEDIAN_SD * np.exp(self.spread * rng.normal(size=(studies, 1 + arms, 1)))
        common = rng.normal(size=(studies, 1, seeds))
        return sd * (math.sqrt(self.shared) * common + math.sqrt(1 - self.shared) * own)


def p_values(scores: np.ndarray, rule: str) -> np.ndarray:
    """p of each arm against the control (studies, arms) from log scores (studies, 1 + arms, seeds).

    `rule` says which test: "pooled" is that of `compare_family`, "own sign" that of `compare` alone.
    """
    control, arms = scores[:, :1], scores[:, 1:]
    pairs, unpaired = t_test.paired(arms, control).p(), t_test.welch(arms, control).p()
    if rule == "own sign":
        a, b = (x - x.mean(-1, keepdims=True) for x in (arms, control))
        return np.where((a * b).sum(-1) > 0, pairs, unpaired)
    if rule == "paired":
        return pairs
    if rule == "Welch":
        return unpaired
    threshold = t_test.break_even(scores.shape[-1], ALPHA / arms.shape[1])
    pay = (t_test.pooled_correlation(scores) > max(0.0, threshold)) & (arms.shape[1] >= POOL_FROM)
    return np.where(pay[:, None], pairs, unpaired)


def rejections(p: np.ndarray) -> np.ndarray:
    """Whether Holm's correction rejects, by study and arm."""
    return np.array([holm(row) for row in p]) < ALPHA


def agrees(rng: np.random.Generator) -> bool:
    """Whether the vectorised p-values are those of `compare_family` and `compare`, on 20 studies."""
    for _ in range(20):
        scores = Noise(shared=float(rng.uniform(0, 0.95))).draw(rng, 1, 6, 5)
        sides = [dict(enumerate(np.exp(row))) for row in scores[0]]
        family = compare_family({str(i): s for i, s in enumerate(sides[1:])}, sides[0])
        alone = [compare(s, sides[0]).p for s in sides[1:]]
        if not np.allclose(p_values(scores, "pooled")[0], [c.p for c in family.comparisons.values()]):
            return False
        if not np.allclose(p_values(scores, "own sign")[0], alone):
            return False
    return True
