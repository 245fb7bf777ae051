"""Confidence intervals."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special  # scipy.stats takes longer to import than a report of 1,000 runs to analyse

BOOTSTRAP_FROM = 10  # seeds; below, the percentile bootstrap covers far less than it says (78 % at n = 3)


class Interval(NamedTuple):
    """A point estimate and its bounds; the bounds are NaN where the data allow none."""

    point: float
    low: float
    high: float


def mean_interval(x: ArrayLike, level: float = 0.95, seed: int = 0, resamples: int = 9999) -> Interval:
    """Mean of x (n,): t interval under 10 values, seeded percentile bootstrap from 10 on."""
    x = np.asarray(x, dtype=float)
    if len(x) == 0:
        return Interval(np.nan, np.nan, np.nan)
    if len(x) == 1:
        return Interval(float(x[0]), np.nan, np.nan)
    mean = float(x.mean())
    if len(x) < BOOTSTRAP_FROM:
        half = special.stdtrit(len(x) - 1, (1 + level) / 2) * x.std(ddof=1) / np.sqrt(len(x))
        return Interval(mean, mean - half, mean + half)
    rows = np.random.default_rng(seed).integers(0, len(x), (resamples, len(x)))
    low, high = np.quantile(x[rows].mean(axis=1), [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high))


def geometric_mean_interval(x: ArrayLike, level: float = 0.95, seed: int = 0) -> Interval:
    """Geometric mean of positive values x (n,), with the interval of the mean logarithm taken back."""
    return Interval(*map(float, np.exp(mean_interval(np.log(np.asarray(x, dtype=float)), level, seed))))


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """A proportion by Wilson's score interval (Wilson 1927)."""
    if n == 0:
        return Interval(np.nan, np.nan, np.nan)
    p, z = successes / n, float(special.ndtri((1 + level) / 2))
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + (z / (2 * n)) ** 2)
    low, high = ((middle + side * half) / (1 + z * z / n) for side in (-1, 1))
    return Interval(p, low if successes else 0.0, high if successes < n else 1.0)
