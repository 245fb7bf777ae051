"""What is read along runs: signs of failure, losses against FID, D's answers late; and interactions of a design."""

from __future__ import annotations

import math
import statistics
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import cache

import numpy as np

from gan_ablate.claims.claim import BASE, Contrast
from gan_ablate.claims.contrasting import Finding
from gan_ablate.claims.means import MIN_ARMS, mean_over, near
from gan_ablate.claims.measures import MEASURES
from gan_ablate.results.tables import MISSING, Run, Table, number
from gan_ablate.stats.failures import auc
from gan_ablate.stats.intervals import Interval

BAD = 2.0  # a run counts as bad from twice base's FID on, also where it did not fail: fixed before any grid was read
SIGN_OF = {  # the measure -> the rule of evaluate.health that it grades
    "d_near_zero": "d_loss_near_zero",
    "large_gradient": "gradient_over_100",
    "d_loss_variance": "d_loss_spikes",
    "g_loss_falling": "g_loss_falls",
}


def sign(contrast: Contrast, table: Table, model: str) -> Finding:
    """Area under the ROC curve of a sign in the first half of a run for the run's failing, or ending bad.

    An arm counts once, by the mean of its runs: seeds of one arm are not independent. It is bad if half
    of its runs are.
    """
    limit = BAD * _typical(table.side(model, BASE).values())
    values, bad = [], []
    left_out = shown = runs_seen = 0
    for arm in table.arms.get(model, {}):
        runs = list(table.side(model, arm).values())
        grades = [(r, v) for r in runs if (v := early_sign(r, contrast.measure)) is not None]
        graded = [v for _, v in grades]
        left_out += len(runs) - len(graded)
        if not graded:
            continue
        values.append(statistics.fmean(graded) if all(map(math.isfinite, graded)) else math.inf)
        bad.append(2 * sum(r.failed or r.fid > limit for r in runs) >= len(runs))
        runs_seen += len(graded)
        shown += sum(_shown_early(r, SIGN_OF[contrast.measure]) for r, _ in grades)
    if len(values) < MIN_ARMS or all(bad) or not any(bad):
        note = f"{sum(bad)} of {len(bad)} arms with records ended bad; needs {MIN_ARMS} arms, good and bad ones"
        return Finding(note=note, n=(len(values), 0))
    found = auc(values, bad)
    note = (
        f"{sum(bad)} of {len(bad)} arms ended bad; the sign's own threshold was passed in the first half of {shown} of "
        f"{runs_seen} runs" + (f"; {left_out} runs without the records are left out" if left_out else "")
    )
    side = int(np.sign(round(found.value.point - 0.5, 12)))
    return Finding(
        p=found.p,
        supports=side,
        effect=found.value,
        scale="area",
        smallest_missed=max(found.value.low, found.value.high, key=lambda end: abs(end - 0.5)),
        bound=True,
        note=note,
        n=(len(values), 0),
        favours=side,
    )


def early_sign(run: Run, measure: str) -> float | None:
    """How strongly a sign shows in the first half of a run: more is worse. `None` where there are too few records."""
    steps = run.steps
    if not steps:
        return None
    first = [r for r in run.health if r["step"] <= steps / 2]
    if measure == "large_gradient":
        norms = [_bad_number(r[k]) for r in first for k in ("d_gradient", "g_gradient") if k in r]
        return max(norms, default=None)
    loss = [
        _bad_number(r[k]) for k in ("g_loss" if measure == "g_loss_falling" else "d_loss",) for r in first if k in r
    ]
    if measure == "d_near_zero" and SIGN_OF[measure] not in run.signs:
        return None  # D's answers are no probabilities
    if len(loss) < 3:
        return None
    if not all(map(math.isfinite, loss)):
        return math.inf
    if measure == "d_near_zero":
        return -min(statistics.fmean(loss[k - 3 : k]) for k in range(3, len(loss) + 1))
    if measure == "d_loss_variance":
        scale = statistics.median(map(abs, loss))  # not the mean: a critic's loss may cross 0, and spikes move it
        return statistics.stdev(loss) / scale if scale > 0 else None
    fall = rank_correlation(range(len(loss)), loss)  # -1: every record under the one before
    return None if fall is None else -fall


def _shown_early(run: Run, rule: str) -> bool:
    at = number(run.signs.get(rule))
    return at is not None and at <= (run.steps or 0) / 2


def correlation(contrast: Contrast, table: Table, model: str, alpha: float) -> Finding:
    """Mean over arms of the rank correlation of loss and FID along each good run, on Fisher's z scale."""
    z = []
    for arm in table.arms.get(model, {}):
        along = [v for r in table.side(model, arm).values() if (v := follows(r, contrast.measure)) is not None]
        if along:
            z.append(statistics.fmean(math.atanh(max(-0.999, min(0.999, v))) for v in along))
    if len(z) < MIN_ARMS:
        wanted = f"needs {MIN_ARMS} arms with good runs of at least 4 evaluations and records of the loss"
        return Finding(note=wanted, n=(len(z), 0))
    note = "mean over arms, each by the mean of its good runs"
    if contrast.expects == "near":
        found = near(z, 0.0, math.atanh(contrast.margin))
        note += f"; margin: {contrast.margin:g} either way"
    else:
        found = mean_over(z, 0.0, alpha)
    return replace(
        found,
        effect=Interval(*(math.tanh(v) for v in found.effect)),
        scale="correlation",
        smallest_missed=math.tanh(found.smallest_missed),
        note="; ".join(filter(None, (found.note, note))),
        n=(len(z), 0),
    )


def follows(run: Run, measure: str) -> float | None:
    """Rank correlation of FID at the evaluations with the mean loss since the one before."""
    if run.outcome != "ok":
        return None
    key, turn = (
        ("g_loss", 1.0) if measure == "g_loss_follows" else ("d_loss", -1.0 if measure == "critic_follows" else 1.0)
    )
    losses, fids, before = [], [], 0.0
    for step, score in run.curve:
        since = [v for r in run.health if before < r["step"] <= step and (v := number(r.get(key))) is not None]
        if since:
            losses.append(turn * statistics.fmean(since))
            fids.append(score)
        before = step
    return rank_correlation(losses, fids) if len(fids) >= 4 else None


def rank_correlation(x: Sequence[float], y: Sequence[float]) -> float | None:
    """Spearman's; `None` where one side is constant. As `stats.association.spearman`, which takes ten times as long for
    a few points, and this is asked of every run."""
    ordered = sorted(x), sorted(y)
    ranks = [[bisect_left(o, v) + bisect_right(o, v) for v in side] for o, side in zip(ordered, (x, y))]
    try:
        return statistics.correlation(*ranks)
    except statistics.StatisticsError:
        return None


def late_answers(contrast: Contrast, table: Table, model: str) -> Finding:
    """D's mean answer late in good runs against 1/2, where its answers are probabilities of targets 0 and 1."""
    read = MEASURES[contrast.measure].read
    assert read is not None
    asked = [[r for r in table.side(model, a).values() if _answers_half(r)] for a in table.arms.get(model, {})]
    arms = [[v for r in runs if (v := read(r)) is not None] for runs in asked]
    values = [statistics.fmean(found) for found in arms if found]
    if len(values) < MIN_ARMS:
        wanted = f"needs {MIN_ARMS} arms with good runs and their records, whose D answers with probabilities"
        return Finding(note=wanted, n=(len(values), 0))
    found = near(values, 0.5, contrast.margin)
    note = f"mean over arms; margin: {contrast.margin:g} either way of 0.5"
    return replace(found, note="; ".join(filter(None, (found.note, note))), n=(len(values), 0))


def _answers_half(run: Run) -> bool:
    """Whether D's best answer to equal distributions is 1/2: not a critic's, nor one whose targets a trick changes."""
    return SIGN_OF["d_near_zero"] in run.signs and not any(map(_changes_targets, run.tricks))


@cache
def _changes_targets(name: str) -> bool:
    from gan_ablate.trick import REGISTRY, Trick
    from gan_ablate.tricks import trick_names

    return name in trick_names() and REGISTRY[name].targets is not Trick.targets


def _typical(runs: Iterable[Run]) -> float:
    """Geometric mean FID of base's good runs; infinite where it has none, so that only failed runs are bad."""
    logs = [math.log(r.fid) for r in runs if r.outcome == "ok" and r.fid > 0]
    return math.exp(statistics.fmean(logs)) if logs else math.inf


def _bad_number(value: object) -> float:
    """A record; one that was not finite when it was logged counts as infinite."""
    found = number(value)
    return math.inf if found is None else found


def carried_out(table: Table, model: str) -> list[Run]:
    return [r for seeds in table.arms.get(model, {}).values() for r in seeds.values() if r.outcome != MISSING]
