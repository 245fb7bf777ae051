"""Writes a report's files: report.html, report.md, tables/*.csv and *.tex, figures/*.svg."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pandas as pd

from gan_ablate.errors import InputError
from gan_ablate.report import curves, latex, markdown, page, records, svg
from gan_ablate.report.columns import columns, stability_columns
from gan_ablate.report.frames import Loaded, load
from gan_ablate.report.study import Section, Study, build
from gan_ablate.report.text import slug

UTF8: Any = {"encoding": "utf-8", "errors": "backslashreplace"}  # whatever the locale, and for lone surrogates too
OURS = ("tables/*.csv", "tables/*.tex", "figures/*.svg")


def write(roots: Sequence[str | Path], out: str | Path | None, partial: bool = False) -> Path:
    """All files of a report on `roots`, in `out` (default: <first root>/report); returns the page's path."""
    loaded = [load(root) for root in roots]
    for one in loaded:
        if not one.records and not partial:
            left = f"{len(one.runs)} to go; --partial reports anyway"
            raise InputError(f"{one.root}: no run has finished yet: nothing to report ({left})")
    prefixes = _prefixes(loaded)
    studies = [_shown(build(one, pre), partial) for one, pre in zip(loaded, prefixes, strict=True)]
    claims = judged(loaded)
    folder = Path(out) if out else Path(roots[0]) / "report"
    try:
        _clear(folder)
        for name, text in _files(studies, claims, prefixes, partial):
            (folder / name).write_text(text, **UTF8)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror or error}") from None
    return folder / "report.html"


def judged(loaded: Sequence[Loaded]) -> tuple[Any, ...]:
    """The verdicts of the claims registry over all roots."""
    try:
        from gan_ablate.claims import judge
    except ImportError:
        return ()
    return tuple(judge(loaded)) if any(one.records for one in loaded) else ()


def _prefixes(loaded: Sequence[Loaded]) -> list[str]:
    """Keeps apart what comes of several roots, also those of one name."""
    if len(loaded) == 1:
        return [""]
    names: list[str] = []
    for one in loaded:
        stem = slug(one.name)
        same = sum(n == stem or n.startswith(f"{stem}~") for n in names)
        names.append(f"{stem}~{same + 1}" if same else stem)
    return [f"{n.replace('~', '-')}-" for n in names]


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


def _clear(folder: Path) -> None:
    """Takes away the tables and figures of an earlier report: a model that is gone must not look reported."""
    for sub in ("tables", "figures"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    for pattern in OURS:
        for path in folder.glob(pattern):
            path.unlink()


def _files(
    studies: Sequence[Study], claims: Sequence[Any], prefixes: Sequence[str], partial: bool
) -> Iterator[tuple[str, str]]:
    """(path in the folder, text)."""
    every = []
    for study, pre in zip(studies, prefixes, strict=True):
        yield f"tables/{pre}runs.csv", _csv(study.loaded.runs)
        for section in study.sections:
            yield from _section(section, pre)
            every.append(records.arms(section.table).assign(study=study.loaded.name))
        for name, drawn in (("heatmap", svg.stacked(study.heatmap)), ("profiles", study.profiles)):
            if drawn:
                yield f"figures/{pre}{name}.svg", drawn.file
        if study.over:
            yield f"tables/{pre}over-models.csv", _csv(records.over(study.over))
        if signs := [s for x in study.sections for s in x.signs]:
            yield f"tables/{pre}signs.csv", _csv(records.signs(signs))
    yield f"tables/{records.ALL}", _csv(pd.concat(every, ignore_index=True) if every else pd.DataFrame())
    if claims:
        yield "tables/claims.csv", _csv(records.claims(claims))
    yield "report.md", markdown.render(studies, claims, prefixes, partial)
    yield "report.html", page.render(studies, claims, prefixes, partial)


def _section(s: Section, pre: str) -> Iterator[tuple[str, str]]:
    t = s.table
    yield f"tables/{pre}{s.name}.csv", _csv(records.arms(t))
    yield f"tables/{pre}{s.name}.tex", latex.arms(columns(t), t, f"{t.title}: {t.protocol}")
    yield f"tables/{pre}{s.name}-stability.tex", latex.arms(stability_columns(t), t, f"Stability of {t.title}")
    drawn = {"forest": svg.stacked(s.forest), "effects": svg.stacked(s.effects_figure), "budget": s.budget_figure}
    for kind, figure in (*drawn.items(), ("curves", curves.together(s.panels, t.title))):
        if figure:
            yield f"figures/{pre}{kind}-{s.name}.svg", figure.file
    if s.effects:
        yield f"tables/{pre}{s.name}-effects.csv", _csv(records.effects(s.effects))
    if s.budgets:
        yield f"tables/{pre}{s.name}-budget.csv", _csv(records.budgets(s.budgets))


def _csv(frame: pd.DataFrame) -> str:
    return frame.to_csv(index=False, lineterminator="\n")
