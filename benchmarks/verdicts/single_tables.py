"""Their tables, and the spread of a report's own runs."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from benchmarks.verdicts.single_rates import (
    aggregate_coverage,
    auc_coverage,
    coverage,
    family_wise,
    found,
    ratio_power,
    spread_coverage,
)
from benchmarks.verdicts.single_tests import ALPHA, ARMS, MEDIAN_SD, Noise
from gan_ablate.stats import t_test
from gan_ablate.stats.paired import POOL_FROM

KINDS = (("paired", 20), ("Welch", 20), ("mean", 5), ("percentile", 1))  # each with its multiple of --studies


CHANGES = {"10 % lower": 0.90, "25 % lower": 0.75}


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
