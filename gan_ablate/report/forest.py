"""Forest plots: ratios with their intervals, one row each, on a logarithmic axis."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from gan_ablate.findings.summaries import ModelTable
from gan_ablate.report.svg import Figure, Log, blocks, doublings, figure, line, mark, short, text, times
from gan_ablate.stats.factorial import Factorial
from gan_ablate.stats.intervals import Interval

WIDTH, LEFT, RIGHT, ROW = 720, 210, 84, 22
FURTHEST = 64.0  # an interval beyond leaves the picture; the table has its numbers
NO_FID = "no FID"  # every run failed without one


class Axis(NamedTuple):
    """What is written along the axis."""

    name: str
    better: str
    worse: str


@dataclass(frozen=True)
class Row:
    """One line of a forest plot."""

    name: str
    ratio: Interval
    verdict: str
    absent: str  # what stands in place of a ratio that is not there
    aside: str = ""


def forest(table: ModelTable) -> tuple[Figure, ...]:
    """Ratio of FID to base's, per arm; left of 1 is better."""
    rows = [
        Row(
            a.arm,
            a.against.ratio,
            a.verdict,
            NO_FID if math.isnan(a.fid.point) else "no ratio: base has no FID",
            f"{a.failures}/{a.runs} failed" if a.failures else "",
        )
        for a in table.arms
        if a.against is not None and a.runs
    ]
    label = f"{table.title}: ratio of {table.label} to that of base for {len(rows)} arms, with 95 % intervals"
    return draw(rows, label, Axis(f"{table.label}, × that of base", "← better than base", "worse →"))


def effects(found: Factorial, title: str, alpha: float, label: str = "FID") -> tuple[Figure, ...]:
    """Main effects, then interactions, of a factorial design."""
    rows = []
    for e in found.effects:
        sure = e.p_holm < alpha and not math.isnan(e.ratio.point)
        kind = ("helps" if e.ratio.point < 1 else "hurts") if sure else "undecided"
        rows.append(Row(e.name, e.ratio, kind, "not estimable"))
    axis = Axis(f"{label}, high level over low", "← better at the high level", "worse →")
    return draw(rows, f"{title}: effect of each factor on {label}", axis)


def draw(rows: Sequence[Row], label: str, axis: Axis) -> tuple[Figure, ...]:
    """The plot, in blocks on one scale; none without rows."""
    if not rows:
        return ()
    seen = [v for r in rows for v in r.ratio if math.isfinite(v) and v > 0]
    low, high = max(min([0.5, *seen]), 1 / FURTHEST), min(max([2.0, *seen]), FURTHEST)
    x = Log(low, high, LEFT, WIDTH - RIGHT)
    parts = blocks(rows)
    names = [label, *(f"{label}; part {k} of {len(parts)}" for k in range(2, len(parts) + 1))]
    return tuple(_block(part, x, name, axis) for part, name in zip(parts, names, strict=True))


def _block(rows: Sequence[Row], x: Log, label: str, axis: Axis) -> Figure:
    bottom = 28 + ROW * len(rows) + 2
    height = bottom + 42
    body = []
    for tick in doublings(x.low, x.high):
        body.append(line("ax" if tick == 1 else "gr", x(tick), 20, x(tick), bottom))
        body.append(text(x(tick), bottom + 17, times(tick), "", "middle"))
    body.append(text((LEFT + WIDTH - RIGHT) / 2, height - 6, axis.name, "", "middle"))
    body += [text(x(1) - 8, 13, axis.better, "", "end"), text(x(1) + 8, 13, axis.worse)]
    for k, row in enumerate(rows):
        y, r = 28 + ROW * k + ROW / 2, row.ratio
        kind = row.verdict if row.verdict in ("helps", "hurts") else "undecided"
        body.append(text(LEFT - 12, y + 4, short(row.name, 26), "nm", "end"))
        if math.isfinite(r.low):
            body.append(line(kind, x(r.low), y, x(r.high), y, ' stroke-width="2"'))
        if math.isnan(r.point) and row.absent == NO_FID:  # worse than any ratio, so at the right edge
            body.append(text(WIDTH - RIGHT, y + 4, row.absent, "", "end"))
        elif math.isnan(r.point):
            body.append(text(x(1) + 8, y + 4, row.absent))
        else:
            body.append(mark(kind, x(r.point), y))
        if row.aside:
            body.append(text(WIDTH - RIGHT + 8, y + 4, row.aside, "sm"))
    return figure(WIDTH, height, label, body)
