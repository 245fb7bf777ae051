"""A verdict for each arm of each model and dataset, from its FIDs and its failures against base's."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gan_ablate.findings.compared import compare
from gan_ablate.findings.rows import Rows, by_seed, mean
from gan_ablate.findings.settled import UNKNOWN, Fall, fall_of
from gan_ablate.formatting import computed, duration
from gan_ablate.recipe import BASE
from gan_ablate.stats.moderated import fit_prior, squeeze
from gan_ablate.stats.parts import moments
from gan_ablate.stats.two_part import MARGIN, VERDICTS, Runs, Verdict, carries
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
    dofs: dict[str, float]  # of each ratio's interval, about: for who goes on to compute with it
    falls: dict[str, Fall]  # over the last quarter of training, base included
    under_way: str = ""  # how far the look is that some arms still lack seeds of; empty where there is none
    budget: str = ""  # as `4x`; empty at the first

    @property
    def early(self) -> str:
        """What to know of the verdicts of a look under way; empty where there is none."""
        if not self.under_way:
            return ""
        if not (n := sum(v.early for v in self.arms.values())):
            return f"{self.under_way}: none of them is decided early"
        are = f"{n} verdicts are" if n > 1 else "one verdict is"
        return f"{self.under_way}: {are} early, and may change once the others have theirs"

    @property
    def unsettled(self) -> str:
        """What to know of the verdicts where base itself is still improving; empty where it is not known to be."""
        if not (fall := self.falls.get(BASE, UNKNOWN)).still_improving:
            return ""
        return (
            f"base is still improving (its log FID fell by {fall.mean:.2f} ± {fall.error:.2f} over the last quarter of "
            "training): verdicts are about speed of learning, not about the end"
        )

    @property
    def counts(self) -> dict[str, int]:
        """How many arms have each verdict."""
        found = Counter(v.verdict for v in self.arms.values())
        return {name: found[name] for name in ORDER if found[name] or name != NOT_TESTED}

    @property
    def base_is_the_limit(self) -> str:
        """Of how many undecided arms, and how many more seeds of base they would take; empty where of none."""
        more = [v.base_to_decide for v in self.arms.values() if v.base_to_decide]
        if not more:
            return ""
        arms = f"{len(more)} undecided arms" if len(more) > 1 else "one undecided arm"
        return f"base needs more seeds too for {arms}: {min(more)}" + f" to {max(more)}" * (min(more) < max(more))


def judge(
    name: tuple[str, str, str, str],
    groups: Mapping[str, Rows],
    same_as_base: Collection[str] = (),
    margin: float = MARGIN,
    plan: SeedPlan | None = None,
) -> Verdicts | None:
    """The verdicts of one table; `None` where it has no base.

    name: model, dataset, title, protocol. groups: runs by arm. same_as_base: arms that are base by construction; they
    are no tests. plan: of an adaptive study; then the verdicts are those of its looks, and rest on their seeds alone.
    """
    if BASE not in groups:
        return None
    compared = compare({a: by_seed(rows) for a, rows in groups.items() if a not in same_as_base}, plan, margin)
    found, runs = compared.with_seeds_to_decide(margin), dict(compared.runs)
    base = runs.pop(BASE)
    order = sorted(found, key=lambda a: (ORDER.index(found[a].verdict), _by_ratio(found[a])))
    minutes = {a: mean(groups[a]["seconds"]) / 60 for a in order}
    falls = {a: fall_of(groups[a]) for a in (BASE, *order)}
    return Verdicts(
        *name, margin, base, carries(base), {a: found[a] for a in order}, runs, minutes, _dofs(runs, base), falls,
        compared.under_way,
    )  # fmt: skip


def to_decide(verdict: Verdict, minutes: float) -> str:
    """What an undecided arm would take: `8 seeds, 12 min`; where base is the limit `8 seeds and 16 of base, 12 min`.

    minutes: of one run of the arm, NaN where unknown. Empty for arms that are decided.
    """
    if verdict.verdict != "undecided":
        return ""
    n, base = verdict.seeds_to_decide, verdict.base_to_decide
    if n is None:
        return f"over {verdict.most_to_decide} seeds" if verdict.most_to_decide else "no look left"
    told = f"{n} seed{'s' * (n > 1)}" + (f" and {base} of base" if base else "")
    return told if math.isnan(minutes) else f"{told}, {duration(60 * n * minutes)}"


def records(found: Sequence[Verdicts]) -> list[dict[str, Any]]:
    """One flat object per model, dataset and arm (docs/verdicts.md); what is not known is `None`."""
    rows = []
    for table in found:
        for arm, verdict in table.arms.items():
            e, runs = verdict.evidence, table.runs[arm]
            more, fall, of_base = verdict.seeds_to_decide, table.falls[arm], table.falls[BASE]
            rows.append({
                "model": table.model, "dataset": table.dataset, "protocol": table.protocol, "arm": arm,
                "verdict": verdict.verdict, "certain": verdict.certain, "early": verdict.early,
                "ratio": _known(e.ratio.point), "low": _known(e.ratio.low), "high": _known(e.ratio.high),
                "p_fid": _known(e.p_fid), "p_fail": _known(e.p_fail), "q": _known(verdict.q),
                "q_same": _known(verdict.q_same), "failed": runs.failed, "runs": runs.finished,
                "base_failed": table.base.failed, "base_runs": table.base.finished,
                "seeds_to_decide": more, "base_seeds_to_decide": verdict.base_to_decide if more else None,
                "minutes_to_decide": _known(more * table.minutes[arm]) if more else None,
                "margin": table.margin, "base_objection": table.objection or None,
                "fall": _known(fall.mean), "fall_error": _known(fall.error), "still_improving": fall.still_improving,
                "base_still_improving": of_base.still_improving, "budget": table.budget or None,
            })  # fmt: skip
    return rows


def _by_ratio(verdict: Verdict) -> float:
    point = verdict.evidence.ratio.point
    return math.inf if math.isnan(point) else point


def _dofs(arms: Mapping[str, Runs], base: Runs) -> dict[str, float]:
    """Satterthwaite's degrees of freedom of each arm's difference from base, with moderated variances."""
    _, variances, counts = moments([*arms.values(), base])
    moderated, dofs = squeeze(variances, counts - 1, fit_prior(variances, counts - 1))
    with np.errstate(divide="ignore", invalid="ignore"):
        error = moderated / counts
        both = (error[:-1] + error[-1]) ** 2 / (error[:-1] ** 2 / dofs[:-1] + error[-1] ** 2 / dofs[-1])
    return dict(zip(arms, both.tolist(), strict=True))


def _known(x: float) -> float | None:
    return computed(x) if math.isfinite(x) else None
