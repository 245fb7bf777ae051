"""The first screen: how many arms help, hurt or do neither, how sure that is, and a list of them to sort."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from gan_ablate.findings.sentences import what_was_found
from gan_ablate.findings.summaries import ModelTable
from gan_ablate.findings.verdicts import NOT_TESTED
from gan_ablate.formatting import number
from gan_ablate.recipe import BASE
from gan_ablate.report.section import Card, Cards, Column, Part, Section, Strip, Table, Text
from gan_ablate.report.study import ReportedStudy
from gan_ablate.report.summary import at_a_glance
from gan_ablate.report.verdict_columns import ARM, FAILED_SHORT, IMPROVING, RATIO, TO_DECIDE, VERDICT, rank
from gan_ablate.stats.two_part import VERDICTS
from gan_ablate.study.seed_plan import plan_of

ERRORS = (
    "Of the verdicts of a table at most 5 % are expected to be wrong; those marked certain hold all together with a "
    "probability of 95 %."
)
STOPPED = (
    "Arms stopped at the look that decided them, so effects that were found early are overstated: a FID 25 % lower in "
    "truth by 1.4 % in simulations."
)
NO_BASE = "There is no base that arms are compared with: what counts is how FID is spread over them."
BY_EFFECTS = (
    "The runs of this design tell of its factors, each averaged over all levels of the others, not of single arms."
)
MODEL = Column("model", lambda r: r.table.title, "what was trained")


def verdicts(study: ReportedStudy) -> Section:
    """Three sentences of findings, a card of counts per model, the study at a glance, then every arm in one list."""
    findings = (Text(sentence) for sentence in what_was_found(study.loaded, study.tables))
    table = [found] if (found := listed(study)) else []
    counts = () if study.by_points else (cards(study),)
    parts: tuple[Part, ...] = (*findings, *counts, *at_a_glance(study), *table)
    anchor = study.scope.name("verdicts")
    stopped = f" {STOPPED}" if plan_of(study.loaded.source) else ""
    return Section(anchor, "Verdicts", "Verdicts", summary(study.tables) + stopped, parts, key=True, kind="verdicts")


def cards(study: ReportedStudy) -> Cards:
    """A card of counts per model."""
    return Cards([Card(m.table.title, m.scope.name("{}"), list(_counts(m.table))) for m in study.models])


def summary(tables: Sequence[ModelTable]) -> str:
    """How many tests there are, and how sure their verdicts."""
    tested = [a for t in tables for a in t.arms if a.rests_on and a.verdict != NOT_TESTED]
    left = sum(len(t.with_verdict(NOT_TESTED)) for t in tables)
    if tables and all(t.by_effects for t in tables):
        return BY_EFFECTS
    if not tested and tables and all(t.base is None and t.arms for t in tables):
        return NO_BASE
    if not tested:
        return f"None of {left} arms could be tested." if left else "Nothing to compare yet."
    runs = sorted({a.rests_on.finished for a in tested if a.rests_on})  # made, not planned
    over = f"{runs[0]}" if len(runs) == 1 else f"{runs[0]} to {runs[-1]}"
    rest = f" {left} {'arm' if left == 1 else 'arms'} not tested." if left else ""
    return f"{len(tested)} tests of an arm on a model, over {over} runs each.{rest} {ERRORS}"


def unfinished(study: ReportedStudy, partial: bool) -> str:
    """What a reader of an unfinished sweep must know first; empty when all runs are in."""
    if not study.left:
        return ""
    n = len(study.loaded.runs)
    per_model = "; ".join(
        f"{model} {int((part != 'missing').sum())}/{len(part)}"
        for model, part in study.loaded.runs.groupby("model", sort=False)["outcome"]
    )
    if partial:
        return (
            f"Partial report of {study.loaded.name}, a sweep still running: {n - study.left} of {n} runs are in "
            f"({per_model}). Arms without a run are left out of the tables, though the corrections count them. "
            "Verdicts may change; to stop the sweep at a verdict that pleases would make it worth less than it says."
        )
    return (
        f"Unfinished: only {n - study.left} of {n} runs of {study.loaded.name} have a result ({per_model}). Every "
        "verdict below may change. If the sweep is still running, --partial leaves out the arms that have not begun."
    )


def _counts(table: ModelTable) -> Iterator[Part]:
    """The warnings first, then how many arms have each verdict."""
    for said in warnings(table):
        yield Text(said, "note")
    if table.verdicts is None or not table.family:
        runs = f"{sum(a.runs for a in table.arms)} runs over {len(table.arms)} combinations of levels."
        yield Text(runs if table.by_effects else "Nothing to compare yet." if table.base else NO_BASE, "sub")
        return
    yield Text(_base(table), "sub")
    if limit := table.verdicts.base_is_the_limit:
        yield Text(f"{limit[:1].upper()}{limit[1:]}.", "sub")
    yield Strip([(name, len(table.with_verdict(name))) for name in VERDICTS])


def listed(study: ReportedStudy) -> Table | None:
    """Every arm by verdict, from helps to hurts, and of each by ratio; `None` where nothing was judged."""
    anchors = {(m.table.title, m.table.protocol, arm): name for m in study.models for arm, name in m.anchors.items()}
    rows = [r for r in study.rows if r.arm.arm != BASE]
    if not any(r.arm.judged for r in rows):
        return None
    several = len(study.models) > 1
    return Table(
        f"Every arm{' of every model' * several} by verdict",
        (ARM, VERDICT, *[MODEL] * several, RATIO, FAILED_SHORT, TO_DECIDE, IMPROVING),
        sorted(rows, key=lambda r: (rank(r.arm), math.isnan(r.arm.ratio.point), r.arm.ratio.point)),
        link=lambda r: anchors[r.table.title, r.table.protocol, r.arm.arm],
        kind=lambda r: r.arm.verdict.replace(" ", "-"),
    )


def warnings(table: ModelTable) -> list[str]:
    """What to know before a table's verdicts: that base cannot carry "helps", that a look is under way, that base has
    not settled."""
    if (found := table.verdicts) is None:
        return []
    cannot = ": it cannot carry verdicts of “helps”. More seeds of base help every arm"
    told = (found.objection and found.objection + cannot, found.early, found.unsettled)
    return [f"{said[:1].upper()}{said[1:]}." for said in told if said]


def _base(table: ModelTable) -> str:
    """What stands over the counts."""
    base, left = table.base, len(table.with_verdict(NOT_TESTED))
    if base is None:
        return ""
    rest = f"; {left} {'arm' if left == 1 else 'arms'} not tested" if left else ""
    return f"base: {table.label} {number(base.fid.point)}, {base.failures}/{base.runs} failed{rest}"
