"""The section on settings: at what each arm of a tuned study was tried, and which setting it picked."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from functools import partial
from typing import NamedTuple

import pandas as pd

from gan_ablate.findings.tuning import RULE, Choice, Tried, choices
from gan_ablate.formatting import NOTHING, number
from gan_ablate.recipe import BASE, BY_FACTORS
from gan_ablate.report.section import Column, Data, Group, Part, Scope, Section, Table, Text
from gan_ablate.report.study import ReportedStudy
from gan_ablate.results.frames import Results
from gan_ablate.results.runs import MISSING, Run
from gan_ablate.study.tuning import Tune, tune_of

EDGE = "at the edge: a wider grid may do better"
SEEN = (
    "FID is the geometric mean over the tuning runs that did not fail. Few seeds choose a setting, they prove nothing: "
    "go by the verdicts, which rest on other runs. Where an arm picks another setting than the study gives it, a "
    "verdict at that one would have been in part a verdict on the setting."
)


class _Row(NamedTuple):
    """One arm. choice: `None` of an arm that has nothing to choose."""

    arm: str
    choice: Choice | None


def tuning(study: ReportedStudy) -> Section:
    """A table for each model and dataset; nothing where the study is not tuned."""
    anchor, tune = study.scope.name("tuning"), tune_of(study.loaded.source)
    if tune is None or not study.loaded.tuning:
        return Section(anchor, "", "Settings", "", ())
    found = choices(study.loaded.tuning, tune)
    places = list(dict.fromkeys((model, dataset) for model, dataset, _ in found))
    groups: list[Part] = [Text(RULE), Text(_grid(tune))]
    scopes = {(m.table.model, m.table.dataset): m.scope for m in reversed(study.models)}
    for model, dataset in places:
        title = f"{model} on {dataset}" if len({d for _, d in places}) > 1 else model
        scope = scopes.get((model, dataset)) or Scope(title, study.scope)
        judged = dict.fromkeys(r.arm for r in study.loaded.each if (r.model, r.dataset) == (model, dataset))
        tried = [a for m, d, a in found if (m, d) == (model, dataset)]
        arms = [BASE, *(a for a in dict.fromkeys((*tried, *judged)) if a != BASE)]
        rows = [_Row(arm, found.get((model, dataset, arm))) for arm in arms]
        groups.append(Group(title, (_table(title, rows, scope, tune),)))
    groups.append(Data(study.scope.name("tuning-runs"), _runs(study.loaded.tuning), measured=True))
    return Section(anchor, "Settings", "Which setting each arm picked", SEEN, groups)


def unfinished(study: ReportedStudy) -> str:
    """What a reader of a sweep that still tunes must know first; empty when all tuning runs are in."""
    left = tuning_left(study.loaded)
    if not left:
        return ""
    n = len(study.loaded.tuning)
    return (
        f"Tuning goes on: {n - left} of {n} tuning runs of {study.loaded.name} have a result. A model is judged once "
        "every arm of it has picked its setting."
    )


def tuning_left(loaded: Results) -> int:
    """Tuning runs without a result."""
    return sum(run.outcome == MISSING for run in loaded.tuning)


def _grid(tune: Tune) -> str:
    """What was tried."""
    listed = (
        f"{name} at {', '.join(f'{x:g}' for x in numbers)}{' times the arm’s own' if name in BY_FACTORS else ''}"
        for name, numbers in tune.grid.items()
    )
    return (
        f"Tried: {'; '.join(listed)}, {tune.seeds} {'seed' if tune.seeds == 1 else 'seeds'} each. A factor of the "
        "learning rate multiplies also a rate that a trick sets (that of wgan_clip’s RMSprop); an arm that is nothing "
        "but another number for a tuned field keeps it."
    )


def _table(title: str, rows: Sequence[_Row], scope: Scope, tune: Tune) -> Table:
    held = {t.setting for row in rows if row.choice for t in row.choice.tried}
    listed = [*(s for s in tune.by_label() if s in held), *sorted(held - set(tune.by_label()))]
    columns = (
        Column("arm", lambda r: r.arm, "", ("arm",)),
        Column("picked", _picked, "the setting at which it is judged", ("picked",), _told, wide=True),
        Column("", lambda r: "; ".join(r.choice.edge) if r.choice else "", csv=("at_the_edge",)),
        *(
            Column(
                _shown(s), partial(_fid, s), "FID; failed/finished where a run failed",
                (f"fid {s}", f"failed {s}", f"runs {s}"), partial(_cell, s), partial(_key, s),
            )
            for s in listed
        ),
    )  # fmt: skip
    name = scope.name("{}-tuning")
    caption = f"Mean FID at each setting on the tuning seeds, {title}"
    return Table(caption, columns, rows, name, name, kind=lambda r: BASE * (r.arm == BASE))


def _shown(setting: str) -> str:
    """`lr ×0.5`."""
    return setting.replace(" x", " ×")


def _picked(row: _Row) -> str:
    if row.choice is None:
        return ""
    return row.choice.chosen.setting if row.choice.chosen else ""


def _told(row: _Row) -> str:
    if row.choice is None:
        return "keeps its own number"
    if row.choice.chosen is None:
        return "not yet known"
    setting = row.choice.chosen.setting
    which = f"{', '.join(row.choice.edge)} " if ", " in setting else ""  # of a grid of one field it goes without saying
    return _shown(setting) + (f" ({which}{EDGE})" if row.choice.edge else "")


def _tried(setting: str, row: _Row) -> Tried | None:
    return row.choice.of(setting) if row.choice else None


def _fid(setting: str, row: _Row) -> tuple[float, int | None, int | None]:
    tried = _tried(setting, row)
    if tried is None:
        return math.nan, None, None
    return _key(setting, row), tried.runs.failed, tried.runs.finished


def _key(setting: str, row: _Row) -> float:
    tried = _tried(setting, row)
    return math.exp(tried.mean) if tried and tried.runs.log_fid else math.nan


def _cell(setting: str, row: _Row) -> str:
    tried = _tried(setting, row)
    if tried is None or not tried.runs.finished:
        return NOTHING
    failed = f"{tried.runs.failed}/{tried.runs.finished} failed" if tried.runs.failed else ""
    fid = number(_key(setting, row)) if tried.runs.log_fid else ""
    return ", ".join(filter(None, (fid, failed)))


def _runs(runs: Sequence[Run]) -> pd.DataFrame:
    """Every tuning run."""
    return pd.DataFrame(list(_lines(runs)))


def _lines(runs: Sequence[Run]) -> Iterator[dict[str, object]]:
    for run in runs:
        yield {
            "run_id": run.run_id, "model": run.model, "dataset": run.dataset, "arm": run.arm, "seed": run.seed,
            "setting": run.tuning, "outcome": run.outcome, "fid": run.fid, "note": run.note,
        }  # fmt: skip
