"""Trick x model at a glance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gan_ablate.findings.summaries import BASE, ArmSummary, ModelTable
from gan_ablate.formatting import percent
from gan_ablate.report.palette import STRONGEST
from gan_ablate.report.svg import Figure, blocks, figure, short, text

LEFT, CELL, ROW, TOP, FOOT = 220, 118, 21, 30, 16
FULL = math.log(2)  # a change by this factor has the fullest colour
MARKS = {"helps": "● ", "hurts": "■ "}


def heatmap(tables: Sequence[ModelTable], name: str) -> tuple[Figure, ...]:
    """A cell per arm and table, in blocks: colour is the change of FID, hatched where undecided, blank without a run.

    `name` makes the hatching's id unique in a page. Arms in the order of their mean log ratio, best first.
    """
    cells = [{a.arm: a for a in t.arms if a.arm != BASE and a.against is not None and a.runs} for t in tables]
    arms = list(dict.fromkeys(arm for column in cells for arm in column))
    if not arms:
        return ()
    arms.sort(key=lambda arm: _mean([column[arm] for column in cells if arm in column]))
    hatch = f"hatch-{name}"
    pattern = (
        f'<defs><pattern id="{hatch}" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)">'
        '<line class="hatch" x1="0" y1="0" x2="0" y2="6"/></pattern></defs>'
    )
    measures = _measures(tables)
    label = (
        f"Change against base of {'; '.join(measures)}, for {len(arms)} tricks on {len(tables)} models; the tables "
        "hold the same numbers"
    )
    found: list[Figure] = []
    parts, width = blocks(arms), LEFT + CELL * len(tables) + 10
    for k, part in enumerate(parts, 1):
        body = [*([] if found else [pattern]), *_block(part, tables, cells, hatch)]
        height = TOP + ROW * len(part) + 6
        for words in measures:
            height += FOOT
            body.append(text(10, height - 5, short(words, width // 6), "sm"))
        found.append(figure(width, height, label if k == 1 else f"{label}; part {k} of {len(parts)}", body))
    return tuple(found)


def _measures(tables: Sequence[ModelTable]) -> list[str]:
    """What was measured; where that differs, on what."""
    found: dict[str, list[str]] = {}
    for table in [t for t in tables if t.protocol] or tables:  # those where something was measured
        found.setdefault(table.label, []).append(table.title)
    return list(found) if len(found) == 1 else [f"{label}: {', '.join(titles)}" for label, titles in found.items()]


def _block(
    arms: Sequence[str], tables: Sequence[ModelTable], cells: Sequence[Mapping[str, ArmSummary]], hatch: str
) -> list[str]:
    body = []
    for k, table in enumerate(tables):
        body.append(text(LEFT + k * CELL + CELL / 2, TOP - 10, short(table.title, 16), "nm", "middle"))
    for row, arm in enumerate(arms):
        y = TOP + row * ROW
        body.append(text(LEFT - 10, y + 15, short(arm, 26), "nm", "end"))
        for k, column in enumerate(cells):
            if arm in column:
                body += _cell(column[arm], LEFT + k * CELL, y, hatch)
    return body


def _cell(arm: ArmSummary, x: float, y: float, hatch: str) -> list[str]:
    assert arm.against is not None
    box = f'x="{x + 1:g}" y="{y + 1:g}" width="{CELL - 2}" height="{ROW - 2}"'
    point = arm.against.ratio.point
    decided = arm.verdict in MARKS
    words = percent(point)
    found = []
    if math.isnan(arm.fid.point):
        words = "no FID"
        found.append(f'<rect class="hot" fill-opacity="{STRONGEST}" {box}/>')
    elif math.isnan(point):  # base has no FID: neither better nor worse
        words = "no ratio"
    else:
        strength = min(1.0, abs(math.log(point)) / FULL) * STRONGEST
        found.append(f'<rect class="{"cold" if point < 1 else "hot"}" fill-opacity="{strength:.2f}" {box}/>')
    if not decided:
        found.append(f'<rect fill="url(#{hatch})" fill-opacity="0.35" {box}/>')
    found.append(f'<rect class="frame" {box}/>')
    return [*found, text(x + CELL / 2, y + 15, MARKS.get(arm.verdict, "") + words, "cell", "middle")]


def _mean(arms: Sequence[ArmSummary]) -> float:
    """Mean log ratio; arms without any go last."""
    logs = [math.log(a.against.ratio.point) for a in arms if a.against and not math.isnan(a.against.ratio.point)]
    return sum(logs) / len(logs) if logs else math.inf
