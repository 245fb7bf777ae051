"""Tests of a treatment against its control: scores, times, failure rates, spread, equality."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from gan_ablate.claims.claim import Contrast
from gan_ablate.claims.planned_tests import Measure, PlannedTest
from gan_ablate.claims.verdict import Finding
from gan_ablate.outcomes import TINY, UNMEASURED
from gan_ablate.results.files import number
from gan_ablate.results.frames import RunTable
from gan_ablate.results.runs import Run
from gan_ablate.stats.aggregate import time_to
from gan_ablate.stats.failures import boschloo_p, rate_difference, smallest_rate
from gan_ablate.stats.intervals import Interval, farthest, spread_ratio
from gan_ablate.stats.paired import POOL_FROM, Comparison, Scores, compare, family_correlation


def towards(contrast: Contrast, favours: int) -> int:
    """1 where a figure that is lower (-1) or higher (1) in the treatment is what the claim says."""
    return favours * (-1 if contrast.expects == "lower" else 1)


def fid(run: Run) -> float | None:
    return number(run.fid)


def scores(side: Mapping[int, Run], measure: Measure) -> dict[int, float | None]:
    """The figure by seed (`None`: lost, the worst); runs that were not measured so are left out."""
    assert measure.read is not None
    found: dict[int, float | None] = {}
    for seed, run in side.items():
        value = measure.read(run)
        if measure.worst_when_lost and (run.outcome in UNMEASURED or (measure.always and run.failed and value is None)):
            found[seed] = None
        elif value is not None:
            found[seed] = max(value, TINY) if measure.scale == "log" else value
    return found if measure.always else _unless_unmeasured(found, side)


def _unless_unmeasured(found: dict[int, float | None], side: Mapping[int, Run]) -> dict[int, float | None]:
    """The figures; none where only lost runs stand there, although others of the side could have had one."""
    others = [seed for seed, run in side.items() if run.outcome not in UNMEASURED]
    return {} if others and not any(seed in found for seed in others) else found


@lru_cache(maxsize=1024)
def seeds_correlate(table: RunTable, model: str, measure: Measure) -> float:
    """The correlation of scores over seeds, pooled over all arms of a model: see `stats.paired.compare`."""
    if measure.read is None:
        return 0.0
    apart = [arm for arm in table.arms[model] if (model, arm) not in table.tied]
    sides: list[Scores] = [side for arm in apart if (side := scores(table.side(model, arm), measure))]
    return family_correlation(sides, measure.scale) if len(sides) > POOL_FROM else 0.0


def _pooled(test: PlannedTest) -> float:
    """The correlation that decides whether seeds are pairs: 0 over two models, 1 where both sides are one training."""
    if test.model != test.control_model:
        return 0.0
    if test.contrast.same_weights or test.table.one_training(test.model, test.treatment, test.control):
        return 1.0
    return seeds_correlate(test.table, test.model, test.measure)


def compare_scores(test: PlannedTest, alpha: float) -> Finding:
    """Whether the treatment's scores are lower or higher."""
    a, b = scores(test.treatment_runs, test.measure), scores(test.control_runs, test.control_measure)
    return _compared(test, (a, b), alpha)


def compare_times(test: PlannedTest, alpha: float) -> Finding:
    """Seconds until a FID is reached: the worse of both sides' median final one, so that half of either gets there."""
    medians = []
    for side in (test.treatment_runs, test.control_runs):
        fids = [math.inf if math.isnan(r.fid) else r.fid for r in side.values()]
        medians.append(statistics.median(fids) if fids else math.inf)
    target = max(medians)
    if not math.isfinite(target):
        return Finding(note="most runs of a side have no FID, so there is none to reach")
    a, b = seconds_to(test.treatment_runs, target), seconds_to(test.control_runs, target)
    return _compared(test, (a, b), alpha, f"target FID {target:.3g}")


def seconds_per_step(run: Run) -> float | None:
    seconds, made = number(run.record.get("train_seconds")), number(run.record.get("g_steps"))
    return seconds / made if seconds and made and min(seconds, made) > 0 else None


def seconds_to(side: Mapping[int, Run], target: float) -> dict[int, float | None]:
    """Seconds of training until an evaluation's FID was at or under `target`, by seed; `None` for a run that never was.

    Training time is taken as even over the steps. Runs without times are left out.
    """
    found: dict[int, float | None] = {}
    for seed, run in side.items():
        each = seconds_per_step(run)
        if run.outcome in UNMEASURED:
            found[seed] = None
        elif each is not None and run.curve:
            steps, fids = zip(*run.curve)
            reached = time_to(target, [each * s for s in steps], fids)
            found[seed] = reached if math.isfinite(reached) else None
    return _unless_unmeasured(found, side)


def _compared(test: PlannedTest, sides: tuple[Scores, Scores], alpha: float, *notes: str) -> Finding:
    a, b = sides
    measure, pooled = test.measure, _pooled(test)
    missing = len(test.treatment_runs) + len(test.control_runs) - len(a) - len(b)
    if missing:
        notes = *notes, f"{missing} runs without this figure are left out"
    reached = {*a.values(), *b.values()}
    if measure.scale == "linear" and len(reached) == 1 and min(len(a), len(b)) > 1:  # a count at its ceiling, or at 0
        (value,) = reached
        return Finding(
            note=f"every run of both sides has {value:g}: nothing here could tell them apart", n=(len(a), len(b))
        )
    found = compare(a, b, alpha=alpha, pooled=pooled, scale=measure.scale, better=measure.better)
    if not found.test:
        notes = too_few(len(a), len(b)), *notes
        return Finding(note="; ".join(notes), n=(len(a), len(b)))
    if found.test == "rank":
        notes = *notes, *_ranks(sides, found, alpha)
    ratio = measure.scale == "log"
    return Finding(
        p=found.p,
        supports=towards(test.contrast, found.favours),
        effect=found.ratio if ratio else found.difference,
        scale="ratio" if ratio else "difference",
        smallest_missed=found.detectable,
        note="; ".join(notes),
        n=(len(a), len(b)),
        favours=found.favours,
    )


def _ranks(sides: tuple[Scores, Scores], found: Comparison, alpha: float) -> list[str]:
    """Why a rank test was made, and what it can show at all: it knows of no smallest effect."""
    lost = sum(v is None for side in sides for v in side.values())
    why = f"{lost} runs without a score rank worst" if lost else "no run of a side differs from the others"
    notes = [f"{why} (rank test, which names no smallest effect: p is {found.least_p:.2g} at least)"]
    if found.least_p >= alpha:
        notes.append("no data of so few runs could pass the correction in a rank test")
    return notes


def too_few(n: int, m: int) -> str:
    return f"{n} and {m} runs have this figure; a test needs 2 a side"


def equal_fids(test: PlannedTest) -> Finding:
    """Whether every seed's FID is the same, bit for bit; a seed that has one on one side only is not."""
    treatment, control = test.treatment_runs, test.control_runs
    both = [(treatment[s].fid, control[s].fid) for s in sorted(treatment.keys() & control.keys())]
    pairs = [pair for pair in both if not all(map(math.isnan, pair))]
    if not pairs:
        return Finding(note="no seed has a FID on either side")
    same = sum(a == b for a, b in pairs)
    note = f"the FIDs of {same} of {len(pairs)} seeds are equal, bit for bit"
    return Finding(supports=1 if same == len(pairs) else -1, note=note, n=(len(pairs), len(pairs)), by_rule=True)


def failure_rates(test: PlannedTest, alpha: float) -> Finding:
    """Boschloo's test of the two rates; or, where the claim says `always`, the rule that every run fails."""
    failed, n = sum(r.failed for r in test.treatment_runs.values()), len(test.treatment_runs)
    other, m = sum(r.failed for r in test.control_runs.values()), len(test.control_runs)
    effect = rate_difference(failed, n, other, m)
    if test.contrast.expects == "always":
        return _always_fails(failed, n, other, m, effect)
    if n < 2 or m < 2:
        return Finding(note=too_few(n, m), n=(n, m))
    favours = int(np.sign(effect.point))
    hopeless = f"even {n} of {n} against 0 of {m} failures would not pass the correction"
    return Finding(
        p=boschloo_p(failed, n, other, m),
        supports=towards(test.contrast, favours),
        effect=effect,
        scale="difference",
        smallest_missed=smallest_rate(n, m, alpha),
        note=hopeless if boschloo_p(n, n, 0, m) >= alpha else "",
        n=(n, m),
        favours=favours,
    )


def _always_fails(failed: int, n: int, other: int, m: int, effect: Interval) -> Finding:
    """Any run that ends well contradicts it; three that fail support it, if the control's do not all fail as well."""
    note = f"{failed} of {n} runs failed, {other} of {m} of the control's; a rule, not a test"
    supports = -1 if failed < n else int(n >= 3 and m > 0 and other < m)
    if n and not supports:
        note += "; needs 3 failed runs and a control that does not always fail"
    return Finding(supports=supports, effect=effect, scale="difference", note=note, n=(n, m), by_rule=n > 0)


def spread(test: PlannedTest, _: float) -> Finding:
    """Ratio of the standard deviations of log FID, over seeds or over the points of a design."""
    sides = test.measure.sides(test)
    a, b = ([v for arm in side for v in scores(test.table.side(*arm), test.measure).values()] for side in sides)
    found, n = spread_ratio(a, b), (len(a), len(b))
    if math.isnan(found.p):
        return Finding(note=f"needs 5 runs a side, not all alike and half of them scored; has {n[0]} and {n[1]}", n=n)
    favours = int(np.sign(math.log(found.ratio.point)))
    return Finding(
        p=found.p,
        supports=towards(test.contrast, favours),
        effect=found.ratio,
        smallest_missed=farthest(found.ratio),
        bound=True,
        note=f"{sum(found.failed)} runs without a score stand at the worst one seen" if any(found.failed) else "",
        n=n,
        favours=favours,
    )
