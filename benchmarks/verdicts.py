"""What the verdicts are worth, by simulation: the tables of docs/statistics.md.

    OMP_NUM_THREADS=1 python benchmarks/verdicts.py [--studies 2000] [--seed 0] [--tables RUNS.csv]

A simulated study has one control and 40 arms. Log scores are normal or Student-t(4) noise about a mean; their sd over
seeds is 0.12 in the median arm and varies between arms with sd 0.5 of its logarithm; the share of the variance that a
seed gives to all arms is `shared`. `--tables` prints those three figures of a report's `tables/runs.csv`, per model,
over the arms in which every run went well.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from scipy import special

from gan_ablate.stats import t_test
from gan_ablate.stats.aggregate import over_tasks
from gan_ablate.stats.corrections import benjamini_hochberg, holm
from gan_ablate.stats.failures import auc, boschloo_p
from gan_ablate.stats.intervals import bootstrap_interval, spread_ratio
from gan_ablate.stats.moderated import CAUTION, Difference, Prior, fit_prior, squeeze
from gan_ablate.stats.paired import POOL_FROM, Comparison, Scores, compare, family_correlation
from gan_ablate.stats.two_part import MARGIN, Runs, combine_looks, decide, over_looks, weigh
from gan_ablate.study.seed_plan import RECOMMENDED

BASE_SEEDS, LOOKS, WEIGHTS = RECOMMENDED
MEDIAN_SD, SPREAD_OF_SD = 0.12, 0.5  # of log FID over seeds: an earlier study of 12 tricks, see `observed`
ARMS, ALPHA = 40, 0.05
BATCH = 1000  # studies at a time: bounds the memory
KINDS = (("paired", 20), ("Welch", 20), ("mean", 5), ("percentile", 1))  # each with its multiple of --studies
NEW_SD, COLLAPSED = 0.11, 1.2  # of the kept report's dcgan; how much higher the log FID of collapsed runs is
KEPT = Path(__file__).parents[1] / "reports" / "example" / "tables" / "runs.csv"
CHANGES = {"10 % lower": 0.90, "25 % lower": 0.75}


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


def batches(studies: int) -> Iterator[int]:
    for first in range(0, studies, BATCH):
        yield min(BATCH, studies - first)


def family_wise(  # noqa: PLR0917
    rng: np.random.Generator, noise: Noise, seeds: int, studies: int, rule: str, arms: int
) -> float:
    """Share of studies without any effect in which some verdict is given."""
    wrong = sum(rejections(p_values(noise.draw(rng, k, arms, seeds), rule)).any(1).sum() for k in batches(studies))
    return float(wrong / studies)


def found(  # noqa: PLR0917
    rng: np.random.Generator, noise: Noise, seeds: int, studies: int, ratio: float, arms: int
) -> float:
    """Share of studies in which the one arm with an effect is found among `arms`."""
    hits = 0
    for k in batches(studies):
        scores = noise.draw(rng, k, arms, seeds)
        scores[:, 1] += math.log(ratio)
        hits += int(rejections(p_values(scores, "pooled"))[:, 0].sum())
    return hits / studies


def coverage(rng: np.random.Generator, noise: Noise, seeds: int, studies: int, kind: str) -> float:
    """Share of intervals that hold the true difference of 0 ("paired", "Welch"), or an arm's mean ("mean": ours;
    "percentile": the plain percentile bootstrap)."""
    hits = 0
    for k in batches(studies):
        scores = noise.draw(rng, k, 1, seeds)
        if kind in {"mean", "percentile"}:
            bounds = [one_arm(row, seeds) if kind == "mean" else percentile(row, rng) for row in scores[:, 0]]
            low, high = (np.array(side) for side in zip(*bounds))
        else:
            test: Callable = t_test.paired if kind == "paired" else t_test.welch
            low, high = test(scores[:, 1], scores[:, 0]).bounds()
        hits += int(((low <= 0) & (high >= 0)).sum())
    return hits / studies


def one_arm(row: np.ndarray, seeds: int) -> tuple[float, float]:
    """Bounds of an arm's mean, as `mean_interval` gives them, with fewer resamples."""
    if seeds < 10:
        half = t_test.paired(row, np.zeros(seeds))
        low, high = half.bounds()
        return float(low), float(high)
    return bootstrap_interval(row, resamples=1999)[1:]


def percentile(row: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Bounds of the mean by the plain percentile bootstrap."""
    means = row[rng.integers(0, len(row), (1999, len(row)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def aggregate_coverage(rng: np.random.Generator, tasks: int, seeds: int, studies: int) -> float:
    """Share of intervals of an arm's interquartile mean relative to a control equal to it that hold 1."""
    hits = 0
    for study in range(studies):
        arm, control = np.exp(Noise(0.0).draw(rng, tasks, 1, seeds)).swapaxes(0, 1).tolist()
        interval = over_tasks(arm, control, seed=study, resamples=1000)
        hits += interval.low <= 1 <= interval.high
    return hits / studies


def spread_coverage(rng: np.random.Generator, runs: int, ratio: float, tails: str, studies: int) -> float:
    """Share of intervals of `spread_ratio` that hold the true ratio of sds of log scores."""
    draw = {
        "normal": rng.standard_normal,
        "t5": lambda n: rng.standard_t(5, n),
        "gamma(4)": lambda n: rng.gamma(4, size=n),
    }[tails]
    hits = 0
    for _ in range(studies):
        interval = spread_ratio(list(np.exp(ratio * draw(runs))), list(np.exp(draw(runs)))).ratio
        hits += interval.low <= ratio <= interval.high
    return hits / studies


def auc_coverage(rng: np.random.Generator, bad: int, good: int, shift: float, studies: int) -> float:
    """Share of intervals of `auc` that hold the true area, for two normal distributions `shift` apart."""
    area, failed, hits = float(special.ndtr(shift / math.sqrt(2))), [True] * bad + [False] * good, 0
    for _ in range(studies):
        interval = auc([*rng.normal(shift, 1, bad), *rng.normal(0, 1, good)], failed).value
        hits += interval.low <= area <= interval.high
    return hits / studies


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


def observed(path: str) -> None:
    """Spread of log FID over seeds of a report's runs.csv."""
    runs = pd.read_csv(path)
    for model, part in runs.groupby("model"):
        table = np.log(part.pivot(index="arm", columns="seed", values="fid"))
        good = part.groupby("arm")["outcome"].apply(lambda o: (o == "ok").all())
        table = table[good].dropna()
        if len(table) < 2:
            print(f"{model}: {len(table)} arms went well in every run")
            continue
        sd = table.std(axis=1, ddof=1)
        r = float(t_test.pooled_correlation(table.to_numpy()))
        print(
            f"{model}: {len(table)} arms x {table.shape[1]} seeds, sd median {sd.median():.3f} ({sd.min():.3f} to "
            f"{sd.max():.3f}), sd of its logarithm {np.log(sd).std(ddof=1):.2f}, pooled pair correlation {r:.2f}"
        )


# --- the engine of moderated.py and two_part.py


class World(NamedTuple):
    """Arms in truth, and how their runs vary."""

    effect: np.ndarray  # (arms,) logarithms of FID ratios
    rate: np.ndarray  # (arms,) of failures
    base_rate: float = 0.0
    shared: float = 0.1  # share of the variance that all arms of a seed have in common
    tails: str = "normal"  # or "t4"; "flat": uniform; "inverse": normal with variances as the prior has them, d0 = 6.3;
    # "kept": spread and residuals of the kept report's runs, nothing shared
    scored: float = 0.7  # share of failed runs that have a FID, e^COLLAPSED times as high


class Rule(NamedTuple):
    """How many seeds, when the evidence is looked at, and what collapsed runs count as."""

    base: int = BASE_SEEDS
    looks: tuple[int, ...] = LOOKS
    weights: tuple[float, ...] = WEIGHTS
    caution: float | None = CAUTION
    collapsed: str = "apart"  # in the failure part only; "in FID": in both, with a prior of their arms' own


class Played(NamedTuple):
    """What a rule said of every arm (studies, arms), had it ended after each look (looks first), and its intervals."""

    verdict: np.ndarray  # of strings
    certain: np.ndarray
    runs: np.ndarray  # of the arm
    error: np.ndarray  # estimate - truth, log ratio, at the arm's last look
    p_truth: np.ndarray  # p of the truth: under 0.05 the interval misses it
    look: np.ndarray  # the arm's last, from 0


def world(groups: Sequence[tuple[int, float, float]], **rest: Any) -> World:
    """groups: (arms, ratio, failure rate)."""
    effect, rate = (np.concatenate([np.full(g[0], g[k]) for g in groups]) for k in (1, 2))
    return World(np.log(effect), rate, **rest)


THIRDS, LAST_HALF = (1 / 3, 1 / 3, 1 / 3), (0.25, 0.25, 0.5)
DESIGNS = (
    Rule(40, (16,), (1.0,)),
    Rule(40, (4, 8, 16), LAST_HALF),
    Rule(40, (4, 8, 16), THIRDS),
    Rule(40, (4, 8, 16), (0.1, 0.3, 0.6)),
    Rule(40, (5, 10, 20), LAST_HALF),
    Rule(40, (5, 10, 20), THIRDS),
    Rule(40, (4, 8, 12, 16, 20), (0.2,) * 5),
    Rule(20, (16,), (1.0,)),
    Rule(20, (4, 8, 16), LAST_HALF),
    Rule(20, (5, 10, 20), THIRDS),
)
MIXED = [(45, 1, 0), (10, 0.9, 0), (10, 0.75, 0), (10, 1.5, 0), (15, 3, 0)]
EDGE = [(45, 1.25, 0), (45, 0.8, 0)]
FAILING = [(10, 1, 0.05), (5, 1, 0.2), (5, 1, 0.6), (5, 1, 1), (5, 3, 0.2), (5, 3, 0.6)]
WORLDS = {
    "nothing": world([(90, 1, 0)]),
    "nothing, inverse chi-squared": world([(90, 1, 0)], tails="inverse"),
    "nothing, shared 0": world([(90, 1, 0)], shared=0.0),
    "nothing, shared 0.3": world([(90, 1, 0)], shared=0.3),
    "nothing, t4": world([(90, 1, 0)], tails="t4"),
    "nothing, flat": world([(90, 1, 0)], tails="flat"),
    "nothing, kept runs": world([(90, 1, 0)], tails="kept"),
    "nothing, all fail 0.05": world([(90, 1, 0.05)], base_rate=0.05),
    "mixed": world(MIXED),
    "mixed, shared 0.3": world(MIXED, shared=0.3),
    "mixed, t4": world(MIXED, tails="t4"),
    "mixed, kept runs": world(MIXED, tails="kept"),
    "edge": world(EDGE),
    "edge, shared 0": world(EDGE, shared=0.0),
    "edge, t4": world(EDGE, tails="t4"),
    "edge, kept runs": world(EDGE, tails="kept"),
    "edge among others": world([(45, 1, 0), (15, 1.25, 0), (15, 0.8, 0), (15, 3, 0)]),
    "failures, base 0": world([(45, 1, 0), (10, 0.75, 0), *FAILING]),
    "failures, base 0.05": world([(45, 1, 0.05), (10, 0.75, 0.05), *FAILING], base_rate=0.05),
}


def draw(rng: np.random.Generator, w: World, studies: int, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Log FID (NaN: none) and whether the run failed (studies, 1 + arms, seeds); base comes first."""
    effect, rate = np.array([0, *w.effect]), np.array([w.base_rate, *w.rate])
    size = (studies, len(effect), seeds)
    sd = NEW_SD * np.exp(SPREAD_OF_SD * rng.normal(size=(*size[:2], 1)))
    bad = (np.abs(effect) > math.log(2.9)) | (rate > w.base_rate)
    sd = np.where(bad[:, None], rng.uniform(0.2, 0.7, (*size[:2], 1)), sd)
    if w.tails == "inverse":
        sd = NEW_SD * np.sqrt(6.3 / rng.chisquare(6.3, (*size[:2], 1)))
    own = rng.normal(size=size)
    if w.tails in {"t4", "flat"}:
        flat = math.sqrt(3)
        own = rng.standard_t(4, size) / math.sqrt(2) if w.tails == "t4" else rng.uniform(-flat, flat, size)
    x = sd * (math.sqrt(w.shared) * rng.normal(size=(studies, 1, seeds)) + math.sqrt(1 - w.shared) * own)
    if w.tails == "kept":
        prior, residuals = kept()
        sd = np.sqrt(prior.dof * prior.variance / rng.chisquare(prior.dof, (*size[:2], 1)))
        x = sd * residuals[rng.integers(0, len(residuals), size)]
    failed = rng.random(size) < rate[:, None]
    x = x + effect[:, None] + np.where(failed, COLLAPSED + 0.4 * rng.normal(size=size), 0)
    return np.where(failed & (rng.random(size) > w.scored), np.nan, x), failed


@lru_cache(maxsize=1)
def kept() -> tuple[Prior, np.ndarray]:
    """How variances of log FID are spread over the kept report's dcgan arms in which every run went well, and the
    residuals of all their runs in sds.

    A residual is drawn from all arms, since four draws of one arm's five values tie, as no FIDs do; the sd is the
    moderated one, since five values over their own sd have no tails.
    """
    runs = pd.read_csv(KEPT)
    runs = runs[runs["model"] == "dcgan"]
    table = np.log(runs.pivot(index="arm", columns="seed", values="fid"))
    table = table[runs.groupby("arm")["outcome"].apply(lambda o: (o == "ok").all())].dropna().to_numpy()
    variance, dof = table.var(1, ddof=1), np.full(len(table), table.shape[1] - 1.0)
    prior = fit_prior(variance, dof, caution=None)
    residuals = (table - table.mean(1, keepdims=True)) / np.sqrt(squeeze(variance, dof, prior)[0])[:, None]
    return prior, residuals.ravel() / residuals.std()


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, variance and count along the last axis of what is not NaN."""
    there = ~np.isnan(x)
    n = there.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(there, x, 0).sum(-1) / n
        squares = np.where(there, (x - mean[..., None]) ** 2, 0).sum(-1)
        return mean, np.where(n > 1, squares / (n - 1), np.nan), n


def differences(arms: Sequence[np.ndarray], base: Sequence[np.ndarray], failed: np.ndarray, rule: Rule) -> Difference:
    """Arms less base with moderated variances, all (studies, arms), from `moments` and counts of failed runs."""
    (mean, variance, n), (base_mean, base_variance, m) = arms, base
    found = [np.full(mean.shape, np.nan) for _ in range(4)]
    for k in range(len(mean)):
        v, d = np.append(variance[k], base_variance[k]), np.append(n[k], m[k]) - 1.0
        apart = np.append(failed[k] > 0, False) & (rule.collapsed == "in FID")
        for group in (apart, ~apart):
            moderated, dof = squeeze(v[group], d[group], fit_prior(v[group], d[group], rule.caution))
            at = np.flatnonzero(group[:-1])
            with np.errstate(invalid="ignore", divide="ignore"):
                found[0][k, at], found[1][k, at] = np.sqrt(moderated[: len(at)] / n[k, at]), dof[: len(at)]
            if not group[-1]:
                continue
            found[2][k], found[3][k] = math.sqrt(moderated[-1] / m[k]), dof[-1]
    return Difference(mean - base_mean[:, None], *found)


def failure_p(failed: np.ndarray, n: np.ndarray, base_failed: np.ndarray, m: int) -> np.ndarray:
    """`boschloo_p` of each arm (studies, arms)."""
    keys, back = np.unique(
        np.stack([failed, n, np.broadcast_to(base_failed[:, None], n.shape)]).reshape(3, -1),
        axis=1,
        return_inverse=True,
    )
    return np.array([boschloo_p(int(a), int(b), int(c), m) for a, b, c in keys.T])[back].reshape(n.shape)


def chunked(test: Callable[[Difference], np.ndarray], d: Difference, at: np.ndarray) -> np.ndarray:
    """A test of the differences `at` (studies, arms), a few thousand at a time; NaN elsewhere."""
    found, flat = np.full(at.shape, np.nan), [field[at] for field in d]
    parts = [test(Difference(*(f[i : i + 4000] for f in flat))) for i in range(0, int(at.sum()), 4000)]
    found[at] = np.concatenate(parts) if parts else []
    return found


def play(x: np.ndarray, failed: np.ndarray, rule: Rule, effect: np.ndarray) -> Played:
    """The engine on many studies at once: log FID and failures (studies, 1 + arms, seeds), base first."""
    x = np.where(failed & (rule.collapsed == "apart"), np.nan, x)
    base, base_failed = moments(x[:, 0, : rule.base]), failed[:, 0, : rule.base].sum(-1)
    shape = (len(x), x.shape[1] - 1)
    state = [np.full(shape, np.nan) for _ in range(6)]  # mean, variance, count, failed, error, p of the truth
    runs, look, active = np.zeros(shape, int), np.zeros(shape, int), np.ones(shape, bool)
    p, p_same, way, verdicts, certain = [], [], [], [], []
    for index, seeds in enumerate(rule.looks):
        news = [*moments(x[:, 1:, :seeds]), failed[:, 1:, :seeds].sum(-1)]
        state[:4] = [np.where(active, new, old) for new, old in zip(news, state)]
        runs, look = np.where(active, seeds, runs), np.where(active, index, look)
        d = differences(state[:3], base, state[3], rule)
        p_fid = chunked(lambda k: k.p(), d, active)
        same = chunked(lambda k: np.maximum(*k.outside(math.log(MARGIN))), d, active)
        truth = chunked(lambda k: k.p(), d._replace(mean=d.mean - effect), active)
        state[4:] = np.where(active, d.mean - effect, state[4]), np.where(active, truth, state[5])
        p_fail = failure_p(state[3].astype(int), runs, base_failed, rule.base)
        share, base_share = state[3] / runs, (base_failed / rule.base)[:, None]
        more, none = share > base_share, (state[3] == 0) & (base_failed == 0)[:, None]
        only = np.isnan(p_fid) | (more & (d.mean < 0))
        by_fid = ~only & (none | (p_fid <= p_fail))
        both = np.where(only, 2 * p_fail, np.where(none, p_fid, 2 * np.fmin(p_fid, p_fail)))
        p.append(np.where(active, np.minimum(both, 1), np.nan))
        p_same.append(np.where(more, 1.0, same))
        fails = np.where(more, "fails more", np.where(share < base_share, "rescues", ""))
        way.append(np.where(by_fid, np.where(d.mean > 0, "hurts", "helps"), fails))
        verdict, sure = tabled(p, p_same, way, more, rule.weights)
        verdicts.append(verdict)
        certain.append(sure)
        active = verdict == "undecided"
    return Played(np.array(verdicts), np.array(certain), runs, state[4], state[5], look)


def tabled(
    p: list[np.ndarray], p_same: list[np.ndarray], way: list[np.ndarray], more: np.ndarray, weights: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Verdicts after the looks so far, and whether they are certain."""
    shape = more.shape
    tests = np.array([np.where(more & (w == "helps"), np.nan, one) for one, w in zip(p, way)])
    (total, best), (same, _) = (combine_looks(t.reshape(len(p), -1), weights) for t in (tests, np.array(p_same)))
    total, same = (np.nan_to_num(t.reshape(shape), nan=1.0) for t in (total, same))
    same = np.where(more, 1.0, same)
    ways = np.take_along_axis(np.array(way), best.reshape(1, *shape), 0)[0]
    q, sure, q_same, sure_same = (
        np.array([correct(row) for row in t]) < ALPHA for t in (total, same) for correct in (benjamini_hochberg, holm)
    )
    decided = q & (ways != "")
    verdict = np.where(decided, ways, np.where(q_same, "same", "undecided"))
    return verdict, np.where(decided, sure, q_same & sure_same)


def wrong(verdict: np.ndarray, w: World) -> tuple[np.ndarray, np.ndarray]:
    """Whether a verdict is false: of helps, hurts, fails more, rescues; and of same."""
    false = (verdict == "helps") & (w.effect >= 0) | (verdict == "hurts") & (w.effect <= 0)
    false |= (verdict == "fails more") & (w.rate <= w.base_rate) | (verdict == "rescues") & (w.rate >= w.base_rate)
    return false, (verdict == "same") & (np.abs(w.effect) >= math.log(MARGIN) - 1e-9)


def as_measured(w: World, rule: Rule) -> World:
    """The world with each arm's mean log FID over the runs that a rule's FID part counts."""
    if rule.collapsed == "apart":
        return w
    high = [COLLAPSED * r * w.scored / (1 - r + r * w.scored) for r in (w.rate, w.base_rate)]
    return w._replace(effect=w.effect + high[0] - high[1])


def simulate(rng: np.random.Generator, w: World, rule: Rule, studies: int) -> Played:
    """`play` on studies drawn from a world, in batches."""
    parts = []
    for first in range(0, studies, 250):
        x, failed = draw(rng, w, min(250, studies - first), max(rule.base, *rule.looks))
        parts.append(play(x, failed, rule, w.effect))
    axis = (1, 1, 0, 0, 0, 0)
    return Played(*(np.concatenate(field, axis=a) for field, a in zip(zip(*parts), axis)))


def with_error(x: np.ndarray) -> str:
    """Mean over studies with its standard error."""
    return f"{x.mean():.3f} ± {x.std(ddof=1) / math.sqrt(len(x)):.3f}"


def errors(found: Played, w: World, look: int = -1) -> list[np.ndarray]:
    """By study: share of false ones among helps, hurts, fails more, rescues; of same; any false "certain" of the first,
    of same."""
    verdict, sure = found.verdict[look], found.certain[look]
    parts = wrong(verdict, w)
    of = [(verdict != "undecided") & (verdict != "same"), verdict == "same"]
    shares = [false.sum(1) / np.maximum(1, total.sum(1)) for false, total in zip(parts, of)]
    return [*shares, *((false & sure).any(1).astype(float) for false in parts)]


def engine_agrees(rng: np.random.Generator) -> bool:
    """Whether the vectorised engine says what `weigh`, `over_looks` and `decide` do, on 3 studies with failures."""
    w, rule = WORLDS["failures, base 0.05"], Rule()
    x, failed = draw(rng, w, 3, 40)
    found = play(x, failed, rule, w.effect)
    for k in range(3):
        sides = np.where(failed[k], np.nan, x[k])
        base = runs_of(sides[0], failed[k, 0], 40)
        have: dict[str, list] = {}
        counts: dict[str, int] = {}
        for index, seeds in enumerate(rule.looks):
            open_ = [i for i in range(len(w.effect)) if not index or found.verdict[index - 1][k, i] == "undecided"]
            counts |= {str(i): seeds for i in open_}
            arms = {i: runs_of(sides[1 + int(i)], failed[k, 1 + int(i)], n) for i, n in counts.items()}
            evidence = weigh(arms, base)
            for i in open_:
                have.setdefault(str(i), []).append(evidence[str(i)])
            said = decide({i: over_looks(e, rule.weights) for i, e in have.items()})
            if [v.verdict for v in said.values()] != list(found.verdict[index][k]):
                return False
            if [v.certain for v in said.values()] != list(found.certain[index][k]):
                return False
    return True


def runs_of(x: np.ndarray, failed: np.ndarray, n: int) -> Runs:
    """The first n runs."""
    return Runs(list(x[:n][~failed[:n]]), int(failed[:n].sum()))


def main() -> None:
    tables: dict[str, Callable[[np.random.Generator, int], None]] = {
        "errors": print_engine_errors,
        "collapsed": print_collapsed,
        "looks": print_looks,
        "stopping": print_stopping,
        "few": print_few, "kept": print_kept,
    }  # fmt: skip
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("table", nargs="?", default="today", choices=["today", *tables])
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tables", help="tables/runs.csv of a report: print the spread of its log FID")
    args = parser.parse_args()
    rng, n, began = np.random.default_rng(args.seed), args.studies, time.process_time()
    if args.tables:
        observed(args.tables)
        print()
    if args.table == "today":
        print(f"The vectorised tests are those of compare_family and compare: {agrees(rng)}\n")
        print_errors(rng, n)
        print_coverage(rng, n)
        print_power(rng, n)
    else:
        print(f"The vectorised engine says what the engine says: {engine_agrees(rng)}")
        tables[args.table](rng, n)
    print(f"\n{time.process_time() - began:.0f} s of CPU")


def print_errors(rng: np.random.Generator, n: int) -> None:
    """Wrong verdicts where there is no effect: in a family of arms, and of one test alone."""
    print(
        f"Family-wise error at {ALPHA}, {ARMS} arms, Holm, {n} studies (standard error at most "
        f"{math.sqrt(ALPHA * (1 - ALPHA) / n):.3f})"
    )
    print("| noise | seeds | pooled (ours) | own sign | paired | Welch |\n| --- | --- | --- | --- | --- | --- |")
    for noise in (Noise(0.0), Noise(0.1), Noise(0.5), Noise(0.8), Noise(0.1, "t4"), Noise(0.1, "normal", 0.0)):
        for seeds in (3, 5, 10):
            cells = (
                family_wise(rng, noise, seeds, n, rule, ARMS) for rule in ("pooled", "own sign", "paired", "Welch")
            )
            print(f"| {describe(noise)} | {seeds} | {' | '.join(f'{c:.3f}' for c in cells)} |", flush=True)

    print(f"\nOne test alone at {ALPHA}, 5 seeds, {10 * n} studies")
    print("| noise | own sign | paired | Welch |\n| --- | --- | --- | --- |")
    for noise in (Noise(0.0), Noise(0.1), Noise(0.5), Noise(0.1, "t4")):
        cells = (family_wise(rng, noise, 5, 10 * n, rule, 1) for rule in ("own sign", "paired", "Welch"))
        print(f"| {describe(noise)} | {' | '.join(f'{c:.3f}' for c in cells)} |", flush=True)


def print_coverage(rng: np.random.Generator, n: int) -> None:
    """How often each kind of interval holds the truth."""
    print("\nCoverage of 95 % intervals")
    print(
        "| noise | seeds | paired | Welch | one arm's mean | plain percentile |\n| --- | --- | --- | --- | --- | --- |"
    )
    for noise in (Noise(0.0), Noise(0.0, "t4"), Noise(0.0, "normal", 0.0)):
        for seeds in (3, 5, 10, 20):
            cells = (coverage(rng, noise, seeds, k * n, kind) for kind, k in KINDS)
            print(f"| {describe(noise)} | {seeds} | {' | '.join(f'{c:.3f}' for c in cells)} |", flush=True)

    print(f"\nCoverage of 95 % intervals of the interquartile mean relative to a control, {n} studies")
    print("| tasks | 3 seeds | 5 seeds | 10 seeds |\n| --- | --- | --- | --- |")
    for tasks in (1, 3):
        cells = (aggregate_coverage(rng, tasks, seeds, n) for seeds in (3, 5, 10))
        print(f"| {tasks} | {' | '.join(f'{c:.3f}' for c in cells)} |", flush=True)

    print(f"\nCoverage of 95 % intervals of the ratio of spreads, {n} studies")
    print("| runs a side | true ratio | normal | t5 | gamma(4) |\n| --- | --- | --- | --- | --- |")
    for runs in (6, 10, 20, 40):
        for ratio in (1.0, 3.0):
            cells = (spread_coverage(rng, runs, ratio, tails, n) for tails in ("normal", "t5", "gamma(4)"))
            print(f"| {runs} | {ratio:g} | {' | '.join(f'{c:.3f}' for c in cells)} |", flush=True)

    print(f"\nCoverage of 95 % intervals of the area under the ROC curve, {n // 2} studies")
    print("| failed, good | area 0.5 | area 0.76 | area 0.92 | area 0.98 |\n| --- | --- | --- | --- | --- |")
    for bad, good in ((3, 12), (5, 5), (10, 30), (30, 30)):
        cells = (auc_coverage(rng, bad, good, shift, n // 2) for shift in (0, 1, 2, 3))
        print(f"| {bad}, {good} | {' | '.join(f'{c:.3f}' for c in cells)} |", flush=True)


def _error(n: int, sd: float, correlation: float | None) -> tuple[float, float]:
    """Standard error of the difference of two arms of n seeds and its degrees of freedom."""
    if n < 2 or not sd > 0:
        raise ValueError(f"n={n}, sd={sd}: power needs at least 2 seeds and a positive sd of log scores")
    if correlation is None:
        return sd * math.sqrt(2 / n), 2 * n - 2
    if not -1 <= correlation < 1:
        raise ValueError(f"correlation={correlation}: the pair correlation lies in [-1, 1)")
    return sd * math.sqrt(2 * (1 - correlation) / n), n - 1


def ratio_power(  # noqa: PLR0917
    ratio: float,
    n: int,
    sd: float,
    alpha: float = 0.05,
    comparisons: int = 1,
    correlation: float | None = None,
) -> float:
    """The chance that n seeds a side show a true `ratio` of scores.

    `sd` is that of log scores over seeds within an arm, `correlation` that of pairs (None: unpaired), and `comparisons`
    the size of the family: alpha is divided by it, which is Holm's first step, so the answer errs on the low side.
    """
    error, dof = _error(n, sd, correlation)
    return t_test.t_power(abs(math.log(ratio)) / error, dof, alpha / comparisons)


def print_power(rng: np.random.Generator, n: int) -> None:
    """How often the one arm with an effect gets its verdict."""
    print("\nPower: chance that the one arm with an effect gets its verdict; in brackets by formula at equal sd 0.12")
    heads = " | ".join(f"{seeds} seeds" for seeds in (3, 5, 10))
    print(f"| change | arms | shared | {heads} |\n| --- | --- | --- | --- | --- | --- |")
    for change, ratio in CHANGES.items():
        for arms in (1, 10, ARMS):
            for shared in (0.1, 0.5):
                cells = []
                for seeds in (3, 5, 10):
                    share = found(rng, Noise(shared), seeds, n, ratio, arms)
                    pairs = shared if arms >= POOL_FROM and shared > t_test.break_even(seeds, ALPHA / arms) else None
                    formula = ratio_power(ratio, seeds, MEDIAN_SD, ALPHA, arms, pairs)
                    cells.append(f"{share:.2f} ({formula:.2f})")
                print(f"| {change} | {arms} | {shared} | {' | '.join(cells)} |", flush=True)


def describe(noise: Noise) -> str:
    return f"{noise.tails}, {'equal sd' if noise.spread == 0 else 'sd varies'}, shared {noise.shared:g}"


# --- tables


def print_engine_errors(rng: np.random.Generator, n: int) -> None:
    """False verdicts, were the sweep to end after each look."""
    print(f"\nFalse verdicts, were the sweep to end after each look: {Rule()}, {n} studies")
    print('| world | false verdicts | false "same" | any false "certain" | any false certain "same" |')
    print("| --- | --- | --- | --- | --- |")
    for name, w in WORLDS.items():
        found = simulate(rng, w, Rule(), n)
        looks = [errors(found, w, look) for look in range(len(LOOKS))]
        cells = [", ".join(with_error(e[k]) for e in looks) for k in range(4)]
        print(f"| {name} | {' | '.join(cells)} |", flush=True)


def groups(w: World) -> dict[str, np.ndarray]:
    """Arms that are alike in truth, by name."""
    names = np.array([f"x{math.exp(e):.2g}, {r:g} fail" for e, r in zip(w.effect, w.rate)])
    return {n: names == n for n in dict.fromkeys(names)}


def right(verdict: np.ndarray, w: World) -> np.ndarray:
    """Whether a verdict says what is true of the arm; an arm of two truths may be called by either."""
    close = np.abs(w.effect) < math.log(MARGIN)
    yes = (verdict == "helps") & (w.effect < 0) | (verdict == "hurts") & (w.effect > 0)
    yes |= (verdict == "fails more") & (w.rate > w.base_rate)
    return yes | (verdict == "same") & close & (w.rate <= w.base_rate)


def print_collapsed(rng: np.random.Generator, n: int) -> None:
    """Whether collapsed runs belong to the FID part too."""
    for name in ("failures, base 0", "failures, base 0.05"):
        w = WORLDS[name]
        print(f"\nCollapsed runs, {name}, {n} studies: share of arms of each kind that get a right verdict")
        print(f'| | runs | {" | ".join(groups(w))} | false | false "same" | false "certain" |')
        print(f"| {' | '.join(['---'] * (5 + len(groups(w))))} |")
        for collapsed in ("apart", "in FID"):
            rule = Rule(collapsed=collapsed)
            found = simulate(np.random.default_rng(7), w, rule, n)
            truth = as_measured(w, rule)
            yes = right(found.verdict[-1], truth)
            cells = [f"{yes[:, at].mean():.3f}" for at in groups(w).values()]
            wrongs = [with_error(e) for e in errors(found, truth)[:3]]
            runs = rule.base + found.runs.sum(1).mean()
            print(f"| {collapsed} | {runs:.0f} | {' | '.join([*cells, *wrongs])} |", flush=True)
            same = found.verdict[-1] == "same"
            print(f"| called same | | {' | '.join(f'{same[:, at].mean():.3f}' for at in groups(w).values())} | | | |")


def print_looks(rng: np.random.Generator, n: int) -> None:
    """Designs side by side, and today's procedure."""
    w = WORLDS["mixed"]
    print(f"\nDesigns, mixed world, {n} studies: share of arms found (certain), and false verdicts")
    print(f"| design | runs | {' | '.join(groups(w))} | false |")
    print(f"| {' | '.join(['---'] * (3 + len(groups(w))))} |")
    for seeds in (5, 8):
        x, _ = draw(np.random.default_rng(7), w, n, seeds)
        p, means = p_values(x, "pooled"), x[:, 1:].mean(-1) - x[:, :1].mean(-1)
        verdict = np.where(rejections(p), np.where(means > 0, "hurts", "helps"), "undecided")
        cells = [f"{right(verdict, w)[:, at].mean():.2f}" for at in groups(w).values()]
        false = wrong(verdict, w)[0].sum(1) / np.maximum(1, (verdict != "undecided").sum(1))
        print(f"| today, {seeds} seeds | {91 * seeds} | {' | '.join(cells)} | {with_error(false)} |", flush=True)
    for rule in DESIGNS:
        found = simulate(np.random.default_rng(7), w, rule, n)
        yes, sure = right(found.verdict[-1], w), found.certain[-1]
        cells = [f"{yes[:, at].mean():.2f} ({(yes & sure)[:, at].mean():.2f})" for at in groups(w).values()]
        name = f"base {rule.base}, looks {rule.looks}, weights {' '.join(f'{v:.2g}' for v in rule.weights)}"
        runs = rule.base + found.runs.sum(1).mean()
        cells = [name, f"{runs:.0f}", *cells, with_error(errors(found, w)[0])]
        print(f"| {' | '.join(cells)} |", flush=True)


def print_stopping(rng: np.random.Generator, n: int) -> None:
    """Intervals after adaptive stopping, and the bias of arms that stopped early."""
    for name in ("mixed", "mixed, kept runs", "mixed, t4"):
        w = WORLDS[name]
        fixed = simulate(rng, w, Rule(looks=(8,), weights=(1.0,)), n)
        print(f"\nCoverage of 95 % intervals, {name}, {n} studies; repeated: at the level of the last look's weight")
        found = simulate(rng, w, Rule(), n)
        share = np.array(WEIGHTS)[found.look] * ALPHA
        print("| arms | 8 seeds each | looks | repeated | by last look: share, coverage, bias of log ratio |")
        print("| --- | --- | --- | --- | --- |")
        for group, at in {"all": np.ones(len(w.effect), bool), **groups(w)}.items():
            p, error, look = found.p_truth[:, at], found.error[:, at], found.look[:, at]
            at_look = [(LOOKS[k], look == k) for k in range(len(LOOKS)) if (look == k).any()]
            by = [f"{k}: {i.mean():.2f}, {(p[i] > ALPHA).mean():.3f}, {error[i].mean():+.3f}" for k, i in at_look]
            again = (p > share[:, at]).mean()
            cells = [f"{(k > ALPHA).mean():.3f}" for k in (fixed.p_truth[:, at], p)]
            print(f"| {group} | {' | '.join(cells)} | {again:.3f} | {'; '.join(by)} |", flush=True)


def print_few(rng: np.random.Generator, n: int) -> None:
    """Tables of few arms, whose prior rests on few variances: error under the global null."""
    print("\nTables of few arms without any effect, one look: share with a false certain verdict, base 20")
    print("In brackets with Smyth's own estimate of the prior")
    print("| arms | studies | n = 4 | n = 5 | n = 10 |\n| --- | --- | --- | --- | --- |")
    for arms in (1, 2, 3, 5, 10, 20, 90):
        w, cells, size = world([(arms, 1, 0)]), [], max(n, 20 * n // (arms + 5))
        for seeds in (4, 5, 10):
            rules = [Rule(20, (seeds,), (1.0,), caution) for caution in (CAUTION, None)]
            ours, plain = (with_error(errors(simulate(rng, w, rule, size), w)[2]) for rule in rules)
            cells.append(f"{ours} ({plain})")
        print(f"| {arms} | {size} | {' | '.join(cells)} |", flush=True)


def print_kept(rng: np.random.Generator, n: int) -> None:
    """The kept report's own runs under the engine: 5 seeds of base, one look."""
    print("\nThe kept report's runs\n| model | arms | decided | certain | verdicts |\n| --- | --- | --- | --- | --- |")
    for model, part in pd.read_csv(KEPT).groupby("model"):
        sides = {}
        for arm, own in part.groupby("arm"):
            good = own["fid"][(own["outcome"] == "ok") & own["fid"].notna()]
            sides[str(arm)] = Runs(list(np.log(good)), len(own) - len(good))
        base = sides.pop("base")
        found = decide(weigh(sides, base))
        names = [v.verdict for v in found.values()]
        decided = sum(v not in {"undecided", "not tested"} for v in names)
        counts = ", ".join(f"{names.count(v)} {v}" for v in sorted(set(names)))
        print(f"| {model} | {len(names)} | {decided} | {sum(v.certain for v in found.values())} | {counts} |")


if __name__ == "__main__":
    main()
