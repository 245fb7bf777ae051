"""The section on two budgets: each arm of the second beside itself at the first."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from gan_ablate.findings.budgets import AtBoth, at_both
from gan_ablate.findings.summaries import ArmSummary
from gan_ablate.report.section import Column, Section, Table, Text
from gan_ablate.report.study import ReportedStudy
from gan_ablate.report.verdict_columns import failed_of, rank, verdict
from gan_ablate.stats.intervals import Interval
from gan_ablate.study.budgets import at

SAID = (
    "Everything was trained at the first budget, and at the second base with the arms that helped, rescued or failed "
    "more, and those that the study names. Each ratio is to base at the same steps. A verdict that changes is one of "
    "the speed of learning, or of the end, not of both; open: one of the two is undecided. Arms were chosen by their "
    "first verdict, which flatters the first ratio: part of a step towards ×1 is that."
)


def budgets(study: ReportedStudy) -> Section:
    """Where a verdict changes with the budget; no parts in a study with one budget."""
    rows = at_both(study.tables)
    labels = list(dict.fromkeys(row.table.budget for row in rows))
    anchor, title = study.scope.name("more-steps"), "Do the verdicts change with more steps?"
    if not rows:
        return Section(anchor, "More steps", title, SAID, ())
    second = " or ".join(labels)
    known = [row.changed for row in rows if row.changed is not None]
    counted = f"{sum(known)} of {len(known)} arms that both budgets decide have another verdict{at(second)}."
    columns = (
        Column("arm", lambda r: r.arm, "the trick", ("arm",)),
        Column("model", lambda r: r.title, "what was trained"),
        Column("", lambda r: (r.table.model, r.table.dataset, r.table.budget), csv=("model", "dataset", "budget")),
        Column(
            "changes", _changes, "whether both budgets decide the arm, and differently", ("changed",),
            key=lambda r: {True: 0.0, None: 1.0, False: 2.0}[r.changed],
        ),
        *_side("1x", "first", lambda r: r.first),
        *_side(second, "second", lambda r: r.second),
    )  # fmt: skip
    table = Table(
        f"Verdicts at 1x and{at(second)}", columns, rows, study.scope.name("more-steps"), kind=lambda r: _kind(r.second)
    )
    return Section(anchor, "More steps", title, SAID, (Text(counted), table), key=True)


def _side(label: str, name: str, arm: Callable[[AtBoth], ArmSummary]) -> tuple[Column, ...]:
    """Verdict, ratio and failures at one budget. name: of its columns in the CSV file."""
    return (
        Column(
            f"verdict, {label}", lambda r: arm(r).verdict, "", (f"{name}_verdict",), lambda r: verdict(arm(r)),
            lambda r: rank(arm(r)),
        ),
        Column(
            f"× base, {label}", partial(_ratio, arm), "FID over base’s at as many steps [95 % interval]",
            (f"{name}_ratio", f"{name}_low", f"{name}_high"),
        ),
        Column(f"failed, {label}", lambda r: failed_of(arm(r)), "", (f"{name}_failed",)),
    )  # fmt: skip


def _ratio(arm: Callable[[AtBoth], ArmSummary], row: AtBoth) -> Interval:
    return arm(row).ratio


def _changes(row: AtBoth) -> str:
    return {True: "yes", False: "no", None: "open"}[row.changed]


def _kind(a: ArmSummary) -> str:
    return a.verdict.replace(" ", "-")
