"""Tests over all arms of a model of what shows along a run: early signs of failure, losses beside FID, D's answers.

An arm counts once, by the mean of its runs: seeds of one arm are not independent.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import cache

import numpy as np

from gan_ablate.claims.planned_tests import PlannedTest
from gan_ablate.claims.verdict import Finding
from gan_ablate.recipe import BASE
from gan_ablate.results.files import number
from gan_ablate.results.runs import Run
from gan_ablate.stats.failures import auc
from gan_ablate.stats.intervals import Interval
from gan_ablate.stats.paired import margin_p, two_sided
from gan_ablate.stats.ranks import rank_correlation
from gan_ablate.stats.t_test import Estimate, detectable, one_sample
from gan_ablate.trick import REGISTRY, Trick
from gan_ablate.tricks import trick_names

BAD = 2.0  # a run counts as bad from twice base's FID on, also where it did not fail: fixed before any grid was read
MIN_ARMS = 4  # fewer arms are no sample, however alike
NEAR_ZERO = "d_loss_near_zero"  # asked only of runs whose D answers with probabilities
Read = Callable[[Run], float | None]
Test = Callable[[PlannedTest, float], Finding]


# -- signs of failure ----------------------------------------------------------------------------------------------


def announces_failure(grade: Read, rule: str) -> Test:
    """The test of a sign: the area under the ROC curve of its grade in the first half of a run, for the run's failing
    or ending bad. An arm is bad if half of its runs are.

    `grade`: how strongly the sign shows, more is worse, `None` where there are too few records. `rule`: the rule of
    `evaluate.health` that it grades.
    """

    def test(test: PlannedTest, _: float) -> Finding:
        limit = BAD * _typical_fid(test.table.side(test.model, BASE).values())
        grades, bad = [], []
        left_out = shown = graded_runs = 0
        for runs in _arms(test):
            graded = [(r, v) for r in runs if (v := grade(r)) is not None]
            left_out += len(runs) - len(graded)
            if graded:
                values = [v for _, v in graded]
                grades.append(statistics.fmean(values) if all(map(math.isfinite, values)) else math.inf)
                bad.append(2 * sum(r.failed or r.fid > limit for r in runs) >= len(runs))
                graded_runs += len(graded)
                shown += sum(_shown_early(r, rule) for r, _ in graded)
        return _area(grades, bad, shown, graded_runs, left_out)

    return test


def _area(grades: list[float], bad: list[bool], shown: int, runs: int, left_out: int) -> Finding:
    """`grades` and `bad` (arms,); `shown` of so many `runs` passed the sign's own threshold."""
    n = len(grades), 0
    if len(grades) < MIN_ARMS or all(bad) or not any(bad):
        few = f"{sum(bad)} of {len(bad)} arms with records ended bad; needs {MIN_ARMS} arms, good and bad ones"
        return Finding(note=few, n=n)
    found = auc(grades, bad)
    note = (
        f"{sum(bad)} of {len(bad)} arms ended bad; the sign's own threshold was passed in the first half of {shown} of "
        f"{runs} runs" + (f"; {left_out} runs without the records are left out" if left_out else "")
    )
    side = int(np.sign(round(found.value.point - 0.5, 12)))
    far = max(found.value.low, found.value.high, key=lambda end: abs(end - 0.5))
    return Finding(found.p, side, found.value, "area", far, bound=True, note=note, n=n, favours=side)


def low_d_loss(run: Run) -> float | None:
    """Minus the lowest mean of three of D's losses in a row; `None` where D's answers are no probabilities."""
    loss = _early(run, "d_loss") if NEAR_ZERO in run.signs else []
    return _grade(loss, lambda x: -min(statistics.fmean(x[k - 3 : k]) for k in range(3, len(x) + 1)))


def large_gradient(run: Run) -> float | None:
    """The largest gradient norm of either player."""
    return max(_early(run, "d_gradient", "g_gradient"), default=None)


def d_loss_spread(run: Run) -> float | None:
    """Standard deviation of D's loss over the median of its size: a critic's may cross 0, and spikes move a mean."""
    return _grade(
        _early(run, "d_loss"),
        lambda x: statistics.stdev(x) / size if (size := statistics.median(map(abs, x))) > 0 else None,
    )


def g_loss_fall(run: Run) -> float | None:
    """How steadily G's loss falls: 1 where every record is under the one before."""
    return _grade(
        _early(run, "g_loss"), lambda x: None if (rise := rank_correlation(range(len(x)), x)) is None else -rise
    )


def _grade(loss: list[float], strength: Callable[[list[float]], float | None]) -> float | None:
    """`None` under three records, infinite where one was not finite."""
    if len(loss) < 3:
        return None
    return strength(loss) if all(map(math.isfinite, loss)) else math.inf


def _early(run: Run, *keys: str) -> list[float]:
    """Records of the first half of a run, in the order of the steps; one that was not finite counts as infinite."""
    half = (run.steps or 0) / 2
    records = [r[k] for r in run.health if r["step"] <= half for k in keys if k in r] if half else []
    return [math.inf if (v := number(r)) is None else v for r in records]


def _shown_early(run: Run, rule: str) -> bool:
    at = number(run.signs.get(rule))
    return at is not None and at <= (run.steps or 0) / 2


def _typical_fid(runs: Iterable[Run]) -> float:
    """Geometric mean FID of base's good runs; infinite where it has none, so that only failed runs are bad."""
    logs = [math.log(r.fid) for r in runs if r.outcome == "ok" and r.fid > 0]
    return math.exp(statistics.fmean(logs)) if logs else math.inf


# -- losses beside FID ---------------------------------------------------------------------------------------------


def follows_fid(key: str, sign: float = 1.0) -> Test:
    """The test of a loss, times `sign`: the mean over arms of its rank correlation with FID along each good run, on
    Fisher's z scale."""

    def test(test: PlannedTest, alpha: float) -> Finding:
        z = []
        for runs in _arms(test):
            along = [v for r in runs if (v := _correlation_with_fid(r, key, sign)) is not None]
            if along:
                z.append(statistics.fmean(math.atanh(max(-0.999, min(0.999, v))) for v in along))
        if len(z) < MIN_ARMS:
            wanted = f"needs {MIN_ARMS} arms with good runs of at least 4 evaluations and records of the loss"
            return Finding(note=wanted, n=(len(z), 0))
        margin, note = test.contrast.margin, "mean over arms, each by the mean of its good runs"
        if test.contrast.expects == "near":
            found = _near(z, 0.0, math.atanh(margin), f"{note}; margin: {margin:g} either way")
        else:
            found = _over_zero(z, alpha, note)
        effect = Interval(*map(math.tanh, found.effect))
        return replace(found, effect=effect, scale="correlation", smallest_missed=math.tanh(found.smallest_missed))

    return test


def _correlation_with_fid(run: Run, key: str, sign: float) -> float | None:
    """Rank correlation of FID at the evaluations with the mean loss since the one before; `None` for a failed run."""
    if run.outcome != "ok":
        return None
    losses, fids, before = [], [], 0.0
    for step, score in run.curve:
        since = [v for r in run.health if before < r["step"] <= step and (v := number(r.get(key))) is not None]
        if since:
            losses.append(sign * statistics.fmean(since))
            fids.append(score)
        before = step
    return rank_correlation(losses, fids) if len(fids) >= 4 else None


# -- D at its optimum ----------------------------------------------------------------------------------------------


def late_answers(key: str) -> Test:
    """The test of D's mean answer over the last tenth of good runs against 1/2, where its answers are probabilities of
    targets 0 and 1."""

    def test(test: PlannedTest, _: float) -> Finding:
        asked = [[v for r in runs if _answers_half(r) and (v := _late(r, key)) is not None] for runs in _arms(test)]
        values, margin = [statistics.fmean(found) for found in asked if found], test.contrast.margin
        if len(values) < MIN_ARMS:
            wanted = f"needs {MIN_ARMS} arms with good runs and their records, whose D answers with probabilities"
            return Finding(note=wanted, n=(len(values), 0))
        return _near(values, 0.5, margin, f"mean over arms; margin: {margin:g} either way of 0.5")

    return test


def _late(run: Run, key: str) -> float | None:
    """Mean of a health record over the last tenth of a good run; `None` for a run that failed."""
    if run.outcome != "ok" or not run.steps:
        return None
    kept = [v for r in run.health if r["step"] >= 0.9 * run.steps and (v := number(r.get(key))) is not None]
    return statistics.fmean(kept) if kept else None


def _answers_half(run: Run) -> bool:
    """Whether D's best answer to equal distributions is 1/2: not a critic's, nor one whose targets a trick changes."""
    return NEAR_ZERO in run.signs and not any(map(_changes_targets, run.tricks))


@cache
def _changes_targets(name: str) -> bool:
    return name in trick_names() and REGISTRY[name].targets is not Trick.targets


# -- a mean over arms ----------------------------------------------------------------------------------------------


def _arms(test: PlannedTest) -> list[list[Run]]:
    return [list(test.table.side(test.model, arm).values()) for arm in test.table.arms[test.model]]


def _near(x: list[float], centre: float, margin: float, note: str) -> Finding:
    """Whether the mean of x (arms,) lies within `margin` of `centre`."""
    estimate, found = _mean(x, centre, note)
    mean, error, dof = map(float, estimate)
    if error == 0:
        return found
    p, supports = two_sided(*margin_p(mean - centre, error, dof, margin))
    reach = max(abs(end - centre) for end in found.effect[1:])
    return replace(found, p=p, supports=supports, smallest_missed=reach, bound=True)


def _over_zero(x: list[float], alpha: float, note: str) -> Finding:
    """Whether the mean of x (arms,) is over 0; p is two-sided all the same."""
    estimate, found = _mean(x, 0.0, note)
    if estimate.error == 0:
        return found
    missed = detectable(float(estimate.error), float(estimate.dof), alpha)
    return replace(found, p=float(estimate.p()), supports=found.favours, smallest_missed=missed)


def _mean(x: list[float], centre: float, note: str) -> tuple[Estimate, Finding]:
    """The mean of x (arms,), and what is found before any test; without an error there can be none."""
    estimate = one_sample(x)
    effect = Interval(float(estimate.mean), *map(float, estimate.bounds()))
    favours = int(np.sign(effect.point - centre)) if estimate.error > 0 else 0
    note = note if estimate.error > 0 else f"all arms have the same value: no spread to test by; {note}"
    return estimate, Finding(effect=effect, scale="value", note=note, n=(len(x), 0), favours=favours)
