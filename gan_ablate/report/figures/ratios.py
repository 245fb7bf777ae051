"""Ratios on a logarithmic axis: the effects of factors, and the heat map of tricks by models."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from gan_ablate.findings.summaries import ArmSummary, ModelTable
from gan_ablate.formatting import percent
from gan_ablate.recipe import BASE
from gan_ablate.report.figures.svg import (
    MARKS,
    STRONGEST,
    Drawing,
    Log,
    blocks,
    doublings,
    line,
    mark,
    short,
    style,
    text,
    times,
)
from gan_ablate.stats.factorial import Factorial
from gan_ablate.stats.intervals import Interval
from gan_ablate.stats.two_part import VERDICTS

WIDTH, LEFT, RIGHT, ROW = 720, 210, 84, 22
FURTHEST = 64.0  # an interval beyond leaves the picture; the table has its numbers


class Axis(NamedTuple):
    """What is written along the axis."""

    name: str
    better: str
    worse: str


class Row(NamedTuple):
    """One line of the plot."""

    name: str
    ratio: Interval
    verdict: str
    absent: str  # what stands in place of a ratio that is not there


def effects(found: Factorial, title: str, alpha: float, label: str = "FID") -> tuple[Drawing, ...]:
    """Main effects, then interactions, of a factorial design."""
    rows = []
    for e in found.effects:
        sure = e.p_holm < alpha and not math.isnan(e.ratio.point)
        kind = ("helps" if e.ratio.point < 1 else "hurts") if sure else "undecided"
        rows.append(Row(e.name, e.ratio, kind, "not estimable"))
    axis = Axis(f"{label}, high level over low", "← better at the high level", "worse →")
    return draw(rows, f"{title}: effect of each factor on {label}", axis)


def draw(rows: Sequence[Row], label: str, axis: Axis) -> tuple[Drawing, ...]:
    """The plot, in blocks on one scale; none without rows."""
    if not rows:
        return ()
    seen = [v for r in rows for v in r.ratio if math.isfinite(v) and v > 0]
    low, high = max(min([0.5, *seen]), 1 / FURTHEST), min(max([2.0, *seen]), FURTHEST)
    x = Log(low, high, LEFT, WIDTH - RIGHT)
    parts = blocks(rows)
    names = [label, *(f"{label}; part {k} of {len(parts)}" for k in range(2, len(parts) + 1))]
    return tuple(_block(part, x, name, axis) for part, name in zip(parts, names, strict=True))


def _block(rows: Sequence[Row], x: Log, label: str, axis: Axis) -> Drawing:
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
        kind = style(row.verdict)
        body.append(text(LEFT - 12, y + 4, short(row.name, 26), "nm", "end"))
        if math.isfinite(r.low):
            body.append(line(kind, x(r.low), y, x(r.high), y, ' stroke-width="2"'))
        if math.isnan(r.point):
            body.append(text(x(1) + 8, y + 4, row.absent))
        else:
            body.append(mark(row.verdict, x(r.point), y))
    return Drawing(WIDTH, height, label, body)


NAMES, CELL, LOW, TOP, FOOT = 220, 118, 21, 30, 16  # pixels of the heat map
FULL = math.log(2)  # a change by this factor has the fullest colour


def heatmap(tables: Sequence[ModelTable], name: str) -> tuple[Drawing, ...]:
    """A cell per arm and table, in blocks: colour is the change of FID, hatched where undecided, blank without a run.

    `name` is the hatching's id, unique in a page. Arms in the order of their mean log ratio, best first.
    """
    cells = [{a.arm: a for a in t.arms if a.arm != BASE and a.judged is not None} for t in tables]
    arms = list(dict.fromkeys(arm for column in cells for arm in column))
    if not arms:
        return ()
    arms.sort(key=lambda arm: _mean([column[arm] for column in cells if arm in column]))
    pattern = (
        f'<defs><pattern id="{name}" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<line class="hatch" x1="0" y1="0" x2="0" y2="6"/></pattern></defs>'
    )
    measures = _measures(tables)
    label = (
        f"Change against base of {'; '.join(measures)}, for {len(arms)} tricks on {len(tables)} models; the tables "
        "hold the same numbers"
    )
    found: list[Drawing] = []
    parts, width = blocks(arms), NAMES + CELL * len(tables) + 10
    for k, part in enumerate(parts, 1):
        body = [*([] if found else [pattern]), *_cells(part, tables, cells, name)]
        height = TOP + LOW * len(part) + 6
        for words in measures:
            height += FOOT
            body.append(text(10, height - 5, short(words, width // 6), "sm"))
        found.append(Drawing(width, height, label if k == 1 else f"{label}; part {k} of {len(parts)}", body))
    return tuple(found)


def _measures(tables: Sequence[ModelTable]) -> list[str]:
    """What was measured; where that differs, on what."""
    found: dict[str, list[str]] = {}
    for table in [t for t in tables if t.protocol] or tables:  # those where something was measured
        found.setdefault(table.label, []).append(table.title)
    return list(found) if len(found) == 1 else [f"{label}: {', '.join(titles)}" for label, titles in found.items()]


def _cells(
    arms: Sequence[str], tables: Sequence[ModelTable], cells: Sequence[Mapping[str, ArmSummary]], hatch: str
) -> list[str]:
    body = []
    for k, table in enumerate(tables):
        body.append(text(NAMES + k * CELL + CELL / 2, TOP - 10, short(table.title, 16), "nm", "middle"))
    for row, arm in enumerate(arms):
        y = TOP + row * LOW
        body.append(text(NAMES - 10, y + 15, short(arm, 26), "nm", "end"))
        for k, column in enumerate(cells):
            if arm in column:
                body += _cell(column[arm], NAMES + k * CELL, y, hatch)
    return body


def _cell(arm: ArmSummary, x: float, y: float, hatch: str) -> list[str]:
    box = f'x="{x + 1:g}" y="{y + 1:g}" width="{CELL - 2}" height="{LOW - 2}"'
    point = arm.ratio.point
    decided = arm.verdict in VERDICTS and arm.verdict != "undecided"
    words = percent(point)
    found = []
    if math.isnan(arm.fid.point):
        words = "all failed"
        found.append(f'<rect class="hot" fill-opacity="{STRONGEST}" {box}/>')
    elif math.isnan(point):  # base has no FID: neither better nor worse
        words = "no ratio"
    else:
        strength = min(1.0, abs(math.log(point)) / FULL) * STRONGEST
        found.append(f'<rect class="{"cold" if point < 1 else "hot"}" fill-opacity="{strength:.2f}" {box}/>')
    if not decided:
        found.append(f'<rect fill="url(#{hatch})" fill-opacity="0.35" {box}/>')
    found.append(f'<rect class="frame" {box}/>')
    words = f"{MARKS[arm.verdict]} {words}" if decided else words
    return [*found, text(x + CELL / 2, y + 15, words, "cell", "middle")]


def _mean(arms: Sequence[ArmSummary]) -> float:
    """Mean log ratio; arms without any go last."""
    logs = [math.log(a.ratio.point) for a in arms if not math.isnan(a.ratio.point)]
    return sum(logs) / len(logs) if logs else math.inf
