"""FID and failures of two arms of a model, by the engine that judges the report's arms: the same runs, the same p.

A contrast with base is that of the arm's own verdict, so that the two cannot disagree. Seeds are not paired: the
report's are not. Two ways to sample one training's weights, neither of them base, are the exception: pairs by
construction, which no verdict of an arm speaks of.
"""

from __future__ import annotations

import math

from gan_ablate.claims.claim import Contrast
from gan_ablate.claims.comparisons import compare_scores, equal_fids, too_few, towards
from gan_ablate.claims.looks import NO_LOOK, at_each_look, compared
from gan_ablate.claims.planned_tests import PlannedTest
from gan_ablate.claims.verdict import Finding, fails_too_often
from gan_ablate.recipe import BASE
from gan_ablate.stats.intervals import Interval, wilson
from gan_ablate.stats.parts import MARGIN, Parts
from gan_ablate.stats.two_part import FAVOURS, Evidence


def compare_fid(test: PlannedTest, alpha: float) -> Finding:
    """Whether the treatment's FID is lower, within the margin, or equal, as the contrast expects."""
    contrast, arms = test.contrast, (test.treatment, test.control)
    if contrast.expects == "equal":
        return equal_fids(test)
    pairs = contrast.same_weights or test.table.one_training(test.model, *arms)
    if pairs and BASE not in arms:
        return at_each_look(test, alpha, compare_scores)
    if same := [arm for arm in arms if (test.model, arm) in test.table.same]:
        return Finding(note=f"{same[0]} is base by construction: no test", n=_counts(test))
    # base is always the control, and of other pairs the one that comes later: swapped sides are one test
    mirrored = test.treatment == BASE or (test.control != BASE and test.treatment > test.control)
    arm, control = arms[::-1] if mirrored else arms
    held = compared(test.table, test.model)
    found, sides = held.evidence(arm, control), held.seen(arm, control)
    sides = sides[::-1] if mirrored else sides
    n = sides[0].finished, sides[1].finished
    if found is None:
        return Finding(note=NO_LOOK, n=_counts(test))
    p, supports, favours = _answer(found, contrast, mirrored)
    some_failed = sides[0].failed + sides[1].failed > 0
    if math.isnan(p) or (math.isnan(found.p_fid) and not some_failed):
        return Finding(note=too_few(*n), n=n)
    ratio = _inverse(found.ratio) if mirrored else found.ratio
    by_failures = math.isnan(ratio.point) or found.direction in ("rescues", "fails more")
    told = f"{sides[0].failed} of {n[0]} against {sides[1].failed} of {n[1]} runs failed" * by_failures

    def p_ahead(parts: Parts) -> float:
        ahead, side, better = _answer(parts, contrast, mirrored)
        for_treatment = better < 0 or (contrast.is_margin and side > 0)
        mine, other = (s.failures.rate for s in (sides if for_treatment else sides[::-1]))
        apart = 1.0 if fails_too_often(mine, other, control == BASE) else ahead
        return apart if contrast.is_margin or not parts.p_same < apart else parts.p_same

    def more(threshold: float) -> tuple[int, int] | None:
        offer = held.more_seeds(arm, control, threshold, p_ahead)
        return offer and ((offer.base, offer.seeds) if mirrored else (offer.seeds, offer.base))

    return Finding(
        p=p, p_same=math.nan if contrast.is_margin else 0.0 if found.identical else found.p_same,
        supports=supports, effect=ratio, smallest_missed=_reach(ratio, contrast), bound=True,
        told=told, note=f"margin: a ratio of {MARGIN:g}" if contrast.is_margin else "", n=n, favours=favours,
        counts_failures=control == BASE, more=more,
        failures=(wilson(sides[0].failed, n[0]), wilson(sides[1].failed, n[1])),
    )  # fmt: skip


def _answer(found: Evidence | Parts, contrast: Contrast, mirrored: bool) -> tuple[float, int, int]:
    """p, the side that it speaks for (1: as claimed), and whose figure is the better (-1: the treatment's).

    About the margin two statements are tested, one that the claim makes and its opposite. One of them is true, so that
    only the other can err: p is the smaller of the two.
    """
    side = -1 if mirrored else 1
    if not contrast.is_margin:
        favours = FAVOURS.get(found.direction, 0) * side
        return found.p, towards(contrast, favours), favours
    not_worse, not_better, worse, better = found.margins
    if mirrored:
        not_worse, worse, better = not_better, better, worse
    if contrast.expects == "equivalent":
        against, favours = _twice(worse, better), 1 if _first(worse, better) else -1
        yes = found.p_same
    else:
        yes, against, favours = not_worse, worse, 1
    if _first(yes, against):
        return yes, 1, -1
    return against, -1, favours


def _first(a: float, b: float) -> bool:
    """Whether `a` is the smaller; NaN is not."""
    return a <= b or (math.isnan(b) and not math.isnan(a))


def _twice(a: float, b: float) -> float:
    return min(1.0, 2 * (a if _first(a, b) else b))


def _inverse(ratio: Interval) -> Interval:
    point, high, low = (1 / x if x else math.inf for x in ratio)
    return Interval(point, low, high)


def _reach(ratio: Interval, contrast: Contrast) -> float:
    """The bound of the ratio that lies farther from 1; of "not worse" the upper one."""
    if contrast.expects == "not worse" or not ratio.low > 0:
        return ratio.high
    return max(ratio.low, ratio.high, key=lambda bound: abs(math.log(bound)))


def _counts(test: PlannedTest) -> tuple[int, int]:
    return len(test.treatment_runs), len(test.control_runs)
