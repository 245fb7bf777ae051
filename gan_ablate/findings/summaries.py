"""What the tables hold: one arm on one model, and all arms of a model."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from gan_ablate.findings.rows import Rows, by_seed, failed, known, mean, where
from gan_ablate.findings.settled import Fall, fall_of
from gan_ablate.findings.verdicts import NOT_TESTED, Verdicts, to_decide
from gan_ablate.outcomes import TINY
from gan_ablate.recipe import BASE
from gan_ablate.stats.failures import rate_difference
from gan_ablate.stats.intervals import NONE, Interval, geometric_mean_interval, mean_interval, wilson
from gan_ablate.stats.ranks import improvement
from gan_ablate.stats.two_part import Runs, Verdict

IS_BASE = "is base"  # an arm that trains and samples as base by construction: no test
QUALITY = (
    "kid", "cmmd", "precision", "recall", "density", "coverage",
    "modes", "assigned_modes", "high_quality", "mode_kl", "nn_ratio",
)  # fmt: skip
CARD = ("volatility", "largest_d_gradient", "largest_g_gradient", "early_g_gradient", "peak_memory_bytes")


@dataclass(frozen=True)
class ArmSummary:
    """One arm on one model."""

    arm: str
    runs: int  # carried out
    missing: int  # cells without a result
    failures: int  # runs of any outcome but ok
    failure_rate: Interval  # Wilson
    outcomes: str  # "2 collapsed, 1 diverged"
    fid: Interval  # geometric mean over the runs that did not fail, 95 % interval of it
    fid_dof: float  # degrees of freedom of that interval; NaN under two runs
    is_mean: Interval  # mean over seeds with its interval
    means: dict[str, float]  # over seeds, of `QUALITY` and `CARD`; NaN where not measured
    final_over_best: float  # geometric mean of final / best FID
    fall: Fall  # of log FID over the last quarter of training
    spread: float  # standard deviation (n - 1) of log FID over the runs that did not fail
    seconds: float  # mean per run
    signs: dict[str, tuple[int, int]]  # sign of failure -> (runs that showed it, runs where it was looked for)
    more_failures: Interval  # failure rate less base's, Newcombe
    improvement: float  # P(a run of the arm beats a run of base), failed runs worst
    verdict: str  # one of `verdicts.ORDER`, `IS_BASE`, or empty for base
    judged: Verdict | None  # the verdict with its evidence; None where nothing was tested
    rests_on: Runs | None  # the runs that it rests on: of an adaptive study those of its looks alone
    ratio_dof: float = math.nan  # degrees of freedom of the ratio's interval, about

    @property
    def ratio(self) -> Interval:
        """FID over base's, with the interval that the test inverts."""
        return self.judged.evidence.ratio if self.judged else NONE

    @property
    def certain(self) -> bool:
        """By Holm's correction too."""
        return self.judged is not None and self.judged.certain

    @property
    def early(self) -> bool:
        """Decided while other arms still lack seeds of the look."""
        return self.judged is not None and self.judged.early

    @property
    def q(self) -> float:
        """What the verdict was given by: q of "same" where it is that, else of a difference."""
        if self.judged is None:
            return math.nan
        return self.judged.q_same if self.verdict == "same" else self.judged.q

    @property
    def seeds_to_decide(self) -> int | None:
        """More seeds of an undecided arm; None where it is decided, or where none that can be afforded would do."""
        return self.judged.seeds_to_decide if self.judged else None

    @property
    def minutes_to_decide(self) -> float:
        """Of all these seeds; NaN where unknown."""
        return self.seeds_to_decide * self.seconds / 60 if self.seeds_to_decide else math.nan

    @property
    def to_decide(self) -> str:
        """The same in words."""
        return to_decide(self.judged, self.seconds / 60) if self.judged else ""


@dataclass(frozen=True)
class ModelTable:
    """All arms of one model on one dataset and budget under one protocol; base first, then from best to worst ratio."""

    model: str
    dataset: str
    title: str  # the model, and the dataset where there are several
    protocol: str
    label: str  # of the FID column, with N and extractor
    seeds: tuple[int, ...]
    arms: tuple[ArmSummary, ...]
    not_applicable: tuple[tuple[str, str], ...]  # (arm, reason)
    notes: tuple[str, ...]
    family: int = 0  # arms that are tested, those without a run included
    verdicts: Verdicts | None = None  # None without a base, and of a design by effects
    by_effects: bool = False  # of a design that is judged by its factors' effects, not arm by arm
    budget: str = ""  # as `4x`; empty at the first
    groups: dict[str, Rows] = field(default_factory=dict, repr=False, compare=False)  # its runs by arm

    @property
    def base(self) -> ArmSummary | None:
        return next((a for a in self.arms if a.arm == BASE), None)

    def with_verdict(self, verdict: str) -> list[ArmSummary]:
        return [a for a in self.arms if a.arm != BASE and a.verdict == verdict]


def summarise(arm: str, rows: Rows, found: Verdicts | None, base_rows: Rows | None, same: bool = False) -> ArmSummary:
    """One arm's line. `base_rows`: the runs of base, `None` where the study has none. same: base by construction."""
    done = where(rows, rows["outcome"] != "missing")
    bad, n = failed(rows)
    fid, best = (np.maximum(done[k].astype(float), TINY) for k in ("fid", "best_fid"))  # NaN stays NaN
    drift = np.log(fid / best)
    drift = drift[~np.isnan(drift)]
    logs = np.log(fid[done["outcome"] == "ok"])
    counts = Counter(str(o) for o in done["outcome"] if o != "ok")
    base_bad, base_n = failed(base_rows) if base_rows is not None else (0, 0)
    judged = found.arms.get(arm) if found else None
    return ArmSummary(
        arm=arm,
        runs=n,
        missing=len(rows["outcome"]) - n,
        failures=bad,
        failure_rate=wilson(bad, n),
        outcomes=", ".join(f"{counts[o]} {o}" for o in sorted(counts)),
        fid=geometric_mean_interval(np.exp(logs)),
        fid_dof=len(logs) - 1.0 if len(logs) > 1 else math.nan,
        is_mean=mean_interval(known(done["is_mean"])),
        means={k: mean(done[k]) for k in (*QUALITY, *CARD)},
        final_over_best=float(np.exp(drift.mean())) if len(drift) else math.nan,
        fall=found.falls[arm] if found and arm in found.falls else fall_of(rows),
        spread=float(logs.std(ddof=1)) if len(logs) > 1 else math.nan,
        seconds=mean(done["seconds"]),
        signs=_signs(done),
        more_failures=rate_difference(bad, n, base_bad, base_n) if arm != BASE else NONE,
        improvement=_improvement(rows, base_rows) if arm != BASE else math.nan,
        verdict="" if arm == BASE else IS_BASE if same else judged.verdict if judged else NOT_TESTED,
        judged=judged,
        rests_on=found.runs[arm] if found and judged else None,
        ratio_dof=found.dofs.get(arm, math.nan) if found and judged else math.nan,
    )


def _improvement(rows: Rows, base_rows: Rows | None) -> float:
    ours, theirs = (_scores(r) if r is not None else [] for r in (rows, base_rows))
    return improvement(ours, theirs)


def _scores(rows: Rows) -> list[float | None]:
    """Log FID of each finished run, `None` where it failed."""
    return list(by_seed(rows).values())


def _signs(done: Rows) -> dict[str, tuple[int, int]]:
    asked = [set(text.split(",")) for text in done["signs_asked"]]
    found = {}
    for column in (c for c in done if c.startswith("sign_")):
        name = column.removeprefix("sign_")
        looked = sum(name in names for names in asked)
        if looked:
            found[name] = (len(known(done[column])), looked)
    return found
