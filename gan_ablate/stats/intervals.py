"""Confidence intervals: of means, proportions, quotients of two ratios, and ratios of two spreads."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special  # scipy.stats takes longer to import than a report of 1,000 runs to analyse

BOOTSTRAP_FROM = 10  # seeds; below, the percentile bootstrap covers far less than it says (78 % at n = 3)
RESAMPLES = 9999


class Interval(NamedTuple):
    """A point estimate and its bounds; the bounds are NaN where the data allow none."""

    point: float
    low: float
    high: float


NONE = Interval(math.nan, math.nan, math.nan)


def exp(x: float) -> float:
    """e^x, infinite where floats end in place of an error; NaN stays."""
    return math.exp(x) if x < 709 else x if math.isnan(x) else math.inf


def farthest(ratio: Interval) -> float:
    """How far from equal, either way, the bounds of a ratio go: a ratio over 1."""
    return max(ratio.high, 1 / ratio.low) if ratio.low > 0 else math.inf


def t_interval(x: ArrayLike, level: float = 0.95) -> Interval:
    """Mean of x (n,) with its t interval; one value has no bounds."""
    x = np.asarray(x, dtype=float)
    if len(x) < 2:
        return Interval(float(x[0]), math.nan, math.nan) if len(x) else NONE
    mean, half = float(x.mean()), special.stdtrit(len(x) - 1, (1 + level) / 2) * x.std(ddof=1) / math.sqrt(len(x))
    return Interval(mean, float(mean - half), float(mean + half))


def bootstrap_interval(x: ArrayLike, level: float = 0.95, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Mean of x (n,) with its expanded percentile bootstrap interval (Hesterberg 2015, section 5.3), seeded.

    The plain percentile interval is too narrow by sqrt((n - 1) / n) and by normal in place of t quantiles: at n = 10 it
    covers 90 % instead of 95 (docs/statistics.md). The expanded one takes percentiles further out by just that much.
    """
    x = np.asarray(x, dtype=float)
    if len(x) < 2:
        return t_interval(x, level)
    rows = np.random.default_rng(seed).integers(0, len(x), (resamples, len(x)))
    tail = float(special.ndtr(-math.sqrt(len(x) / (len(x) - 1)) * special.stdtrit(len(x) - 1, (1 + level) / 2)))
    low, high = np.quantile(x[rows].mean(axis=1), [tail, 1 - tail])
    return Interval(float(x.mean()), float(low), float(high))


def mean_interval(x: ArrayLike, level: float = 0.95, seed: int = 0, resamples: int = RESAMPLES) -> Interval:
    """Mean of x (n,): t interval under 10 values, seeded bootstrap from 10 on."""
    x = np.asarray(x, dtype=float)
    return t_interval(x, level) if len(x) < BOOTSTRAP_FROM else bootstrap_interval(x, level, seed, resamples)


def geometric_mean_interval(x: ArrayLike, level: float = 0.95, seed: int = 0) -> Interval:
    """Geometric mean of positive values x (n,), with the interval of the mean logarithm taken back."""
    return Interval(*map(float, np.exp(mean_interval(np.log(np.asarray(x, dtype=float)), level, seed))))


def wilson(successes: int, n: int, level: float = 0.95) -> Interval:
    """A proportion by Wilson's score interval (Wilson 1927)."""
    if n == 0:
        return NONE
    p, z = successes / n, float(special.ndtri((1 + level) / 2))
    middle, half = p + z * z / (2 * n), z * math.sqrt(p * (1 - p) / n + (z / (2 * n)) ** 2)
    low, high = ((middle + side * half) / (1 + z * z / n) for side in (-1, 1))
    return Interval(p, low if successes else 0.0, high if successes < n else 1.0)


def quotient(b: Interval, a: Interval, dofs: Sequence[float] = (math.inf, math.inf)) -> tuple[Interval, float]:
    """b / a of independent ratios with 95 % intervals, each side of them squared and added on the log scale (Zou and
    Donner 2008), and a two-sided p. `dofs`: degrees of freedom of b's and of a's interval.

    Bounds and p are NaN where either has no interval, p also where its degrees of freedom are not known: the bounds
    are then those of many.
    """
    if math.isnan(a.point) or math.isnan(b.point):
        return NONE, math.nan
    x, y = ([math.log(v) for v in i] for i in (b, a))
    d = x[0] - y[0]
    if math.isnan(sum(x + y)):
        return Interval(finite_exp(d), math.nan, math.nan), math.nan
    many = [k if k >= 1 else math.inf for k in dofs]
    down, dof_down = _together([x[0] - x[1], y[2] - y[0]], many)
    up, dof_up = _together([x[2] - x[0], y[0] - y[1]], many)
    bounds = [finite_exp(d - _t(dof_down) * down), finite_exp(d + _t(dof_up) * up)]
    error, dof = (down, dof_down) if d > 0 else (up, dof_up)  # of the side that faces 1
    p = 2 * float(special.stdtr(dof, -abs(d) / error)) if error > 0 else float(d == 0)
    return Interval(finite_exp(d), *bounds), p if all(k >= 1 for k in dofs) else math.nan


def _together(halves: Sequence[float], dofs: Sequence[float]) -> tuple[float, float]:
    """Standard error and degrees of freedom (Satterthwaite) of a difference, from the half-widths of its two sides."""
    squares = [(half / _t(dof)) ** 2 for half, dof in zip(halves, dofs, strict=True)]
    spread = sum(square**2 / dof for square, dof in zip(squares, dofs, strict=True))
    return math.sqrt(sum(squares)), sum(squares) ** 2 / spread if spread > 0 else math.inf


def _t(dof: float) -> float:
    return float(special.stdtrit(dof, 0.975))


def finite_exp(x: float) -> float:
    """e^x, but finite: no figure of ours is larger, and one of a stranger's table may be."""
    return math.exp(min(x, 709))


class Spread(NamedTuple):
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
