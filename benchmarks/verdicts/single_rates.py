"""What those tests and their intervals are worth: errors, power and coverage."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator

import numpy as np
from scipy import special

from benchmarks.verdicts.single_tests import Noise, p_values, rejections
from gan_ablate.stats import t_test
from gan_ablate.stats.aggregate import over_tasks
from gan_ablate.stats.failures import auc
from gan_ablate.stats.intervals import bootstrap_interval, spread_ratio

BATCH = 1000  # studies at a time: bounds the memory


def batches(studies: int) -> Iterator[int]:
    for first in range(0, studies, BATCH):
        yield min(BATCH, studies - first)


def family_wise(  # noqa: PLR0917
    rng: np.random.Generator, noise: Noise, seeds: int, studies: int, rule: str, arms: int
) -> float:
    """Share of studies without any effect in which some verdict is given."""
    wrong = sum(rejections(p_values(noise.draw(rng, k, arms, seeds), rule)).any(1).sum() for k in batches(studies))
    return float(wrong / studies)


def found(  # noqa: PLR0917
    rng: np.random.Generator, noise: Noise, seeds: int, studies: int, ratio: float, arms: int
) -> float:
    """Share of studies in which the one arm with an effect is found among `arms`."""
    hits = 0
    for k in batches(studies):
        scores = noise.draw(rng, k, arms, seeds)
        scores[:, 1] += math.log(ratio)
        hits += int(rejections(p_values(scores, "pooled"))[:, 0].sum())
    return hits / studies


def coverage(rng: np.random.Generator, noise: Noise, seeds: int, studies: int, kind: str) -> float:
    """Share of intervals that hold the true difference of 0 ("paired", "Welch"), or an arm's mean ("mean": ours;
    "percentile": the plain percentile bootstrap)."""
    hits = 0
    for k in batches(studies):
        scores = noise.draw(rng, k, 1, seeds)
        if kind in {"mean", "percentile"}:
            bounds = [one_arm(row, seeds) if kind == "mean" else percentile(row, rng) for row in scores[:, 0]]
            low, high = (np.array(side) for side in zip(*bounds))
        else:
            test: Callable = t_test.paired if kind == "paired" else t_test.welch
            low, high = test(scores[:, 1], scores[:, 0]).bounds()
        hits += int(((low <= 0) & (high >= 0)).sum())
    return hits / studies


def one_arm(row: np.ndarray, seeds: int) -> tuple[float, float]:
    """Bounds of an arm's mean, as `mean_interval` gives them, with fewer resamples."""
    if seeds < 10:
        half = t_test.paired(row, np.zeros(seeds))
        low, high = half.bounds()
        return float(low), float(high)
    return bootstrap_interval(row, resamples=1999)[1:]


def percentile(row: np.ndarray, rng: np.random.Generator) -> tuple[float, float]:
    """Bounds of the mean by the plain percentile bootstrap."""
    means = row[rng.integers(0, len(row), (1999, len(row)))].mean(axis=1)
    low, high = np.quantile(means, [0.025, 0.975])
    return float(low), float(high)


def aggregate_coverage(rng: np.random.Generator, tasks: int, seeds: int, studies: int) -> float:
    """Share of intervals of an arm's interquartile mean relative to a control equal to it that hold 1."""
    hits = 0
    for study in range(studies):
        arm, control = np.exp(Noise(0.0).draw(rng, tasks, 1, seeds)).swapaxes(0, 1).tolist()
        interval = over_tasks(arm, control, seed=study, resamples=1000)
        hits += interval.low <= 1 <= interval.high
    return hits / studies


def spread_coverage(rng: np.random.Generator, runs: int, ratio: float, tails: str, studies: int) -> float:
    """Share of intervals of `spread_ratio` that hold the true ratio of sds of log scores."""
    draw = {
        "normal": rng.standard_normal,
        "t5": lambda n: rng.standard_t(5, n),
        "gamma(4)": lambda n: rng.gamma(4, size=n),
    }[tails]
    hits = 0
    for _ in range(studies):
        interval = spread_ratio(list(np.exp(ratio * draw(runs))), list(np.exp(draw(runs)))).ratio
        hits += interval.low <= ratio <= interval.high
    return hits / studies


def auc_coverage(rng: np.random.Generator, bad: int, good: int, shift: float, studies: int) -> float:
    """Share of intervals of `auc` that hold the true area, for two normal distributions `shift` apart."""
    area, failed, hits = float(special.ndtr(shift / math.sqrt(2))), [True] * bad + [False] * good, 0
    for _ in range(studies):
        interval = auc([*rng.normal(shift, 1, bad), *rng.normal(0, 1, good)], failed).value
        hits += interval.low <= area <= interval.high
    return hits / studies


def _error(n: int, sd: float, correlation: float | None) -> tuple[float, float]:
    """Standard error of the difference of two arms of n seeds and its degrees of freedom."""
    if n < 2 or not sd > 0:
        raise ValueError(f"n={n}, sd={sd}: power needs at least 2 seeds and a positive sd of log scores")
    if correlation is None:
        return sd * math.sqrt(2 / n), 2 * n - 2
    if not -1 <= correlation < 1:
        raise ValueError(f"correlation={correlation}: the pair correlation lies in [-1, 1)")
    return sd * math.sqrt(2 * (1 - correlation) / n), n - 1


def ratio_power(  # noqa: PLR0917
    ratio: float,
    n: int,
    sd: float,
    alpha: float = 0.05,
    comparisons: int = 1,
    correlation: float | None = None,
) -> float:
    """The chance that n seeds a side show a true `ratio` of scores.

    `sd` is that of log scores over seeds within an arm, `correlation` that of pairs (None: unpaired), and `comparisons`
    the size of the family: alpha is divided by it, which is Holm's first step, so the answer errs on the low side.
    """
    error, dof = _error(n, sd, correlation)
    return t_test.t_power(abs(math.log(ratio)) / error, dof, alpha / comparisons)
