"""Arms against one base with many seeds: FID and failures in one test for each arm, and a verdict for each.

Lachenbruch's (2001) two-part idea: a run may fail, and one that does not has a FID. One p for both parts: twice the
smaller of the two, or that of FID alone where no run failed. Many arms: Benjamini and Hochberg's share of false
verdicts decides, Holm's correction marks what is certain. "Same" is a verdict too: two one-sided tests of a margin that
is declared beforehand, a family of its own. Seeds may come in looks: a union bound over them holds whatever decides
which arms go on.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gan_ablate.stats.corrections import ALPHA, benjamini_hochberg, holm
from gan_ablate.stats.failures import boschloo_p
from gan_ablate.stats.intervals import NONE, Interval, exp
from gan_ablate.stats.moderated import Difference, Prior, difference, fit_prior

MARGIN = 1.25  # ratio of FIDs within which two arms are the same
BASE_FAILS, BASE_WIDE = 0.2, 1.25  # share of base's runs that fail, and its interval: over them it carries no "helps"
VERDICTS = ("helps", "rescues", "same", "undecided", "fails more", "hurts")
MOST_SEEDS = 200  # how far `seeds_to_decide` looks


class Runs(NamedTuple):
    """The finished runs of one arm."""

    log_fid: Sequence[float]  # of those that did not fail
    failed: int = 0

    @classmethod
    def of(cls, outcomes: Iterable[float | None]) -> Runs:
        """From the log FID of each run, `None` where it failed."""
        held = list(outcomes)
        return cls(tuple(x for x in held if x is not None), sum(x is None for x in held))

    @property
    def finished(self) -> int:
        """How many there are."""
        return len(self.log_fid) + self.failed


class Evidence(NamedTuple):
    """What the runs of one arm say against base's, before any correction. A p is NaN where it cannot be computed."""

    ratio: Interval  # FID of the arm / base, geometric means over runs that did not fail, with its 95 % interval
    p_fid: float
    p_fail: float
    p: float  # of both parts: min(1, 2 min); of FID alone where no run failed, of failures where FID must not decide
    direction: str  # the verdict if it is significant: helps | hurts | fails more | rescues; "" if there is none
    p_same: float  # of "outside the margin, or fails more"
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
    seeds_to_decide: int | None  # more seeds for an undecided arm, if its estimates stay; None: over `MOST_SEEDS`


def weigh(arms: Mapping[str, Runs], base: Runs, margin: float = MARGIN) -> dict[str, Evidence]:
    """Every arm's evidence. Variances are moderated by a prior of all arms and base."""
    if not arms:
        return {}
    means, variances, counts = moments([*arms.values(), base])
    prior = fit_prior(variances, counts - 1)
    return _evidence(arms, base, _differences(means, variances, counts, prior), margin)


def decide(evidence: Mapping[str, Evidence], arms: Mapping[str, Runs], base: Runs, *, planned: int | None = None,
           margin: float = MARGIN, alpha: float = ALPHA) -> dict[str, Verdict]:  # fmt: skip
    """Verdicts from evidence. planned: arms of the whole table. One without evidence yet, or whose test cannot be made,
    counts as p = 1: how many tests a table has must not depend on how its runs ended."""
    names = list(evidence)
    missing = [1.0] * max(0, (planned or 0) - len(names))
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
        found[name] = Verdict(verdict, sure, own, float(q[k]), float(q_same[k]), float(certain[k]), None)
    open_ = [n for n in names if found[n].verdict == "undecided"]
    more = _seeds_to_decide(found, {n: arms[n] for n in open_}, arms, base, margin, alpha) if open_ else {}
    return {n: v._replace(seeds_to_decide=more.get(n)) for n, v in found.items()}


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
    (p, p_same), (best, _) = combine_looks(list(zip(p_by_look, (e.p_same for e in looks))), weights)
    return last._replace(
        p=float(p),
        p_same=1.0 if last.fails_over else float(p_same),
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


def moments(sides: Sequence[Runs]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, variances and counts (k,) of log FID; NaN where there are no runs, or none to compare."""
    values = [np.asarray(side.log_fid, dtype=float) for side in sides]
    means = np.array([v.mean() if len(v) else math.nan for v in values])
    variances = np.array([v.var(ddof=1) if len(v) > 1 else math.nan for v in values])
    return means, variances, np.array([float(len(v)) for v in values])


def _differences(means: np.ndarray, variances: np.ndarray, counts: np.ndarray, prior: Prior) -> Difference:
    """Each arm less base, which stands last."""
    return difference(
        means[:-1], variances[:-1], counts[:-1], means[-1], float(variances[-1]), int(counts[-1]), prior
    )  # fmt: skip


def _evidence(arms: Mapping[str, Runs], base: Runs, found: Difference, margin: float) -> dict[str, Evidence]:
    p_fid = found.p()
    above, below = found.outside(math.log(margin))
    low, high = found.bounds()
    evidence = {}
    for k, (name, arm) in enumerate(arms.items()):
        p_fail = boschloo_p(arm.failed, arm.finished, base.failed, base.finished)
        more, less = (_rate(arm) > _rate(base)), (_rate(arm) < _rate(base))
        p, by_fid = _two_parts(float(p_fid[k]), p_fail, float(found.mean[k]), arm, base)
        direction = "hurts" if found.mean[k] > 0 else "helps"
        if not by_fid:
            direction = "fails more" if more else "rescues" if less else ""
        same = math.nan if math.isnan(above[k]) else 1.0 if more else float(max(above[k], below[k]))
        identical = len(arm.log_fid) > 0 and not arm.failed and not base.failed and _alike(arm, base)
        bounds = (exp(float(x)) for x in (found.mean[k], low[k], high[k]))
        ratio = NONE if math.isnan(found.mean[k]) else Interval(*bounds)
        evidence[name] = Evidence(ratio, float(p_fid[k]), p_fail, p, direction, same, identical, more)
    return evidence


def _two_parts(p_fid: float, p_fail: float, mean: float, arm: Runs, base: Runs) -> tuple[float, bool]:
    """p of both parts, and whether the FID part gives it; NaN where neither could be tested.

    Where nothing failed, the failure part cannot reject: given that, the FID part has all of the level. An arm that
    fails more than base has not helped, whatever its other runs say: there failures alone decide.
    """
    if math.isnan(p_fid) or (mean < 0 and _rate(arm) > _rate(base)):
        return min(1.0, 2 * p_fail) if not math.isnan(p_fail) else math.nan, False
    if not arm.failed and not base.failed:
        return p_fid, True
    return min(1.0, 2 * p_fid, 2 * p_fail), p_fid <= p_fail


def _rate(runs: Runs) -> float:
    return runs.failed / runs.finished if runs.finished else 0.0


def _alike(arm: Runs, base: Runs) -> bool:
    """Whether an arm's FIDs are among base's bit for bit."""
    return set(arm.log_fid) <= set(base.log_fid)


def _seeds_to_decide(  # noqa: PLR0917
    verdicts: Mapping[str, Verdict], open_: Mapping[str, Runs], arms: Mapping[str, Runs], base: Runs,
    margin: float, alpha: float,
) -> dict[str, int]:  # fmt: skip
    """More seeds after which an arm is decided if its mean, spread and failure rate stay what they are.

    It is held against the threshold that it alone would have to pass now.
    """
    tests, names = len(verdicts), list(open_)
    decided = sum(v.verdict not in ("undecided", "not tested") for v in verdicts.values())
    threshold = alpha * (decided + 1) / tests
    means, variances, counts = moments([*open_.values(), base])
    now = _differences(means, variances, counts, fit_prior(*_of_all(arms, base)))
    found: dict[str, int] = {}
    for more in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, MOST_SEEDS):
        scaled = counts.copy()
        total = np.array([float(r.finished) for r in open_.values()])
        with np.errstate(divide="ignore", invalid="ignore"):
            scaled[:-1] = counts[:-1] * (total + more) / total
            ahead = now._replace(error=now.error * np.sqrt(counts[:-1] / scaled[:-1]), dof=now.dof + more)
        p, (above, below) = ahead.p(), ahead.outside(math.log(margin))
        for k, name in enumerate(names):
            arm = open_[name]
            failed = round(arm.failed * (arm.finished + more) / arm.finished) if arm.finished else 0
            p_fail = boschloo_p(failed, arm.finished + more, base.failed, base.finished)
            both, _ = _two_parts(float(p[k]), p_fail, float(ahead.mean[k]), arm, base)
            same = math.inf if _rate(arm) > _rate(base) else max(above[k], below[k])
            if both < threshold or same < threshold:
                found.setdefault(name, more)
    return found


def _of_all(arms: Mapping[str, Runs], base: Runs) -> tuple[np.ndarray, np.ndarray]:
    _, variances, counts = moments([*arms.values(), base])
    return variances, counts - 1
