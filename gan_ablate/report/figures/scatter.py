"""FID of each point of a random design against each of its settings: a panel for each model and setting."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median
from typing import Any

from gan_ablate.findings.effects import level_name
from gan_ablate.findings.points import Point, is_number
from gan_ablate.formatting import number
from gan_ablate.report.figures.svg import Drawing, Log, dot, ring, short, text

PANEL = (215, 166)  # pixels of a panel: width, height
START, END, UP, DOWN = 44, 205, 44, 128  # pixels: where its axes lie
FAILED = 34  # pixels: where points without a FID lie
INSET = 8  # pixels between an axis and the points
LOW = 0.25  # a setting whose median lies under this share of its range was drawn by its logarithm, and so is its axis


def scatter(found: Sequence[Point], titles: Sequence[str], label: str) -> Drawing | None:
    """Models one under the other, settings side by side, all on one scale of FID; `None` where every point failed."""
    fids = [fid for p in found for fid in p.fids.values() if fid is not None]
    if not fids:
        return None
    y = Log(min(fids) / 1.1, max(fids) * 1.1, DOWN, UP)
    factors = list(dict.fromkeys(name for p in found for name in p.settings))
    body = []
    for row, title in enumerate(titles):
        for column, factor in enumerate(factors):
            panel = _panel([p for p in found if title in p.fids], title, factor, y)
            body.append(f'<g transform="translate({column * PANEL[0]} {row * PANEL[1]})">{"".join(panel)}</g>')
    words = f"{label} of {len(found)} points against {', '.join(factors)}, on {', '.join(titles)}"
    return Drawing(len(factors) * PANEL[0], len(titles) * PANEL[1], words, body)


def _panel(own: Sequence[Point], title: str, factor: str, y: Log) -> list[str]:
    ticks = y.ticks()[:: max(1, len(y.ticks()) // 4)]
    body = [f'<path class="gr" d="{"".join(f"M{START} {y(t):g}H{END}" for t in ticks)}"/>']
    body += [text(START - 4, y(tick) + 4, number(tick, 2), "sm", "end") for tick in ticks]
    body.append(f'<path class="ax" d="M{START} {UP}V{DOWN}H{END}"/>')
    body += [text(START, 14, short(f"{title}, {factor}", 30), "nm"), text(START - 4, FAILED + 4, "failed", "sm", "end")]
    place, names = _axis([p.settings.get(factor) for p in own])
    body += [text(x, DOWN + 16, name, "sm", anchor) for x, name, anchor in names]
    for p in own:
        fid, x = p.fids[title], place(p.settings.get(factor))
        body.append(ring("hurts", x, FAILED, 2.8) if fid is None else dot("base", x, y(fid), 2.6))
    return body


def _axis(values: Sequence[Any]) -> tuple[Callable[[Any], float], list[tuple[float, str, str]]]:
    """Value -> its place in pixels, and what is written under the axis: (place, words, text anchor)."""
    left, right = START + INSET, END - INSET
    if not all(map(is_number, values)):
        names = list(dict.fromkeys(map(level_name, values)))
        step = (right - left) / max(1, len(names) - 1)
        at = {name: left + k * step for k, name in enumerate(names)}
        return lambda value: at[level_name(value)], [(x, short(name, 9), "middle") for name, x in at.items()]
    low, high = min(values), max(values)
    ends = [(float(START), number(low, 2), ""), (float(END), number(high, 2), "end")]
    if low > 0 and median(values) < low + LOW * (high - low):
        return Log(low, high, left, right), ends
    span = (high - low) or math.inf
    return lambda value: left + (value - low) / span * (right - left), ends
