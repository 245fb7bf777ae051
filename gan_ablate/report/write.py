"""From roots to the files of a report: report.html, report.md, tables/*.csv and *.tex, figures/*.svg, *.pdf, *.png."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path

from gan_ablate.claims import Verdict, judge
from gan_ablate.errors import InputError
from gan_ablate.findings.replication import Replication, compare
from gan_ablate.findings.sentences import what_was_found
from gan_ablate.publishing import put, refusing
from gan_ablate.report import (
    arm_pages,
    arm_sections,
    budgets,
    claims,
    html,
    markdown,
    points,
    protocol,
    replication,
    sections,
    table_files,
    tuning,
    verdicts,
)
from gan_ablate.report.arm_columns import all_arms
from gan_ablate.report.figures import paper
from gan_ablate.report.figures.svg import stacked
from gan_ablate.report.section import Data, Document, Figure, Names, Section, Table, distinct
from gan_ablate.report.study import ReportedStudy, study
from gan_ablate.results.frames import load
from gan_ablate.untrusted import read_regular

LEAD = (
    "Each arm is compared with base by two tests: of the FID of the runs that did not fail, and of how many fail. "
    "Ratios are FID over base’s, under 1 is better, with 95 % intervals that are not corrected for the number of arms: "
    "go by the verdicts, which are."
)
LEAD_BY_EFFECTS = (
    "Each factor’s effect is estimated from all runs, averaged over the levels of the others. Ratios are FID at a "
    "factor’s second level over FID at its first, under 1 is better, with 95 % intervals that are not corrected for "
    "the number of effects: go by the verdicts, which are."
)
LEAD_BY_POINTS = (
    "Each model was trained at the same points, drawn at random from the ranges of the study’s factors. None of them "
    "is base: what counts is how far FID moves with the settings, which of them move it, and how many points fail."
)
FINDINGS = (
    budgets.budgets, arm_sections.forest, arm_sections.heat_map, arm_sections.numbers, arm_sections.stability,
    sections.interactions, sections.curves, sections.profiles, sections.budget, arm_pages.arms,
)  # fmt: skip
BY_EFFECTS = (
    sections.interactions, arm_sections.numbers, arm_sections.stability, sections.curves, arm_pages.arms,
)  # fmt: skip
BY_POINTS = (points.settings, arm_sections.numbers, arm_sections.stability, sections.curves, arm_pages.arms)
CLOSING = (sections.signs, protocol.protocol, protocol.failures)
LIST = "tables/report-files.csv"  # tables and figures of the report that lies here
OURS = re.compile(r"tables/[\w-]+\.(csv|tex)|figures/[\w-]+\.(svg|pdf|png)", re.ASCII)


def report(
    roots: Sequence[str | PathLike[str]],
    out: str | Path | None = None,
    partial: bool = False,
    tell: Callable[[str], None] = lambda line: None,
    fresh_seeds: str | PathLike[str] | None = None,
    *,
    for_papers: bool = False,
) -> Path:
    """Writes report.html, report.md, tables/ and figures/ to `out` (default: <first root>/report).

    Returns the path of the page. Same input, same bytes. `partial`: the sweep is still running; arms without a run are
    left out, and no finished run is no error. `tell` is told what each root found, and
    which one is not finished, else. fresh_seeds: root of a replication of the one root given.
    for_papers: also each forest plot as PDF and PNG, by matplotlib.
    Raises `InputError` where there is nothing to report.
    """
    loaded = [load(root) for root in roots]
    for root, one in zip(roots, loaded, strict=True):
        begun = one.records or any(run.record for run in one.tuning)
        if not begun and not partial:
            left = f"{len(one.runs) + len(one.tuning)} to go; --partial reports anyway"
            raise InputError(f"{root}: no run has finished yet: nothing to report ({left})")
    labels = distinct(one.name for one in loaded)
    studies = [study(one, label, k, partial) for k, (one, label) in enumerate(zip(loaded, labels, strict=True))]
    told = judge(loaded) if any(one.records for one in loaded) else []
    fresh = compare(loaded[0], load(fresh_seeds)) if fresh_seeds else None
    whole = document(studies, told, partial, fresh)
    texts: dict[str, str | bytes] = dict(files(whole, "report"))  # before an older report is touched
    if for_papers:
        texts |= paper_figures(whole, studies)
    home = Path(out) if out else Path(roots[0]) / "report"
    with refusing(home, any_error=True):
        _replace(home, texts)
    for root, reported in zip(roots, studies, strict=True) if not partial else ():
        for sentence in what_was_found(reported.loaded, reported.tables):
            tell(sentence)
        if reported.left:
            left = f"{reported.left} of {len(reported.loaded.runs)} runs have no result"
            tell(f"{root}: unfinished: {left}; verdicts may change")
        elif left_to_tune := tuning.tuning_left(reported.loaded):
            tell(f"{root}: unfinished: {left_to_tune} tuning runs have no result; nothing is judged before")
    return home / "report.html"


def live_page(root: str | PathLike[str]) -> bytes:
    """The page of a partial report of a root as it stands, written nowhere. Raises `InputError` as `load` does."""
    loaded = load(root)
    studied = study(loaded, loaded.name, 0, partial=True)
    whole = document([studied], judge([loaded]) if loaded.records else [], partial=True)
    return encoded(html.page(whole, Names(whole.defined())))


def document(
    studies: Sequence[ReportedStudy], found: Sequence[Verdict], partial: bool, fresh: Replication | None = None
) -> Document:
    """The whole report. Of several roots the verdicts all come first: they are what the page is opened for."""
    by_points = all(s.by_points for s in studies)
    made = [
        *(_titled(verdicts.verdicts(s), s, studies) for s in studies),
        *([replication.replication(fresh)] if fresh else []),
        *(_titled(tuning.tuning(s), s, studies) for s in studies),
        *(_titled(make(s), s, studies) for s in studies for make in _findings(s)),
        claims.claims(found),
        *(_titled(make(s), s, studies) for s in studies for make in CLOSING),
    ]
    shown = [s for s in made if any(not isinstance(part, Data) for part in s.parts)]
    names = ", ".join(s.loaded.name for s in studies)
    return Document(
        title=names,
        kicker="gan_ablate report",
        heading=f"{names}: {'how much rests on the settings' if by_points else 'which tricks help'}?",
        lead=LEAD_BY_POINTS if by_points else LEAD_BY_EFFECTS if all(s.by_effects for s in studies) else LEAD,
        notes=[note for s in studies for note in (verdicts.unfinished(s, partial), tuning.unfinished(s)) if note],
        sections=shown,
        data=[
            all_arms(row for s in studies for row in s.rows),
            *(part for s in made if s not in shown for part in s.parts),
        ],
    )


def _findings(study: ReportedStudy) -> Sequence[Callable[[ReportedStudy], Section]]:
    """The sections that its design has something to say in."""
    return BY_EFFECTS if study.by_effects else BY_POINTS if study.by_points else FINDINGS


def _titled(section: Section, study: ReportedStudy, studies: Sequence[ReportedStudy]) -> Section:
    """With its root's name in its heading, where others have the same heading."""
    if len(studies) == 1:
        return section
    nav = f"{section.nav} · {study.label}" if section.key else ""
    return replace(section, title=f"{section.title} · {study.label}", nav=nav)


def files(document: Document, stem: str) -> Iterator[tuple[str, str]]:
    """(path in the folder, text) of every file of a report."""
    names = Names(document.defined())
    yield from ((f"tables/{names(name)}.csv", text) for name, text in table_files.csv_files(document).items())
    for part in document.walk():
        if isinstance(part, Table) and part.tex:
            yield f"tables/{names(part.tex)}.tex", table_files.latex(part)
        elif isinstance(part, Figure) and part.file:
            yield f"figures/{names(part.file)}.svg", stacked(part.drawings).file
    yield f"{stem}.md", markdown.text(document, names)
    yield f"{stem}.html", html.page(document, names)


def paper_figures(document: Document, studies: Sequence[ReportedStudy]) -> Iterator[tuple[str, bytes]]:
    """(path in the folder, content) of each model's forest plot, called as its SVG is."""
    names = Names(document.defined())
    for model in (m for s in studies for m in s.models):
        for suffix, content in paper.forest(model.table).items():
            yield f"figures/{names(model.scope.name('forest-{}'))}.{suffix}", content


def encoded(text: str | bytes) -> bytes:
    """UTF-8, whatever the locale, and for half a surrogate pair too; bytes as they are."""
    return text if isinstance(text, bytes) else text.encode(errors="backslashreplace")


def _replace(folder: Path, texts: Mapping[str, str | bytes]) -> None:
    """Writes a report's files; takes away the tables and figures of the report that was here.

    A model that is gone must not look reported. Only what that report listed goes. Raises `OSError`.
    """
    for sub in ("tables", "figures"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    before = _listed(folder)
    for name, text in texts.items():
        put(folder / name, encoded(text))
    for name in sorted(before - texts.keys()):
        (folder / name).unlink(missing_ok=True)
    put(folder / LIST, encoded("\n".join(["file", *_own(texts), ""])))


def _listed(folder: Path) -> set[str]:
    """What the list of an earlier report names; nothing where there is no list, or one that cannot be read."""
    try:
        return set(_own(read_regular(folder / LIST).decode().splitlines()))
    except (OSError, ValueError):
        return set()


def _own(names: Iterable[str]) -> list[str]:
    """Those that can be a report's tables and figures: a list may come from anyone."""
    return sorted(n for n in names if OURS.fullmatch(n))
