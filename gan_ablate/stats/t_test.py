"""Student's t tests of two means: differences with standard errors along the last axis, pairing, and power."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special


class Estimate(NamedTuple):
    """Mean (of two samples: of a - b), its standard error and degrees of freedom; arrays (...,) or floats."""

    mean: np.ndarray
    error: np.ndarray
    dof: np.ndarray

    def p(self) -> np.ndarray:
        """Two-sided p of the t test of no difference; NaN without an error, where the error is 0: 1 if equal, else 0,
        which no few runs can mean (`paired.compare` then turns to ranks)."""
        away = np.abs(self.mean)
        with np.errstate(divide="ignore", invalid="ignore"):
            p = 2 * special.stdtr(self.dof, -away / self.error)
        p = np.where(self.error > 0, p, np.where(away == 0, 1.0, 0.0))
        return np.where(np.isnan(self.error), math.nan, p)

    def bounds(self, level: float = 0.95) -> tuple[np.ndarray, np.ndarray]:
        half = special.stdtrit(self.dof, (1 + level) / 2) * self.error
        return self.mean - half, self.mean + half


def paired(a: ArrayLike, b: ArrayLike) -> Estimate:
    """Pairs a, b (..., n), n >= 2."""
    d = np.asarray(a, dtype=float) - np.asarray(b, dtype=float)
    n = d.shape[-1]
    return Estimate(d.mean(-1), d.std(-1, ddof=1) / math.sqrt(n), np.full(d.shape[:-1], n - 1.0))


def welch(a: ArrayLike, b: ArrayLike) -> Estimate:
    """Two samples (..., n), (..., m) of at least 2, unequal variances (Welch 1947)."""
    a, b = np.asarray(a, dtype=float), np.asarray(b, dtype=float)
    n, m = a.shape[-1], b.shape[-1]
    va, vb = a.var(-1, ddof=1) / n, b.var(-1, ddof=1) / m
    with np.errstate(divide="ignore", invalid="ignore"):
        dof = (va + vb) ** 2 / (va**2 / (n - 1) + vb**2 / (m - 1))
    return Estimate(a.mean(-1) - b.mean(-1), np.sqrt(va + vb), np.where(va + vb > 0, dof, n + m - 2.0))


def one_sample(x: ArrayLike) -> Estimate:
    """Values x (..., n), n >= 2, against 0. The error is 0 where they are all alike, but for rounding."""
    x = np.asarray(x, dtype=float)
    n, alike = x.shape[-1], np.ptp(x, axis=-1) <= 1e-9 * np.abs(x).max(-1)
    return Estimate(x.mean(-1), np.where(alike, 0.0, x.std(-1, ddof=1) / math.sqrt(n)), np.full(x.shape[:-1], n - 1.0))


def pooled_correlation(scores: ArrayLike) -> np.ndarray:
    """Mean correlation over all pairs of arms of scores (..., arms, seeds): what the shared seeds are worth.

    NaN is a missing or failed run: each pair of arms counts the seeds that both have, and only if those are 3 or more
    and neither arm is constant on them. NaN where no pair of arms is left.
    """
    x = np.asarray(scores, dtype=float)
    there = ~np.isnan(x)
    with np.errstate(invalid="ignore", divide="ignore"):
        centre = np.where(there, x, 0).sum(-1, keepdims=True) / there.sum(-1, keepdims=True)
        x = np.where(there, x - centre, 0.0)  # each pair is centred again below; this keeps the sums well conditioned
        m = there.astype(float)
        mt, xt = np.swapaxes(m, -1, -2), np.swapaxes(x, -1, -2)
        n, sums, squares = m @ mt, x @ mt, (x * x) @ mt  # (..., arms, arms): row arm over the seeds of both
        other, other_squares = np.swapaxes(sums, -1, -2), np.swapaxes(squares, -1, -2)
        spread = (squares - sums**2 / n) * (other_squares - other**2 / n)
        r = (x @ xt - sums * other / n) / np.sqrt(spread)
    tiny = 1e-24 * squares * other_squares
    use = (n >= 3) & (spread > tiny) & ~np.eye(x.shape[-2], dtype=bool)
    count = use.sum((-1, -2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(use, np.clip(np.nan_to_num(r), -1, 1), 0).sum((-1, -2)) / np.where(count, count, np.nan)


def break_even(n: int, alpha: float = 0.05, runs: tuple[int, int] | None = None) -> float:
    """The correlation from which pairing n seeds pays: there both tests need the same difference to reject at `alpha`.

    Pairing shrinks the error by sqrt(1 - r) and costs n - 1 of 2n - 2 degrees of freedom, which weigh the more the
    smaller alpha is: 0.31 at n = 5, 0.64 after a correction for 40 tests. `runs` of both sides, where not all have
    their pair: the unpaired test then has more of them, and pairing must repay the runs that it would drop.
    """
    if n < 2:
        return math.inf
    a, b = runs or (n, n)
    unpaired, pairs = special.stdtrit([a + b - 2, n - 1], 1 - alpha / 2)
    return float(1 - n / 2 * (1 / a + 1 / b) * (unpaired / pairs) ** 2)


def t_power(noncentrality: float, dof: float, alpha: float = 0.05) -> float:
    """Power of the two-sided t test, by the noncentral t distribution (Cohen 1988, section 2.5)."""
    critical = special.stdtrit(dof, 1 - alpha / 2)
    below, far_below = special.nctdtr(dof, noncentrality, [critical, -critical])
    # where the distribution is far above the quantile, scipy gives NaN for what is 0 to 15 digits
    return float(1 - np.nan_to_num(below) + np.nan_to_num(far_below))


def detectable(error: float, dof: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """The difference of means that a two-sided t test finds with `power`, given its standard error."""
    if not (error >= 0 and dof > 0 and 0 < alpha < 1):
        return math.nan
    low, high = 0.0, 1.0
    while t_power(high, dof, alpha) < power:
        low, high = high, 2 * high
        if high > 1e6:
            return math.nan
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if t_power(middle, dof, alpha) < power else (low, middle)
    return high * error
