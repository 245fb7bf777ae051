"""Everything that a report says of one root, worked out once for all formats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gan_ablate.findings import effects as designs
from gan_ablate.findings import signs, tasks
from gan_ablate.findings.summaries import ALPHA, BASE, ModelTable
from gan_ablate.findings.tables import tables
from gan_ablate.report import curves, forest, heatmap, lines, samples
from gan_ablate.report.arms import ArmPage, Pages
from gan_ablate.report.names import Names
from gan_ablate.report.svg import Figure
from gan_ablate.results.frames import Results


@dataclass(frozen=True)
class Section:
    """One model on one dataset under one protocol."""

    table: ModelTable
    name: str  # for file names and anchors
    forest: tuple[Figure, ...]  # blocks of one plot
    panels: dict[str, Figure]  # by arm: FID against steps
    effects: designs.Effects | None
    effects_figure: tuple[Figure, ...]
    budgets: tuple[tasks.Budget, ...]
    budget_figure: Figure | None
    signs: list[signs.SignRow]
    pages: tuple[ArmPage, ...]


@dataclass(frozen=True)
class Study:
    """One root's part of a report."""

    loaded: Results
    label: str  # its name; a second root of one name is told apart
    sections: tuple[Section, ...]
    heatmap: tuple[Figure, ...]
    over: tuple[tasks.OverTasks, ...]
    profiles: Figure | None

    @property
    def tables(self) -> list[ModelTable]:
        return [s.table for s in self.sections]

    @property
    def left(self) -> int:
        """Cells without a result."""
        return int((self.loaded.runs["outcome"] == "missing").sum())


def build(loaded: Results, label: str, prefix: str, taken: Names) -> Study:
    """All findings and figures of one root. `prefix` and `taken` keep anchors apart where a report has several."""
    every = tables(loaded)
    names = [taken.section(prefix, t.title, len(t.arms)) for t in every]
    pictures = _pictures(loaded, every, names)
    pages = Pages(loaded)
    over = tasks.over(every)
    sections = []
    for table, name in zip(every, names):
        effects, budgets = designs.effects(loaded, table), tasks.budgets(table)
        sections.append(
            Section(
                table=table,
                name=name,
                forest=forest.forest(table),
                panels=_panels(loaded, table),
                effects=effects,
                effects_figure=forest.effects(effects.found, table.title, ALPHA, table.label) if effects else (),
                budgets=budgets,
                budget_figure=lines.expected_best(budgets, table.title, table.label),
                signs=signs.announced(table),
                pages=tuple(
                    pages.page(table, a.arm, f"{prefix}{name}-arm-{k}", pictures.get((name, a.arm), ()))
                    for k, a in enumerate(table.arms)
                ),
            )
        )
    profiles = lines.profiles(over, tasks.measured(every))
    return Study(loaded, label, tuple(sections), heatmap.heatmap(every, prefix + "map"), over, profiles)


def _pictures(
    loaded: Results, every: Sequence[ModelTable], names: Sequence[str]
) -> dict[tuple[str, str], list[samples.Grid]]:
    """Grids by (section, arm). Where not all fit, base comes first, then arms with a verdict, then the others, each
    from the clearest result on: a rule that no one's taste enters."""
    queue: list[tuple[tuple[float, ...], str, str, Any]] = []
    for place, (table, name) in enumerate(zip(every, names)):
        for k, a in enumerate(table.arms):
            rank = 0 if a.arm == BASE else 1 if a.verdict in ("helps", "hurts") else 2
            p = 1.0 if math.isnan(a.p_holm) else a.p_holm
            queue.append(((rank, p, k, place), name, a.arm, table.groups[a.arm]))
    queue.sort(key=lambda entry: entry[0])
    found = samples.grids(loaded, [rows for *_, rows in queue])
    return {(name, arm): grids for (_, name, arm, _), grids in zip(queue, found)}


def _panels(loaded: Results, table: ModelTable) -> dict[str, Figure]:
    own = {run_id for rows in table.groups.values() for run_id in rows["run_id"]}
    points = loaded.curves[loaded.curves["run_id"].isin(own)]
    return curves.panels(curves.gather(points), [a.arm for a in table.arms], table.label)
