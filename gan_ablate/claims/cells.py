"""The tests that a claim asks of the tables of some roots: one cell per contrast, model and pair of arms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gan_ablate.claims.claim import Claim, Contrast
from gan_ablate.claims.matching import match
from gan_ablate.claims.measures import MEASURES
from gan_ablate.recipe import MODEL_OF
from gan_ablate.results.tables import MISSING, Table

TOYS = ("ring", "grid")  # where D's answer at the optimum is known


@dataclass(frozen=True)
class Cell:
    """One contrast on one table: the two sides by model and arm. Equal cells are one test."""

    contrast: Contrast
    at: int  # of the table
    model: str
    control_model: str
    treatment: str
    control: str
    missing: str = ""  # why there is nothing to test
    awaited: bool = False  # its arms are planned, but of a side no run is in

    @property
    def whole_model(self) -> bool:
        """Whether all arms of the model are looked at, and not two sides."""
        return self.contrast.treatment == "*" or MEASURES[self.contrast.measure].kind in ("interaction", "points")

    @property
    def key(self) -> tuple[object, ...]:
        """What makes a test: swapped sides are the same two-sided test."""
        c = self.contrast
        sides = (
            (self.model, self.treatment, c.measure),
            (self.control_model, self.control, c.control_measure or c.measure),
        )
        if c.expects in ("lower", "higher"):
            return self.at, c.measure, frozenset(sides)
        return self.at, c.expects, c.margin, sides

    def sides(self, table: Table) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
        """Model and arm of all that stands on either side; on the second nothing, where one model is looked at."""
        if MEASURES[self.contrast.measure].kind == "points":
            points = table.points(self.model, self.control_model)
            return [(self.model, a) for a in points], [(self.control_model, a) for a in points]
        if self.whole_model:
            return [(self.model, a) for a in table.arms[self.model]], []
        return [(self.model, self.treatment)], [(self.control_model, self.control)]

    def progress(self, table: Table) -> tuple[int, int]:
        """How many of its runs are in, and how many are planned."""
        arms = dict.fromkeys(pair for side in self.sides(table) for pair in side)
        runs = [run for model, arm in arms for run in table.arms[model].get(arm, {}).values()]
        return sum(run.outcome != MISSING for run in runs), len(runs)


def cells_of(claim: Claim, found: Sequence[Table]) -> Iterator[Cell]:
    for contrast in claim.contrasts:
        for letter in contrast.models:
            for other in contrast.against or letter:
                models = MODEL_OF[letter], MODEL_OF[other]
                here = [c for i, t in enumerate(found) for c in _on(contrast, i, t, models)]
                some = [c for c in here if c.awaited or not c.missing]
                nowhere = Cell(contrast, -1, *models, contrast.treatment, contrast.control, "no root has runs")
                yield from some or here[:1] or [nowhere]


def _on(contrast: Contrast, at: int, table: Table, models: tuple[str, str]) -> Iterator[Cell]:
    """The cells of a contrast on one table, or one that says what is missing there."""
    model, control_model = models

    def cell(treatment: str, control: str, missing: str = "", awaited: bool = False) -> Cell:
        return Cell(contrast, at, model, control_model, treatment, control, missing, awaited)

    kind, own = MEASURES[contrast.measure].kind, (contrast.treatment, contrast.control)
    absent = [m for m in dict.fromkeys((model, control_model)) if not table.arms.get(m)]
    if absent:
        yield cell(*own, f"no runs of {' and '.join(absent)}")
    elif kind == "points":
        yield cell(*own, "" if table.points(model, control_model) else f"needs {MEASURES[contrast.measure].needs}")
    elif kind == "value" and table.dataset not in TOYS:
        yield cell(*own, f"needs {MEASURES[contrast.measure].needs}")
    elif kind == "interaction" or contrast.treatment == "*":
        yield cell(*own)
    else:
        sides = [match(table, m, arm) for m, arm in ((model, contrast.treatment), (control_model, contrast.control))]
        pairs = [
            (a, b) for a in sides[0] for b in sides[1] if contrast.control_measure or (model, a) != (control_model, b)
        ]
        if not pairs:
            wanted = ((model, own[0], sides[0]), (control_model, own[1], sides[1]))
            yield cell(*own, "; ".join(_why(table, m, arm) for m, arm, there in wanted if not there) or "no two sides")
        elif contrast.against and _tricks(table, model, sides[0]) | _tricks(table, control_model, sides[1]):
            yield cell(*own, "the bases hold tricks")
        else:
            for a, b in pairs:
                out = [(m, arm) for m, arm in ((model, a), (control_model, b)) if not table.side(m, arm)]
                why = dict.fromkeys(f"no finished runs of {arm} on {m}" for m, arm in out)
                yield cell(a, b, "; ".join(why), bool(out))


def _tricks(table: Table, model: str, arms: list[str]) -> set[str]:
    return {name for arm in arms for run in table.side(model, arm).values() for name in run.tricks}


def _why(table: Table, model: str, arm: str) -> str:
    reason = table.skipped.get((model, arm))
    return f"{arm} is not applicable on {model} there: {reason}" if reason else f"no arm {arm} on {model}"
