"""Training health: the four signs of failure by rule, and the stability card of a run. Plain numbers, no torch.

The signs are those of Chintala et al. 2016, tip 10. Rules and thresholds are fixed here, before any grid runs, so that
"did a sign in the first half announce a failure?" can be asked of every run alike.
"""

from __future__ import annotations

import itertools
import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

NEAR_ZERO, LAST = 0.05, 3  # D's loss is near 0 when the mean of this many records is under it
EXPLODED = 100.0  # 2-norm of a player's gradient
BEFORE, SPIKE = 8, 6.0  # a spike is this many median deviations off the median of so many records before
WINDOW, FALLING, DROP = 8, 6, 0.25  # G's loss falls steadily: so many of a window's steps go down, by such a share


def d_loss_near_zero(rows: Sequence[Mapping[str, Any]]) -> int | None:
    """D wins every time: nothing is left for G to learn from. Asked of objectives on probabilities only."""
    loss = series(rows, "d_loss")
    for k in range(LAST, len(loss) + 1):
        if statistics.fmean(value for _, value in loss[k - LAST : k]) < NEAR_ZERO:
            return loss[k - 1][0]
    return None


def gradient_over_100(rows: Sequence[Mapping[str, Any]]) -> int | None:
    """The norm of a player's gradient is over 100."""
    found = [step for key in ("d_gradient", "g_gradient") for step, value in series(rows, key) if value > EXPLODED]
    return min(found, default=None)


def d_loss_spikes(rows: Sequence[Mapping[str, Any]]) -> int | None:
    """D's loss leaves the range of its recent values: in a healthy run its variance is low and falls."""
    loss = series(rows, "d_loss")
    for k in range(BEFORE, len(loss)):
        before = [value for _, value in loss[k - BEFORE : k]]
        middle = statistics.median(before)
        spread = statistics.median(abs(value - middle) for value in before)
        off = abs(loss[k][1] - middle)
        if off > SPIKE * spread and off > abs(middle) / 2:
            return loss[k][0]
    return None


def g_loss_falls(rows: Sequence[Mapping[str, Any]]) -> int | None:
    """G's loss falls steadily: it fools D, and often with garbage."""
    loss = series(rows, "g_loss")
    for k in range(WINDOW, len(loss) + 1):
        window = [value for _, value in loss[k - WINDOW : k]]
        down = sum(b < a for a, b in itertools.pairwise(window))
        if down >= FALLING and window[-1] < window[0] - DROP * abs(window[0]):
            return loss[k - 1][0]
    return None


Rule = Callable[[Sequence[Mapping[str, Any]]], int | None]
RULES: dict[str, Rule] = {
    rule.__name__: rule for rule in (d_loss_near_zero, gradient_over_100, d_loss_spikes, g_loss_falls)
}
ON_PROBABILITIES = frozenset({"d_loss_near_zero"})


def signs(rows: Sequence[Mapping[str, Any]], *, probabilities: bool) -> dict[str, int | None]:
    """Each sign with the G step at which it first showed, or `None`. Rows as in `metrics.jsonl`.

    probabilities: whether D's answers are; else the signs that mean nothing on a critic are left out.
    """
    asked = {name: rule for name, rule in RULES.items() if probabilities or name not in ON_PROBABILITIES}
    return {name: rule(rows) for name, rule in asked.items()}


def series(rows: Sequence[Mapping[str, Any]], key: str) -> list[tuple[int, float]]:
    """The finite records of one quantity; null (not finite when it was logged) counts as infinite."""
    found = [(int(row["step"]), row[key]) for row in rows if key in row]
    return [(step, math.inf if value is None else float(value)) for step, value in found]


def volatility(curve: Sequence[Mapping[str, Any]]) -> float | None:
    """Standard deviation (n - 1) of log FID over the evaluations of the second half; `None` for under two of them."""
    last = max((point["step"] for point in curve), default=0)
    logs = [math.log(point["fid"]) for point in curve if point["step"] >= last // 2 and point.get("fid")]
    return statistics.stdev(logs) if len(logs) > 1 else None


def largest(rows: Sequence[Mapping[str, Any]], key: str) -> float | None:
    """The largest finite record of one quantity, or `None`."""
    return max((value for _, value in series(rows, key) if math.isfinite(value)), default=None)


def early(rows: Sequence[Mapping[str, Any]], key: str, total: int, share: float = 0.05) -> float | None:
    """The mean of one quantity's finite records over the first `share` of training, or of its first record."""
    found = [(step, value) for step, value in series(rows, key) if math.isfinite(value)]
    start = [value for step, value in found if step <= share * total] or [value for _, value in found[:1]]
    return statistics.fmean(start) if start else None


def card(rows: Sequence[Mapping[str, Any]], curve: Sequence[Mapping[str, Any]], total: int) -> dict[str, float | None]:
    """The stability card of one run, beside outcome, seconds and counts: FID's path and the gradients' sizes."""
    scored = [point for point in curve if point["step"] and point.get("fid") is not None]
    final = next((point["fid"] for point in scored if point["step"] == total), None)
    best = min((point["fid"] for point in scored), default=None)
    return {
        "final_over_best": final / best if final is not None and best else None,
        "volatility": volatility(curve),
        "largest_d_gradient": largest(rows, "d_gradient"),
        "largest_g_gradient": largest(rows, "g_gradient"),
        "early_g_gradient": early(rows, "g_gradient", total),
    }
