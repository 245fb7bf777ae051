"""Two sides against each other: scores, spread, equality. Each gives a `Finding`."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from gan_ablate.claims.claim import Contrast
from gan_ablate.claims.measures import MEASURES, scores, seconds_to
from gan_ablate.results.tables import Run
from gan_ablate.stats.equivalence import equivalence
from gan_ablate.stats.intervals import NONE, Interval
from gan_ablate.stats.paired import Comparison, compare
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
    bound: bool = False  # whether `smallest_missed` is the far end of the plain 95 % interval, and no matter of power
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
        a, b = seconds_to(treatment, target), seconds_to(control, target)
        notes = [f"target FID {target:.3g}"]
    else:
        a, b = scores(treatment, first), scores(control, second)
        notes = []
    missing = len(treatment) + len(control) - len(a) - len(b)
    if missing:
        notes.append(f"{missing} runs without this figure are left out")
    if contrast.same_weights:
        pooled = 1.0
    if contrast.expects in ("equivalent", "not worse"):
        return _equivalent(contrast, (a, b), alpha, pooled, notes)
    found = compare(a, b, alpha=alpha, pooled=pooled, scale=first.scale, better=first.better)
    if not found.test:
        return Finding(note="; ".join([too_few(len(a), len(b)), *notes]), n=(len(a), len(b)))
    if found.test == "rank":
        notes += _ranks(a, b, found, alpha)
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
    seen, n = compare(a, b, alpha=alpha, pooled=pooled), (len(a), len(b))
    if not seen.test:
        return Finding(note="; ".join([too_few(*n), *notes]), n=n)
    notes = [*notes, f"margin: a ratio of {contrast.margin:g}"]
    if not seen.ratio.low < seen.ratio.high:
        return _worse_by_ranks(contrast, sides, alpha, seen, notes)
    above, below = (
        equivalence(x, y, contrast.margin, alpha=alpha, pooled=pooled).p_not_worse for x, y in ((a, b), (b, a))
    )
    if contrast.expects == "equivalent":
        for_, against = max(above, below), min(1 - above, 1 - below)
    else:
        for_, against = above, 1 - above
    return Finding(
        p=min(1.0, 2 * min(for_, against)),
        supports=1 if for_ < against else -1,
        effect=seen.ratio,
        smallest_missed=seen.ratio.high if contrast.expects == "not worse" else reach(seen.ratio),
        bound=True,
        note="; ".join(notes),
        n=n,
        favours=seen.favours,
    )


def _worse_by_ranks(
    contrast: Contrast,
    sides: tuple[Mapping[int, float | None], Mapping[int, float | None]],
    alpha: float,
    seen: Comparison,
    notes: list[str],
) -> Finding:
    """Where no ratio has an interval: a failed run ranks worst, and no margin bounds its harm. So ranks may contradict
    that the treatment is as good, being worse even after the margin is taken off, but never support it."""
    a, b = sides
    found = compare({s: v and v / contrast.margin for s, v in a.items()}, b, alpha=alpha)
    return Finding(
        p=found.p,
        supports=-int(found.favours > 0),
        effect=seen.ratio,
        note="; ".join([*notes, *_ranks(a, b, found, alpha), "ranks can only contradict"]),
        n=(len(a), len(b)),
        favours=found.favours,
    )


def _ranks(a: Mapping[int, float | None], b: Mapping[int, float | None], found: Comparison, alpha: float) -> list[str]:
    """Why a rank test was made, and what it can show at all: it knows of no smallest effect."""
    lost = sum(v is None for v in (*a.values(), *b.values()))
    why = f"{lost} runs without a score rank worst" if lost else "no run of a side differs from the others"
    notes = [f"{why} (rank test, which names no smallest effect: p is {found.least_p:.2g} at least)"]
    if found.least_p >= alpha:
        notes.append("no data of so few runs could pass the correction in a rank test")
    return notes


def reach(ratio: Interval) -> float:
    """How far from equal, either way, an interval of a ratio goes."""
    return max(ratio.high, 1 / ratio.low) if ratio.low > 0 else math.inf


def spread(contrast: Contrast, treatment: Side, control: Side) -> Finding:
    """Ratio of the standard deviations of log FID over seeds."""
    measure = MEASURES["fid"]
    return spread_of(contrast, [*scores(treatment, measure).values()], [*scores(control, measure).values()])


def spread_of(contrast: Contrast, a: list[float | None], b: list[float | None]) -> Finding:
    found, n = spread_ratio(a, b), (len(a), len(b))
    if math.isnan(found.p):
        return Finding(note=f"needs 5 runs a side, not all alike and half of them scored; has {n[0]} and {n[1]}", n=n)
    favours = int(np.sign(math.log(found.ratio.point)))
    note = f"{sum(found.failed)} runs without a score stand at the worst one seen" if any(found.failed) else ""
    return Finding(
        p=found.p,
        supports=towards(contrast, favours),
        effect=found.ratio,
        smallest_missed=reach(found.ratio),
        bound=True,
        note=note,
        n=n,
        favours=favours,
    )


def equal(treatment: Side, control: Side) -> Finding:
    """Whether every seed's FID is the same, bit for bit; a seed that has one on one side only is not."""
    both = [(treatment[s].fid, control[s].fid) for s in sorted(treatment.keys() & control.keys())]
    pairs = [pair for pair in both if not all(map(math.isnan, pair))]
    if not pairs:
        return Finding(note="no seed has a FID on either side")
    same = sum(a == b for a, b in pairs)
    note = f"the FIDs of {same} of {len(pairs)} seeds are equal, bit for bit"
    return Finding(supports=1 if same == len(pairs) else -1, note=note, n=(len(pairs), len(pairs)), certain=True)


def _target(treatment: Side, control: Side) -> float:
    """The FID to reach: the worse of both sides' median final one, so that half of either side's runs get there."""
    medians = []
    for side in (treatment, control):
        fids = [math.inf if math.isnan(r.fid) else r.fid for r in side.values()]
        medians.append(statistics.median(fids) if fids else math.inf)
    return max(medians)


def too_few(n: int, m: int) -> str:
    return f"{n} and {m} runs have this figure; a test needs 2 a side"
