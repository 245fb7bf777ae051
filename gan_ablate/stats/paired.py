"""One arm against its control, seed by seed, on log FID."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from gan_ablate.stats.intervals import Interval

NONE = Interval(math.nan, math.nan, math.nan)


@dataclass(frozen=True)
class Comparison:
    """A treatment against its control. `ratio` under 1 says that the treatment's score is lower."""

    test: str  # "paired t" | "Welch" | "rank" | "" where nothing can be tested
    p: float  # two-sided; NaN where nothing can be tested
    ratio: Interval  # geometric mean of treatment / control, with its interval
    correlation: float  # of log scores over pairs of seeds
    n: int  # runs of the treatment (rank, Welch) or pairs (paired t)
    detectable: float  # smallest ratio over 1 that would be found with 80 % power; NaN where unknown
    favours: int  # -1: the treatment's score is lower, +1: higher, 0: no direction


def compare(
    treatment: Mapping[int, float | None], control: Mapping[int, float | None], level: float = 0.95
) -> Comparison:
    """Compare scores by seed (positive, lower is better); `None` is a run that failed without a score.

    Paired t test on log scores where the pairs correlate, Welch's where they do not (pairing then loses power).
    A failed run has no log: with any, the test is Mann-Whitney's on ranks, failed runs ranked worst, and the
    ratio (over the runs with scores) has no interval.
    """
    scored_t = {s: math.log(v) for s, v in treatment.items() if v is not None}
    scored_c = {s: math.log(v) for s, v in control.items() if v is not None}
    if len(scored_t) < len(treatment) or len(scored_c) < len(control):
        return _ranks(treatment, control, scored_t, scored_c)
    seeds = sorted(scored_t.keys() & scored_c.keys())
    a, b = (np.array([side[s] for s in seeds]) for side in (scored_t, scored_c))
    r = correlation(a, b)
    if len(seeds) >= 2 and r > 0:
        d = a - b
        return _result("paired t", float(d.mean()), d.std(ddof=1) / math.sqrt(len(d)), len(d) - 1, r, len(d), level)
    return _welch(np.array(list(scored_t.values())), np.array(list(scored_c.values())), r, level)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's r of two arrays (n,); NaN under 3 pairs or where one is constant."""
    if len(a) < 3 or a.std() == 0 or b.std() == 0:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


def _welch(a: np.ndarray, b: np.ndarray, r: float, level: float) -> Comparison:
    if len(a) == 0 or len(b) == 0:
        return Comparison("", math.nan, NONE, r, len(a), math.nan, 0)
    mean = float(a.mean() - b.mean())
    if len(a) < 2 or len(b) < 2:
        only = Interval(math.exp(mean), math.nan, math.nan)
        return Comparison("", math.nan, only, r, len(a), math.nan, int(np.sign(mean)))
    va, vb = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    if va + vb == 0:
        return _result("Welch", mean, 0.0, len(a) + len(b) - 2, r, len(a), level)
    dof = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    return _result("Welch", mean, math.sqrt(va + vb), dof, r, len(a), level)


def _result(  # noqa: PLR0917
    test: str, mean: float, error: float, dof: float, r: float, n: int, level: float
) -> Comparison:
    if error == 0:
        p = 1.0 if mean == 0 else 0.0
    else:
        p = float(2 * stats.t.sf(abs(mean) / error, dof))
    half = float(stats.t.ppf((1 + level) / 2, dof)) * error
    interval = Interval(*(math.exp(x) for x in (mean, mean - half, mean + half)))
    detectable = math.exp((float(stats.t.ppf((1 + level) / 2, dof)) + float(stats.t.ppf(0.8, dof))) * error)
    return Comparison(test, p, interval, r, n, detectable, int(np.sign(mean)))


def _ranks(
    treatment: Mapping[int, float | None],
    control: Mapping[int, float | None],
    scored_t: Mapping[int, float],
    scored_c: Mapping[int, float],
) -> Comparison:
    a, b = ([math.inf if v is None else v for v in side.values()] for side in (treatment, control))
    ratio, r = NONE, math.nan
    if scored_t and scored_c:
        ratio = NONE._replace(point=math.exp(np.mean(list(scored_t.values())) - np.mean(list(scored_c.values()))))
    if len(a) < 2 or len(b) < 2:
        return Comparison("", math.nan, ratio, r, len(a), math.nan, 0)
    ranks = stats.rankdata([*a, *b])  # infinities tie with each other, worst of all
    result = stats.mannwhitneyu(ranks[: len(a)], ranks[len(a) :], alternative="two-sided")
    middle = len(a) * len(b) / 2
    return Comparison("rank", float(result.pvalue), ratio, r, len(a), math.nan, int(np.sign(result.statistic - middle)))


def least_rank_p(n: int, m: int) -> float:
    """The smallest two-sided p that a rank test of n against m runs can give."""
    return min(1.0, 2 / math.comb(n + m, n))
