"""Does a sign announce failure (area under the ROC curve); does the loss follow FID (rank correlation)."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from gan_ablate.stats.exact import rank_sum_p, ranks
from gan_ablate.stats.intervals import NONE, Interval, mean_interval


class Association(NamedTuple):
    """A measure of association with its interval and its two-sided p against none."""

    value: Interval
    p: float
    n: int  # observations


def auc(sign: ArrayLike, failed: Sequence[bool], level: float = 0.95) -> Association:
    """P(a failed run shows more of `sign` (n,) than a good one), ties half: 0.5 says nothing, 1 tells all.

    The interval is Newcombe's (2006, method 5), which solves for the areas whose Hanley-McNeil variance just reaches
    the observed one: it has width at 0 and 1 too, where the bootstrap and DeLong's have none. p is the exact
    Mann-Whitney test's. NaN where all runs or none failed. Signs may be infinite, not NaN (`ValueError`).
    """
    x, bad = np.asarray(sign, dtype=float), np.asarray(failed, dtype=bool)
    if np.isnan(x).any():
        raise ValueError("a sign is NaN: give such a run the value that its rule gives it, or leave it out and say so")
    m, n = int(bad.sum()), int((~bad).sum())
    if not m or not n:
        return Association(NONE, math.nan, len(x))
    ranked = ranks(np.concatenate([x[bad], x[~bad]]))
    area = float((ranked[:m].sum() - m * (m + 1) / 2) / (m * n))
    half = (m + n) / 2 - 1
    z = float(special.ndtri((1 + level) / 2))

    def variance(t: float) -> float:
        return t * (1 - t) * (1 + half * (1 - t) / (2 - t) + half * t / (1 + t)) / (m * n)

    def solve(end: float) -> float:
        inside, outside = area, end
        for _ in range(60):
            middle = (inside + outside) / 2
            if (middle - area) ** 2 <= z * z * variance(middle):
                inside = middle
            else:
                outside = middle
        return inside

    return Association(Interval(area, solve(0.0), solve(1.0)), rank_sum_p(ranked, m), len(x))


def spearman(x: ArrayLike, y: ArrayLike, level: float = 0.95) -> Association:
    """Rank correlation of x, y (n,), ties shared, Bonett and Wright's (2000) interval, p by the t approximation.

    For independent observations. Points along one run are not: take each run's value alone and then `mean_correlation`.
    NaN under 3 points or where one side is constant; no interval under 4.
    """
    a, b = ranks(x), ranks(y)
    n = len(a)
    if n < 3 or a.std() == 0 or b.std() == 0:
        return Association(NONE, math.nan, n)
    r = float(np.clip(np.corrcoef(a, b)[0, 1], -1, 1))
    least = 2 / math.factorial(min(n, 20))  # of perfect ranks without ties: the t approximation would say 0
    p = least if abs(r) == 1 else float(2 * special.stdtr(n - 2, -abs(r) * math.sqrt((n - 2) / (1 - r * r))))
    p = min(1.0, max(p, least))
    if n < 4 or abs(r) == 1:
        return Association(Interval(r, math.nan, math.nan), p, n)
    half = float(special.ndtri((1 + level) / 2)) * math.sqrt((1 + r * r / 2) / (n - 3))
    return Association(Interval(r, *(math.tanh(math.atanh(r) + s * half) for s in (-1, 1))), p, n)


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Spearman's of x, y (n,), ties shared, alone; `None` where one side is constant. Ten times as fast as `spearman`
    for a few points, and asked of every run."""
    ordered = sorted(x), sorted(y)
    both = [[bisect_left(o, v) + bisect_right(o, v) for v in side] for o, side in zip(ordered, (x, y))]
    try:
        return statistics.correlation(*both)
    except statistics.StatisticsError:
        return None


def mean_correlation(values: Sequence[float], level: float = 0.95, seed: int = 0) -> Interval:
    """Mean of one correlation per run on Fisher's (1921) z scale, with the interval over runs, taken back.

    Runs without a correlation (NaN: a constant curve) are left out; perfect ones are held at 0.999, as z has no value.
    """
    z = np.arctanh(np.clip([v for v in values if not math.isnan(v)], -0.999, 0.999))
    return Interval(*(math.tanh(v) for v in mean_interval(z, level, seed)))
