"""The tests that a claim asks of the tables of some roots: one cell per contrast, model and pair of arms."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from gan_ablate.claims.claim import Claim, Contrast
from gan_ablate.claims.measures import MEASURES
from gan_ablate.claims.runs import Table
from gan_ablate.recipe import MODEL_OF

TOYS = ("ring", "grid")  # where D's answer at the optimum is known


@dataclass(frozen=True)
class Cell:
    """One contrast on one table: the two sides by model and arm. Equal cells are one test."""

    claim: Claim
    contrast: Contrast
    at: int  # of the table
    model: str
    control_model: str
    treatment: str
    control: str
    missing: str = ""  # why there is nothing to test

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


def cells_of(claim: Claim, found: Sequence[Table]) -> Iterator[Cell]:
    for contrast in claim.contrasts:
        for letter in contrast.models:
            for other in contrast.against or letter:
                model, control_model = MODEL_OF[letter], MODEL_OF[other]
                here = [c for i, t in enumerate(found) for c in _on(claim, contrast, i, t, (model, control_model))]
                some = [c for c in here if not c.missing]
                yield from (
                    some
                    or here[:1]
                    or [
                        Cell(
                            claim,
                            contrast,
                            -1,
                            model,
                            control_model,
                            contrast.treatment,
                            contrast.control,
                            "no root has runs",
                        )
                    ]
                )


def _on(claim: Claim, contrast: Contrast, at: int, table: Table, models: tuple[str, str]) -> Iterator[Cell]:
    """The cells of a contrast on one table, or one that says what is missing there."""
    model, control_model = models

    def cell(treatment: str, control: str, missing: str = "") -> Cell:
        return Cell(claim, contrast, at, model, control_model, treatment, control, missing)

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
        sides = [_arms(table, m, arm) for m, arm in ((model, contrast.treatment), (control_model, contrast.control))]
        pairs = [
            (a, b) for a in sides[0] for b in sides[1] if contrast.control_measure or (model, a) != (control_model, b)
        ]
        if not pairs:
            wanted = ((model, own[0], sides[0]), (control_model, own[1], sides[1]))
            yield cell(*own, "; ".join(_why(table, m, arm) for m, arm, there in wanted if not there) or "no two sides")
        elif contrast.against and any(
            r.tricks for m, (a, *_) in zip((model, control_model), pairs) for r in table.side(m, a).values()
        ):
            yield cell(*own, "the bases hold tricks")
        else:
            for a, b in pairs:
                yield cell(a, b)


def _arms(table: Table, model: str, wanted: str) -> list[str]:
    """The arms that are meant and have runs that were carried out."""
    return [a for a in table.match(model, wanted) if table.side(model, a)]


def _why(table: Table, model: str, arm: str) -> str:
    reason = table.skipped.get((model, arm))
    if reason:
        return f"{arm} is not applicable on {model} there: {reason}"
    return f"no finished runs of {arm} on {model}" if table.match(model, arm) else f"no arm {arm} on {model}"
