""" "As good as": equivalence and non-inferiority on log scores, within a margin declared beforehand."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from scipy import special

from gan_ablate.stats.intervals import NONE, Interval, exp
from gan_ablate.stats.paired import Scores, correlation, estimate_difference


@dataclass(frozen=True)
class Equivalence:
    """Both p-values are of "outside the margin": a small one speaks for equivalence."""

    test: str  # "paired t" | "Welch" | "" where nothing can be tested
    p: float  # TOST: the larger of the two one-sided p; 1 where a run failed, NaN where nothing can be tested
    p_not_worse: float  # of the upper side alone: "not worse than the control by more than the margin"
    p_not_better: float  # of the lower side alone
    ratio: Interval  # treatment / control with the 1 - 2 alpha interval, which lies within the margin iff p < alpha
    margin: float  # ratio over 1; the region is 1 / margin to margin


def equivalence(
    treatment: Scores, control: Scores, margin: float, alpha: float = 0.05, *, pooled: float | None = None
) -> Equivalence:
    """Two one-sided t tests (Schuirmann 1987) of log scores by seed against log(1 / margin) and log(margin).

    Pairs as in `paired.compare`. `None` is a failed run: with any on either side no ratio bounds the harm, so p = 1.
    Raises `ValueError` for a margin that is not over 1 and for scores without logarithm.
    """
    if not margin > 1:
        raise ValueError(f"margin={margin}: the equivalence margin is a ratio over 1, as 1.1 for 10 %")
    if any(v is not None and not v > 0 for side in (treatment, control) for v in side.values()):
        raise ValueError("a score that is not positive has no logarithm")
    a, b = ({s: math.log(v) for s, v in side.items() if v is not None} for side in (treatment, control))
    if len(a) < len(treatment) or len(b) < len(control):
        return Equivalence("", 1.0, 1.0, 1.0, NONE, margin)
    seeds = sorted(a.keys() & b.keys())
    r = correlation(np.array([a[s] for s in seeds]), np.array([b[s] for s in seeds]))
    test, estimate, _ = estimate_difference(a, b, r, alpha, pooled)
    if not test:
        return Equivalence("", math.nan, math.nan, math.nan, NONE, margin)
    mean, error, dof = map(float, estimate)
    above, below = margin_p(mean, error, dof, math.log(margin))
    bounds = map(exp, (mean, *map(float, estimate.bounds(1 - 2 * alpha))))
    return Equivalence(test, max(above, below), above, below, Interval(*bounds), margin)


def margin_p(distance: float, error: float, dof: float, margin: float) -> tuple[float, float]:
    """One-sided t tests of a mean's `distance` from a point: p of "at least `margin` over it", and of "under it"."""
    if error == 0:
        return float(distance >= margin), float(distance <= -margin)
    above, below = special.stdtr(dof, [(distance - margin) / error, -(distance + margin) / error])
    return float(above), float(below)


def two_sided(*outside: float) -> tuple[float, int]:
    """One p for both answers, from one-sided p of "outside the margin": twice the smaller of those for and against, so
    that it goes with a 95 % interval that lies within the margin, or outside of it. And which it is: 1 within, -1 not.
    """
    within, without = max(outside), min(1 - p for p in outside)
    return min(1.0, 2 * min(within, without)), 1 if within < without else -1
