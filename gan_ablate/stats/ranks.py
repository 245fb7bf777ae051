"""Rank tests and probability of improvement: exact at any size, with ties and failed runs, which rank worst."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

EXACT_UP_TO = 20_000  # splits to enumerate: 8 against 8 runs
FEWEST = 6  # points from which on approximations of rank tests are used


def ranks(x: ArrayLike) -> np.ndarray:
    """Ranks from 1 of x (n,); ties share their mean rank, infinities included."""
    _, place, ties = np.unique(np.asarray(x, dtype=float), return_inverse=True, return_counts=True)
    return (np.cumsum(ties) - (ties - 1) / 2)[place]


def scored(side: Sequence[float | None], worst: float = math.inf) -> np.ndarray:
    """Scores (n,) with `worst` in place of failed runs."""
    return np.array([worst if v is None else v for v in side], dtype=float)


def rank_sum_p(ranked: np.ndarray, n: int) -> float:
    """Two-sided p of the rank sum of the first n of `ranked` (n + m,), over every split into n and m (Wilcoxon 1945):
    twice the smaller tail, since with ties and n other than m the two tails differ.

    scipy turns to the normal approximation where values tie, and failed runs always tie: at 3 against 3 it then says
    0.064 where no split can give less than 0.1. Beyond `EXACT_UP_TO` splits: that approximation.
    """
    if math.comb(len(ranked), n) > EXACT_UP_TO:
        from scipy import stats  # slow to import, seldom needed

        return float(stats.mannwhitneyu(ranked[:n], ranked[n:], alternative="two-sided").pvalue)
    splits = np.array(list(combinations(range(len(ranked)), n)))  # (splits, n)
    sums = ranked[splits].sum(axis=1)
    low, high = (sums <= sums[0] + 1e-9).mean(), (sums >= sums[0] - 1e-9).mean()  # the first split is the one observed
    return float(min(1.0, 2 * min(low, high)))


def least_rank_p(n: int, m: int) -> float:
    """The smallest two-sided p that a rank test of n against m runs can give."""
    return min(1.0, 2 / math.comb(n + m, n))


def improvement(
    treatment: Sequence[float | None],
    control: Sequence[float | None],
    better: Literal["lower", "higher"] = "lower",
) -> float:
    """P(a random treatment run beats a random control run), ties counted half (Agarwal et al. 2021, section 4.3).

    `None` is a failed run: worse than any score, equal to another failed run. NaN where a side has no runs.
    """
    if not treatment or not control:
        return math.nan
    worst = math.inf if better == "lower" else -math.inf
    a, b = scored(treatment, worst)[:, None], scored(control, worst)[None, :]
    wins = (a < b) if better == "lower" else (a > b)
    return float((wins + 0.5 * (a == b)).mean())


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Spearman's correlation of x, y (n,), ties shared; `None` where one side is constant. Plain Python: ten times as
    fast as arrays for the few points of a run, and asked of every run."""
    ordered = sorted(x), sorted(y)
    both = [[bisect_left(o, v) + bisect_right(o, v) for v in side] for o, side in zip(ordered, (x, y))]
    try:
        return statistics.correlation(*both)
    except statistics.StatisticsError:
        return None


def association(x: Sequence[float], y: ArrayLike) -> tuple[float, float]:
    """Spearman's correlation of x, y (n,) and its two-sided p by the t approximation; infinities rank last.

    NaN, NaN under `FEWEST` points or where one side is constant.
    """
    first, second = ranks(x), ranks(y)
    if len(first) < FEWEST or min(np.ptp(first), np.ptp(second)) == 0:
        return math.nan, math.nan
    from scipy import stats

    found = stats.spearmanr(first, second)
    return float(found.statistic), float(found.pvalue)


def groups_p(groups: Sequence[ArrayLike]) -> float:
    """Whether groups of scores (n_i,) differ (Kruskal & Wallis 1952, by its chi-squared approximation).

    Infinities rank last. NaN under `FEWEST` scores, with one group, or where all are equal.
    """
    sides = [np.asarray(g, dtype=float) for g in groups]
    ranked = ranks(np.concatenate(sides)) if sides else np.empty(0)
    if len(ranked) < FEWEST or len(sides) < 2 or np.ptp(ranked) == 0:
        return math.nan
    from scipy import stats

    return float(stats.kruskal(*np.split(ranked, np.cumsum([len(g) for g in sides])[:-1])).pvalue)


def sign_p(won: int, lost: int) -> float:
    """Two-sided p of the exact sign test; NaN where nothing was won or lost."""
    if not won + lost:
        return math.nan
    from scipy import stats

    return float(stats.binomtest(won, won + lost).pvalue)
