"""The columns that say how an arm stands against base, and the same in words."""

from __future__ import annotations

import math

from gan_ablate.findings.settled import LIMIT, MARK
from gan_ablate.findings.summaries import ArmSummary
from gan_ablate.findings.verdicts import ORDER
from gan_ablate.formatting import NOTHING, interval, p_value, percent
from gan_ablate.outcomes import listed
from gan_ablate.recipe import BASE
from gan_ablate.report.section import Column
from gan_ablate.report.study import ArmRow


def verdict(a: ArmSummary) -> str:
    """The verdict in words: `helps, certain`, `helps, early`; `base` for base."""
    return "base" if a.arm == BASE else a.verdict + ", certain" * a.certain + ", early" * a.early


def rank(a: ArmSummary) -> float:
    """The verdict's place in an order: base, then from helps to hurts, of each the certain ones first."""
    if a.arm == BASE:
        return -1
    return 2 * ORDER.index(a.verdict) + (not a.certain) if a.verdict in ORDER else 2 * len(ORDER)


def change(a: ArmSummary) -> tuple[str, str]:
    """(`−12 %`, `[−20 %, −3 %]`); the second is empty where there is no interval."""
    r = a.ratio
    if math.isnan(r.point):
        return NOTHING, ""
    return percent(r.point), "" if math.isnan(r.low) else f"[{percent(r.low)}, {percent(r.high)}]"


def failed_of(a: ArmSummary) -> str:
    """`3/8`, of the runs that the verdict rests on; of all where there is none."""
    bad, n = (a.rests_on.failed, a.rests_on.finished) if a.rests_on else (a.failures, a.runs)
    return f"{bad}/{n}" if n else "not run yet"


def _failed(r: ArmRow) -> str:
    a = r.arm
    if not a.runs:
        return f"not run yet ({a.missing})"
    left = f"; {a.missing} to go" if a.missing else ""
    return f"{a.failures}/{a.runs} [{a.failure_rate.low * 100:.0f}–{a.failure_rate.high * 100:.0f} %]{left}"


def fall(a: ArmSummary) -> str:
    """`0.21 ± 0.04, still improving`: the fall over the last quarter of training, and whether that is too much."""
    found = a.fall
    if math.isnan(found.mean):
        return NOTHING
    error = "" if math.isnan(found.error) else f" ± {found.error:.2f}"
    return f"{found.mean:.2f}{error}{', ' * found.still_improving}{MARK * found.still_improving}".replace("-", "−")


ARM = Column("arm", lambda r: r.arm.arm, "the trick that is added to base, or taken away", ("arm",))
FAILED = Column(
    "failed",
    lambda r: r.arm.failure_rate,
    f"{listed()} [95 % Wilson interval of the rate]",
    ("failure_rate", "failure_low", "failure_high"),
    _failed,
)
FAILED_SHORT = Column(
    "failed",
    lambda r: r.arm.failures / r.arm.runs if r.arm.runs else math.nan,
    "failed runs, of those that the verdict rests on",
    text=lambda r: failed_of(r.arm),
)
VERDICT = Column(
    "verdict",
    lambda r: r.arm.verdict,
    "helps, hurts: FID of the runs that did not fail; rescues, fails more: share of failed runs; same: FID within the "
    "margin, and no more failures; undecided: none of these yet; certain: it holds together with all other certain "
    "ones of the model with 95 %; early: of a look under way; is base: by construction, so no test",
    ("verdict",),
    lambda r: verdict(r.arm),
    lambda r: rank(r.arm),
)
RATIO = Column(
    "× base",
    lambda r: r.arm.ratio,
    "ratio of FIDs, arm over base, of runs that did not fail [95 % interval, not corrected]; under 1 is better",
    ("ratio", "ratio_low", "ratio_high"),
    lambda r: "1" if r.arm.arm == BASE else interval(r.arm.ratio),
    lambda r: 1.0 if r.arm.arm == BASE else r.arm.ratio.point,
)
Q = Column(
    "q",
    lambda r: r.arm.q,
    "what the verdict is given by where it is under 0.05: p of both tests together, Benjamini and Hochberg's over the "
    "arms of this model; for same, that of the test of the margin",
    text=lambda r: p_value(r.arm.q),
)
TO_DECIDE = Column(
    "to decide",
    lambda r: math.nan if r.arm.seeds_to_decide is None else r.arm.seeds_to_decide,
    "about how many more seeds an undecided arm would take if its figures stay what they are, and the time of them; of "
    "base too where base's own error is the limit; no look left: this study gives it no more",
    ("seeds_to_decide",),
    lambda r: r.arm.to_decide,
    optional=True,
)
SETTLED = Column(
    "last quarter",
    lambda r: r.arm.fall.mean,
    "by how much log FID fell over the last quarter of training, mean ± standard error over the runs that did not fail "
    f"(0.1 is about 10 %; below 0 it rose); {MARK}: over {LIMIT:g} by more than the standard error",
    ("fall",),
    lambda r: fall(r.arm),
    optional=True,
)
IMPROVING = Column(
    "settled",
    lambda r: 1.0 if r.arm.fall.still_improving else math.nan,
    f"{MARK}: its FID still fell by over {LIMIT:g} of its logarithm in the last quarter of training",
    text=lambda r: MARK * r.arm.fall.still_improving,
    optional=True,
)
