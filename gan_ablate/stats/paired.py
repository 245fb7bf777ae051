"""One arm against its control, seed by seed, on log FID."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy import special

from gan_ablate.stats.intervals import Interval

NONE = Interval(math.nan, math.nan, math.nan)
EXACT_UP_TO = 20_000  # splits of the ranks to enumerate: 8 against 8 runs and below; beyond, the normal approximation


@dataclass(frozen=True)
class Comparison:
    """A treatment against its control. `ratio` under 1 says that the treatment's score is lower."""

    test: str  # "paired t" | "Welch" | "rank" | "" where nothing can be tested
    p: float  # two-sided; NaN where nothing can be tested
    ratio: Interval  # geometric mean of treatment / control, with its interval
    correlation: float  # of log scores over pairs of seeds
    n: int  # runs of the treatment (rank, Welch) or pairs (paired t)
    detectable: float  # smallest ratio over 1 found with 80 % power at `alpha` (approximate); NaN where unknown
    favours: int  # -1: the treatment's score is lower, +1: higher, 0: no direction


def compare(
    treatment: Mapping[int, float | None],
    control: Mapping[int, float | None],
    level: float = 0.95,
    alpha: float = 0.05,
) -> Comparison:
    """Compare scores by seed (positive, lower is better); `None` is a run that failed without a score.

    Paired t test on log scores where the pairs correlate, Welch's where they do not (pairing then loses power).
    A failed run has no log: with any, the test is the exact Mann-Whitney test on ranks, failed runs ranked worst,
    and the ratio (over the runs with scores) has no interval. `level` is that of the interval, `alpha` that of the
    test which `detectable` speaks of: give it corrected where p will be.
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
        error = d.std(ddof=1) / math.sqrt(len(d))
        return _result("paired t", float(d.mean()), error, len(d) - 1, r, len(d), level, alpha)
    return _welch(np.array(list(scored_t.values())), np.array(list(scored_c.values())), r, level, alpha)


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's r of two arrays (n,); NaN under 3 pairs or where one is constant."""
    if len(a) < 3 or a.std() == 0 or b.std() == 0:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


def _welch(a: np.ndarray, b: np.ndarray, r: float, level: float, alpha: float) -> Comparison:
    if len(a) == 0 or len(b) == 0:
        return Comparison("", math.nan, NONE, r, len(a), math.nan, 0)
    mean = float(a.mean() - b.mean())
    if len(a) < 2 or len(b) < 2:
        only = Interval(_exp(mean), math.nan, math.nan)
        return Comparison("", math.nan, only, r, len(a), math.nan, int(np.sign(mean)))
    va, vb = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    if va + vb == 0:
        return _result("Welch", mean, 0.0, len(a) + len(b) - 2, r, len(a), level, alpha)
    dof = (va + vb) ** 2 / (va**2 / (len(a) - 1) + vb**2 / (len(b) - 1))
    return _result("Welch", mean, math.sqrt(va + vb), dof, r, len(a), level, alpha)


def _result(  # noqa: PLR0917
    test: str, mean: float, error: float, dof: float, r: float, n: int, level: float, alpha: float
) -> Comparison:
    if error == 0:
        p = 1.0 if mean == 0 else 0.0
    else:
        p = float(2 * special.stdtr(dof, -abs(mean) / error))
    half = float(special.stdtrit(dof, (1 + level) / 2)) * error
    interval = Interval(*(_exp(x) for x in (mean, mean - half, mean + half)))
    detectable = _exp((float(special.stdtrit(dof, 1 - alpha / 2)) + float(special.stdtrit(dof, 0.8))) * error)
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
    _, place, ties = np.unique([*a, *b], return_inverse=True, return_counts=True)
    ranks = (np.cumsum(ties) - (ties - 1) / 2)[place]  # (n + m,) ties share their mean rank; infinities are the worst
    excess = float(
        ranks[: len(a)].sum() - len(a) * (len(ranks) + 1) / 2
    )  # of the rank sum over its mean under no effect
    return Comparison("rank", _rank_p(ranks, len(a)), ratio, r, len(a), math.nan, int(np.sign(round(excess, 6))))


def _rank_p(ranks: np.ndarray, n: int) -> float:
    """Two-sided p of the rank sum of the first n of `ranks` (n + m,), ties and all, over every split into n and m.

    scipy turns to the normal approximation where values tie, and failed runs always tie: at 3 against 3 it then says
    0.064 where no split can give less than 0.1.
    """
    if math.comb(len(ranks), n) > EXACT_UP_TO:
        from scipy import stats  # slow to import, seldom needed

        return float(stats.mannwhitneyu(ranks[:n], ranks[n:], alternative="two-sided").pvalue)
    splits = np.array(list(combinations(range(len(ranks)), n)))  # (splits, n)
    away = np.abs(ranks[splits].sum(axis=1) - n * ranks.mean())
    return float((away >= away[0] - 1e-9).mean())  # the first split is the one observed


def _exp(x: float) -> float:
    return math.exp(x) if x < 709 else math.inf


def least_rank_p(n: int, m: int) -> float:
    """The smallest two-sided p that a rank test of n against m runs can give."""
    return min(1.0, 2 / math.comb(n + m, n))
