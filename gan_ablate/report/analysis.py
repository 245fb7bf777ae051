"""From frames to findings: each arm against base, per protocol and model, Holm-corrected over the model's arms."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pandas as pd

from gan_ablate.report.frames import Loaded
from gan_ablate.stats.corrections import holm
from gan_ablate.stats.effects import improvement
from gan_ablate.stats.intervals import Interval, geometric_mean_interval, mean_interval, wilson
from gan_ablate.stats.paired import Comparison, compare, least_rank_p

ALPHA = 0.05
BASE = "base"
VERDICTS = ("helps", "hurts", "undecided", "not tested")


@dataclass(frozen=True)
class ArmSummary:
    """One arm on one model."""

    arm: str
    runs: int  # carried out
    missing: int  # cells without a result
    failures: int  # collapsed, diverged or crashed
    failure_rate: Interval  # Wilson
    outcomes: str  # "2 collapsed, 1 diverged"
    fid: Interval  # geometric mean over the seeds with a score, 95 % interval of it
    kid: float  # mean
    is_mean: Interval  # mean over seeds with its interval
    modes: float  # mean; NaN where classes are not known
    final_over_best: float  # geometric mean of final / best FID
    seconds: float  # mean per run
    against: Comparison | None  # None for base
    improvement: float  # P(a run of the arm beats a run of base)
    p_holm: float
    verdict: str


@dataclass(frozen=True)
class ModelTable:
    """All arms of one model under one protocol; base first, then from best to worst ratio."""

    model: str
    protocol: str
    label: str  # of the FID column, with N and extractor
    seeds: tuple[int, ...]
    arms: tuple[ArmSummary, ...]
    not_applicable: tuple[tuple[str, str], ...]  # (arm, reason)
    notes: tuple[str, ...]

    @property
    def base(self) -> ArmSummary | None:
        return next((a for a in self.arms if a.arm == BASE), None)

    def with_verdict(self, verdict: str) -> list[ArmSummary]:
        return [a for a in self.arms if a.arm != BASE and a.verdict == verdict]


def tables(loaded: Loaded) -> tuple[ModelTable, ...]:
    """A table per protocol and model, in the study's order."""
    return tuple(_tables(loaded))


def _tables(loaded: Loaded) -> Iterator[ModelTable]:
    runs = loaded.runs
    for (model, dataset), part in runs.groupby(["model", "dataset"], sort=False):
        counts = Counter(p for p in part["protocol"] if p)
        # a run without a measurement (missing or crashed) stands with the commonest protocol: it never vanishes
        home = counts.most_common(1)[0][0] if counts else ""
        for protocol in counts or [""]:
            chosen = part[(part["protocol"] == protocol) | ((part["protocol"] == "") & (protocol == home))]
            skipped = tuple(
                (n["arm"], n["reason"])
                for n in loaded.not_applicable
                if n["model"] == model and n.get("dataset", dataset) == dataset
            )
            unmeasured = int((chosen["protocol"] == "").sum()) if len(counts) > 1 else 0
            yield _table(str(model), protocol, chosen, skipped, unmeasured)


def _scores(part: pd.DataFrame) -> dict[int, float | None]:
    """FID by seed of the runs carried out; `None` where a run failed without one."""
    done = part[part["outcome"] != "missing"]
    return {int(s): None if math.isnan(f) else max(float(f), 1e-12) for s, f in zip(done["seed"], done["fid"])}


def _table(
    model: str, protocol: str, part: pd.DataFrame, skipped: tuple[tuple[str, str], ...], unmeasured: int
) -> ModelTable:
    groups = {str(arm): rows for arm, rows in part.groupby("arm", sort=False)}
    base = _scores(groups[BASE]) if BASE in groups else {}
    family = max(1, len(groups.keys() - {BASE}))
    compared = {
        a: compare(_scores(rows), base, alpha=ALPHA / family) for a, rows in groups.items() if a != BASE and base
    }
    adjusted = dict(zip(compared, holm([c.p for c in compared.values()])))
    control = wilson(*_failed(groups[BASE])).point if BASE in groups else math.nan
    arms = [
        _summary(arm, rows, compared.get(arm), adjusted.get(arm, math.nan), base, control)
        for arm, rows in groups.items()
    ]
    arms.sort(key=lambda a: (a.arm != BASE, _order(a)))
    seeds = tuple(sorted({int(s) for s in part["seed"]}))
    label = protocol.partition(",")[0] or "FID"
    return ModelTable(model, protocol, label, seeds, tuple(arms), skipped, _notes(arms, base, compared, unmeasured))


def _order(a: ArmSummary) -> float:
    if a.against is None or math.isnan(a.against.ratio.point):
        return math.inf
    return a.against.ratio.point


def _failed(rows: pd.DataFrame) -> tuple[int, int]:
    """(failed, carried out)."""
    return int((~rows["outcome"].isin(["ok", "missing"])).sum()), int((rows["outcome"] != "missing").sum())


def _summary(  # noqa: PLR0917
    arm: str,
    rows: pd.DataFrame,
    against: Comparison | None,
    p_holm: float,
    base: dict[int, float | None],
    base_failure_rate: float,
) -> ArmSummary:
    done = rows[rows["outcome"] != "missing"]
    failed = done[done["outcome"] != "ok"]
    fid, best = (np.maximum(done[k].to_numpy(dtype=float), 1e-12) for k in ("fid", "best_fid"))  # NaN stays NaN
    scores, drift = fid[~np.isnan(fid)], np.log(fid / best)
    drift = drift[~np.isnan(drift)]
    counts = failed["outcome"].value_counts()
    return ArmSummary(
        arm=arm,
        runs=len(done),
        missing=len(rows) - len(done),
        failures=len(failed),
        failure_rate=wilson(len(failed), len(done)),
        outcomes=", ".join(f"{counts[o]} {o}" for o in sorted(counts.index)),
        fid=geometric_mean_interval(scores),
        kid=float(done["kid"].mean()),
        is_mean=mean_interval(done["is_mean"].dropna()),
        modes=float(done["modes"].mean()),
        final_over_best=float(np.exp(drift.mean())) if len(drift) else math.nan,
        seconds=float(done["seconds"].mean()),
        against=against,
        improvement=improvement(list(_scores(rows).values()), list(base.values())) if arm != BASE else math.nan,
        p_holm=p_holm,
        verdict="" if arm == BASE else _verdict(against, p_holm, wilson(*_failed(rows)).point, base_failure_rate),
    )


def _verdict(against: Comparison | None, p_holm: float, failure_rate: float, base_failure_rate: float) -> str:
    if against is None or math.isnan(p_holm):
        return "not tested"
    if p_holm >= ALPHA or against.favours == 0:
        return "undecided"
    if against.favours > 0:
        return "hurts"
    # a collapsed run can score a low FID: an arm that fails more than base, or always, has not helped
    return "undecided" if failure_rate > base_failure_rate or failure_rate == 1 else "helps"


def _notes(
    arms: list[ArmSummary], base: dict[int, float | None], compared: dict[str, Comparison], unmeasured: int
) -> tuple[str, ...]:
    notes = []
    if unmeasured:
        notes.append(
            f"This model was measured in more than one way; its {unmeasured} runs without a measurement (missing or "
            "crashed) are counted here."
        )
    withheld = [
        a.arm for a in arms if a.verdict == "undecided" and a.p_holm < ALPHA and a.against and a.against.favours < 0
    ]
    if withheld:
        notes.append(
            f"No verdict for {', '.join(withheld)}: the FID is lower than base's and passes the test, but every run "
            "failed, or more of them than of base."
        )
    if not base:
        notes.append("base has no finished run yet, so nothing can be compared.")
    summary = next((a for a in arms if a.arm == BASE), None)
    if summary is not None and summary.runs and summary.failures == summary.runs:
        notes.append(
            f"Every run of base failed here ({summary.outcomes}): a lower FID than base's can still be a failed run. "
            "Read the failures and modes before the ratio."
        )
    ranked = [a for a, c in compared.items() if c.test == "rank"]
    if ranked:
        notes.append(
            f"Ranks instead of logarithms for {', '.join(ranked)}: some run of the arm or of base diverged or crashed "
            "and has no FID; it counts as worst. The ratio is then over the runs that have one."
        )
        least = {a: least_rank_p(compared[a].n, len(base)) for a in ranked}
        # Holm's factor depends on the other tests: try the least p that the rank tests could have had
        at_best = holm([least.get(a, c.p) for a, c in compared.items()])
        hopeless = [a for a, p in zip(compared, at_best) if a in least and p >= ALPHA]
        if hopeless:
            notes.append(
                f"At n={min(compared[a].n for a in hopeless)} no p-value of a rank test can fall under {ALPHA} after "
                f"correction ({', '.join(hopeless)}: at best {min(least[a] for a in hopeless):.3g} before it). "
                "A t test has no such floor."
            )
    if len(base) == 1:
        notes.append("One seed: nothing can be tested. Add seeds.")
    return tuple(notes)
