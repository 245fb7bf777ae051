"""The columns of the tables of arms, on the page, on paper and in the CSV files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from gan_ablate.findings.summaries import ArmSummary, ModelTable
from gan_ablate.formatting import NOTHING, interval, number, p_value, percent, whole
from gan_ablate.outcomes import listed
from gan_ablate.recipe import BASE
from gan_ablate.report.section import Column, Name, Table
from gan_ablate.report.study import ArmRow
from gan_ablate.stats.intervals import NONE, Interval

ALL = "all-arms"  # the CSV file of every arm
FID = "FID"  # stands for the label of what was measured
SIGN_WORDS = {
    "d_loss_near_zero": "D loss near 0",
    "gradient_over_100": "gradient over 100",
    "d_loss_spikes": "D loss spikes",
    "g_loss_falls": "G loss falls",
}


def verdict(a: ArmSummary, table: ModelTable) -> str:
    """The verdict in words; an undecided one says why, or what it could have missed."""
    if a.arm == BASE:
        return "base"
    if a.verdict != "undecided" or a.against is None:
        return a.verdict
    if a.withheld:
        return f"undecided: lower FID, but {'every run failed' if a.failures == a.runs else 'fails more'}"
    if a.against.test == "rank":
        return f"undecided (rank test{'; could miss any effect' if a.arm in table.hopeless else ''})"
    size = a.against.detectable
    if math.isnan(size):
        return a.verdict
    return "undecided (too few runs)" if size > 100 else f"undecided (could miss ×{number(size)})"


def change(a: ArmSummary) -> tuple[str, str]:
    """(`−12 %`, `[−20 %, −3 %]`); the second is empty where there is no interval."""
    if a.against is None or math.isnan(a.against.ratio.point):
        return NOTHING, ""
    r = a.against.ratio
    return percent(r.point), "" if math.isnan(r.low) else f"[{percent(r.low)}, {percent(r.high)}]"


def _compared(name: str, absent: Any = math.nan) -> Callable[[ArmRow], Any]:
    """A figure of the comparison with base; `absent` where there is none."""
    return lambda r: getattr(r.arm.against, name, absent)


_ratio = _compared("ratio", NONE)


def _dof(r: ArmRow) -> float:
    """Degrees of freedom of the interval of a mean over the seeds with a score."""
    fid = r.table.groups[r.arm.arm]["fid"].astype(float)
    return max(int(np.isfinite(fid).sum()) - 1, 0) or math.nan


def _test(r: ArmRow) -> str:
    c = r.arm.against
    if c is None or not c.test:
        return NOTHING
    return f"{c.test}, n {c.n}" + ("" if math.isnan(c.correlation) else f", r {c.correlation:.2f}")


def _failed(r: ArmRow) -> str:
    a = r.arm
    if not a.runs:
        return f"not run yet ({a.missing})"
    left = f"; {a.missing} to go" if a.missing else ""
    return f"{a.failures}/{a.runs} [{a.failure_rate.low * 100:.0f}–{a.failure_rate.high * 100:.0f} %]{left}"


def _points(i: Interval) -> str:
    """A difference of rates in percentage points."""
    if math.isnan(i.point):
        return NOTHING
    low, point, high = (f"{v * 100:+.0f}".replace("-", "−") for v in (i.low, i.point, i.high))
    return f"{point} [{low}, {high}]"


def _mean(name: str, heading: str, meaning: str, digits: int = 3, paper: bool = False) -> Column:
    """The mean over the seeds of one figure; no column where no arm has it."""
    return Column(heading, lambda r: r.arm.means[name], meaning, (name,), digits=digits, optional=True, paper=paper)


def _sign(name: str) -> Column:
    """Share of the runs that showed a sign of failure, of those where it means something."""

    def share(r: ArmRow) -> float:
        shown, looked = r.arm.signs.get(name, (0, 0))
        return shown / looked if looked else math.nan

    return Column(
        SIGN_WORDS[name],
        share,
        "runs that showed this sign of failure, of those where it means something",
        (f"sign_{name}",),
        lambda r: "{}/{}".format(*r.arm.signs[name]) if name in r.arm.signs else NOTHING,
        optional=True,
        paper=False,
    )


ARM = Column("arm", lambda r: r.arm.arm, "the trick that is added to base, or taken away", ("arm",))
FAILED = Column(
    "failed",
    lambda r: r.arm.failure_rate,
    f"{listed()} [95 % Wilson interval of the rate]",
    ("failure_rate", "failure_low", "failure_high"),
    _failed,
)
NUMBERS: tuple[Column, ...] = (
    Column("", lambda r: (r.table.model, r.table.dataset), csv=("model", "dataset")),
    ARM,
    Column("", lambda r: r.table.label, csv=("metric",)),
    Column("", lambda r: (r.arm.runs, r.arm.missing, r.arm.failures), csv=("runs", "missing", "failures")),
    Column(
        "verdict",
        lambda r: r.arm.verdict,
        "by Holm-corrected p under 0.05; could miss: the smallest ratio found with 80 % power at 0.05 over the "
        "number of arms; fails more: more of its runs fail than of base's, so its FID alone gets no verdict; rank "
        "test: some runs have no FID, and what ranks could miss is not known; is base: by construction, so no test",
        ("verdict",),
        lambda r: verdict(r.arm, r.table),
        lambda r: {"helps": 0, "": 1, "undecided": 2, "hurts": 3}.get(r.arm.verdict, 4),
        wide=True,
    ),
    Column("", _compared("detectable"), csv=("detectable_ratio",)),
    Column(FID, lambda r: r.arm.fid, "geometric mean over seeds [95 % interval of it]", ("fid", "fid_low", "fid_high")),
    Column("", _dof, csv=("fid_dof",)),
    Column(
        "× base",
        _ratio,
        "ratio of FIDs, arm over base [95 % interval]; under 1 is better",
        ("ratio", "ratio_low", "ratio_high"),
        lambda r: "1" if r.arm.arm == BASE else interval(_ratio(r)),
        lambda r: 1.0 if r.arm.arm == BASE else _ratio(r).point,
    ),
    Column("", _compared("dof"), csv=("ratio_dof",)),
    Column("", _compared("p"), csv=("p",)),
    Column(
        "p (Holm)",
        lambda r: r.arm.p_holm,
        "two-sided, corrected over the arms of this model",
        ("p_holm",),
        lambda r: p_value(r.arm.p_holm),
    ),
    Column(
        "P(better)",
        lambda r: r.arm.improvement,
        "the chance that a run of the arm beats a run of base, failed runs worst",
        ("probability_of_improvement",),
        digits=2,
        paper=False,
    ),
    Column("", _compared("delta"), csv=("cliffs_delta",)),
    FAILED,
    _mean(
        "modes",
        "modes",
        "modes with at least a quarter of the good samples that real images would give (stacked digits, points: with "
        "one at all), mean over seeds",
        paper=True,
    ),
    _mean(
        "assigned_modes", "any q.", "modes with a quarter of their real share of samples, good or not; mean over seeds"
    ),
    _mean("kid", "KID", "mean over seeds; lower is better", paper=True),
    _mean("precision", "prec.", "precision: share of generated images among the real ones; higher is better"),
    _mean("recall", "recall", "share of real images among the generated ones; higher is better"),
    _mean("density", "dens.", "density: precision that outliers do not inflate; higher is better"),
    _mean("coverage", "cover.", "coverage: share of real images with a generated one near; higher is better"),
    _mean("mode_kl", "mode KL", "divergence of the histogram of modes from the real one; 0 is even"),
    _mean(
        "high_quality",
        "high q.",
        "share of good samples: as near to a real image of their class as real ones are (points: within 3 sigma of a "
        "mode); higher is better",
    ),
    Column(
        "IS",
        lambda r: r.arm.is_mean,
        "inception score, mean over seeds [95 % interval]",
        ("is_mean", "is_low", "is_high"),
    ),
    Column(
        "test",
        _compared("test", ""),
        "paired t or Welch on log FID, or ranks; r is the correlation over seeds",
        ("test",),
        _test,
        paper=False,
    ),
    Column("", _compared("correlation"), csv=("pair_correlation",)),
    Column("s/run", lambda r: r.arm.seconds, "seconds, evaluation included", ("seconds",), paper=False),
    Column("", lambda r: r.table.protocol, csv=("protocol",)),
)
STABILITY: tuple[Column, ...] = (
    ARM,
    FAILED,
    Column(
        "how", lambda r: r.arm.outcomes, "which failures", ("outcomes",), lambda r: r.arm.outcomes or NOTHING, wide=True
    ),
    Column(
        "− base",
        lambda r: r.arm.more_failures,
        "failure rate less that of base, in points [95 % interval, Newcombe's]",
        ("more_failures", "more_failures_low", "more_failures_high"),
        lambda r: _points(r.arm.more_failures),
        optional=True,
    ),
    Column(
        "final/best",
        lambda r: r.arm.final_over_best,
        "final FID over the best one of the run, geometric mean: 1 is stable",
        ("final_over_best",),
        optional=True,
    ),
    Column(
        "seed spread",
        lambda r: r.arm.spread,
        "standard deviation of log FID over seeds: 0.1 is about 10 %",
        ("seed_spread",),
        digits=2,
        optional=True,
    ),
    _mean("volatility", "volatility", "standard deviation of log FID over the second half of a run, mean", 2, True),
    _mean("largest_d_gradient", "max |∇D|", "largest 2-norm of D's gradient, mean over runs", paper=True),
    _mean("largest_g_gradient", "max |∇G|", "largest 2-norm of G's gradient, mean over runs", paper=True),
    Column("", lambda r: r.arm.means["early_g_gradient"], csv=("early_g_gradient",)),
    *map(_sign, SIGN_WORDS),
    Column(
        "MB",
        lambda r: r.arm.means["peak_memory_bytes"],
        "peak memory of a run's process, mean",
        ("peak_memory_bytes",),
        lambda r: whole(r.arm.means["peak_memory_bytes"] / 1e6),
        optional=True,
        paper=False,
    ),
)


def numbers(table: ModelTable) -> Sequence[Column]:
    """`NUMBERS`, the FID under its label."""
    return [replace(c, heading=table.label) if c.heading == FID else c for c in NUMBERS]


def all_arms(rows: Iterable[ArmRow]) -> Table:
    """Every figure of every arm of every root: what `--compare` reads."""
    return Table("", [*NUMBERS, *STABILITY, Column("", lambda r: r.study, csv=("study",))], list(rows), Name(ALL))
