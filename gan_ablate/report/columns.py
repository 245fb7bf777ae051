"""The columns of the tables, the same in Markdown, HTML and LaTeX: heading, what it means, the cell's text, its place
in an order."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from gan_ablate.findings.summaries import BASE, ArmSummary, ModelTable
from gan_ablate.formatting import NOTHING, interval, number, p_value, percent, whole
from gan_ablate.outcomes import listed
from gan_ablate.stats.intervals import Interval


@dataclass(frozen=True)
class Column:
    """One column. `key` sorts it; NaN goes last."""

    heading: str
    meaning: str
    cell: Callable[[ArmSummary], str]
    key: Callable[[ArmSummary], float] | None = None


SIGN_WORDS = {
    "d_loss_near_zero": "D loss near 0",
    "gradient_over_100": "gradient over 100",
    "d_loss_spikes": "D loss spikes",
    "g_loss_falls": "G loss falls",
}
MEANS = {
    "modes": (
        "modes",
        "modes with at least a quarter of the good samples that real images would give (stacked digits, points: with "
        "one at all), mean over seeds",
    ),
    "assigned_modes": ("any q.", "modes with a quarter of their real share of samples, good or not; mean over seeds"),
    "kid": ("KID", "mean over seeds; lower is better"),
    "precision": ("prec.", "precision: share of generated images among the real ones; higher is better"),
    "recall": ("recall", "share of real images among the generated ones; higher is better"),
    "density": ("dens.", "density: precision that outliers do not inflate; higher is better"),
    "coverage": ("cover.", "coverage: share of real images with a generated one near; higher is better"),
    "mode_kl": ("mode KL", "divergence of the histogram of modes from the real one; 0 is even"),
    "high_quality": (
        "high q.",
        "share of good samples: as near to a real image of their class as real ones are (points: within 3 sigma of a "
        "mode); higher is better",
    ),
}


def columns(table: ModelTable) -> list[Column]:
    """The columns that this table has something to say in."""
    return [
        Column("arm", "the trick that is added to base, or taken away", lambda a: a.arm),
        Column(
            "verdict",
            "by Holm-corrected p under 0.05; could miss: the smallest ratio found with 80 % power at 0.05 over the "
            "number of arms; fails more: more of its runs fail than of base's, so its FID alone gets no verdict; rank "
            "test: some runs have no FID, and what ranks could miss is not known; is base: by construction, so no test",
            lambda a: verdict(a, table),
            lambda a: {"helps": 0, "": 1, "undecided": 2, "hurts": 3}.get(a.verdict, 4),
        ),
        Column(
            table.label,
            "geometric mean over seeds [95 % interval of it]",
            lambda a: interval(a.fid),
            lambda a: a.fid.point,
        ),
        Column("× base", "ratio of FIDs, arm over base [95 % interval]; under 1 is better", ratio, ratio_point),
        Column(
            "p (Holm)",
            "two-sided, corrected over the arms of this model",
            lambda a: p_value(a.p_holm),
            lambda a: a.p_holm,
        ),
        Column(
            "P(better)",
            "the chance that a run of the arm beats a run of base, failed runs worst",
            lambda a: number(a.improvement, 2),
            lambda a: a.improvement,
        ),
        Column("failed", f"{listed()} [95 % Wilson interval of the rate]", _failed, _rate),
        *(_mean(k) for k in MEANS if any(not math.isnan(a.means[k]) for a in table.arms)),
        Column(
            "IS",
            "inception score, mean over seeds [95 % interval]",
            lambda a: interval(a.is_mean),
            lambda a: a.is_mean[0],
        ),
        Column("test", "paired t or Welch on log FID, or ranks; r is the correlation over seeds", _test),
        Column("s/run", "seconds, evaluation included", lambda a: number(a.seconds), lambda a: a.seconds),
    ]


def stability_columns(table: ModelTable) -> list[Column]:
    """Failure, drift and the size of gradients."""
    found = [
        Column("arm", "the trick that is added to base, or taken away", lambda a: a.arm),
        Column("failed", f"{listed()} [95 % Wilson interval of the rate]", _failed, _rate),
        Column("how", "which failures", lambda a: a.outcomes or NOTHING),
        Column(
            "− base",
            "failure rate less that of base, in points [95 % interval, Newcombe's]",
            lambda a: points(a.more_failures),
            lambda a: a.more_failures.point,
        ),
        Column(
            "final/best",
            "final FID over the best one of the run, geometric mean: 1 is stable",
            lambda a: number(a.final_over_best),
            lambda a: a.final_over_best,
        ),
        Column(
            "seed spread",
            "standard deviation of log FID over seeds: 0.1 is about 10 %",
            lambda a: number(a.spread, 2),
            lambda a: a.spread,
        ),
        _card("volatility", "volatility", "standard deviation of log FID over the second half of a run, mean", 2),
        _card("largest_d_gradient", "max |∇D|", "largest 2-norm of D's gradient, mean over runs", 3),
        _card("largest_g_gradient", "max |∇G|", "largest 2-norm of G's gradient, mean over runs", 3),
    ]
    for name in SIGN_WORDS:
        if any(name in a.signs for a in table.arms):
            found.append(_sign(name))
    found.append(
        Column(
            "MB",
            "peak memory of a run's process, mean",
            lambda a: whole(a.means["peak_memory_bytes"] / 1e6),
            lambda a: a.means["peak_memory_bytes"],
        )
    )
    return [c for c in found if c.key is None or any(not math.isnan(c.key(a)) for a in table.arms)]


def _mean(name: str) -> Column:
    heading, meaning = MEANS[name]
    return Column(heading, meaning, lambda a: number(a.means[name]), lambda a: a.means[name])


def _card(name: str, heading: str, meaning: str, digits: int) -> Column:
    return Column(heading, meaning, lambda a: number(a.means[name], digits), lambda a: a.means[name])


def _sign(name: str) -> Column:
    def share(a: ArmSummary) -> float:
        shown, looked = a.signs.get(name, (0, 0))
        return shown / looked if looked else math.nan

    def cell(a: ArmSummary) -> str:
        shown, looked = a.signs.get(name, (0, 0))
        return f"{shown}/{looked}" if looked else NOTHING

    return Column(
        SIGN_WORDS[name], "runs that showed this sign of failure, of those where it means something", cell, share
    )


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


def ratio(a: ArmSummary) -> str:
    return "1" if a.arm == BASE else interval(a.against.ratio) if a.against else NOTHING


def ratio_point(a: ArmSummary) -> float:
    return 1.0 if a.arm == BASE else a.against.ratio.point if a.against else math.nan


def points(i: Interval) -> str:
    """A difference of rates in percentage points."""
    if math.isnan(i.point):
        return NOTHING
    low, point, high = (f"{v * 100:+.0f}".replace("-", "−") for v in (i.low, i.point, i.high))
    return f"{point} [{low}, {high}]"


def change(a: ArmSummary) -> str:
    """`−12 % [−20 %, −3 %]`."""
    if a.against is None or math.isnan(a.against.ratio.point):
        return NOTHING
    r = a.against.ratio
    return percent(r.point) + ("" if math.isnan(r.low) else f" [{percent(r.low)}, {percent(r.high)}]")


def _test(a: ArmSummary) -> str:
    if a.against is None or not a.against.test:
        return NOTHING
    r = "" if math.isnan(a.against.correlation) else f", r {a.against.correlation:.2f}"
    return f"{a.against.test}, n {a.against.n}{r}"


def _failed(a: ArmSummary) -> str:
    if not a.runs:
        return f"not run yet ({a.missing})"
    left = f"; {a.missing} to go" if a.missing else ""
    rate = a.failure_rate
    return f"{a.failures}/{a.runs} [{rate.low * 100:.0f}–{rate.high * 100:.0f} %]{left}"


def _rate(a: ArmSummary) -> float:
    return a.failure_rate.point
