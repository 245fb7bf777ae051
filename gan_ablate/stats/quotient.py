"""How many times one ratio another one is, from their intervals alone."""

from __future__ import annotations

import math
from collections.abc import Sequence

from scipy import special

from gan_ablate.stats.intervals import NONE, Interval


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
        return Interval(_exp(d), math.nan, math.nan), math.nan
    many = [k if k >= 1 else math.inf for k in dofs]
    down, dof_down = _together([x[0] - x[1], y[2] - y[0]], many)
    up, dof_up = _together([x[2] - x[0], y[0] - y[1]], many)
    bounds = [_exp(d - _t(dof_down) * down), _exp(d + _t(dof_up) * up)]
    error, dof = (down, dof_down) if d > 0 else (up, dof_up)  # of the side that faces 1
    p = 2 * float(special.stdtr(dof, -abs(d) / error)) if error > 0 else float(d == 0)
    return Interval(_exp(d), *bounds), p if all(k >= 1 for k in dofs) else math.nan


def _together(halves: Sequence[float], dofs: Sequence[float]) -> tuple[float, float]:
    """Standard error and degrees of freedom (Satterthwaite) of a difference, from the half-widths of its two sides."""
    squares = [(half / _t(dof)) ** 2 for half, dof in zip(halves, dofs, strict=True)]
    spread = sum(square**2 / dof for square, dof in zip(squares, dofs, strict=True))
    return math.sqrt(sum(squares)), sum(squares) ** 2 / spread if spread > 0 else math.inf


def _t(dof: float) -> float:
    return float(special.stdtrit(dof, 0.975))


def _exp(x: float) -> float:
    return math.exp(min(x, 709))  # no figure of ours is larger; one of a stranger's table may be
