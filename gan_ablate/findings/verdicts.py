"""A verdict for each arm of each model and dataset, from its FIDs and its failures against base's."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gan_ablate.findings.looks import TINY, look
from gan_ablate.findings.summaries import IS_BASE, ModelTable, Rows
from gan_ablate.recipe import BASE
from gan_ablate.stats.two_part import MARGIN, VERDICTS, Runs, Verdict, carries, decide, weigh
from gan_ablate.study.seed_plan import SeedPlan

SCHEMA = 1  # of `records`: raise it when a key changes its meaning or goes
NOT_TESTED = "not tested"
ORDER = (*VERDICTS, NOT_TESTED)


@dataclass(frozen=True)
class Verdicts:
    """The verdicts of one model on one dataset under one protocol."""

    model: str
    dataset: str
    title: str
    protocol: str
    margin: float
    base: Runs
    objection: str  # why base cannot carry verdicts of "helps"; empty where it can
    arms: dict[str, Verdict]  # in the order of `ORDER`, by ratio
    runs: dict[str, Runs]
    minutes: dict[str, float]  # of one run of each arm; NaN where unknown

    @property
    def counts(self) -> dict[str, int]:
        """How many arms have each verdict."""
        found = Counter(v.verdict for v in self.arms.values())
        return {name: found[name] for name in ORDER if found[name] or name != NOT_TESTED}


def judge(table: ModelTable, margin: float = MARGIN, plan: SeedPlan | None = None) -> Verdicts | None:
    """The verdicts of a table; `None` where it has no base. Arms that are base by construction are no tests.

    plan: of an adaptive study; then the verdicts are those of its looks, and rest on the seeds of these alone.
    """
    if BASE not in table.groups:
        return None
    base = runs_of(table.groups[BASE])
    by_construction = {a.arm for a in table.arms if a.verdict == IS_BASE}
    arms = {a: runs_of(rows) for a, rows in table.groups.items() if a != BASE and a not in by_construction}
    if plan is not None:
        looked = look({a: by_seed(table.groups[a]) for a in (BASE, *arms)}, plan, margin)
        runs = looked.runs({a: by_seed(table.groups[a]) for a in (BASE, *arms)})
        base, found = runs.pop(BASE), looked.verdicts
        arms = runs
    else:
        begun = {a: runs for a, runs in arms.items() if runs.finished}
        weighed = weigh(begun, base, margin) if base.finished else {}
        found = decide(weighed, begun, base, planned=len(arms), margin=margin)
    order = sorted(found, key=lambda a: (ORDER.index(found[a].verdict), _by_ratio(found[a])))
    minutes = {a: _minutes(table.groups[a]) for a in order}
    return Verdicts(
        table.model, table.dataset, table.title, table.protocol, margin, base, carries(base),
        {a: found[a] for a in order}, arms, minutes,
    )  # fmt: skip


def runs_of(rows: Rows) -> Runs:
    """The finished runs of an arm: log FID of those that did not fail, and how many did."""
    ok = rows["outcome"] == "ok"
    fid = np.maximum(rows["fid"][ok].astype(float), TINY)
    return Runs(tuple(np.log(fid).tolist()), int(((rows["outcome"] != "missing") & ~ok).sum()))


def by_seed(rows: Rows) -> dict[int, float | None]:
    """Seed -> log FID of a finished run, `None` where it failed."""
    return {
        int(seed): math.log(max(float(fid), TINY)) if outcome == "ok" else None
        for seed, fid, outcome in zip(rows["seed"], rows["fid"], rows["outcome"], strict=True)
        if outcome != "missing"
    }


def records(found: Sequence[Verdicts]) -> list[dict[str, Any]]:
    """One flat object per model, dataset and arm (docs/verdicts.md); what is not known is `None`."""
    rows = []
    for table in found:
        for arm, verdict in table.arms.items():
            e, runs = verdict.evidence, table.runs[arm]
            more = verdict.seeds_to_decide
            rows.append({
                "model": table.model, "dataset": table.dataset, "protocol": table.protocol, "arm": arm,
                "verdict": verdict.verdict, "certain": verdict.certain,
                "ratio": _known(e.ratio.point), "low": _known(e.ratio.low), "high": _known(e.ratio.high),
                "p_fid": _known(e.p_fid), "p_fail": _known(e.p_fail), "q": _known(verdict.q),
                "q_same": _known(verdict.q_same), "failed": runs.failed, "runs": runs.finished,
                "base_failed": table.base.failed, "base_runs": table.base.finished,
                "seeds_to_decide": more, "minutes_to_decide": _known(more * table.minutes[arm]) if more else None,
                "margin": table.margin, "base_objection": table.objection or None,
            })  # fmt: skip
    return rows


def _by_ratio(verdict: Verdict) -> float:
    point = verdict.evidence.ratio.point
    return math.inf if math.isnan(point) else point


def _minutes(rows: Rows) -> float:
    seconds = rows["seconds"].astype(float)
    seconds = seconds[~np.isnan(seconds)]
    return float(seconds.mean()) / 60 if len(seconds) else math.nan


def _known(x: float) -> float | None:
    return x if math.isfinite(x) else None
