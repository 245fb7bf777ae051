"""Where a verdict changes with the budget: each arm of a second budget beside itself at the first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from gan_ablate.findings.summaries import IS_BASE, ArmSummary, ModelTable
from gan_ablate.findings.verdicts import NOT_TESTED
from gan_ablate.recipe import BASE
from gan_ablate.stats.two_part import FAVOURS

OPEN = ("undecided", NOT_TESTED, IS_BASE, "")  # an arm of which one budget says no more than that


class AtBoth(NamedTuple):
    """One arm at both budgets."""

    table: ModelTable  # of the second
    title: str  # the model, and the dataset where there are several
    arm: str
    first: ArmSummary
    second: ArmSummary

    @property
    def changed(self) -> bool | None:
        """Whether the verdict is another one; `None` where either budget leaves the arm open."""
        if self.first.verdict in OPEN or self.second.verdict in OPEN:
            return None
        return self.first.verdict != self.second.verdict

    @property
    def turns_round(self) -> bool:
        """Whether one budget says that the arm is better than base, and the other that it is worse."""
        return FAVOURS.get(self.first.verdict, 0) * FAVOURS.get(self.second.verdict, 0) < 0


def at_both(tables: Sequence[ModelTable]) -> list[AtBoth]:
    """The arms of every second budget, those whose verdict changed first, then those that are open."""
    firsts: dict[tuple[str, str, str], ModelTable] = {}
    for table in tables:
        if not table.budget:
            firsts.setdefault((table.model, table.dataset, table.protocol), table)
    found = []
    for table in (t for t in tables if t.budget):
        first = firsts.get((table.model, table.dataset, table.protocol))
        before = {a.arm: a for a in first.arms} if first else {}
        found += [
            AtBoth(table, first.title, a.arm, before[a.arm], a)
            for a in table.arms if first and a.arm != BASE and a.arm in before
        ]  # fmt: skip
    return sorted(found, key=lambda row: {True: 0, None: 1, False: 2}[row.changed])
