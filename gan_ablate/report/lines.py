"""Figures of lines for several arms: performance profiles, expected best under a budget."""

from __future__ import annotations

import math
from collections.abc import Sequence

from gan_ablate.findings import tasks
from gan_ablate.findings.summaries import BASE
from gan_ablate.findings.tasks import Budget, OverTasks
from gan_ablate.formatting import number
from gan_ablate.report.svg import Figure, Log, doublings, figure, line, polygon, polyline, short, text, times

WIDTH, HEIGHT, LEFT, RIGHT, TOP, FOOT = 720, 330, 52, 214, 16, 42
KEY = 22  # height of a line of the key


def profiles(rows: Sequence[OverTasks], label: str = "FID") -> Figure | None:
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
    return figure(WIDTH, HEIGHT, f"Performance profiles by {label} of {', '.join(r.arm for r in shown)}", body)


def expected_best(rows: Sequence[Budget], title: str, label: str = "FID") -> Figure | None:
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
    return figure(WIDTH, HEIGHT, words, body)


def _kind(k: int, arm: str) -> str:
    return "line base dash" if arm == BASE else f"s{(k - 1) % 6} d{k % 6}"


def _key(k: int, arm: str, aside: str) -> list[str]:
    y = TOP + 8 + k * KEY * (1.6 if aside else 1)
    left = WIDTH - RIGHT + 14
    found = [line(_kind(k, arm), left, y, left + 26, y), text(left + 34, y + 4, short(arm, 24), "nm")]
    return [*found, text(left + 34, y + 18, aside, "sm")] if aside else found


def _ticks(y: Log) -> list[float]:
    """Round numbers over less than a decade."""
    for step in (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0):
        first = math.ceil(y.low / step)
        found = [step * k for k in range(first, int(y.high / step) + 1)]
        if len(found) <= 6:
            return found
    return y.ticks()
