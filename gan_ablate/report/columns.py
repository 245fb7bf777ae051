"""The columns of a model's table, the same in Markdown and HTML: heading, what it means, and the cell's text."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from gan_ablate.report.analysis import BASE, ArmSummary, ModelTable
from gan_ablate.report.text import NOTHING, interval, number, p_value


@dataclass(frozen=True)
class Column:
    """One column."""

    heading: str
    meaning: str
    cell: Callable[[ArmSummary], str]


def columns(table: ModelTable) -> list[Column]:
    """The columns that this table has something to say in."""
    return [
        Column("arm", "the trick that is added to base, or taken away", lambda a: a.arm),
        Column(
            "verdict",
            "by Holm-corrected p under 0.05; could miss: the smallest ratio found with 80 % power at 0.05 over the "
            "number of arms",
            _verdict,
        ),
        Column(table.label, "geometric mean over seeds [95 % interval of it]", lambda a: interval(a.fid)),
        Column("× base", "ratio of FIDs, arm over base [95 % interval]; under 1 is better", _ratio),
        Column("p (Holm)", "two-sided, corrected over the arms of this model", lambda a: p_value(a.p_holm)),
        *(
            [Column("modes", "classes covered, mean over seeds", lambda a: number(a.modes))]
            if any(not math.isnan(a.modes) for a in table.arms)
            else []
        ),
        Column("failed", "collapsed, diverged or crashed [95 % Wilson interval of the rate]", _failed),
        Column("test", "paired t or Welch on log FID, or ranks; r is the correlation over seeds", _test),
        Column("IS", "inception score, mean over seeds [95 % interval]", lambda a: interval(a.is_mean)),
        Column("KID", "mean over seeds", lambda a: number(a.kid)),
        Column(
            "final/best", "final FID over the best one of the run: 1 is stable", lambda a: number(a.final_over_best)
        ),
        Column("s/run", "seconds, evaluation included", lambda a: number(a.seconds)),
    ]


def _verdict(a: ArmSummary) -> str:
    if a.arm == BASE:
        return "base"
    if a.verdict == "undecided" and a.against and not math.isnan(a.against.detectable):
        size = a.against.detectable
        return "undecided (too few runs)" if size > 100 else f"undecided (could miss ×{number(size)})"
    return a.verdict


def _ratio(a: ArmSummary) -> str:
    return "1" if a.arm == BASE else interval(a.against.ratio) if a.against else NOTHING


def _test(a: ArmSummary) -> str:
    if a.against is None or not a.against.test:
        return NOTHING
    r = "" if math.isnan(a.against.correlation) else f", r {a.against.correlation:.2f}"
    return f"{a.against.test}, n {a.against.n}{r}"


def _failed(a: ArmSummary) -> str:
    if not a.runs:
        return f"not run yet ({a.missing})"
    left = f"; {a.missing} to go" if a.missing else ""
    rate = a.failure_rate
    return f"{a.failures}/{a.runs} [{rate.low * 100:.0f}–{rate.high * 100:.0f} %]{left}"
