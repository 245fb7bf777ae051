"""Over models and datasets: every run's FID relative to base's on the same task, and what few runs can buy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gan_ablate.findings.rows import scores
from gan_ablate.findings.summaries import ModelTable
from gan_ablate.recipe import BASE
from gan_ablate.stats.aggregate import chance_of_nothing, expected_best, over_tasks, performance_profile
from gan_ablate.stats.intervals import Interval

BUDGETS = (1, 2, 3, 5, 10, 20)
SHOWN = 5  # arms beside base in a figure of lines
RELATIVE = np.exp(np.linspace(math.log(0.25), math.log(4), 61))  # thresholds of the profiles, in base's FID


class OverTasks(NamedTuple):
    """One arm over the tasks that it was run on."""

    arm: str
    tasks: tuple[str, ...]
    runs: int
    failed: int  # runs without a FID
    scores: tuple[tuple[float | None, ...], ...]  # per task, relative to base's geometric mean there
    iqm: Interval  # interquartile mean of them, stratified bootstrap interval


class Budget(NamedTuple):
    """Expected best FID of one arm when k of its runs can be paid for."""

    arm: str
    best: dict[int, float]  # k -> expected lowest FID, relative to base's geometric mean; infinite where all may fail
    nothing: dict[int, float]  # k -> chance that all k fail


def over(tables: Sequence[ModelTable]) -> tuple[OverTasks, ...]:
    """Arms run on every task that has a base, best interquartile mean first; base is among them."""
    told = {t.title + t.protocol: (t.title, found) for t in tables if (found := _relative(t))}
    if not told:
        return ()
    titles, relative = zip(*told.values())
    rows = []
    for arm in (a for a in relative[0] if all(a in found for found in relative)):
        own = tuple(tuple(found[arm]) for found in relative)
        iqm = over_tasks(own, tuple(tuple(found[BASE]) for found in relative))
        rows.append(OverTasks(arm, titles, sum(map(len, own)), sum(v is None for s in own for v in s), own, iqm))
    return tuple(sorted(rows, key=lambda r: r.iqm.point if not math.isnan(r.iqm.point) else math.inf))


def measured(tables: Sequence[ModelTable]) -> str:
    """What stands on the axis of figures over all tables, with N and extractor."""
    labels = list(dict.fromkeys(t.label for t in tables if t.protocol)) or ["FID"]
    return " or ".join(labels) if len(labels) < 3 else f"FID, measured in {len(labels)} ways,"


def _relative(table: ModelTable) -> dict[str, list[float | None]]:
    """Scores by arm over base's geometric mean; empty where base has none. Arms without a run are left out."""
    base = table.base
    if base is None or math.isnan(base.fid.point):
        return {}
    by_arm = {arm: list(scores(rows).values()) for arm, rows in table.groups.items()}
    return {arm: [None if v is None else v / base.fid.point for v in own] for arm, own in by_arm.items() if own}


def chosen(rows: Sequence[OverTasks]) -> list[OverTasks]:
    """The arms that a figure shows: base, and those of the best interquartile mean."""
    base = [r for r in rows if r.arm == BASE]
    return [*base, *[r for r in rows if r.arm != BASE][:SHOWN]]


def profile(row: OverTasks) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of runs at or under each of `RELATIVE`, and its bounds."""
    return performance_profile(row.scores, RELATIVE, resamples=1000)


def budgets(table: ModelTable) -> tuple[Budget, ...]:
    """Arms by the expected best of the largest budget that base can pay, best first; empty without a base."""
    found = []
    for arm, own in _relative(table).items():
        ks = [k for k in BUDGETS if k <= len(own)]
        found.append(Budget(arm, {k: expected_best(own, k) for k in ks}, {k: chance_of_nothing(own, k) for k in ks}))
    most = max((k for b in found if b.arm == BASE for k in b.best), default=1)
    return tuple(sorted(found, key=lambda b: b.best.get(most, math.inf)))
