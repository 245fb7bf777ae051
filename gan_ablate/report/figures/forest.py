"""The forest plot of a model: its runs as dots, its failures as rings, and each arm's ratio to base beside them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gan_ablate.findings.summaries import ArmSummary, ModelTable
from gan_ablate.formatting import number
from gan_ablate.recipe import BASE
from gan_ablate.report.figures.svg import (
    Drawing,
    Log,
    arm_name,
    blocks,
    dot,
    doublings,
    line,
    mark,
    rectangle,
    ring,
    style,
    text,
    times,
)
from gan_ablate.stats.two_part import Runs

WIDTH, ROW, TOP = 900, 22, 40
NAMES = 182  # where the names end
DOTS, FAILED, RATIOS = (196, 382), (394, 486), (502, 768)  # from where to where each part reaches
ASIDE = 778
FURTHEST = 64.0  # an interval beyond leaves the picture; the table has its numbers


class Line(NamedTuple):
    """One arm."""

    arm: ArmSummary
    runs: Runs  # what its verdict rests on


class Axes(NamedTuple):
    """Both scales, the same for all blocks of a plot."""

    fid: Log | None  # None where no run has a FID
    ratio: Log
    margin: float
    base: float  # mean FID of base's runs that did not fail; NaN without any
    label: str  # of the FID


def lines(table: ModelTable, arms: Sequence[ArmSummary] | None = None) -> list[Line]:
    """Base, then every arm that was judged, from the best ratio to the worst; empty where there is none.

    arms: some of the table's.
    """
    found, base = table.verdicts, table.base
    judged = [Line(a, a.rests_on) for a in (table.arms if arms is None else arms) if a.rests_on]
    return [Line(base, found.base), *judged] if found is not None and base is not None and judged else []


def forest(table: ModelTable, some: Sequence[ArmSummary] | None = None) -> tuple[Drawing, ...]:
    """In blocks that repeat base and the axes; none without arms that were judged. some: of the table's arms."""
    if not (rows := lines(table, some)) or table.verdicts is None:
        return ()
    axes = axes_of(rows, table.verdicts.margin, table.label)
    first, arms = rows[0], rows[1:]
    label = (
        f"{table.title}: {table.label} of each run, failed runs, and the ratio to base with its 95 % interval, for "
        f"{len(arms)} arms"
    )
    parts = blocks(arms)
    names = [label, *(f"{label}; part {k} of {len(parts)}" for k in range(2, len(parts) + 1))]
    return tuple(_block([first, *part], axes, name) for part, name in zip(parts, names, strict=True))


def axes_of(lines: Sequence[Line], margin: float, label: str) -> Axes:
    """Scales that hold every row of `lines`, base first. label: of the FID."""
    logs = [x for each in lines for x in each.runs.log_fid]
    pad = 0.04 * (max(logs) - min(logs)) + 0.02 if logs else 0.0
    fid = Log(math.exp(min(logs) - pad), math.exp(max(logs) + pad), *DOTS) if logs else None
    seen = [v for each in lines for v in each.arm.ratio if math.isfinite(v) and v > 0]
    low, high = max(min([0.5, *seen]), 1 / FURTHEST), min(max([2.0, *seen]), FURTHEST)
    own = lines[0].runs.log_fid
    return Axes(fid, Log(low, high, *RATIOS), margin, math.exp(np.mean(own)) if own else math.nan, label)


def _block(lines: Sequence[Line], axes: Axes, label: str) -> Drawing:
    bottom = TOP + ROW * len(lines) + 2
    body = [*_grid(axes, bottom)]
    for k, each in enumerate(lines):
        y = TOP + ROW * k + ROW / 2
        body.append(arm_name(NAMES, y + 4, each.arm.arm, "end", most=30, large=21))
        body += _dots(each, axes, y)
        body += _failed(each.runs, y)
        body += _ratio(each, axes, y)
    return Drawing(WIDTH, bottom + 42, label, body)


def _grid(axes: Axes, bottom: float) -> list[str]:
    """Headings, ticks, the zone of the margin and the line of base."""
    x, low, high = axes.ratio, RATIOS[0], RATIOS[1]
    zone = x(1 / axes.margin), x(axes.margin)
    body = [rectangle("zone", zone[0], TOP, zone[1] - zone[0], bottom - TOP)]
    for tick in doublings(x.low, x.high):
        body.append(line("ax" if tick == 1 else "gr", x(tick), TOP, x(tick), bottom))
        body.append(text(x(tick), bottom + 17, times(tick), "", "middle"))
    body.append(text(x(1) - 8, TOP - 22, "← better", "", "end"))
    body.append(text(x(1) + 8, TOP - 22, "worse →"))
    body.append(text(x(1), TOP - 7, f"same within ×{axes.margin:g}", "sm", "middle"))
    body.append(text((low + high) / 2, bottom + 36, "× that of base", "", "middle"))
    body.append(text(FAILED[0], TOP - 7, "failed runs", "sm"))
    body.append(text(ASIDE, TOP - 7, "certain, or to decide", "sm"))
    if axes.fid is not None:
        for tick in axes.fid.ticks():
            body.append(line("gr", axes.fid(tick), TOP, axes.fid(tick), bottom))
            body.append(text(axes.fid(tick), bottom + 17, number(tick, 2), "", "middle"))
        if not math.isnan(axes.base):
            at = axes.fid(axes.base)
            body.append(line("base dash", at, TOP, at, bottom))
        body.append(text((DOTS[0] + DOTS[1]) / 2, bottom + 36, axes.label, "", "middle"))
    return body


def _dots(each: Line, axes: Axes, y: float) -> list[str]:
    """A dot per run, in the order of its seeds from top to bottom, so that equal ones do not hide each other."""
    if axes.fid is None:
        return []
    n, kind = len(each.runs.log_fid), "base" if each.arm.arm == BASE else style(each.arm.verdict)
    spread = [0.0] if n == 1 else [12 * k / (n - 1) - 6 for k in range(n)]
    return [dot(kind, axes.fid(math.exp(x)), y + dy, 2.2) for x, dy in zip(each.runs.log_fid, spread)]


def _failed(runs: Runs, y: float) -> list[str]:
    """A ring per failed run, closer together where there are many, and k/n."""
    room = FAILED[1] - FAILED[0] - 40
    step = min(8.0, room / max(runs.failed, 1))
    rings = [ring("hurts", FAILED[0] + 4 + step * k, y, 3) for k in range(runs.failed)]
    said = text(FAILED[1], y + 4, f"{runs.failed}/{runs.finished}", "sm", "end")
    return [*rings, said]


def _ratio(each: Line, axes: Axes, y: float) -> list[str]:
    """The ratio with its interval, or why there is none; and what stands beside it."""
    a, x, r = each.arm, axes.ratio, each.arm.ratio
    if a.arm == BASE:
        return [text(x(1) + 8, y + 4, "base", "sm")]
    body = []
    if math.isfinite(r.low):
        body.append(line(style(a.verdict), x(r.low), y, x(r.high), y, ' stroke-width="2"'))
    if not math.isnan(r.point):
        body.append(mark(a.verdict, x(r.point), y))
    elif not each.runs.log_fid:  # worse than any ratio, so at the right edge
        body += [mark(a.verdict, RATIOS[1] - 6, y), text(RATIOS[1] - 16, y + 4, "every run failed", "", "end")]
    else:
        body.append(text(x(1) + 8, y + 4, "no ratio: base has no FID"))
    seeds, of_base, _ = a.to_decide.partition(" and ")  # the tables have it whole; here it would not fit
    aside = "certain" if a.certain else f"{seeds} + base" if of_base else seeds
    return [*body, text(ASIDE, y + 4, aside, "sm")] if aside else body
