"""Writes a report's files: report.html, report.md, tables/*.csv and *.tex, figures/*.svg."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from gan_ablate.errors import InputError
from gan_ablate.report import curves, folder, latex, markdown, page, records, svg
from gan_ablate.report.columns import columns, stability_columns
from gan_ablate.report.names import Names
from gan_ablate.report.records import csv
from gan_ablate.report.study import Section, Study, build
from gan_ablate.results.frames import Results, load


def write(roots: Sequence[str | Path], out: str | Path | None, partial: bool = False) -> Path:
    """All files of a report on `roots`, in `out` (default: <first root>/report); returns the page's path."""
    loaded = [load(root) for root in roots]
    for one in loaded:
        if not one.records and not partial:
            left = f"{len(one.runs)} to go; --partial reports anyway"
            raise InputError(f"{one.root}: no run has finished yet: nothing to report ({left})")
    names, labels = Names(), Names(())
    prefixes = [names.prefix(one.name, len(loaded) > 1) for one in loaded]
    studies = [
        _shown(build(one, labels.take(one.name), pre, names), partial)
        for one, pre in zip(loaded, prefixes, strict=True)
    ]
    texts = dict(_files(studies, judged(loaded), prefixes, partial))  # all of them before an older report is touched
    home = Path(out) if out else Path(roots[0]) / "report"
    try:
        folder.replace(home, texts)
    except OSError as error:
        raise InputError(f"{home}: cannot be written: {error.strerror or error}") from None
    return home / "report.html"


def judged(loaded: Sequence[Results]) -> tuple[Any, ...]:
    """The verdicts of the claims registry over all roots."""
    from gan_ablate.claims import judge

    return tuple(judge(loaded)) if any(one.records for one in loaded) else ()


def _shown(study: Study, partial: bool) -> Study:
    """With `partial`, without the arms that have not begun: they were counted, and need no line."""
    if not partial:
        return study
    return replace(
        study,
        sections=tuple(
            replace(
                s,
                table=replace(s.table, arms=tuple(a for a in s.table.arms if a.runs)),
                pages=tuple(p for p, a in zip(s.pages, s.table.arms, strict=True) if a.runs),
            )
            for s in study.sections
        ),
    )


def _files(
    studies: Sequence[Study], claims: Sequence[Any], prefixes: Sequence[str], partial: bool
) -> Iterator[tuple[str, str]]:
    """(path in the folder, text)."""
    every = []
    for study, pre in zip(studies, prefixes, strict=True):
        yield f"tables/{pre}runs.csv", csv(study.loaded.runs)
        for section in study.sections:
            yield from _section(section, pre)
            every.append(records.arms(section.table).assign(study=study.label))
        for name, drawn in (("heatmap", svg.stacked(study.heatmap)), ("profiles", study.profiles)):
            if drawn:
                yield f"figures/{pre}{name}.svg", drawn.file
        if study.over:
            yield f"tables/{pre}over-models.csv", csv(records.over(study.over))
        if signs := [s for x in study.sections for s in x.signs]:
            yield f"tables/{pre}signs.csv", csv(records.signs(signs))
    yield f"tables/{records.ALL}", csv(pd.concat(every, ignore_index=True) if every else pd.DataFrame())
    if claims:
        yield "tables/claims.csv", csv(records.claims(claims))
    yield "report.md", markdown.render(studies, claims, prefixes, partial)
    yield "report.html", page.render(studies, claims, prefixes, partial)


def _section(s: Section, pre: str) -> Iterator[tuple[str, str]]:
    t = s.table
    yield f"tables/{pre}{s.name}.csv", csv(records.arms(t))
    yield f"tables/{pre}{s.name}.tex", latex.numbers(columns(t), t)
    yield f"tables/{pre}{s.name}-stability.tex", latex.stability(stability_columns(t), t)
    drawn = {"forest": svg.stacked(s.forest), "effects": svg.stacked(s.effects_figure), "budget": s.budget_figure}
    for kind, figure in (*drawn.items(), ("curves", curves.together(s.panels, t.title))):
        if figure:
            yield f"figures/{pre}{kind}-{s.name}.svg", figure.file
    if s.effects:
        yield f"tables/{pre}{s.name}-effects.csv", csv(records.effects(s.effects))
    if s.budgets:
        yield f"tables/{pre}{s.name}-budget.csv", csv(records.budgets(s.budgets))
