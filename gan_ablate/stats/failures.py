"""Failure rates of two arms."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

from scipy import special

from gan_ablate.stats.intervals import NONE, Interval, wilson


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


def fisher_p(failed: int, n: int, control_failed: int, m: int) -> float:
    """Two-sided exact p of equal failure rates, given how many failed in all (Fisher 1935). Quick, conservative."""
    from scipy import stats  # slow to import, seldom needed

    if n == 0 or m == 0:
        return math.nan
    return float(stats.fisher_exact([[failed, control_failed], [n - failed, m - control_failed]]).pvalue)


def mcnemar_p(treatment: Mapping[int, bool], control: Mapping[int, bool]) -> float:
    """Two-sided exact p of equal failure rates over the seeds of both (McNemar 1947): True is a failed run.

    Only seeds where just one side failed speak; with fewer than 6 of them p stays over 0.05, so it is for many seeds.
    """
    seeds = treatment.keys() & control.keys()
    if not seeds:
        return math.nan
    only = sum(treatment[s] and not control[s] for s in seeds)
    other = sum(control[s] and not treatment[s] for s in seeds)
    return min(1.0, 2 * float(special.bdtr(min(only, other), only + other, 0.5))) if only + other else 1.0
