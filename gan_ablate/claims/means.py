"""A mean of a few values against a number: is it higher, is it near. Values all alike allow no test."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from scipy import special

from gan_ablate.claims.contrasting import Finding
from gan_ablate.stats.intervals import Interval
from gan_ablate.stats.t_test import detectable

MIN_ARMS = 4  # fewer means are no sample, however alike: as few as the test of a sign asks for
ALIKE = "all arms have the same value: no spread to test by"


def near(x: Sequence[float], centre: float, margin: float) -> Finding:
    """Whether a mean lies within `margin` of `centre`: two one-sided t tests, p doubled as in `contrasting`."""
    mean, error, dof, interval = _mean(x)
    if error == 0:
        return Finding(effect=interval, scale="value", note=ALIKE)
    above = float(special.stdtr(dof, (mean - centre - margin) / error))  # p of "over the margin"
    below = float(special.stdtr(dof, -(mean - centre + margin) / error))
    for_, against = max(above, below), min(1 - above, 1 - below)
    reach = max(abs(interval.low - centre), abs(interval.high - centre))
    return Finding(
        p=min(1.0, 2 * min(for_, against)),
        supports=1 if for_ < against else -1,
        effect=interval,
        scale="value",
        smallest_missed=reach,
        bound=True,
        favours=int(np.sign(mean - centre)),
    )


def mean_over(x: Sequence[float], null: float, alpha: float) -> Finding:
    """The t test of a mean against `null`; it supports where the mean is higher. p is two-sided all the same."""
    mean, error, dof, interval = _mean(x)
    if error == 0:
        return Finding(effect=interval, scale="value", note=ALIKE)
    side = int(np.sign(mean - null))
    p = float(2 * special.stdtr(dof, -abs(mean - null) / error))
    return Finding(p, side, interval, "value", detectable(error, dof, alpha), favours=side)


def _mean(x: Sequence[float]) -> tuple[float, float, int, Interval]:
    values = np.asarray(x, dtype=float)
    mean, error, dof = float(values.mean()), float(values.std(ddof=1)) / math.sqrt(len(values)), len(values) - 1
    if np.ptp(values) <= 1e-9 * np.abs(values).max():
        error = 0.0  # rounding, not spread
    half = float(special.stdtrit(dof, 0.975)) * error
    return mean, error, dof, Interval(mean, mean - half, mean + half)
