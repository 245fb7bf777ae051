"""A look as a document of the report's parts."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from functools import partial
from operator import attrgetter
from typing import Any

from gan_ablate.dashboard.going import read_going
from gan_ablate.dashboard.runs import curves_of, listed_runs, shots
from gan_ablate.dashboard.watched import Look
from gan_ablate.findings.sentences import what_was_found
from gan_ablate.formatting import NOTHING, duration, some
from gan_ablate.report.section import Column, Document, Fold, Items, Name, Part, Section, Table, Text
from gan_ablate.report.verdicts import cards, listed, summary
from gan_ablate.store.status import COUNTS, Status, pace

GOING = 24  # runs being trained that are shown, at most
NOT_YET = "The results are being read."
EARLY = (
    "A sweep that still runs may change every verdict; to stop it at one that pleases would make that worth less than "
    "it says."
)
CURVES = (
    "FID against generator steps, logarithmic, all panels of a model to one scale; the dashed line is the mean of base "
    "over its finished runs."
)
SAMPLES = "The same z in every grid of a model: of base the seed with the median FID, then the runs that finished last."


def document(look: Look) -> Document:
    """The page of a look."""
    going = [read_going(look.store.folder(cell.run_id), cell) for cell in look.going[:GOING]]
    made = (
        _section("next", "What comes next", "What comes next", "", _stages(look)),
        _section("now", "Runs", "Running and newest runs", "", listed_runs(look, going)),
        _section("curves", "Curves", "Curves", CURVES, curves_of(look, going) or [Text(NOT_YET, "sub")]),
        _verdicts(look),
        _section("samples", "Samples", "Samples", SAMPLES, shots(look)),
        _section("progress", "Progress", "Runs of each model and arm", "", _progress(look)),
    )
    return Document(
        title=f"{in_brief(look)} · {look.store.name}",
        kicker="gan_ablate dashboard",
        heading=look.store.name,
        lead=progress_line(look),
        notes=list(_notes(look)),
        sections=made,
    )


def in_brief(look: Look) -> str:
    """`712/1900`."""
    return "{}/{}".format(*done_of(look))


def done_of(look: Look) -> tuple[int, int]:
    """Runs with any outcome, and all."""
    done, running, crashed, left = map(look.overview.total, COUNTS)
    return done + crashed, done + crashed + running + left


def progress_line(look: Look) -> str:
    """`712 of 1900 runs are done, 2 running, 1186 left, 3 crashed; about 3.4 h to go`: read out when it changes, so
    it is coarse."""
    done, running, crashed, left = map(look.overview.total, COUNTS)
    said = f"{done} of {done + running + crashed + left} runs are done, {running} running, {left} left"
    said += f", {crashed} crashed" * bool(crashed)
    if not running + left:
        return f"{said}: nothing is left to do."
    if not running:
        return f"{said}: no sweep is running."
    return f"{said}; about {duration(seconds)} to go." if (seconds := look.overview.seconds_left) else f"{said}."


def as_of(look: Look) -> str:
    """What changes at every look, so nobody reads it out."""
    verdicts = f"; verdicts as of {_at(look.found.at)}" if look.found else ""
    said = pace(look.overview)
    return f"{said[:1].upper()}{said[1:]}. As of {_at(look.at)} UTC{verdicts}."


def _at(when: float) -> str:
    return time.strftime("%H:%M:%S", time.gmtime(when))


def _notes(look: Look) -> Iterator[str]:
    if look.trouble:
        yield f"{'; '.join(look.trouble)}. What is shown is what was last read."
    problems = look.found.study.loaded.problems if look.found else ()
    if problems:
        yield f"{len(problems)} files cannot be used, and their runs count as missing: {some(problems, 3)}"


def _stages(look: Look) -> list[Part]:
    """What the looks have found, and what is trained next."""
    if look.found is None:
        return [Text(NOT_YET, "sub")]
    if not look.found.stages:
        return [Text("This study trains all of its runs.", "sub")]
    parts: list[Part] = [Items([("", line) for line in look.found.stages])]
    if asked := look.found.asked:
        n = sum(len(row["seeds"]) for row in asked)
        parts.append(Fold(f"{n} runs are asked for now", (Table("The cheapest first", _asked_columns(asked), asked),)))
    return parts


def _asked_columns(asked: Sequence[dict[str, Any]]) -> list[Column]:
    """Of objects of `gan-ablate next --json`."""
    return [
        Column("arm", lambda r: str(r["arm"])),
        Column("model", lambda r: str(r["model"])),
        *(Column(name, partial(_said, name)) for name in ("budget", "tuning") if any(r.get(name) for r in asked)),
        Column("seeds", lambda r: ", ".join(map(str, r["seeds"])), wide=True),
        Column("time", _minutes, text=lambda r: NOTHING if math.isnan(_minutes(r)) else duration(60 * _minutes(r))),
    ]


def _said(name: str, row: dict[str, Any]) -> str:
    return str(row.get(name) or NOTHING)


def _minutes(row: dict[str, Any]) -> float:
    return math.nan if row["minutes"] is None else float(row["minutes"])


def _verdicts(look: Look) -> Section:
    """Counts per model, then every arm."""
    if look.found is None:
        return _section("verdicts", "Verdicts", "Verdicts so far", "", [Text(NOT_YET, "sub")])
    study = look.found.study
    parts: list[Part] = [*map(Text, what_was_found(study.loaded, study.tables)), cards(study)]
    if table := listed(study):
        parts.append(
            Table(table.caption, table.columns, table.rows, kind=table.kind)
        )  # no links: arms have no pages here
    early = f" {EARLY}" * bool(look.overview.total("left") + look.overview.total("running"))
    return _section("verdicts", "Verdicts", "Verdicts so far", summary(study.tables) + early, parts)


def _progress(look: Look) -> list[Part]:
    """Counts per model, and a fold with those of each arm."""
    rows = look.overview.rows
    names = ["model", *(n for n in ("dataset", "budget") if len({getattr(row, n) for row in rows}) > 1)]
    totals: dict[tuple[str, str, str], Status] = {}
    for row in rows:
        held = totals.get(place := (row.model, row.dataset, row.budget), Status(row.model, row.dataset, ""))
        counts = {n: getattr(row, n) + getattr(held, n) for n in COUNTS}
        totals[place] = Status(row.model, row.dataset, "", **counts, budget=row.budget)
    columns = [Column(n, attrgetter(n)) for n in (*names, *COUNTS)]
    each = Table("Runs of each model", columns, list(totals.values()), style="")
    return [each, Fold("Every arm", (Table("Runs of each arm", [Column("arm", attrgetter("arm")), *columns], rows),))]


def _section(anchor: str, nav: str, title: str, what_to_see: str, parts: Sequence[Part]) -> Section:
    return Section(Name(anchor), nav, title, what_to_see, parts)
