"""What all sections of one root are built from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from gan_ablate.findings.summaries import ArmSummary, ModelTable
from gan_ablate.findings.tables import tables
from gan_ablate.recipe import BASE
from gan_ablate.report.figures import curves, samples
from gan_ablate.report.figures.svg import Drawing
from gan_ablate.report.section import Name, Scope
from gan_ablate.results.frames import Results
from gan_ablate.stats.two_part import FAVOURS


class ArmRow(NamedTuple):
    """A row of the tables of arms."""

    arm: ArmSummary
    table: ModelTable
    study: str  # its label


@dataclass(frozen=True, eq=False)
class Model:
    """One model on one dataset under one protocol."""

    loaded: Results
    table: ModelTable
    scope: Scope
    study: str

    @property
    def rows(self) -> list[ArmRow]:
        return [ArmRow(a, self.table, self.study) for a in self.table.arms]

    @cached_property
    def anchors(self) -> dict[str, Name]:
        """Where each arm has its own page, by arm."""
        return {a.arm: self.scope.name(f"{{}}-arm-{k}") for k, a in enumerate(self.table.arms)}

    @cached_property
    def panels(self) -> dict[str, Drawing]:
        """FID against steps, by arm."""
        own = {run_id for rows in self.table.groups.values() for run_id in rows["run_id"]}
        points = self.loaded.curves[self.loaded.curves["run_id"].isin(own)]
        return curves.panels(curves.gather(points), list(self.anchors), self.table.label)


@dataclass(frozen=True, eq=False)
class ReportedStudy:
    """One root's part of a report."""

    loaded: Results
    label: str  # its name; a second root of one name is told apart
    scope: Scope
    place: int  # among the report's roots
    models: tuple[Model, ...]

    @property
    def tables(self) -> list[ModelTable]:
        return [m.table for m in self.models]

    @property
    def by_effects(self) -> bool:
        """Whether its design tells of factors, not of single arms."""
        return any(t.by_effects for t in self.tables)

    @property
    def by_points(self) -> bool:
        """Whether its design is of random points, none of them base."""
        return self.loaded.design.get("name") == "random"

    @property
    def rows(self) -> Iterator[ArmRow]:
        return (row for m in self.models for row in m.rows)

    @cached_property
    def grids(self) -> dict[Name, list[samples.Grid]]:
        """Samples by the arm's anchor. Where not all fit, base comes first, then arms that differ from it, then the
        others, each from the clearest result on: a rule that no one's taste enters."""
        queue = []
        for place, m in enumerate(self.models):
            for k, a in enumerate(m.table.arms):
                rank = 0 if a.arm == BASE else 1 if a.verdict in FAVOURS else 2
                q = 1.0 if math.isnan(a.q) else a.q
                queue.append(((rank, q, k, place), m.anchors[a.arm], m.table.groups[a.arm]))
        queue.sort(key=lambda entry: entry[0])
        found = samples.grids(self.loaded, [rows for *_, rows in queue])
        return {anchor: grids for (_, anchor, _), grids in zip(queue, found, strict=True)}

    @property
    def left(self) -> int:
        """Cells without a result."""
        return int((self.loaded.runs["outcome"] == "missing").sum())


def study(loaded: Results, label: str, place: int, partial: bool) -> ReportedStudy:
    """A root's findings. partial: without the arms that have not begun; they were counted, and need no line."""
    scope, models = Scope(loaded.name), []
    for table in tables(loaded):
        kept = replace(table, arms=tuple(a for a in table.arms if a.runs)) if partial else table
        models.append(Model(loaded, kept, Scope(table.title, scope), label))
    return ReportedStudy(loaded, label, scope, place, tuple(models))
