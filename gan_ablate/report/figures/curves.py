"""Lines: FID against generator steps, a small panel per arm; performance profiles; expected best under a budget."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd

from gan_ablate.findings import tasks
from gan_ablate.findings.tasks import Budget, OverTasks
from gan_ablate.formatting import number
from gan_ablate.recipe import BASE
from gan_ablate.report.figures.svg import Drawing, Log, arm_name, doublings, line, polygon, polyline, short, text, times
from gan_ablate.stats.intervals import t_interval

WIDTH, HEIGHT, LEFT, RIGHT, TOP, FOOT = 720, 330, 52, 214, 16, 42  # pixels of a figure of several arms
PANEL = (240, 162)  # pixels of an arm's panel: width, height
START, END, UP, DOWN = 40, 230, 36, 138  # pixels: where its axes lie
COLUMNS = 4  # panels side by side in a file
KEY = 22  # pixels of a line of the key


class Curves(NamedTuple):
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
    steps = np.unique(table[:, 1])
    means = [np.exp(t_interval(np.log(table[table[:, 1] == step][:, 2]))) for step in steps]
    return Curves(seeds, np.column_stack([steps, means]))


def panels(curves: Mapping[str, Curves], arms: Sequence[str], label: str = "FID") -> dict[str, Drawing]:
    """A panel for each of `arms` that has curves. `label` names what was measured."""
    if not curves:
        return {}
    every = np.concatenate([s for c in curves.values() for s in c.seeds])  # (n, 2)
    low, high = float(every[:, 1].min()) / 1.1, float(every[:, 1].max()) * 1.1
    y = Log(low, high, DOWN, UP)
    last = float(every[:, 0].max())
    frame = _frame(y, last, label)
    return {a: _panel(a, curves[a], curves.get(BASE), y, last, frame, label) for a in arms if a in curves}


def _frame(y: Log, last: float, label: str) -> list[str]:
    ticks = y.ticks()[:: max(1, len(y.ticks()) // 4)]
    # one path for all: a page may hold hundreds of these
    body = [f'<path class="gr" d="{"".join(f"M{START} {y(t):g}H{END}" for t in ticks)}"/>']
    body += [text(START - 4, y(tick) + 4, number(tick, 1), "sm", "end") for tick in ticks]
    body.append(text(START, UP - 8, short(label, 36), "sm"))
    body.append(f'<path class="ax" d="M{START} {UP}V{DOWN}H{END}"/>')
    return [*body, text(END, PANEL[1] - 8, f"{last:.0f} steps", "sm", "end")]


def _panel(  # noqa: PLR0917
    arm: str, own: Curves, base: Curves | None, y: Log, last: float, frame: list[str], label: str
) -> Drawing:
    def x(step: float) -> float:
        return START + step / last * (END - START)

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

    body = [*frame, text(START, 14, short(arm, 27), "nm")]
    kind = "base" if arm == BASE else "arm"
    body += band("bband" if arm == BASE else "band", own.mean)
    for seed in own.seeds:
        body += path(f"thin {kind}", seed)
    if base is not None and arm != BASE:
        body += path("line base dash", base.mean)
    body += path(f"line {kind}", own.mean)
    final = own.mean[-1]
    words = f"{label} of {arm} against generator steps, {len(own.seeds)} seeds: {number(final[1])} after {final[0]:.0f}"
    return Drawing(*PANEL, words, body)


def together(drawn: Mapping[str, Drawing], title: str) -> Drawing:
    """All panels in one figure."""
    body = [
        f'<g transform="translate({k % COLUMNS * PANEL[0]} {k // COLUMNS * PANEL[1]})">{"".join(f.body)}</g>'
        for k, f in enumerate(drawn.values())
    ]
    rows = math.ceil(len(drawn) / COLUMNS)
    return Drawing(COLUMNS * PANEL[0], rows * PANEL[1], f"{title}: a curve over generator steps per arm", body)


def profiles(rows: Sequence[OverTasks], label: str = "FID") -> Drawing | None:
    """Share of runs at or under each FID relative to base's; higher is better. `label` names what was measured."""
    shown = tasks.chosen(rows)
    if len(shown) < 2:
        return None
    x = Log(float(tasks.RELATIVE[0]), float(tasks.RELATIVE[-1]), LEFT, WIDTH - RIGHT)

    def y(share: float) -> float:
        return round(HEIGHT - FOOT - share * (HEIGHT - TOP - FOOT), 1)

    body = [line("gr", LEFT, y(s), WIDTH - RIGHT, y(s)) for s in (0.25, 0.5, 0.75, 1)]
    body += [text(LEFT - 6, y(s) + 4, f"{s * 100:.0f} %", "sm", "end") for s in (0, 0.25, 0.5, 0.75, 1)]
    for tick in doublings(0.25, 4):
        body.append(line("ax" if tick == 1 else "gr", x(tick), TOP, x(tick), HEIGHT - FOOT))
        body.append(text(x(tick), HEIGHT - FOOT + 16, times(tick), "sm", "middle"))
    body.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, f"{label} at most … times that of base", "", "middle"))
    for k, row in enumerate(shown):
        point, low, high = tasks.profile(row)
        places = [x(float(t)) for t in tasks.RELATIVE]
        if row.arm == BASE or k == 1:  # bands of all would hide each other
            there, back = zip(places, map(y, high)), zip(reversed(places), map(y, reversed(low)))
            body.append(polygon("bband" if row.arm == BASE else "band", [*there, *back]))
        body.append(polyline(_kind(k, row.arm), zip(places, map(y, point))))
        body += _key(k, row.arm, f"{row.runs} runs")
    return Drawing(WIDTH, HEIGHT, f"Performance profiles by {label} of {', '.join(r.arm for r in shown)}", body)


def expected_best(rows: Sequence[Budget], title: str, label: str = "FID") -> Drawing | None:
    """Expected lowest FID of k runs, relative to base's geometric mean; lower is better."""
    shown = [b for b in rows if b.arm == BASE] + [b for b in rows if b.arm != BASE][: tasks.SHOWN]
    finite = [v for b in shown for v in b.best.values() if math.isfinite(v) and v > 0]
    budgets = sorted({k for b in shown for k in b.best})
    if len(shown) < 2 or len(budgets) < 2 or not finite:
        return None
    y = Log(min(finite) / 1.05, max(finite) * 1.05, HEIGHT - FOOT, TOP)
    x = {k: LEFT + 14 + i / (len(budgets) - 1) * (WIDTH - LEFT - RIGHT - 28) for i, k in enumerate(budgets)}
    body = [f'<path class="ax" d="M{LEFT} {TOP}V{HEIGHT - FOOT}H{WIDTH - RIGHT}"/>']
    body.append(text(LEFT, TOP - 5, f"expected lowest {label}, × the mean of base", "sm"))
    for tick in _ticks(y):
        body += [
            line("gr", LEFT, y(tick), WIDTH - RIGHT, y(tick)),
            text(LEFT - 6, y(tick) + 4, f"×{number(tick, 2)}", "sm", "end"),
        ]
    body += [text(x[k], HEIGHT - FOOT + 16, str(k), "sm", "middle") for k in budgets]
    body.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 6, "runs that can be paid for", "", "middle"))
    for k, row in enumerate(shown):
        points = [(x[n], y(v)) for n, v in row.best.items() if math.isfinite(v) and v > 0]
        body.append(polyline(_kind(k, row.arm), points))
        dot = "base" if row.arm == BASE else f"m{(k - 1) % 6}"
        body += [f'<circle class="{dot}" cx="{px:g}" cy="{py:g}" r="3"/>' for px, py in points]
        body += _key(k, row.arm, "")
    words = f"{title}: expected lowest {label} of k runs for {', '.join(b.arm for b in shown)}"
    return Drawing(WIDTH, HEIGHT, words, body)


def _kind(k: int, arm: str) -> str:
    return "line base dash" if arm == BASE else f"s{(k - 1) % 6} d{k % 6}"


def _key(k: int, arm: str, aside: str) -> list[str]:
    y = TOP + 8 + k * KEY * (1.6 if aside else 1)
    left = WIDTH - RIGHT + 14
    found = [line(_kind(k, arm), left, y, left + 26, y), arm_name(left + 34, y + 4, arm, most=24, large=20)]
    return [*found, text(left + 34, y + 18, aside, "sm")] if aside else found


def _ticks(y: Log) -> list[float]:
    """Round numbers over less than a decade."""
    for step in (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0):
        first = math.ceil(y.low / step)
        found = [step * k for k in range(first, int(y.high / step) + 1)]
        if len(found) <= 6:
            return found
    return y.ticks()
