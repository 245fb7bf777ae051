"""What the tables hold: one arm on one model, and all arms of a model."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import dataclass, field
from functools import cached_property
from itertools import pairwise

import numpy as np
import pandas as pd

from gan_ablate.recipe import BASE
from gan_ablate.stats.corrections import ALPHA, holm
from gan_ablate.stats.failures import rate_difference
from gan_ablate.stats.intervals import NONE, Interval, geometric_mean_interval, mean_interval, wilson
from gan_ablate.stats.paired import Comparison, Scores
from gan_ablate.stats.ranks import improvement

IS_BASE = "is base"  # an arm that trains and samples as base by construction: no test
VERDICTS = ("helps", "hurts", "undecided", "not tested", IS_BASE)
QUALITY = ("kid", "precision", "recall", "density", "coverage", "modes", "assigned_modes", "high_quality", "mode_kl")
CARD = ("volatility", "largest_d_gradient", "largest_g_gradient", "early_g_gradient", "peak_memory_bytes")
Rows = dict[str, np.ndarray]  # runs as columns (n,): frames would take most of a large report's time
TINY = 1e-12  # in place of a FID of 0, which has no logarithm


@dataclass(frozen=True)
class ArmSummary:
    """One arm on one model."""

    arm: str
    runs: int  # carried out
    missing: int  # cells without a result
    failures: int  # runs of any outcome but ok
    failure_rate: Interval  # Wilson
    outcomes: str  # "2 collapsed, 1 diverged"
    fid: Interval  # geometric mean over the seeds with a score, 95 % interval of it
    is_mean: Interval  # mean over seeds with its interval
    means: dict[str, float]  # over seeds, of `QUALITY` and `CARD`; NaN where not measured
    final_over_best: float  # geometric mean of final / best FID
    spread: float  # standard deviation (n - 1) of log FID over seeds
    seconds: float  # mean per run
    signs: dict[str, tuple[int, int]]  # sign of failure -> (runs that showed it, runs where it was looked for)
    against: Comparison | None  # None for base
    more_failures: Interval  # failure rate less base's, Newcombe
    improvement: float  # P(a run of the arm beats a run of base)
    p_holm: float
    verdict: str

    @property
    def withheld(self) -> bool:
        """Whether its FID is lower and passes the test, but its failures keep it from helping."""
        lower = self.against is not None and self.against.favours < 0
        return self.verdict == "undecided" and self.p_holm < ALPHA and lower


@dataclass(frozen=True)
class ModelTable:
    """All arms of one model on one dataset under one protocol; base first, then from best to worst ratio."""

    model: str
    dataset: str
    title: str  # the model, and the dataset where there are several
    protocol: str
    label: str  # of the FID column, with N and extractor
    seeds: tuple[int, ...]
    arms: tuple[ArmSummary, ...]
    not_applicable: tuple[tuple[str, str], ...]  # (arm, reason)
    notes: tuple[str, ...]
    family: int = 0  # arms that Holm's correction counts, those without a run included
    correlation: float = math.nan  # mean over all pairs of arms: decides whether seeds are paired
    groups: dict[str, Rows] = field(default_factory=dict, repr=False, compare=False)  # its runs by arm

    @property
    def base(self) -> ArmSummary | None:
        return next((a for a in self.arms if a.arm == BASE), None)

    def with_verdict(self, verdict: str) -> list[ArmSummary]:
        return [a for a in self.arms if a.arm != BASE and a.verdict == verdict]

    @cached_property
    def hopeless(self) -> frozenset[str]:
        """Arms whose rank test cannot pass the correction, whatever the ranks: its smallest p is too large for that.

        As for the verdicts the family is the whole plan: arms still to be tested, shown or not, stand at 1.
        """
        tests = {a.arm: (a.against, a.missing) for a in self.arms if a.against is not None}
        p = [
            c.least_p if c.test == "rank" else 1.0 if missing and math.isnan(c.p) else c.p
            for c, missing in tests.values()
        ]
        at_best = holm([*p, *[1.0] * (self.family - len(tests))])
        return frozenset(arm for (arm, (c, _)), q in zip(tests.items(), at_best) if c.test == "rank" and q >= ALPHA)


def by_arm(part: pd.DataFrame) -> dict[str, Rows]:
    """The runs of each arm, in the frame's order."""
    columns = {str(name): part[name].to_numpy() for name in part.columns}
    codes, arms = pd.factorize(part["arm"])
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(arms) + 1))
    places = (order[a:b] for a, b in pairwise(starts))
    return {str(arm): {k: v[p] for k, v in columns.items()} for arm, p in zip(arms, places, strict=True)}


def where(rows: Rows, kept: np.ndarray) -> Rows:
    """The runs where `kept` (n,) is true."""
    return {k: v[kept] for k, v in rows.items()}


def scores(rows: Rows) -> dict[int, float | None]:
    """FID by seed of the runs carried out; `None` where a run failed without one."""
    done = where({k: rows[k] for k in ("seed", "fid")}, rows["outcome"] != "missing")
    return {int(s): None if math.isnan(f) else max(float(f), TINY) for s, f in zip(done["seed"], done["fid"])}


def failed(rows: Rows) -> tuple[int, int]:
    """(failed, carried out)."""
    carried_out = rows["outcome"] != "missing"
    return int((carried_out & (rows["outcome"] != "ok")).sum()), int(carried_out.sum())


def summarise(  # noqa: PLR0917
    arm: str,
    rows: Rows,
    against: Comparison | None,
    p_holm: float,
    base: Scores,
    base_rows: Rows | None,
    same: bool = False,
) -> ArmSummary:
    """One arm's line. `base_rows`: the runs of base, `None` where the study has none. same: base by construction."""
    done = where(rows, rows["outcome"] != "missing")
    bad, n = failed(rows)
    fid, best = (np.maximum(done[k].astype(float), TINY) for k in ("fid", "best_fid"))  # NaN stays NaN
    logs, drift = np.log(fid[~np.isnan(fid)]), np.log(fid / best)
    drift = drift[~np.isnan(drift)]
    counts = Counter(str(o) for o in done["outcome"] if o != "ok")
    base_bad, base_n = failed(base_rows) if base_rows is not None else (0, 0)
    return ArmSummary(
        arm=arm,
        runs=n,
        missing=len(rows["outcome"]) - n,
        failures=bad,
        failure_rate=wilson(bad, n),
        outcomes=", ".join(f"{counts[o]} {o}" for o in sorted(counts)),
        fid=geometric_mean_interval(np.exp(logs)),
        is_mean=mean_interval(known(done["is_mean"])),
        means={k: mean(done[k]) for k in (*QUALITY, *CARD)},
        final_over_best=float(np.exp(drift.mean())) if len(drift) else math.nan,
        spread=float(logs.std(ddof=1)) if len(logs) > 1 else math.nan,
        seconds=mean(done["seconds"]),
        signs=_signs(done),
        against=against,
        more_failures=rate_difference(bad, n, base_bad, base_n) if arm != BASE else NONE,
        improvement=improvement(list(scores(rows).values()), list(base.values())) if arm != BASE else math.nan,
        p_holm=p_holm,
        verdict="" if arm == BASE else IS_BASE if same else _verdict(against, p_holm, bad, n, base_bad, base_n),
    )


def known(column: np.ndarray) -> np.ndarray:
    """The values there are."""
    x = column.astype(float)
    return x[~np.isnan(x)]


def mean(column: np.ndarray) -> float:
    """Over the values there are; NaN where there is none."""
    x = known(column)
    return float(x.mean()) if len(x) else math.nan


def _signs(done: Rows) -> dict[str, tuple[int, int]]:
    asked = [set(text.split(",")) for text in done["signs_asked"]]
    found = {}
    for column in (c for c in done if c.startswith("sign_")):
        name = column.removeprefix("sign_")
        looked = sum(name in names for names in asked)
        if looked:
            found[name] = (len(known(done[column])), looked)
    return found


def _verdict(against: Comparison | None, p_holm: float, bad: int, n: int, base_bad: int, base_n: int) -> str:  # noqa: PLR0917
    if against is None or math.isnan(p_holm) or not against.test:
        return "not tested"
    if p_holm >= ALPHA or against.favours == 0:
        return "undecided"
    if against.favours > 0:
        return "hurts"
    # a collapsed run can score a low FID: an arm that fails more than base, or always, has not helped
    return "undecided" if bad * base_n > base_bad * n or bad == n else "helps"
