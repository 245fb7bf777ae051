"""FID against generator steps: one small panel per arm, all of a model to one scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gan_ablate.findings.summaries import BASE
from gan_ablate.formatting import number
from gan_ablate.report.svg import Figure, Log, figure, polygon, polyline, short, text
from gan_ablate.stats.intervals import t_interval

WIDTH, HEIGHT, LEFT, RIGHT, TOP, FOOT = 240, 162, 40, 10, 36, 24
COLUMNS = 4


@dataclass(frozen=True)
class Curves:
    """One arm's evaluations."""

    seeds: tuple[np.ndarray, ...]  # each (points, 2): step, FID
    mean: np.ndarray  # (steps, 4): step, geometric mean of FID, 95 % t interval of it (NaN with one seed)


def gather(points: pd.DataFrame) -> dict[str, Curves]:
    """Curves by arm from rows with arm, seed, step, fid."""
    kept = points[(points["fid"] > 0) & (points["step"] > 0)]
    return {str(arm): _curves(part) for arm, part in kept.groupby("arm", sort=False)}


def _curves(part: pd.DataFrame) -> Curves:
    table = part[["seed", "step", "fid"]].to_numpy(dtype=float)
    seeds = tuple(table[table[:, 0] == s][:, 1:] for s in np.unique(table[:, 0]))
    rows = []
    for step in np.unique(table[:, 1]):
        middle = t_interval(np.log(table[table[:, 1] == step][:, 2]))
        rows.append((step, *np.exp(middle)))
    return Curves(seeds, np.array(rows))


def panels(curves: Mapping[str, Curves], arms: Sequence[str], label: str = "FID") -> dict[str, Figure]:
    """A panel for each of `arms` that has curves. `label` names what was measured."""
    if not curves:
        return {}
    every = np.concatenate([s for c in curves.values() for s in c.seeds])  # (n, 2)
    low, high = float(every[:, 1].min()) / 1.1, float(every[:, 1].max()) * 1.1
    y = Log(low, high, HEIGHT - FOOT, TOP)
    last = float(every[:, 0].max())
    frame = _frame(y, last, label)
    return {a: _panel(a, curves[a], curves.get(BASE), y, last, frame, label) for a in arms if a in curves}


def _frame(y: Log, last: float, label: str) -> list[str]:
    ticks = y.ticks()[:: max(1, len(y.ticks()) // 4)]
    # one path for all: a page may hold hundreds of these
    body = [f'<path class="gr" d="{"".join(f"M{LEFT} {y(t):g}H{WIDTH - RIGHT}" for t in ticks)}"/>']
    body += [text(LEFT - 4, y(tick) + 4, number(tick, 1), "sm", "end") for tick in ticks]
    body.append(text(LEFT, TOP - 8, short(label, 36), "sm"))
    body.append(f'<path class="ax" d="M{LEFT} {TOP}V{HEIGHT - FOOT}H{WIDTH - RIGHT}"/>')
    return [*body, text(WIDTH - RIGHT, HEIGHT - 8, f"{last:.0f} steps", "sm", "end")]


def _panel(  # noqa: PLR0917
    arm: str, own: Curves, base: Curves | None, y: Log, last: float, frame: list[str], label: str
) -> Figure:
    def x(step: float) -> float:
        return LEFT + step / last * (WIDTH - LEFT - RIGHT)

    def band(cls: str, rows: np.ndarray) -> list[str]:
        rows = rows[np.isfinite(rows[:, 2:]).all(axis=1)]
        if len(rows) < 2:
            return []
        there, back = ([(x(r[0]), y(r[k])) for r in rows] for k in (3, 2))
        return [polygon(cls, [*there, *reversed(back)])]

    def path(cls: str, rows: np.ndarray) -> list[str]:
        if len(rows) == 1:  # one evaluation is a point, not a line
            return [
                f'<circle class="{cls.removesuffix(" dash")}" cx="{x(rows[0][0]):.1f}" cy="{y(rows[0][1])}" r="2"/>'
            ]
        return [polyline(cls, [(x(r[0]), y(r[1])) for r in rows])]

    body = [*frame, text(LEFT, 14, short(arm, 27), "nm")]
    kind = "base" if arm == BASE else "arm"
    body += band("bband" if arm == BASE else "band", own.mean)
    for seed in own.seeds:
        body += path(f"thin {kind}", seed)
    if base is not None and arm != BASE:
        body += path("line base dash", base.mean)
    body += path(f"line {kind}", own.mean)
    final = own.mean[-1]
    words = f"{label} of {arm} against generator steps, {len(own.seeds)} seeds: {number(final[1])} after {final[0]:.0f}"
    return figure(WIDTH, HEIGHT, words, body)


def together(drawn: Mapping[str, Figure], title: str) -> Figure | None:
    """All panels in one figure."""
    if not drawn:
        return None
    body = [
        f'<g transform="translate({k % COLUMNS * WIDTH} {k // COLUMNS * HEIGHT})">{"".join(f.body)}</g>'
        for k, f in enumerate(drawn.values())
    ]
    rows = math.ceil(len(drawn) / COLUMNS)
    return figure(COLUMNS * WIDTH, rows * HEIGHT, f"{title}: a curve over generator steps per arm", body)
