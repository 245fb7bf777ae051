"""One arm against its control, seed by seed, the building block of every verdict: is it better, is it as good."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, NamedTuple

import numpy as np
from scipy import special

from gan_ablate.stats import t_test
from gan_ablate.stats.intervals import NONE, Interval, exp
from gan_ablate.stats.ranks import least_rank_p, rank_sum_p, ranks, scored
from gan_ablate.stats.t_test import Estimate, break_even, detectable, pooled_correlation

Scores = Mapping[int, float | None]  # by seed; `None`: the run failed without a score
Scale = Literal["log", "linear"]
Better = Literal["lower", "higher"]
POOL_FROM = 3  # arms, beside the control: with fewer, deciding by their correlation rejects too often


class Comparison(NamedTuple):
    """A treatment against its control. On the log scale `ratio` under 1 says that the treatment's score is lower."""

    test: str  # "paired t" | "Welch" | "rank" | "" where nothing can be tested
    p: float  # two-sided; NaN where nothing can be tested
    ratio: Interval  # geometric mean of treatment / control, with its interval; NaN on the linear scale
    correlation: float  # of the scores as analysed over pairs of seeds
    n: int  # runs of the treatment (rank, Welch) or pairs (paired t)
    detectable: float  # smallest ratio over 1 (linear: difference) found with 80 % power at `alpha`; NaN where unknown
    favours: int  # -1: the treatment's score is lower, +1: higher, 0: no direction
    difference: Interval = NONE  # treatment - control on the scale analysed (log: of logarithms)
    least_p: float = 0.0  # the smallest p that this test could have given: over 0 for the rank test
    dof: float = math.nan  # degrees of freedom of the interval; NaN where it has no bounds


def compare(
    treatment: Scores,
    control: Scores,
    alpha: float = 0.05,
    *,
    pooled: float | None = None,
    scale: Scale = "log",
    better: Better = "lower",
) -> Comparison:
    """Compare scores by seed (positive on the log scale); `None` is a run that failed without a score.

    Paired t test where the pairs correlate enough for pairing to pay, Welch's where they do not. Give `pooled`, the
    correlation over a whole family of arms (`family_correlation`): then seeds are paired where it exceeds
    `t_test.break_even`. Without it the sign of these few pairs' own correlation decides, and the same noise that
    makes them correlate makes the paired error small: under no effect such tests reject at 7 % in place of 5
    (docs/statistics.md).

    A failed run has no score: with any, the test is the exact Mann-Whitney test on ranks, failed runs ranked worst,
    and the ratio (over the runs with scores) has no interval. Ranks are not paired, since signed ranks of 5 pairs never
    fall under p = 0.06. Ranks decide as well where a difference has no error (counts of modes that never vary): a t
    test would call two runs certain. The interval is one of 95 % and inverts the test. `alpha` is that of the test
    which `detectable` speaks of: give it corrected where p will be. Raises `ValueError` for scores that are not finite
    and, on the log scale, not positive.
    """
    plain = scale == "linear"
    if any(v is not None and not math.isfinite(v) for side in (treatment, control) for v in side.values()):
        raise ValueError("a score is not finite: a run that failed without a score is None")
    if not plain and any(v is not None and not v > 0 for side in (treatment, control) for v in side.values()):
        raise ValueError("a score that is not positive has no logarithm: compare it with scale='linear'")
    a, b = ({s: v if plain else math.log(v) for s, v in side.items() if v is not None} for side in (treatment, control))
    seeds = sorted(a.keys() & b.keys())
    r = correlation(np.array([a[s] for s in seeds]), np.array([b[s] for s in seeds]))
    failed = len(a) < len(treatment) or len(b) < len(control)
    test, estimate, n = estimate_difference(a, b, r, alpha, pooled)
    ranked = failed or (test != "" and bool(estimate.error < 1e-9 * abs(estimate.mean)))
    if ranked:
        test, p, favours, n = _ranked(treatment, control, better)
        estimate, r = _no_error(a, b), math.nan
    else:
        p, favours = (float(estimate.p()) if test else math.nan), int(np.nan_to_num(np.sign(estimate.mean)))
    difference = Interval(float(estimate.mean), *map(float, estimate.bounds()))
    smallest = detectable(float(estimate.error), float(estimate.dof), alpha) if test else math.nan
    return Comparison(
        test=test,
        p=p,
        ratio=NONE if plain else Interval(*map(exp, difference)),
        correlation=r,
        n=n,
        detectable=smallest if plain else exp(smallest),
        favours=favours,
        difference=difference,
        least_p=least_rank_p(len(treatment), len(control)) if ranked else 0.0,
        dof=float(estimate.dof),
    )


def family_correlation(sides: list[Scores], scale: Scale = "log") -> float:
    """`t_test.pooled_correlation` of scores by seed; 0 where there is none to measure, so that nothing is paired."""
    seeds = sorted({s for side in sides for s in side})
    table = np.array([[math.nan if (v := side.get(s)) is None else v for s in seeds] for side in sides], dtype=float)
    if table.size == 0:
        return 0.0
    return float(np.nan_to_num(pooled_correlation(table if scale == "linear" else np.log(table))))


def correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's r of two arrays (n,); NaN under 3 pairs or where one is constant."""
    if len(a) < 3 or a.std() == 0 or b.std() == 0:
        return math.nan
    return float(np.corrcoef(a, b)[0, 1])


def estimate_difference(
    a: Mapping[int, float], b: Mapping[int, float], r: float, alpha: float, pooled: float | None
) -> tuple[str, Estimate, int]:
    """(test, estimate, n) of complete scores by seed; the test is "" where none can be made."""
    seeds = sorted(a.keys() & b.keys())
    pairs = r > 0 if pooled is None else pooled > max(0.0, break_even(len(seeds), alpha, (len(a), len(b))))
    if len(seeds) >= 2 and pairs:
        return "paired t", t_test.paired([a[s] for s in seeds], [b[s] for s in seeds]), len(seeds)
    if len(a) >= 2 and len(b) >= 2:
        return "Welch", t_test.welch(list(a.values()), list(b.values())), len(a)
    return "", _no_error(a, b), len(a)


def margin_p(distance: float, error: float, dof: float, margin: float) -> tuple[float, float]:
    """One-sided t tests of a mean's `distance` from a point: p of "at least `margin` over it", and of "under it"."""
    above, below = special.stdtr(dof, [(distance - margin) / error, -(distance + margin) / error])
    return float(above), float(below)


def two_sided(*outside: float) -> tuple[float, int]:
    """One p for both answers, from one-sided p of "outside the margin": twice the smaller of those for and against, so
    that it goes with a 95 % interval that lies within the margin, or outside of it. And which it is: 1 within, -1 not.
    """
    within, without = max(outside), min(1 - p for p in outside)
    return min(1.0, 2 * min(within, without)), 1 if within < without else -1


def _ranked(treatment: Scores, control: Scores, better: Better) -> tuple[str, float, int, int]:
    """(test, p, favours, n) of the rank test."""
    worst = math.inf if better == "lower" else -math.inf
    a, b = (scored(list(side.values()), worst) for side in (treatment, control))
    if len(a) < 2 or len(b) < 2:
        return "", math.nan, 0, len(a)
    ranked = ranks(np.concatenate([a, b]))
    excess = ranked[: len(a)].sum() - len(a) * (len(ranked) + 1) / 2  # over its mean under no effect
    return "rank", rank_sum_p(ranked, len(a)), int(np.sign(np.round(excess, 6))), len(a)


def _no_error(a: Mapping[int, float], b: Mapping[int, float]) -> Estimate:
    """The difference of the means of what scores there are; NaN where a side has none."""
    mean = np.mean(list(a.values())) - np.mean(list(b.values())) if a and b else np.float64(math.nan)
    return Estimate(np.asarray(mean), np.asarray(math.nan), np.asarray(math.nan))
