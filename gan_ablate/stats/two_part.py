"""Arms against one base with many seeds: FID and failures in one test for each arm, and a verdict for each.

Lachenbruch's (2001) two-part idea: a run may fail, and one that does not has a FID. One p for both parts: twice the
smaller of the two, or that of FID alone where no run failed. Many arms: Benjamini and Hochberg's share of false
verdicts decides, Holm's correction marks what is certain. "Same" is a verdict too: two one-sided tests of a margin that
is declared beforehand, a family of its own. Seeds may come in looks: a union bound over them holds whatever decides
which arms go on.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gan_ablate.stats.corrections import ALPHA, benjamini_hochberg, holm
from gan_ablate.stats.intervals import NONE, Interval, exp
from gan_ablate.stats.moderated import Difference, Prior
from gan_ablate.stats.more_seeds import ANY, MOST_SEEDS, Offer, more_seeds
from gan_ablate.stats.parts import MARGIN, Margins, Parts, Runs, differences, parts, prior_of

BASE_FAILS, BASE_WIDE = 0.2, 1.25  # share of base's runs that fail, and its interval: over them it carries no "helps"
VERDICTS = ("helps", "rescues", "same", "undecided", "fails more", "hurts")
FAVOURS = {"helps": -1, "rescues": -1, "fails more": 1, "hurts": 1}  # -1: the arm is better than base, 1: worse


class Evidence(NamedTuple):
    """What the runs of one arm say against base's, before any correction. A p is NaN where it cannot be computed."""

    ratio: Interval  # FID of the arm / base, geometric means over runs that did not fail, with its 95 % interval
    p_fid: float
    p_fail: float
    p: float  # of both parts, as in `Parts`
    direction: str  # the verdict if it is significant: helps | hurts | fails more | rescues; "" if there is none
    p_same: float  # of "outside the margin, or fails more"
    margins: Margins
    identical: bool = False  # equal to base run by run, or nothing varies and nothing differs
    fails_over: bool = False  # a larger share of its runs failed than of base's: no "helps", no "same"


class Verdict(NamedTuple):
    """An arm's place in the table of its model and dataset."""

    verdict: str  # one of `VERDICTS`, or "not tested"
    certain: bool  # by Holm's correction too
    evidence: Evidence
    q: float  # p by Benjamini and Hochberg: over arms
    q_same: float  # the same of `p_same`
    p_holm: float
    # of an undecided arm, once `with_seeds_to_decide` has told it
    seeds_to_decide: int | None = None  # more seeds, if its estimates stay; None: none of its `offers`
    base_to_decide: int = 0  # and of base, where base's own error is the limit
    most_to_decide: int = MOST_SEEDS  # the most of `offers`; 0: this study gives it no more
    early: bool = False  # decided while other arms still lack seeds of the look


def weigh(
    arms: Mapping[str, Runs], base: Runs, margin: float = MARGIN, prior: Prior | None = None
) -> dict[str, Evidence]:  # fmt: skip
    """Every arm's evidence. Variances are moderated by a prior of all arms and base, or by one that is given."""
    if not arms:
        return {}
    found = differences(arms.values(), base, prior or prior_of(arms, base))
    low, high = found.bounds()
    each = parts(found, [arm.failures for arm in arms.values()], base.failures, margin)
    return {
        name: _evidence(arm, base, each[k], Interval(float(found.mean[k]), float(low[k]), float(high[k])))
        for k, (name, arm) in enumerate(arms.items())
    }


def decide(evidence: Mapping[str, Evidence], *, planned: int = 0, alpha: float = ALPHA) -> dict[str, Verdict]:
    """Verdicts from evidence. planned: arms of the whole table. One without evidence yet, or whose test cannot be made,
    counts as p = 1: how many tests a table has must not depend on how its runs ended."""
    names = list(evidence)
    missing = [1.0] * max(0, planned - len(names))
    q, certain, q_same, certain_same = (
        correct(np.nan_to_num([*(p(evidence[n]) for n in names), *missing], nan=1.0))
        for p in (lambda e: e.p, lambda e: e.p_same)
        for correct in (benjamini_hochberg, holm)
    )
    found = {}
    for k, name in enumerate(names):
        own = evidence[name]
        verdict, sure = "undecided", False
        if math.isnan(own.p) and math.isnan(own.p_same):
            verdict = "not tested"
        elif own.identical:
            verdict, sure = "same", True
        elif q[k] < alpha and own.direction:
            verdict, sure = own.direction, bool(certain[k] < alpha)
        elif q_same[k] < alpha:
            verdict, sure = "same", bool(certain_same[k] < alpha)
        found[name] = Verdict(verdict, sure, own, float(q[k]), float(q_same[k]), float(certain[k]))
    return found


def with_seeds_to_decide(  # noqa: PLR0917
    found: Mapping[str, Verdict], arms: Mapping[str, Runs], base: Runs, planned: int = 0, margin: float = MARGIN,
    alpha: float = ALPHA, offers: Sequence[Offer] = ANY,
) -> dict[str, Verdict]:  # fmt: skip
    """The verdicts of `decide`, with what would decide the open ones. offers: more seeds that the study can give."""
    open_ = {n: arms[n] for n, v in found.items() if v.verdict == "undecided"}
    most = max((o.seeds for o in offers), default=0)
    verdicts = {n: v._replace(most_to_decide=most) if n in open_ else v for n, v in found.items()}
    decided = sum(v.verdict not in ("undecided", "not tested") for v in found.values())
    threshold = alpha * (decided + 1) / max(1, planned, len(found))  # what one more alone would have to pass now
    more = more_seeds(open_, base, prior_of(arms, base), threshold, _decisive, offers, margin=margin)
    return verdicts | {n: verdicts[n]._replace(seeds_to_decide=o.seeds, base_to_decide=o.base) for n, o in more.items()}


def _decisive(ahead: Parts) -> float:
    """The p that gives an arm a verdict first."""
    return float(np.nanmin([ahead.p if ahead.direction else 1.0, ahead.p_same, 1.0]))


def combine_looks(p_by_look: ArrayLike, weights: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """One p (n,) of p (looks, n) at the first of len(weights) looks, and the look that gives it: min(1, min p_l / w_l).

    A union bound: it holds whatever decides which arms go on. NaN: the arm did not get there, or could not be tested.
    """
    p = np.asarray(p_by_look, dtype=float)
    if not (all(w > 0 for w in weights) and math.isclose(sum(weights), 1) and len(p) <= len(weights)):
        raise ValueError(f"weights {list(weights)} of {len(p)} looks: each over 0, together 1, one for each look")
    weighted = p / np.asarray(weights)[: len(p), None]
    best = np.where(np.isnan(weighted), np.inf, weighted).argmin(0)
    return np.minimum(1.0, weighted[best, np.arange(p.shape[1])]), best


def over_looks(looks: Sequence[Evidence], weights: Sequence[float]) -> Evidence:
    """One arm's evidence over its looks so far: effects and failures of the last, p of all, the direction of the look
    that gives p."""
    last = looks[-1]
    # an arm that has failed more than base since then has not helped after all
    p_by_look = [math.nan if last.fails_over and e.direction == "helps" else e.p for e in looks]
    both = [(p, e.p_same, *e.margins) for p, e in zip(p_by_look, looks)]
    (p, p_same, *margins), (best, *_) = combine_looks(both, weights)
    return last._replace(
        p=float(p),
        p_same=1.0 if last.fails_over else float(p_same),
        # nor is it not worse: what the last look rules out stays ruled out
        margins=Margins(*(1.0 if now == 1 else float(p) for p, now in zip(margins, last.margins, strict=True))),
        direction=looks[best].direction if not math.isnan(p_by_look[best]) else "",
        identical=all(e.identical for e in looks),
    )


def carries(base: Runs) -> str:
    """Why this base cannot carry verdicts of "helps"; empty where it can."""
    if base.finished and base.failed > BASE_FAILS * base.finished:
        return f"base fails in {base.failed} of {base.finished} runs"
    x = np.asarray(base.log_fid, dtype=float)
    if len(x) < 2:
        return "base has too few runs"
    own = Difference(*(np.array([v]) for v in (0.0, x.std(ddof=1) / math.sqrt(len(x)), len(x) - 1.0, 0.0, 1.0)))
    wide = math.exp(float(own.bounds()[1][0]))
    return f"base's own FID is known to a factor of {wide:.2f} only" if wide > BASE_WIDE else ""


def _evidence(arm: Runs, base: Runs, found: Parts, difference: Interval) -> Evidence:
    """difference: of mean log FID."""
    ratio = NONE if math.isnan(difference.point) else Interval(*map(exp, difference))
    identical = len(arm.log_fid) > 0 and not arm.failed and not base.failed and _alike(arm, base)
    p_fid, p_fail, p, direction, p_same, fails_over, margins = found
    return Evidence(ratio, p_fid, p_fail, p, direction, p_same, margins, identical, fails_over)


def _alike(arm: Runs, base: Runs) -> bool:
    """Whether an arm's FIDs are among base's bit for bit."""
    return set(arm.log_fid) <= set(base.log_fid)
