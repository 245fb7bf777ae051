"""Which tests a contrast asks for on the tables of some roots. A measure knows what it compares, and how to test it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Literal

from gan_ablate.claims.claim import Contrast
from gan_ablate.claims.verdict import Finding
from gan_ablate.errors import InputError
from gan_ablate.recipe import BASE, MODEL_OF, TrickSpec
from gan_ablate.results.frames import RunTable
from gan_ablate.results.runs import MISSING, Run
from gan_ablate.trick import REGISTRY, build, spec_of
from gan_ablate.tricks import trick_names

NO_TABLE = RunTable("", "", "", {})
HELD = {"adam_lr": ("lr", "lr"), "batch_size": ("size", "batch_size")}  # trick -> its number, and where base has it
Arms = list[tuple[str, str]]  # (model, arm)


@dataclass(frozen=True, eq=False)
class PlannedTest:
    """One contrast on one table: the two sides by model and arm. Those with the same `key` are one test."""

    contrast: Contrast
    measure: Measure
    control_measure: Measure
    model: str
    control_model: str
    treatment: str
    control: str
    table: RunTable = NO_TABLE
    missing: str = ""  # why there is nothing to test
    awaited: bool = False  # its arms are planned, but no run of one side is in

    @property
    def key(self) -> tuple[object, ...]:
        """What makes a test: swapped sides are the same two-sided test."""
        (_, _, first), (_, _, second) = self.contrast.sides
        sides = (self.model, self.treatment, first), (self.control_model, self.control, second)
        if self.contrast.expects in ("lower", "higher"):
            return id(self.table), first, frozenset(sides)
        return id(self.table), self.contrast.expects, self.contrast.margin, sides

    @property
    def treatment_runs(self) -> dict[int, Run]:
        """The treatment's runs that were carried out, by seed."""
        return self.table.side(self.model, self.treatment)

    @property
    def control_runs(self) -> dict[int, Run]:
        return self.table.side(self.control_model, self.control)

    @property
    def progress(self) -> str:
        """Such as `16 of 20 runs are in`; empty where all are."""
        arms = dict.fromkeys(pair for side in self.measure.sides(self) for pair in side)
        runs = [run for model, arm in arms for run in self.table.arms[model].get(arm, {}).values()]
        done = sum(run.outcome != MISSING for run in runs)
        return f"{done} of {len(runs)} runs are in" if done < len(runs) else ""


@dataclass(frozen=True)
class Measure:
    """A figure by which a treatment is compared with a control: two arms of a model, or one arm of two models."""

    label: str
    better: Literal["lower", "higher"]
    test: Callable[[PlannedTest, float], Finding]  # the float: alpha of one test, after the correction
    scale: Literal["log", "linear"] = "log"
    read: Callable[[Run], float | None] | None = None  # `None`: a figure of a set of runs, not of each
    worst_when_lost: bool = True  # whether a run that diverged or crashed is the worst in it
    always: bool = False  # whether every run that did not fail has it
    quality: bool = True  # whether a better figure is worth nothing where more runs fail
    by_look: bool = True  # whether an adaptive study is asked at each of its looks; else it sees to them itself
    has_margin: bool = False  # whether two sides can be the same within the margin of all verdicts
    unit: str = "seeds"  # of what more would settle it
    needs: str = ""  # what a root must hold for it
    measured_by: str = ""  # the metric of `gan-ablate measure` that reads it off a checkpoint

    def plan(self, asked: PlannedTest) -> Iterator[PlannedTest]:
        """The tests on the table of `asked`, one for each pair of arms; or one that says what is missing there."""
        contrast, table = asked.contrast, asked.table
        wanted = (asked.model, asked.treatment), (asked.control_model, asked.control)
        sides = [[(model, label) for label in match(table, model, arm)] for model, arm in wanted]
        pairs = [(a, b) for a in sides[0] for b in sides[1] if contrast.control_measure or a != b]
        if not pairs:
            absent = [_why_absent(table, *arm) for arm, found in zip(wanted, sides) if not found]
            yield replace(asked, missing="; ".join(absent) or "no two sides")
        elif contrast.against and any(r.tricks for arm in sides[0] + sides[1] for r in table.side(*arm).values()):
            yield replace(asked, missing="the bases hold tricks")
        else:
            for pair in pairs:
                out = dict.fromkeys(f"no finished runs of {arm} on {m}" for m, arm in pair if not table.side(m, arm))
                (_, a), (_, b) = pair
                yield replace(asked, treatment=a, control=b, missing="; ".join(out), awaited=bool(out))

    def sides(self, test: PlannedTest) -> tuple[Arms, Arms]:
        """Model and arm of all that stands on either side."""
        return [(test.model, test.treatment)], [(test.control_model, test.control)]

    def name(self, test: PlannedTest) -> str:
        """The two sides in words; the models are told beside it."""
        if test.model != test.control_model:
            return BASE
        contrast = test.contrast
        return contrast.label if contrast.control_measure else f"{test.treatment} v {test.control}"


@dataclass(frozen=True)
class DesignMeasure(Measure):
    """A figure of all points of one random design, model against model."""

    by_look: bool = False
    unit: str = "points"

    def plan(self, asked: PlannedTest) -> Iterator[PlannedTest]:
        points = asked.table.points(asked.model, asked.control_model)
        yield asked if points else replace(asked, missing=f"needs {self.needs}")

    def sides(self, test: PlannedTest) -> tuple[Arms, Arms]:
        points = test.table.points(test.model, test.control_model)
        return [(test.model, point) for point in points], [(test.control_model, point) for point in points]

    def name(self, test: PlannedTest) -> str:
        return test.contrast.label


@dataclass(frozen=True)
class ModelMeasure(Measure):
    """A figure of all arms of one model, held against a number: there is no control."""

    quality: bool = False
    by_look: bool = False
    unit: str = "arms"
    datasets: tuple[str, ...] = ()  # those on which it means something; empty: on all

    def plan(self, asked: PlannedTest) -> Iterator[PlannedTest]:
        told = not self.datasets or asked.table.dataset in self.datasets
        yield asked if told else replace(asked, missing=f"needs {self.needs}")

    def sides(self, test: PlannedTest) -> tuple[Arms, Arms]:
        return [(test.model, arm) for arm in test.table.arms[test.model]], []

    def name(self, test: PlannedTest) -> str:
        return test.contrast.label


def planned_tests(
    contrast: Contrast, measures: Mapping[str, Measure], tables: Sequence[RunTable]
) -> Iterator[PlannedTest]:
    """The tests of a contrast for each of its models, on every table that has the arms; where no table of a dataset has
    them, one that says what is missing there."""
    (letters, treatment, measure), (_, control, second) = contrast.sides
    for letter in letters:
        for other in contrast.against or letter:
            models = MODEL_OF[letter], MODEL_OF[other]
            asked = PlannedTest(contrast, measures[measure], measures[second], *models, treatment, control)
            here = [test for table in tables for test in _on(replace(asked, table=table))]
            for dataset in dict.fromkeys(test.table.dataset for test in here):
                own = [test for test in here if test.table.dataset == dataset]
                yield from [test for test in own if test.awaited or not test.missing] or own[:1]
            if not here:
                yield replace(asked, missing="no root has runs")


def _on(asked: PlannedTest) -> Iterator[PlannedTest]:
    absent = [m for m in dict.fromkeys((asked.model, asked.control_model)) if not asked.table.arms.get(m)]
    if absent:
        return iter([replace(asked, missing=f"no runs of {' and '.join(absent)}")])
    return asked.measure.plan(asked)


def _why_absent(table: RunTable, model: str, arm: str) -> str:
    reason = table.skipped.get((model, arm))
    return f"{arm} is not applicable on {model} there: {reason}" if reason else f"no arm {arm} on {model}"


def match(table: RunTable, model: str, wanted: str) -> list[str]:
    """The arms that a contrast means: the one called so, else every single trick of that name and parameters, else
    base where its recipe holds that number already."""
    labels = table.arms.get(model, {})
    found = [wanted] if wanted in labels else [label for label in labels if means(label, wanted)]
    return found or ([BASE] if _base_holds(table, model, wanted) else [])


def _base_holds(table: RunTable, model: str, wanted: str) -> bool:
    spec, runs = TrickSpec.parse(wanted), table.side(model, BASE).values()
    if not runs or spec.name not in HELD:
        return False
    parameter, place = HELD[spec.name]
    return all(not r.tricks and r.recipe.get(place) == spec.params.get(parameter, math.nan) for r in runs)


def means(label: str, wanted: str) -> bool:
    """Whether an arm's label is the trick `wanted`, with at least the parameters that `wanted` names."""
    named, asked = _spec(label), TrickSpec.parse(wanted)
    if named is None or named.name != asked.name:
        return False
    return all(named.params.get(key) == value for key, value in asked.params.items())


@lru_cache(maxsize=4096)
def _spec(label: str) -> TrickSpec | None:
    """The one registered trick that a label names, all its parameters filled in; no user's module is imported."""
    try:
        spec = TrickSpec.parse(label)
        return spec_of(build(spec), spec.name) if spec.name in trick_names() and spec.name in REGISTRY else None
    except (InputError, TypeError, ValueError):
        return None
