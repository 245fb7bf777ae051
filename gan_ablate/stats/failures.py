"""Failures: how rates of two arms differ, and whether a sign announces them (area under the ROC curve)."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from gan_ablate.stats.intervals import NONE, Interval, wilson
from gan_ablate.stats.ranks import rank_sum_p, ranks


def rate_difference(failed: int, n: int, control_failed: int, m: int, level: float = 0.95) -> Interval:
    """Rate of the treatment less that of the control with Newcombe's (1998, method 10) hybrid score interval."""
    if n == 0 or m == 0:
        return NONE
    a, b = wilson(failed, n, level), wilson(control_failed, m, level)
    d = a.point - b.point
    low = d - math.hypot(a.point - a.low, b.high - b.point)
    return Interval(d, low, d + math.hypot(a.high - a.point, b.point - b.low))


@lru_cache(maxsize=4096)
def boschloo_p(failed: int, n: int, control_failed: int, m: int) -> float:
    """Two-sided exact p of equal failure rates in independent runs (Boschloo 1970). One-sided it is
    stronger than Fisher's test everywhere, two-sided nearly so."""
    from scipy import stats  # slow to import, seldom needed

    if n == 0 or m == 0:
        return math.nan
    if failed + control_failed in {0, n + m}:
        return 1.0  # all alike; scipy gives NaN
    return float(stats.boschloo_exact([[failed, control_failed], [n - failed, m - control_failed]]).pvalue)


@lru_cache(maxsize=256)
def smallest_rate(n: int, m: int, alpha: float) -> float:
    """The smallest rate of n runs that Boschloo's test tells at `alpha` from none of m failing; NaN if none."""
    return next((k / n for k in range(1, n + 1) if boschloo_p(k, n, 0, m) < alpha), math.nan)


class Association(NamedTuple):
    """Area under the ROC curve with its interval, and the two-sided p against 0.5."""

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
