"""The columns of the tables of arms, on the page, on paper and in the CSV files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from gan_ablate.findings.summaries import ModelTable
from gan_ablate.formatting import NOTHING, p_value, whole
from gan_ablate.report.section import Column, Name, Table
from gan_ablate.report.study import ArmRow
from gan_ablate.report.verdict_columns import ARM, FAILED, RATIO, SETTLED, TO_DECIDE, VERDICT, Q
from gan_ablate.stats.intervals import Interval

BUDGET = Column("", lambda r: r.table.budget, csv=("budget",))  # in files of a study with two
ALL = "all-arms"  # the CSV file of every arm
FID = "FID"  # stands for the label of what was measured
SHARES, FLOOR = ("precision", "recall", "density", "coverage"), 0.02  # all under it: they tell no arms apart
AGAINST_BASE = ("verdict", "× base", "q", "p (FID)", "p (fails)", "to decide", "P(better)")
SIGN_WORDS = {
    "d_loss_near_zero": "D loss near 0",
    "gradient_over_100": "gradient over 100",
    "d_loss_spikes": "D loss spikes",
    "g_loss_falls": "G loss falls",
}


def _evidence(name: str) -> Callable[[ArmRow], float]:
    """A figure of the engine's evidence; NaN where nothing was tested."""
    return lambda r: getattr(r.arm.judged.evidence, name) if r.arm.judged else math.nan


def _p(name: str, heading: str, meaning: str) -> Column:
    """A p of the evidence."""
    value = _evidence(name)
    return Column(heading, value, meaning, (name,), lambda r: p_value(value(r)), paper=False)


def _judged(name: str) -> Callable[[ArmRow], float]:
    """The same of the verdict's own figures."""
    return lambda r: getattr(r.arm.judged, name) if r.arm.judged else math.nan


def _base_seeds(r: ArmRow) -> float:
    """More seeds of base that an undecided arm would take; NaN where its own would not do, or are not needed."""
    return r.arm.judged.base_to_decide if r.arm.judged and r.arm.seeds_to_decide else math.nan


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


CMMD = _mean("cmmd", "CMMD", "of CLIP’s image embeddings, mean over seeds; lower is better")
NUMBERS: tuple[Column, ...] = (
    Column("", lambda r: (r.table.model, r.table.dataset), csv=("model", "dataset")),
    ARM,
    Column("", lambda r: r.table.label, csv=("metric",)),
    Column("", lambda r: (r.arm.runs, r.arm.missing, r.arm.failures), csv=("runs", "missing", "failures")),
    VERDICT,
    Column("", lambda r: (r.arm.certain, r.arm.early), csv=("certain", "early")),
    Column(
        FID,
        lambda r: r.arm.fid,
        "geometric mean over the runs that did not fail [95 % interval of it]",
        ("fid", "fid_low", "fid_high"),
    ),
    Column("", lambda r: r.arm.fid_dof, csv=("fid_dof",)),
    RATIO,
    Column("", lambda r: r.arm.ratio_dof, csv=("ratio_dof",)),
    Q,
    Column("", _judged("q"), csv=("q",)),
    Column("", _judged("q_same"), csv=("q_same",)),
    Column("", _judged("p_holm"), csv=("p_holm",)),
    _p("p_fid", "p (FID)", "two-sided, of FID alone, not corrected"),
    _p("p_fail", "p (fails)", "two-sided, of the share of failed runs alone (Boschloo's exact test), not corrected"),
    TO_DECIDE,
    Column("", _base_seeds, csv=("base_seeds_to_decide",)),
    Column("", lambda r: r.arm.minutes_to_decide, csv=("minutes_to_decide",)),
    Column(
        "P(better)",
        lambda r: r.arm.improvement,
        "the chance that a run of the arm beats a run of base, failed runs worst",
        ("probability_of_improvement",),
        digits=2,
        paper=False,
    ),
    FAILED,
    SETTLED,
    Column("", lambda r: (r.arm.fall.error, r.arm.fall.still_improving), csv=("fall_error", "still_improving")),
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
    CMMD,
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
    _mean(
        "nn_ratio",
        "NN ratio",
        "distance to the nearest training image over that to the nearest held-out one: 1 is no copying, less is copies",
    ),
    Column(
        "IS",
        lambda r: r.arm.is_mean,
        "inception score, mean over seeds [95 % interval]",
        ("is_mean", "is_low", "is_high"),
        optional=True,
    ),
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
    """`NUMBERS`, the FID under its label. In the CSV file alone: shares that no arm raises from the floor, and what
    compares with base where there is none."""
    heads = {FID: table.label} | dict.fromkeys(AGAINST_BASE if table.base is None else (), "")
    low = {(name,) for name in SHARES if all(not a.means[name] >= FLOOR for a in table.arms)}
    own = _measured([table])
    return [replace(c, heading="" if c.csv in low else heads.get(c.heading, c.heading)) for c in own]


def _measured(tables: Iterable[ModelTable]) -> list[Column]:
    """`NUMBERS`, with CMMD where it was measured, which one extractor does: else not in the CSV file either."""
    has = any(not math.isnan(a.means["cmmd"]) for t in tables for a in t.arms)
    return [c for c in NUMBERS if has or c is not CMMD]


def all_arms(rows: Iterable[ArmRow]) -> Table:
    """Every figure of every arm of every root: what `--compare` reads."""
    found = list(rows)
    more = [BUDGET] if any(r.table.budget for r in found) else []
    columns = [*_measured(r.table for r in found), *STABILITY, *more, Column("", lambda r: r.study, csv=("study",))]
    return Table("", columns, found, Name(ALL))
