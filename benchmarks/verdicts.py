"""What the verdicts are worth, by simulation: the tables of docs/statistics.md.

    OMP_NUM_THREADS=1 python benchmarks/verdicts.py [--studies 2000] [--seed 0] [--tables RUNS.csv]

A simulated study has one control and 40 arms. Log scores are normal or Student-t(4) noise about a mean; their sd over
seeds is 0.12 in the median arm and varies between arms with sd 0.5 of its logarithm; the share of the variance that a
seed gives to all arms is `shared`. `--tables` prints those three figures of a report's `tables/runs.csv`, per model,
over the arms in which every run went well.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import special

from gan_ablate.stats import t_test
from gan_ablate.stats.aggregate import over_tasks
from gan_ablate.stats.corrections import holm
from gan_ablate.stats.failures import auc
from gan_ablate.stats.intervals import bootstrap_interval, spread_ratio
from gan_ablate.stats.paired import POOL_FROM, compare, compare_family

MEDIAN_SD, SPREAD_OF_SD = 0.12, 0.5  # of log FID over seeds: an earlier study of 12 tricks, see `observed`
ARMS, ALPHA = 40, 0.05
BATCH = 1000  # studies at a time: bounds the memory
KINDS = (("paired", 20), ("Welch", 20), ("mean", 5), ("percentile", 1))  # each with its multiple of --studies
CHANGES = {"10 % lower": 0.90, "25 % lower": 0.75}


class Noise(NamedTuple):
    """How log scores vary. `shared`: share of the variance that all arms of a seed have in common."""

    shared: float = 0.1
    tails: str = "normal"  # or "t4"
    spread: float = SPREAD_OF_SD

    def draw(self, rng: np.random.Generator, studies: int, arms: int, seeds: int) -> np.ndarray:
        """Log scores about 0 (studies, 1 + arms, seeds); the control comes first."""
        size = (studies, 1 + arms, seeds)
        own = rng.normal(size=size) if self.tails == "normal" else rng.standard_t(4, size) / math.sqrt(2)
        sd = MEDIAN_SD * np.exp(self.spread * rng.normal(size=(studies, 1 + arms, 1)))
        common = rng.normal(size=(studies, 1, seeds))
        return sd * (math.sqrt(self.shared) * common + math.sqrt(1 - self.shared) * own)


def p_values(scores: np.ndarray, rule: str) -> np.ndarray:
    """p of each arm against the control (studies, arms) from log scores (studies, 1 + arms, seeds).

    `rule` says which test: "pooled" is that of `compare_family`, "own sign" that of `compare` alone.
    """
    control, arms = scores[:, :1], scores[:, 1:]
    pairs, unpaired = t_test.paired(arms, control).p(), t_test.welch(arms, control).p()
    if rule == "own sign":
        a, b = (x - x.mean(-1, keepdims=True) for x in (arms, control))
        return np.where((a * b).sum(-1) > 0, pairs, unpaired)
    if rule == "paired":
        return pairs
    if rule == "Welch":
        return unpaired
    threshold = t_test.break_even(scores.shape[-1], ALPHA / arms.shape[1])
    pay = (t_test.pooled_correlation(scores) > max(0.0, threshold)) & (arms.shape[1] >= POOL_FROM)
    return np.where(pay[:, None], pairs, unpaired)


def rejections(p: np.ndarray) -> np.ndarray:
    """Whether Holm's correction rejects, by study and arm."""
    return np.array([holm(row) for row in p]) < ALPHA


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


def agrees(rng: np.random.Generator) -> bool:
    """Whether the vectorised p-values are those of `compare_family` and `compare`, on 20 studies."""
    for _ in range(20):
        scores = Noise(shared=float(rng.uniform(0, 0.95))).draw(rng, 1, 6, 5)
        sides = [dict(enumerate(np.exp(row))) for row in scores[0]]
        family = compare_family({str(i): s for i, s in enumerate(sides[1:])}, sides[0])
        alone = [compare(s, sides[0]).p for s in sides[1:]]
        if not np.allclose(p_values(scores, "pooled")[0], [c.p for c in family.comparisons.values()]):
            return False
        if not np.allclose(p_values(scores, "own sign")[0], alone):
            return False
    return True


def observed(path: str) -> None:
    """Spread of log FID over seeds of a report's runs.csv."""
    runs = pd.read_csv(path)
    for model, part in runs.groupby("model"):
        table = np.log(part.pivot(index="arm", columns="seed", values="fid"))
        good = part.groupby("arm")["outcome"].apply(lambda o: (o == "ok").all())
        table = table[good].dropna()
        if len(table) < 2:
            print(f"{model}: {len(table)} arms went well in every run")
            continue
        sd = table.std(axis=1, ddof=1)
        r = float(t_test.pooled_correlation(table.to_numpy()))
        print(
            f"{model}: {len(table)} arms x {table.shape[1]} seeds, sd median {sd.median():.3f} ({sd.min():.3f} to "
            f"{sd.max():.3f}), sd of its logarithm {np.log(sd).std(ddof=1):.2f}, pooled pair correlation {r:.2f}"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--studies", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tables", help="tables/runs.csv of a report: print the spread of its log FID")
    args = parser.parse_args()
    rng, n, began = np.random.default_rng(args.seed), args.studies, time.process_time()
    if args.tables:
        observed(args.tables)
        print()
    print(f"The vectorised tests are those of compare_family and compare: {agrees(rng)}\n")

    print_errors(rng, n)
    print_coverage(rng, n)
    print_power(rng, n)
    print(f"\n{time.process_time() - began:.0f} s of CPU")


def print_errors(rng: np.random.Generator, n: int) -> None:
    """Wrong verdicts where there is no effect: in a family of arms, and of one test alone."""
    print(
        f"Family-wise error at {ALPHA}, {ARMS} arms, Holm, {n} studies (standard error at most "
        f"{math.sqrt(ALPHA * (1 - ALPHA) / n):.3f})"
    )
    print("| noise | seeds | pooled (ours) | own sign | paired | Welch |\n| --- | --- | --- | --- | --- | --- |")
    for noise in (Noise(0.0), Noise(0.1), Noise(0.5), Noise(0.8), Noise(0.1, "t4"), Noise(0.1, "normal", 0.0)):
        for seeds in (3, 5, 10):
            cells = (
                family_wise(rng, noise, seeds, n, rule, ARMS) for rule in ("pooled", "own sign", "paired", "Welch")
            )
            print(f"| {describe(noise)} | {seeds} | {' | '.join(f'{c:.3f}' for c in cells)} |", flush=True)

    print(f"\nOne test alone at {ALPHA}, 5 seeds, {10 * n} studies")
    print("| noise | own sign | paired | Welch |\n| --- | --- | --- | --- |")
    for noise in (Noise(0.0), Noise(0.1), Noise(0.5), Noise(0.1, "t4")):
        cells = (family_wise(rng, noise, 5, 10 * n, rule, 1) for rule in ("own sign", "paired", "Welch"))
        print(f"| {describe(noise)} | {' | '.join(f'{c:.3f}' for c in cells)} |", flush=True)


def print_coverage(rng: np.random.Generator, n: int) -> None:
    """How often each kind of interval holds the truth."""
    print("\nCoverage of 95 % intervals")
    print(
        "| noise | seeds | paired | Welch | one arm's mean | plain percentile |\n| --- | --- | --- | --- | --- | --- |"
    )
    for noise in (Noise(0.0), Noise(0.0, "t4"), Noise(0.0, "normal", 0.0)):
        for seeds in (3, 5, 10, 20):
            cells = (coverage(rng, noise, seeds, k * n, kind) for kind, k in KINDS)
            print(f"| {describe(noise)} | {seeds} | {' | '.join(f'{c:.3f}' for c in cells)} |", flush=True)

    print(f"\nCoverage of 95 % intervals of the interquartile mean relative to a control, {n} studies")
    print("| tasks | 3 seeds | 5 seeds | 10 seeds |\n| --- | --- | --- | --- |")
    for tasks in (1, 3):
        cells = (aggregate_coverage(rng, tasks, seeds, n) for seeds in (3, 5, 10))
        print(f"| {tasks} | {' | '.join(f'{c:.3f}' for c in cells)} |", flush=True)

    print(f"\nCoverage of 95 % intervals of the ratio of spreads, {n} studies")
    print("| runs a side | true ratio | normal | t5 | gamma(4) |\n| --- | --- | --- | --- | --- |")
    for runs in (6, 10, 20, 40):
        for ratio in (1.0, 3.0):
            cells = (spread_coverage(rng, runs, ratio, tails, n) for tails in ("normal", "t5", "gamma(4)"))
            print(f"| {runs} | {ratio:g} | {' | '.join(f'{c:.3f}' for c in cells)} |", flush=True)

    print(f"\nCoverage of 95 % intervals of the area under the ROC curve, {n // 2} studies")
    print("| failed, good | area 0.5 | area 0.76 | area 0.92 | area 0.98 |\n| --- | --- | --- | --- | --- |")
    for bad, good in ((3, 12), (5, 5), (10, 30), (30, 30)):
        cells = (auc_coverage(rng, bad, good, shift, n // 2) for shift in (0, 1, 2, 3))
        print(f"| {bad}, {good} | {' | '.join(f'{c:.3f}' for c in cells)} |", flush=True)


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


def print_power(rng: np.random.Generator, n: int) -> None:
    """How often the one arm with an effect gets its verdict."""
    print("\nPower: chance that the one arm with an effect gets its verdict; in brackets by formula at equal sd 0.12")
    heads = " | ".join(f"{seeds} seeds" for seeds in (3, 5, 10))
    print(f"| change | arms | shared | {heads} |\n| --- | --- | --- | --- | --- | --- |")
    for change, ratio in CHANGES.items():
        for arms in (1, 10, ARMS):
            for shared in (0.1, 0.5):
                cells = []
                for seeds in (3, 5, 10):
                    share = found(rng, Noise(shared), seeds, n, ratio, arms)
                    pairs = shared if arms >= POOL_FROM and shared > t_test.break_even(seeds, ALPHA / arms) else None
                    formula = ratio_power(ratio, seeds, MEDIAN_SD, ALPHA, arms, pairs)
                    cells.append(f"{share:.2f} ({formula:.2f})")
                print(f"| {change} | {arms} | {shared} | {' | '.join(cells)} |", flush=True)


def describe(noise: Noise) -> str:
    return f"{noise.tails}, {'equal sd' if noise.spread == 0 else 'sd varies'}, shared {noise.shared:g}"


if __name__ == "__main__":
    main()
