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
        return Equivalence("", 1.0, 1.0, NONE, margin)
    seeds = sorted(a.keys() & b.keys())
    r = correlation(np.array([a[s] for s in seeds]), np.array([b[s] for s in seeds]))
    test, estimate, _ = estimate_difference(a, b, r, alpha, pooled)
    if not test:
        return Equivalence("", math.nan, math.nan, NONE, margin)
    mean, error, dof, limit = float(estimate.mean), float(estimate.error), float(estimate.dof), math.log(margin)
    if error == 0:
        above, below = float(mean >= limit), float(mean <= -limit)
    else:
        above = float(special.stdtr(dof, (mean - limit) / error))  # p of "the true difference is at least the margin"
        below = float(special.stdtr(dof, -(mean + limit) / error))
    bounds = map(exp, (mean, *map(float, estimate.bounds(1 - 2 * alpha))))
    return Equivalence(test, max(above, below), above, Interval(*bounds), margin)
