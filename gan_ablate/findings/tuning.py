"""Which setting each arm of a tuned study picks on its tuning seeds, and how far a root has got with it.

A setting is picked once all tuning runs of its arm are finished, by those runs alone: what is picked is a function of
the results, whatever order they came in and whoever was killed meanwhile.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from gan_ablate.findings.looks import Opened, missing_row, open_root, outcomes_of
from gan_ablate.results.runs import MISSING, Reader, Run, read_run
from gan_ablate.results.study_file import read_study
from gan_ablate.stats.two_part import Runs
from gan_ablate.study.tuning import Tune, tune_of

RULE = (
    "Each arm, base too, was first trained at every setting on seeds that have no other part in this report, and is "
    "judged at the setting with the fewest failed tuning runs (a failed run is worse than any that did not fail) and, "
    "of those, the lowest mean log FID; ties go to the setting that the study gives it, then to the one listed first."
)
Place = tuple[str, str]  # model, dataset: a tuned study has one budget
LOWEST = {"beta1": 0.0, "beta2": 0.0}  # nothing lies beyond, so this end of a grid is no edge


class Tried(NamedTuple):
    """One arm at one setting."""

    setting: str
    own: bool  # the arm's setting in the study as written
    planned: int  # tuning runs
    runs: Runs  # the finished ones

    @property
    def finished(self) -> bool:
        return self.runs.finished >= self.planned

    @property
    def mean(self) -> float:
        """Mean log FID over the runs that did not fail; infinite where none is left."""
        held = self.runs.log_fid
        return math.fsum(held) / len(held) if held else math.inf


@dataclass(frozen=True)
class Choice:
    """What one arm was tried at on one model and dataset, and which setting it picked."""

    model: str
    dataset: str
    arm: str
    tried: tuple[Tried, ...]
    edge: tuple[str, ...] = ()  # fields of which the picked number is the least or the greatest of several

    @property
    def chosen(self) -> Tried | None:
        """`None` until all tuning runs of the arm are finished."""
        if not all(t.finished for t in self.tried):
            return None
        return min(self.tried, key=lambda t: (t.runs.failed, t.mean, not t.own))

    def of(self, setting: str) -> Tried | None:
        return next((t for t in self.tried if t.setting == setting), None)


def choices(runs: Iterable[Run], tune: Tune | None = None) -> dict[tuple[str, str, str], Choice]:
    """(model, dataset, arm) -> its choice, from tuning runs. tune: names the edges of the grid."""
    held: dict[tuple[str, str, str], dict[str, list[Run]]] = {}
    for run in runs:
        held.setdefault((run.model, run.dataset, run.arm), {}).setdefault(run.tuning, []).append(run)
    order = list(tune.by_label()) if tune else []
    found = {}
    for place, settings in held.items():
        names = sorted(settings, key=lambda s: order.index(s) if s in order else len(order))
        choice = Choice(*place, tuple(_tried(name, settings[name]) for name in names))
        found[place] = Choice(*place, choice.tried, _edge(choice, tune))
    return found


def _tried(setting: str, runs: list[Run]) -> Tried:
    (arms,) = outcomes_of(runs).values()
    (outcomes,) = arms.values()
    return Tried(setting, runs[0].own_setting, len(runs), Runs.of(outcomes[s] for s in sorted(outcomes)))


def _edge(choice: Choice, tune: Tune | None) -> tuple[str, ...]:
    points = tune.by_label() if tune else {}
    tried = [points[t.setting] for t in choice.tried if t.setting in points]
    if tune is None or choice.chosen is None or choice.chosen.setting not in points:
        return ()
    best, found = points[choice.chosen.setting], []
    for name in tune.grid:
        numbers = {point[name] for point in tried}
        ends = {min(numbers), max(numbers)} - {LOWEST.get(name)}
        if len(numbers) > 1 and best[name] in ends:
            found.append(name)
    return tuple(found)


def ready(found: Mapping[tuple[str, str, str], Choice]) -> set[Place]:
    """The models and datasets of which every arm has picked: only there anything is judged."""
    every = {(c.model, c.dataset) for c in found.values()}
    return every - {(c.model, c.dataset) for c in found.values() if c.chosen is None}


@dataclass(frozen=True)
class TunedRoot:
    """A tuned study's root as it stands."""

    tune: Tune
    tuning: tuple[Run, ...]
    judged: tuple[Run, ...]
    looks: Opened | None  # of an adaptive study

    @property
    def places(self) -> list[Place]:
        return list(dict.fromkeys((r.model, r.dataset) for r in (*self.tuning, *self.judged)))

    def describe(self) -> list[str]:
        """`dcgan on digits: tuning: 30 of 156 runs finished`, a line for each place; then those of its looks."""
        done = ready(choices(self.tuning))
        lines = []
        for place in self.places:
            own = [r for r in self.tuning if (r.model, r.dataset) == place]
            finished = sum(r.outcome != MISSING for r in own)
            said = f"{' on '.join(place)}: tuning: {finished} of {len(own)} runs finished"
            if place in done or not own:
                judged = [r for r in self.judged if (r.model, r.dataset) == place]
                known = sum(r.outcome != MISSING for r in judged)
                more = ", and more where a look asks for them" if self.looks else ""
                asked = f"{known} of {len(judged)} runs finished{more}" if judged else "begins when the sweep goes on"
                said += f"; every arm has its setting; judged: {asked}"
            else:
                said += "; nothing is judged before every arm has its setting"
            lines.append(said)
        return lines + (self.looks.describe() if self.looks else [])

    def missing(self) -> list[dict[str, Any]]:
        """What is asked for by now and not finished: per model, dataset, arm and setting (`tuning`, `None` of judged
        runs), in the order of the tuning runs; then the judged ones, of an adaptive study as its looks have them."""
        rows = _open(self.tuning)
        if self.looks is None:
            return [*rows, *_open(self.judged)]
        return [*rows, *({**row, "tuning": None} for row in self.looks.missing())]


def _open(runs: Iterable[Run]) -> list[dict[str, Any]]:
    held: dict[tuple[str, str, str, str], list[Run]] = {}
    every = list(runs)
    for run in every:
        held.setdefault((run.model, run.dataset, run.arm, run.tuning), []).append(run)
    rows = []
    for (model, dataset, arm, setting), own in held.items():
        seeds = [r.seed for r in own if r.outcome == MISSING]
        here = (r for r in every if (r.model, r.dataset) == (model, dataset))
        row = missing_row((model, dataset, arm), seeds, own, here)
        rows += [{**row, "tuning": setting or None}] * bool(seeds)
    return rows


def open_tuned(root: str | PathLike[str], read: Reader = read_run) -> TunedRoot | None:
    """The parts of a root; `None` where its study is not tuned. Raises `InputError` where there is no study."""
    study = read_study(Path(root))
    tune = tune_of(study.source)
    if tune is None:
        return None
    runs = [read(Path(root) / "runs" / c.run_id, c) for c in study.cells]
    tuning, judged = (tuple(r for r in runs if bool(r.tuning) is tried) for tried in (True, False))
    return TunedRoot(tune, tuning, judged, open_root(root, read))
