"""Over several tasks (datasets or models), the best of several runs, and the time to a score. `None`: a failed run.

What is scored is the caller's: scores of different tasks must be comparable before they are pooled, as FID relative to
the base's on the same task. Lower is better.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from gan_ablate.stats.intervals import NONE, Interval
from gan_ablate.stats.ranks import scored

Tasks = Sequence[Sequence[float | None]]  # per task the scores of its runs
RESAMPLES = 2000


def interquartile_mean(x: ArrayLike) -> np.ndarray:
    """Mean of the middle half of x (..., n) along the last axis: the lowest and highest n // 4 are left out.

    Infinite (failed) runs count as the worst, so it is infinite where over a quarter failed (Agarwal et al. 2021,
    section 4.3; equal to `scipy.stats.trim_mean(x, 0.25)`).
    """
    x = np.sort(np.asarray(x, dtype=float), axis=-1)
    cut = x.shape[-1] // 4
    return x[..., cut : x.shape[-1] - cut].mean(-1)


def over_tasks(
    tasks: Tasks,
    controls: Tasks | None = None,
    statistic: Callable[[np.ndarray], np.ndarray] = interquartile_mean,
    seed: int = 0,
    resamples: int = RESAMPLES,
) -> Interval:
    """A statistic of all runs of all tasks, (..., runs) -> (...), with its stratified bootstrap interval of 95 %.

    Runs are drawn with replacement within each task (Agarwal et al. 2021, section 4.1), the percentiles expanded for
    few runs as in `intervals.bootstrap_interval`: of 5 runs a task the plain ones cover 90 %. With `controls`, the
    scores of the same tasks' control, each run is taken relative to the geometric mean of its task's control (over the
    runs that have a score), which is drawn anew too: taken as known it would leave 78 % (docs/statistics.md).
    Bounds are order statistics, not interpolated, so infinite ones stay infinite; NaN where a task has one run only.
    """
    strata = _strata(tasks)
    if not strata:
        return NONE
    known = [np.array([v for v in c if v is not None], dtype=float) for t, c in zip(tasks, controls or ()) if len(t)]
    if controls is not None and (len(known) != len(strata) or not all(map(len, known))):
        raise ValueError("every task needs a control with a score")
    point = statistic(np.concatenate([x / _geometric(c) for x, c in zip(strata, known)] if known else strata))
    sizes = [len(x) for x in (*strata, *known)]
    if min(sizes) < 2:
        return Interval(float(point), math.nan, math.nan)
    rng = np.random.default_rng(seed)
    drawn = [_drawn(x, rng, resamples) for x in strata]
    if known:
        drawn = [x / _geometric(_drawn(c, rng, resamples)) for x, c in zip(drawn, known)]
    n, dof = min(sizes), sum(sizes) - len(sizes)
    tail = float(special.ndtr(-math.sqrt(n / (n - 1)) * special.stdtrit(dof, 0.975)))
    bounds = np.quantile(statistic(np.concatenate(drawn, axis=1)), [tail, 1 - tail], method="inverted_cdf")
    return Interval(float(point), *map(float, bounds))


def performance_profile(
    tasks: Tasks, thresholds: ArrayLike, resamples: int = RESAMPLES
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of runs at or under each threshold (t,), mean over tasks, with pointwise 95 % bootstrap bounds: three (t,).

    The run-score distribution of Agarwal et al. 2021, section 4.2, for scores where lower is better. Failed runs are
    under no threshold.
    """
    tau, strata = np.asarray(thresholds, dtype=float), _strata(tasks)
    if not strata:
        return tuple(np.full(tau.shape, math.nan) for _ in range(3))  # type: ignore[return-value]
    rng = np.random.default_rng(0)
    point, drawn = np.zeros(tau.shape), np.zeros((resamples, *tau.shape))
    for x in strata:
        under = np.isfinite(x)[:, None] & (x[:, None] <= tau)  # (n, t)
        counts = rng.multinomial(len(x), np.full(len(x), 1 / len(x)), resamples)  # the bootstrap by its counts
        point += under.mean(0)
        drawn += counts @ under / len(x)
    low, high = np.quantile(drawn / len(strata), [0.025, 0.975], axis=0)
    return point / len(strata), low, high


def expected_best(scores: Sequence[float | None], budget: int) -> float:
    """Expected lowest score of `budget` runs, exact: the mean over all subsets of that size (Tang et al. 2020).

    The i-th lowest of n is the best of C(n - i, k - 1) of the C(n, k) subsets. Drawing with replacement instead, as
    Dodge et al. 2019 do, is biased towards worse. Infinite where as many runs failed as the budget has: some budgets
    then end with nothing. NaN where fewer runs than the budget were made.
    """
    n = len(scores)
    if not 1 <= budget <= n:
        return math.nan
    x = np.sort(scored(scores))
    weight = np.array([math.comb(n - i, budget - 1) / math.comb(n, budget) for i in range(1, n + 1)])
    return float(x[weight > 0] @ weight[weight > 0])


def chance_of_nothing(scores: Sequence[float | None], budget: int) -> float:
    """The chance that all of `budget` runs fail, over all subsets of that size; NaN where fewer runs were made."""
    failed = sum(v is None for v in scores)
    if not 1 <= budget <= len(scores):
        return math.nan
    return math.comb(failed, budget) / math.comb(len(scores), budget)


def _strata(tasks: Tasks) -> list[np.ndarray]:
    return [scored(list(t)) for t in tasks if len(t)]


def _drawn(x: np.ndarray, rng: np.random.Generator, resamples: int) -> np.ndarray:
    """x (n,) drawn with replacement: (resamples, n)."""
    return x[rng.integers(0, len(x), (resamples, len(x)))]


def _geometric(x: np.ndarray) -> np.ndarray:
    """Geometric mean of x (..., n), as a column that divides (..., m)."""
    return np.exp(np.log(x).mean(-1, keepdims=True))


def time_to(target: float, times: ArrayLike, scores: ArrayLike) -> float:
    """The first of `times` (n,), ascending, at which the score (n,) is at or under `target`; infinite if never.

    Evaluated points only: nothing is interpolated, so times are as coarse as the evaluations. NaN scores (a diverged
    run) are over any target.
    """
    t, under = np.asarray(times, dtype=float), np.asarray(scores, dtype=float) <= target
    if t.shape != under.shape or (np.diff(t) < 0).any():
        raise ValueError(f"times {t.shape} must ascend and match scores {under.shape}")
    return float(t[np.argmax(under)]) if under.any() else math.inf
