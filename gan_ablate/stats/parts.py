"""An arm's runs against base's in two parts, FID and failures: one p for both, and p-values about the margin."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from gan_ablate.stats.failures import boschloo_p
from gan_ablate.stats.moderated import Difference, Prior, difference, fit_prior

MARGIN = 1.25  # ratio of FIDs within which two arms are the same: the 80 to 125 % of bioequivalence, the field that
# equivalence tests come from (Schuirmann 1987)


class Runs(NamedTuple):
    """The finished runs of one arm."""

    log_fid: Sequence[float]  # of those that did not fail
    failed: int = 0

    @classmethod
    def of(cls, outcomes: Iterable[float | None]) -> Runs:
        """From the log FID of each run, `None` where it failed."""
        held = list(outcomes)
        return cls(tuple(x for x in held if x is not None), sum(x is None for x in held))

    @property
    def finished(self) -> int:
        """How many there are."""
        return len(self.log_fid) + self.failed

    @property
    def failures(self) -> Failures:
        """Of how many."""
        return Failures(self.failed, self.finished)


class Failures(NamedTuple):
    """Failed runs of an arm."""

    failed: int
    runs: int

    @property
    def rate(self) -> float:
        """0 without a run."""
        return self.failed / self.runs if self.runs else 0.0


class Margins(NamedTuple):
    """One-sided p-values about the margin, small where the arm is what each says; NaN where FIDs cannot be compared."""

    not_worse: float  # FID under base's times the margin, and no larger share of its runs failed
    not_better: float  # the same of base against the arm
    worse: float  # FID over base's by the margin, or fails more: two parts, as in p
    better: float


class Parts(NamedTuple):
    """What the runs of one arm say against base's, before any correction. A p is NaN where it cannot be computed."""

    p_fid: float
    p_fail: float
    p: float  # of both parts: min(1, 2 min); of FID alone where no run failed, of failures where FID must not decide
    direction: str  # the verdict if it is significant: helps | hurts | fails more | rescues; "" if there is none
    p_same: float  # of "outside the margin, or fails more"
    fails_over: bool  # a larger share of its runs failed than of base's: no "helps", no "same"
    margins: Margins


def moments(sides: Sequence[Runs]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, variances and counts (k,) of log FID; NaN where there are no runs, or none to compare."""
    values = [np.asarray(side.log_fid, dtype=float) for side in sides]
    means = np.array([v.mean() if len(v) else math.nan for v in values])
    variances = np.array([v.var(ddof=1) if len(v) > 1 else math.nan for v in values])
    return means, variances, np.array([float(len(v)) for v in values])


def prior_of(arms: Mapping[str, Runs], base: Runs) -> Prior:
    """How the variances of all arms of a model, and of base, are spread."""
    _, variances, counts = moments([*arms.values(), base])
    return fit_prior(variances, counts - 1)


def differences(arms: Iterable[Runs], base: Runs, prior: Prior) -> Difference:
    """Mean log FID of each arm less base's."""
    means, variances, counts = moments([*arms, base])
    return difference(
        means[:-1], variances[:-1], counts[:-1], means[-1], float(variances[-1]), int(counts[-1]), prior
    )  # fmt: skip


def parts(found: Difference, arms: Sequence[Failures], base: Failures, margin: float = MARGIN) -> list[Parts]:
    """Of each arm. found: their differences from base, as many."""
    p_fid = found.p()
    over, under = found.outside(math.log(margin))
    return [
        _of(float(found.mean[k]), float(p_fid[k]), float(over[k]), float(under[k]), arm, base)
        for k, arm in enumerate(arms)
    ]


def _of(mean: float, p_fid: float, over: float, under: float, arm: Failures, base: Failures) -> Parts:  # noqa: PLR0917
    p_fail = boschloo_p(arm.failed, arm.runs, base.failed, base.runs)
    more, less = arm.rate > base.rate, arm.rate < base.rate
    p, by_fid = _both(p_fid, p_fail, mean, arm, base)
    direction = "hurts" if mean > 0 else "helps"
    if not by_fid:
        direction = "fails more" if more else "rescues" if less else ""
    same = math.nan if math.isnan(over) else 1.0 if more else max(over, under)
    some = arm.failed + base.failed > 0
    beyond = (_either(1 - x, p_fail if fails else 1.0, some) for x, fails in ((over, more), (under, less)))
    margins = Margins(1.0 if more else over, 1.0 if less else under, *beyond)
    return Parts(p_fid, p_fail, p, direction, same, more, margins)


def _either(p_fid: float, p_fail: float, some_failed: bool) -> float:
    """One p of two parts; of FID alone where nothing failed, of failures where there is no FID."""
    return min(1.0, 2 * float(np.fmin(p_fid, p_fail))) if some_failed else p_fid


def _both(p_fid: float, p_fail: float, mean: float, arm: Failures, base: Failures) -> tuple[float, bool]:
    """p of both parts, and whether the FID part gives it; NaN where neither could be tested.

    Where nothing failed, the failure part cannot reject: given that, the FID part has all of the level. An arm that
    fails more than base has not helped, whatever its other runs say: there failures alone decide.
    """
    if math.isnan(p_fid) or (mean < 0 and arm.rate > base.rate):
        return min(1.0, 2 * p_fail) if not math.isnan(p_fail) else math.nan, False
    if not arm.failed and not base.failed:
        return p_fid, True
    return min(1.0, 2 * p_fid, 2 * p_fail), p_fid <= p_fail
