"""Two means with moderated variances: what an arm's few runs say of their spread, helped by what all arms' runs say.

Five runs estimate a variance badly, and the smallest of ninety such estimates make the boldest tests. Smyth (2004) lets
all arms estimate how variances are spread, and draws each towards their middle. Means of two samples are then compared
by the distribution of a T1 + b T2 (Behrens and Fisher), computed and not approximated: Satterthwaite's degrees of
freedom reject far too often in the tail that many tests need (docs/statistics.md).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

LEAST = 1e-5  # of the median variance: smaller ones count as this (as in limma), so that a logarithm exists
CAUTION = 0.1  # of the prior: the most, of what was simulated, with which tables without any effect keep their level
POINTS, DEPTH = 200, 46.0  # of the quadrature: points, and the logarithm of the least weight (1e-20)
MANY = 1e12  # degrees of freedom that stand for infinitely many
STEPS, ENOUGH = 200, 1e-14  # of Newton's method: at the most, and the relative step that is none


class Prior(NamedTuple):
    """How variances are spread over arms: `dof variance / chi-squared(dof)`."""

    dof: float  # infinite: all arms have one variance; 0: they have nothing in common
    variance: float


def fit_prior(variances: ArrayLike, dofs: ArrayLike, caution: float | None = CAUTION) -> Prior:
    """Smyth's (2004, section 6.2) estimate from variances (n,) with their degrees of freedom (n,), by the moments of
    their logarithms, with fewer degrees of freedom the fewer variances there are.

    Few variances seem alike by chance, and a prior that believes it errs boldly. So their spread counts as the upper
    end of its one-sided interval, by chi-squared at `caution`; None: as it is, which is Smyth's own estimate. Under two
    variances there is nothing to learn: 0 degrees of freedom.
    """
    x, d = np.asarray(variances, dtype=float), np.asarray(dofs, dtype=float)
    use = (d > 0) & np.isfinite(x)
    x, d = x[use], d[use]
    if len(x) < 2 or not np.median(x) > 0:
        return Prior(0.0, 1.0)
    logs = np.log(np.maximum(x, LEAST * np.median(x))) - special.digamma(d / 2) + np.log(d / 2)
    spread, chance, k = logs.var(ddof=1), special.polygamma(1, d / 2).mean(), len(x) - 1
    dof = 2 * trigamma_inverse(float(spread - chance)) if spread > chance else math.inf
    if math.isinf(dof):
        middle = float((d * x).sum() / d.sum())  # pooled: the maximum of the likelihood then
    else:
        middle = float(np.exp(logs.mean() + special.digamma(dof / 2) - np.log(dof / 2)))
    if caution is not None:
        spread *= k / (2 * special.gammaincinv(k / 2, caution))
        dof = 2 * trigamma_inverse(float(spread - chance)) if spread > chance else math.inf
    return Prior(dof, middle)


def trigamma_inverse(y: float) -> float:
    """x > 0 with trigamma(x) = y > 0, by Newton's method on 1 / trigamma, which is nearly straight and convex."""
    if y > 1e7:
        return 1 / math.sqrt(y)
    if y < 1e-6:
        return 1 / y
    x = 0.5 + 1 / y
    for _ in range(50):
        value = float(special.polygamma(1, x))
        change = value * (1 - value / y) / float(special.polygamma(2, x))
        x += change
        if -change / x < 1e-10:
            break
    return x


def squeeze(variance: ArrayLike, dof: ArrayLike, prior: Prior) -> tuple[np.ndarray, np.ndarray]:
    """Moderated variances and their degrees of freedom, which the prior adds its own to; arrays of one shape.

    NaN under one degree of freedom: a single run and arms that have next to nothing in common.
    """
    x, d = np.asarray(variance, dtype=float), np.maximum(np.asarray(dof, dtype=float), 0.0)
    if math.isinf(prior.dof):
        return np.full(x.shape, prior.variance), np.full(d.shape, math.inf)
    total = d + prior.dof
    with np.errstate(invalid="ignore"):
        return np.where(total >= 1, (np.where(d > 0, d * x, 0.0) + prior.dof * prior.variance) / total, np.nan), total


class Difference(NamedTuple):
    """Differences of two means (n,): `error T(dof) + other_error T(other_dof)` around the true ones."""

    mean: np.ndarray
    error: np.ndarray  # standard error of the first mean
    dof: np.ndarray
    other_error: np.ndarray
    other_dof: np.ndarray

    def p(self) -> np.ndarray:
        """Two-sided p (n,) of no difference; NaN where an error is not known."""
        return np.minimum(1.0, 2 * self.beyond(np.abs(self.mean)))

    def outside(self, margin: float) -> tuple[np.ndarray, np.ndarray]:
        """One-sided p (n,) of "at least `margin` over 0" and of "at least that under it": two one-sided tests."""
        return self.beyond(margin - self.mean), self.beyond(margin + self.mean)

    def bounds(self, level: float | np.ndarray = 0.95) -> tuple[np.ndarray, np.ndarray]:
        """The interval (n,), (n,) that inverts the test. level: one, or (n,).

        By Newton's method from 0: over it the tail is convex and falls, so no step goes too far.
        """
        tail = (1 - np.broadcast_to(level, self.mean.shape)) / 2
        mixture = self._mixture()
        half = np.where(np.isnan(np.hypot(self.error, self.other_error)), np.nan, 0.0)
        for _ in range(STEPS):
            with np.errstate(divide="ignore", invalid="ignore"):
                step = (mixture.beyond(half) - tail) / mixture.density(half)
            step = np.where((step > 0) & ~self._exact, step, 0.0)
            if not (step > ENOUGH * half).any():
                break
            half = half + step
        return self.mean - half, self.mean + half

    def beyond(self, x: np.ndarray) -> np.ndarray:
        """P(error T(dof) + other_error T(other_dof) >= x) for x (n,)."""
        exact = self._exact & ~np.isnan(x)
        return np.where(exact, np.where(x > 0, 0.0, 1.0), self._mixture().beyond(x))

    @property
    def _exact(self) -> np.ndarray:
        """Where nothing varies."""
        return (self.error == 0) & (self.other_error == 0)

    def _mixture(self) -> _Mixture:
        """The sum of the two T's as a mixture of scaled ones.

        Given how the two chi-squared variables under the T's divide their sum, which is independent of that sum, the
        whole is one T with the degrees of freedom of both, scaled (Ruben 1960). The mean over that division is taken
        along s, the logarithm of its odds less their middle: what is averaged has no singularity within pi of the real
        line and falls off exponentially, where the trapezoid rule converges geometrically.
        """
        swap = self.dof > self.other_dof  # so that `own` below has all its digits
        d, e = (np.minimum(np.where(swap, *k), MANY) for k in ((self.other_dof, self.dof), (self.dof, self.other_dof)))
        a, b = (np.where(swap, *k) for k in ((self.other_error, self.error), (self.error, self.other_error)))
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            total, own = d + e, d / (d + e)
            low, high = _reach(own, total, -1), _reach(own, total, 1)
            s = low[:, None] + (high - low)[:, None] * np.linspace(0, 1, POINTS)  # (n, m)
            weight, share = np.exp(-_depth(s, own[:, None], total[:, None])), own[:, None]
            up, down = np.exp(np.minimum(s, 700)), np.exp(np.minimum(-s, 700))
            scale = a[:, None] ** 2 * (share + (1 - share) * down) + b[:, None] ** 2 * (1 - share + share * up)
            return _Mixture(total, np.sqrt(scale), weight)


class _Mixture(NamedTuple):
    """T's with `total` (n,) degrees of freedom, times `scale` (n, m), with probabilities in proportion to `weight`."""

    total: np.ndarray
    scale: np.ndarray
    weight: np.ndarray

    def beyond(self, x: np.ndarray) -> np.ndarray:
        """P(>= x) for x (n,)."""
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            z = -x[:, None] / self.scale
            tail, many = special.stdtr(self.total[:, None], z), self.total > MANY
            tail[many] = special.ndtr(z[many])
            return (tail * self.weight).sum(1) / self.weight.sum(1)

    def density(self, x: np.ndarray) -> np.ndarray:
        """At x (n,)."""
        n = self.total[:, None]
        with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
            # the logarithm of the gamma function's quotient by beta, which keeps its digits for large n
            height = np.exp(-special.betaln(n / 2, 0.5)) / np.sqrt(n)
            square = (x[:, None] / self.scale) ** 2
            at = height * np.exp(-(n + 1) / 2 * np.log1p(square / n)) / self.scale
            return (at * self.weight).sum(1) / self.weight.sum(1)


def _depth(s: np.ndarray, own: np.ndarray, total: np.ndarray) -> np.ndarray:
    """How far the logarithm of the density of s lies under its height at 0: convex."""
    return total / 2 * (np.log1p(own * np.expm1(s)) - own * s)


def _reach(own: np.ndarray, total: np.ndarray, side: int) -> np.ndarray:
    """The s (n,) under 0 (side -1) or over it (1) at `DEPTH`, by Newton's method from where the asymptote has it."""
    s = (2 * DEPTH / total - np.log(own)) / (1 - own) if side > 0 else (np.log1p(-own) - 2 * DEPTH / total) / own
    for _ in range(30):
        slope = total / 2 * own * (1 - own) * np.expm1(s) / (1 + own * np.expm1(s))
        s = s - (_depth(s, own, total) - DEPTH) / slope
    return s


def difference(  # noqa: PLR0917
    mean: ArrayLike, variance: ArrayLike, n: ArrayLike, other_mean: float, other_variance: float, m: int,
    prior: Prior, other_prior: Prior | None = None,
) -> Difference:  # fmt: skip
    """Means (k,) of n (k,) values each, less the mean of m others, with moderated variances on both sides.

    variance: of the values (n - 1 in the denominator), NaN for a single one: then the prior's alone.
    """
    mean, n = np.asarray(mean, dtype=float), np.asarray(n, dtype=float)
    moderated, dof = squeeze(variance, n - 1, prior)
    own, own_dof = squeeze(np.full(mean.shape, other_variance), np.full(mean.shape, m - 1.0), other_prior or prior)
    with np.errstate(divide="ignore", invalid="ignore"):
        return Difference(mean - other_mean, np.sqrt(moderated / n), dof, np.sqrt(own / m), own_dof)
