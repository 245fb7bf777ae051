"""Is one side more spread out than the other: sensitivity to hyperparameters, or to seeds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import special

from gan_ablate.stats.intervals import NONE, Interval


@dataclass(frozen=True)
class Spread:
    """Spread of log scores, treatment against control. `ratio` under 1: the treatment is the less sensitive."""

    ratio: Interval  # of standard deviations of log scores
    p: float  # Brown-Forsythe, two-sided
    failed: tuple[int, int]  # runs that stand at the worst score seen, treatment and control


def spread_ratio(treatment: Sequence[float | None], control: Sequence[float | None], level: float = 0.95) -> Spread:
    """Ratio of standard deviations of log scores, with Bonett's (2006) interval and Brown and Forsythe's (1974) test.

    Both hold for skewed and heavy-tailed scores, as those over a random design are. A failed run (`None`) takes the
    worst score of either side. NaN under 5 runs a side, without spread, and where over half of a side failed: there
    more failures would make it look less spread out.
    """
    sides = [*treatment, *control]
    seen = [v for v in sides if v is not None]
    failed = (sum(v is None for v in treatment), sum(v is None for v in control))
    too_many = 2 * failed[0] > len(treatment) or 2 * failed[1] > len(control)
    if len(treatment) < 5 or len(control) < 5 or too_many:
        return Spread(NONE, math.nan, failed)
    worst = max(seen)
    a, b = (np.log(np.array([worst if v is None else v for v in side], dtype=float)) for side in (treatment, control))
    if not a.std() > 0 or not b.std() > 0:
        return Spread(NONE, math.nan, failed)
    n, m, z = len(a), len(b), float(special.ndtri((1 + level) / 2))
    fourth = sum(float(((x - _trimmed_mean(x)) ** 4).sum()) for x in (a, b))
    squares = sum(float(((x - x.mean()) ** 2).sum()) for x in (a, b))
    kurtosis = (n + m) * fourth / squares**2
    error = math.sqrt(sum(max(0.0, kurtosis - (k - 3) / k) / (k - 1) for k in (n, m)))
    log_ratio = math.log(a.var(ddof=1) / b.var(ddof=1))
    small = math.log((n / (n - z)) / (m / (m - z)))  # Bonett's correction for unequal small samples
    bounds = (math.exp((log_ratio + small + s * z * error) / 2) for s in (-1, 1))
    return Spread(Interval(math.exp(log_ratio / 2), *bounds), brown_forsythe_p(a, b), failed)


def brown_forsythe_p(a: np.ndarray, b: np.ndarray) -> float:
    """p of equal spread: analysis of variance of distances from each side's median; NaN where constant."""
    x, y = (np.abs(v - np.median(v)) for v in (a, b))
    n, m = len(x), len(y)
    within = x.var() * n + y.var() * m
    if not within > 0:
        return math.nan
    f = (x.mean() - y.mean()) ** 2 * n * m / (n + m) / (within / (n + m - 2))
    return float(special.fdtrc(1, n + m - 2, f))


def _trimmed_mean(x: np.ndarray) -> float:
    """Mean without the share 1 / (2 sqrt(n - 4)) at each end, as Bonett's (2006) kurtosis takes it."""
    cut = min((len(x) - 1) // 2, int(len(x) / (2 * math.sqrt(len(x) - 4))))
    return float(np.sort(x)[cut : len(x) - cut].mean())
