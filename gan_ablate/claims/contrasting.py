"""Two sides against each other: scores, failure rates, spread. Each gives a `Finding`."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from gan_ablate.claims.claim import Contrast
from gan_ablate.claims.measures import MEASURES, scores, seconds_to
from gan_ablate.claims.runs import Run
from gan_ablate.stats.equivalence import Equivalence, equivalence
from gan_ablate.stats.failures import boschloo_p, rate_difference
from gan_ablate.stats.intervals import NONE, Interval
from gan_ablate.stats.paired import compare
from gan_ablate.stats.spread import spread_ratio

Side = Mapping[int, Run]


@dataclass(frozen=True)
class Finding:
    """What one test found, before the correction."""

    p: float = math.nan  # NaN: nothing could be tested, or the answer is not one of chance (`certain`)
    supports: int = 0  # the side that the data lean to: 1 as claimed, -1 the other way
    effect: Interval = NONE
    scale: str = "ratio"
    smallest_missed: float = math.nan
    note: str = ""
    n: tuple[int, int] = (0, 0)
    certain: bool = False  # decided by a rule and not by a test
    favours: int = 0  # -1: the treatment's figure is the lower one, 1: the higher


def towards(contrast: Contrast, favours: int) -> int:
    """1 where a figure that is lower (-1) or higher (1) in the treatment is what the claim says."""
    return favours * (-1 if contrast.expects == "lower" else 1)


def compared(contrast: Contrast, treatment: Side, control: Side, alpha: float, pooled: float) -> Finding:
    """The test on scores. `alpha`: that of one test after the correction; `pooled`: what pairing by seed is worth."""
    first, second = MEASURES[contrast.measure], MEASURES[contrast.control_measure or contrast.measure]
    if contrast.measure == "seconds_to_fid":
        target = _target(treatment, control)
        if not math.isfinite(target):
            return Finding(note="most runs of a side have no FID, so there is none to reach")
        a, b, missing = seconds_to(treatment, target), seconds_to(control, target), 0
        unit = f"target FID {target:.3g}"
    else:
        (a, out_a), (b, out_b) = scores(treatment, first), scores(control, second)
        missing, unit = out_a + out_b, ""
    notes = [unit] if unit else []
    if missing:
        notes.append(f"{missing} runs without this figure are left out")
    if contrast.same_weights:
        pooled = 1.0
    if contrast.expects in ("equivalent", "not worse"):
        return _equivalent(contrast, (a, b), alpha, pooled, notes)
    found = compare(a, b, alpha=alpha, pooled=pooled, scale=first.scale, better=first.better)
    if not found.test:
        return Finding(note="; ".join([_too_few(len(a), len(b)), *notes]), n=(len(a), len(b)))
    lost = sum(v is None for v in (*a.values(), *b.values()))
    if lost:
        notes.append(f"{lost} runs without a score rank worst (rank test)")
        if found.least_p >= alpha:
            notes.append("no data of so few runs could pass the correction in a rank test")
    ratio = first.scale == "log"
    return Finding(
        p=found.p,
        supports=towards(contrast, found.favours),
        effect=found.ratio if ratio else found.difference,
        scale="ratio" if ratio else "difference",
        smallest_missed=found.detectable,
        note="; ".join(notes),
        n=(len(a), len(b)),
        favours=found.favours,
    )


def _equivalent(
    contrast: Contrast,
    sides: tuple[Mapping[int, float | None], Mapping[int, float | None]],
    alpha: float,
    pooled: float,
    notes: list[str],
) -> Finding:
    """As good as, within the margin. p is twice the smaller of those for and against, so it goes with a 95 % interval
    that lies within the margin, or outside of it."""
    a, b = sides
    if any(v is None for v in (*a.values(), *b.values())):
        return Finding(
            note="; ".join(["a failed run has no score, and no ratio bounds its harm", *notes]), n=(len(a), len(b))
        )
    one = equivalence(a, b, contrast.margin, pooled=pooled)
    if not one.test:
        return Finding(note="; ".join([_too_few(len(a), len(b)), *notes]), n=(len(a), len(b)))
    above, below = one.p_not_worse, equivalence(b, a, contrast.margin, pooled=pooled).p_not_worse
    if contrast.expects == "equivalent":
        for_, against = max(above, below), min(1 - above, 1 - below)
    else:
        for_, against = above, 1 - above
    notes.append(f"margin: a ratio of {contrast.margin:g}")
    interval = compare(a, b, alpha=alpha, pooled=pooled)
    return Finding(
        p=min(1.0, 2 * min(for_, against)),
        supports=1 if for_ < against else -1,
        effect=interval.ratio,
        smallest_missed=_bound(one, interval.ratio),
        note="; ".join(notes),
        n=(len(a), len(b)),
        favours=interval.favours,
    )


def _bound(one: Equivalence, ratio: Interval) -> float:
    """How far from equal the data still allow it to be."""
    return max(ratio.high, 1 / ratio.low) if ratio.low > 0 else math.inf if one.test else math.nan


def failure_rates(contrast: Contrast, treatment: Side, control: Side, alpha: float) -> Finding:
    """Boschloo's test of the two rates; or, where the claim says `always`, the rule that every run fails."""
    failed, n = sum(r.failed for r in treatment.values()), len(treatment)
    other, m = sum(r.failed for r in control.values()), len(control)
    effect = rate_difference(failed, n, other, m)
    if contrast.expects == "always":
        return _always(failed, n, other, m, effect)
    if n < 2 or m < 2:
        return Finding(note=_too_few(n, m), n=(n, m))
    favours = int(np.sign(effect.point))
    note = ""
    if _boschloo(n, n, 0, m) >= alpha:
        note = f"even {n} of {n} against 0 of {m} failures would not pass the correction"
    return Finding(
        p=_boschloo(failed, n, other, m),
        supports=towards(contrast, favours),
        effect=effect,
        scale="difference",
        smallest_missed=_smallest_rate(n, m, alpha),
        note=note,
        n=(n, m),
        favours=favours,
    )


def _always(failed: int, n: int, other: int, m: int, effect: Interval) -> Finding:
    """Any run that ends well contradicts it; three that fail support it, if the control's do not all fail as well."""
    note = f"{failed} of {n} runs failed, {other} of {m} of the control's; a rule, not a test"
    if n and failed < n:
        return Finding(supports=-1, effect=effect, scale="difference", note=note, n=(n, m), certain=True)
    telling = n >= 3 and m > 0 and other < m
    why = "" if telling or not n else "; needs 3 failed runs and a control that does not always fail"
    return Finding(supports=int(telling), effect=effect, scale="difference", note=note + why, n=(n, m), certain=n > 0)


@lru_cache(maxsize=4096)
def _boschloo(failed: int, n: int, other: int, m: int) -> float:
    return boschloo_p(failed, n, other, m)


@lru_cache(maxsize=256)
def _smallest_rate(n: int, m: int, alpha: float) -> float:
    """The smallest difference of rates, against a control that never fails, whose test would pass; NaN if none."""
    return next((k / n for k in range(1, n + 1) if _boschloo(k, n, 0, m) < alpha), math.nan)


def spread(contrast: Contrast, treatment: Side, control: Side) -> Finding:
    """Ratio of the standard deviations of log FID over seeds."""
    measure = MEASURES["fid"]
    return spread_of(contrast, [*scores(treatment, measure)[0].values()], [*scores(control, measure)[0].values()])


def spread_of(contrast: Contrast, a: list[float | None], b: list[float | None]) -> Finding:
    found, n = spread_ratio(a, b), (len(a), len(b))
    if math.isnan(found.p):
        return Finding(note=f"needs 5 runs a side that are not all alike; has {n[0]} and {n[1]}", n=n)
    favours = int(np.sign(math.log(found.ratio.point)))
    note = f"{sum(found.failed)} runs without a score stand at the worst one seen" if any(found.failed) else ""
    missed = max(found.ratio.high, 1 / found.ratio.low)
    return Finding(found.p, towards(contrast, favours), found.ratio, "ratio", missed, note, n, favours=favours)


def equal(treatment: Side, control: Side) -> Finding:
    """Whether every seed's FID is the same, bit for bit."""
    seeds = sorted(s for s in treatment.keys() & control.keys() if not math.isnan(treatment[s].fid))
    if not seeds:
        return Finding(note="no seed has a FID on both sides")
    same = sum(treatment[s].fid == control[s].fid for s in seeds)
    note = f"the FIDs of {same} of {len(seeds)} seeds are equal, bit for bit"
    return Finding(supports=1 if same == len(seeds) else -1, note=note, n=(len(seeds), len(seeds)), certain=True)


def _target(treatment: Side, control: Side) -> float:
    """The FID to reach: the worse of both sides' median final one, so that half of either side's runs get there."""
    medians = []
    for side in (treatment, control):
        fids = [math.inf if math.isnan(r.fid) else r.fid for r in side.values()]
        medians.append(statistics.median(fids) if fids else math.inf)
    return max(medians)


def _too_few(n: int, m: int) -> str:
    return f"{n} and {m} runs have this figure; a test needs 2 a side"
