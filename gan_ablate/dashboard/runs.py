"""The runs themselves: a list of those being trained and the newest finished ones, their curves, their samples."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import pandas as pd

from gan_ablate.dashboard.going import Going, called
from gan_ablate.dashboard.watched import Look
from gan_ablate.formatting import NOTHING, clock, number
from gan_ablate.recipe import BASE
from gan_ablate.report.figures import curves, samples
from gan_ablate.report.figures.svg import Drawing
from gan_ablate.report.section import Column, Group, Name, Panels, Part, Picture, Pictures, Table, Text, distinct
from gan_ablate.report.study import Model
from gan_ablate.results.files import number as finite
from gan_ablate.results.runs import Run
from gan_ablate.results.study_file import Cell

SMALLER = 0.55  # the size of a picture here, of that in the report
TITLE = 18  # letters of an arm over its curve: the seed must fit beside it
NONE_HERE = "None of its runs is being trained, or is among the newest."


@dataclass(frozen=True)
class Row:
    """A run in the list."""

    name: str
    model: str
    state: str
    step: float
    fid: float
    seconds: float  # of the attempt so far, or of the whole run
    steps: float = math.nan  # that it is to make; NaN of finished runs


def listed_runs(look: Look, going: Sequence[Going]) -> list[Part]:
    """Runs that are being trained, then those that finished last."""
    rows = [_going_row(g, look.at) for g in going] + [_finished_row(run) for run in look.newest]
    if not rows:
        return [Text("No run is being trained, and none is finished.", "sub")]
    columns = (
        Column("run", lambda r: r.name),
        Column("state", lambda r: r.state),
        Column("model", lambda r: r.model),
        Column("step", lambda r: r.step, text=_steps),
        Column("FID", lambda r: r.fid),
        Column("time", lambda r: r.seconds, text=lambda r: NOTHING if math.isnan(r.seconds) else clock(r.seconds)),
    )
    table = Table("FID is that of the last evaluation", columns, rows, style="")
    more = len(look.going) - len(going)
    return [table, *[Text(f"{more} more are being trained.", "sub")] * (more > 0)]


def _going_row(g: Going, now: float) -> Row:
    state = "running" if g.attempt < 2 else f"running, attempt {g.attempt}"
    fid = g.curve[-1][1] if g.curve else math.nan
    return Row(called(g.cell), g.cell.model, state, g.step, fid, max(0.0, now - g.started), g.steps)


def _finished_row(run: Run) -> Row:
    made, seconds = (math.nan if x is None else x for x in (finite(run.record.get(k)) for k in ("g_steps", "seconds")))
    return Row(called(run), run.model, run.outcome, made, run.fid, seconds)


def _steps(r: Row) -> str:
    if math.isnan(r.step):
        return NOTHING
    return f"{r.step:.0f}" if math.isnan(r.steps) else f"{r.step:.0f} of {r.steps:.0f}"


def curves_of(look: Look, going: Sequence[Going]) -> list[Part]:
    """A group per model, those with curves first: cards of verdicts lead to it."""
    models = look.found.study.models if look.found else ()
    drawn = [(m, _panels(m, k, going, look.newest)) for k, m in enumerate(models)]
    drawn.sort(key=lambda pair: not pair[1])
    return [Group(m.table.title, parts or [Text(NONE_HERE, "sub")], m.scope.name("{}")) for m, parts in drawn]


def _panels(m: Model, place: int, going: Sequence[Going], newest: Sequence[Run]) -> list[Part]:
    """Curves of a model's runs, to one scale; those of runs that have no evaluation yet are left out."""
    trained = [(g.cell, g.curve) for g in going if _is_of(m, g.cell)]
    done = [(run, run.curve) for run in newest if _is_of(m, run) and run.protocol in ("", m.table.protocol)]
    runs: list[tuple[Cell | Run, Sequence[tuple[float, float]]]] = [*trained, *done]
    labels = distinct(called(run, TITLE) for run, _ in runs)
    points = [
        {"arm": label, "seed": run.seed, "step": step, "fid": fid}
        for label, (run, curve) in zip(labels, runs, strict=True)
        for step, fid in curve
    ]
    base = m.table.groups.get(BASE)
    own = m.loaded.curves[m.loaded.curves["run_id"].isin(base["run_id"])] if base is not None else None
    frame = pd.DataFrame(points, columns=["arm", "seed", "step", "fid"])
    both = pd.concat([own[frame.columns], frame]) if own is not None and len(own) else frame
    drawn = curves.panels(curves.gather(both), labels, m.table.label)
    parts: list[Part] = []
    for word, part in (("Being trained", labels[: len(trained)]), ("Finished last", labels[len(trained) :])):
        found = [drawn[label] for label in part if label in drawn]
        parts += [Text(word, "sub"), Panels(_anchored(found, f"curve-{place}-{word[0]}"))] if found else []
    return parts


def _is_of(m: Model, run: Cell | Run) -> bool:
    return (run.model, run.dataset, run.budget) == (m.table.model, m.table.dataset, m.table.budget)


def _anchored(drawn: Sequence[Drawing], stem: str) -> list[tuple[Name | None, Name, Drawing]]:
    return [(None, Name(f"{stem}-{k}"), one) for k, one in enumerate(drawn)]


def shots(look: Look) -> list[Part]:
    """Samples of base of each model, and of the newest runs."""
    base = [_of_base(look, m) for m in (look.found.study.models if look.found else ())]
    found = [shot for shot in (*base, *map(_of_run, look.newest)) if shot]
    return [Pictures(found)] if found else [Text("No finished run has samples yet.", "sub")]


def _of_base(look: Look, m: Model) -> Picture | None:
    """The picture of base's median seed."""
    if (rows := m.table.groups.get(BASE)) is None or not (chosen := samples.chosen(rows)):
        return None
    k = chosen[0][1]
    run_id = str(rows["run_id"][k])
    said = f"{m.table.title}, base, seed {rows['seed'][k]}, the median: FID {number(float(rows['fid'][k]))}"
    name = samples.grid_name(m.loaded.records.get(run_id, {}))
    return _picture(look.store.folder(run_id), name, str(rows["dataset"][k]), said)


def _of_run(run: Run) -> Picture | None:
    fate = f", {run.outcome}" * run.failed
    said = f"{run.model}, {called(run)}{fate}: FID {number(run.fid)}"
    return _picture(run.folder, samples.grid_name(run.record), run.dataset, said)


@lru_cache(maxsize=64)
def _picture(folder: Path, name: str, dataset: str, said: str) -> Picture | None:
    """Read once: a finished run's samples stay as they are."""
    if (shown := samples.picture(folder, name, dataset)) is None:
        return None
    drawn, pixels = shown
    width, height = (round(SMALLER * samples.ENLARGED * side) for side in pixels)
    return Picture(samples.uri(drawn), f"Samples of {said}", said, width, height)
