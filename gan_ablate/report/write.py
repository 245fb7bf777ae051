"""Writes a report's files: report.html, report.md, tables/*.csv, figures/*.svg."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from gan_ablate.errors import InputError
from gan_ablate.report import figures, markdown, page
from gan_ablate.report.analysis import BASE, ModelTable, tables
from gan_ablate.report.frames import Loaded, load
from gan_ablate.report.samples import Grid, grids
from gan_ablate.report.text import slug

UTF8: Any = {"encoding": "utf-8", "errors": "backslashreplace"}  # whatever the locale, and for lone surrogates too


@dataclass(frozen=True)
class Section:
    """One model under one protocol, with its pictures."""

    table: ModelTable
    name: str  # for file names and anchors
    forest: str  # SVG, empty where nothing is compared
    curves: str
    grids: dict[str, list[Grid]]


@dataclass(frozen=True)
class Study:
    """One root's part of a report."""

    loaded: Loaded
    sections: tuple[Section, ...]


def write(roots: Sequence[str | Path], out: str | Path | None) -> Path:
    """All files of a report on `roots`, in `out` (default: <first root>/report); returns the page's path."""
    studies = []
    for root in roots:
        loaded = load(root)
        if not loaded.records:
            raise InputError(f"{root}: no run has finished yet: nothing to report ({len(loaded.runs)} to go)")
        studies.append(Study(loaded, tuple(_sections(loaded))))
    folder = Path(out) if out else Path(roots[0]) / "report"
    try:
        for sub in ("tables", "figures"):
            (folder / sub).mkdir(parents=True, exist_ok=True)
        for study in studies:
            prefix = f"{slug(study.loaded.name)}-" if len(studies) > 1 else ""
            study.loaded.runs.to_csv(folder / "tables" / f"{prefix}runs.csv", index=False, **UTF8)
            for section in study.sections:
                _frame(section.table).to_csv(folder / "tables" / f"{prefix}{section.name}.csv", index=False, **UTF8)
                for kind, svg in (("forest", section.forest), ("curves", section.curves)):
                    if svg:
                        (folder / "figures" / f"{prefix}{kind}-{section.name}.svg").write_text(svg, **UTF8)
        (folder / "report.md").write_text(markdown.render(studies), **UTF8)
        (folder / "report.html").write_text(page.render(studies), **UTF8)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror or error}") from None
    return folder / "report.html"


def _sections(loaded: Loaded) -> Iterator[Section]:
    every, spent = tables(loaded), 0
    names: dict[str, int] = {}
    pictures: list[tuple[ModelTable, str, dict[str, list[Grid]]]] = []
    for table in every:
        stem = slug(table.model)
        names[stem] = names.get(stem, 0) + 1
        name = stem if names[stem] == 1 else f"{stem}-{names[stem]}"
        rows = loaded.runs[(loaded.runs["model"] == table.model) & (loaded.runs["protocol"] == table.protocol)]
        found: dict[str, list[Grid]] = {}
        for arm in table.arms:
            # an arm's two grids come together or not at all, so that no one picks the pretty one
            own = grids(loaded, rows[rows["arm"] == arm.arm], spent)
            spent += sum(len(g.uri) for g in own)
            found[arm.arm] = own
        pictures.append((table, name, found))
    for table, name, found in pictures:
        points = _points(loaded, table)
        arms = [a.arm for a in table.arms if a.runs]
        forest = figures.forest(table) if any(a.against and a.runs for a in table.arms) else ""
        yield Section(table, name, forest, figures.curves(points, arms) if BASE in arms else "", found)


def _points(loaded: Loaded, table: ModelTable) -> pd.DataFrame:
    ids = set(loaded.runs.loc[loaded.runs["protocol"] == table.protocol, "run_id"])
    chosen = loaded.curves["run_id"].isin(ids) & (loaded.curves["model"] == table.model)
    return loaded.curves[chosen & (loaded.curves["step"] > 0)]


def _frame(table: ModelTable) -> pd.DataFrame:
    rows = []
    for a in table.arms:
        c = a.against
        rows.append(
            {
                "model": table.model,
                "arm": a.arm,
                "metric": table.label,
                "runs": a.runs,
                "missing": a.missing,
                "failures": a.failures,
                "outcomes": a.outcomes,
                "fid": a.fid.point,
                "fid_low": a.fid.low,
                "fid_high": a.fid.high,
                "is_mean": a.is_mean.point,
                "is_low": a.is_mean.low,
                "is_high": a.is_mean.high,
                "kid": a.kid,
                "modes": a.modes,
                "ratio": c.ratio.point if c else math.nan,
                "ratio_low": c.ratio.low if c else math.nan,
                "ratio_high": c.ratio.high if c else math.nan,
                "test": c.test if c else "",
                "p": c.p if c else math.nan,
                "p_holm": a.p_holm,
                "pair_correlation": c.correlation if c else math.nan,
                "detectable_ratio": c.detectable if c else math.nan,
                "probability_of_improvement": a.improvement,
                "verdict": a.verdict,
                "final_over_best": a.final_over_best,
                "seconds": a.seconds,
                "protocol": table.protocol,
            }
        )
    return pd.DataFrame(rows)
