"""The looks of an adaptive study: which arms are decided by what is there, and what has to be trained next.

A look at a model is taken once every arm that is still open there has its seeds. It uses those seeds only, and of arms
that were decided earlier those of their look. So what is found is a function of the results, whatever order they came
in and whoever was killed meanwhile.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gan_ablate.recipe import BASE
from gan_ablate.stats.two_part import MARGIN, Evidence, Runs, Verdict, decide, weigh
from gan_ablate.study.seed_plan import SeedPlan

Outcomes = Mapping[
    int, float | None
]  # by seed: log FID, `None` where the run failed; a seed that is not there is missing


@dataclass(frozen=True)
class Looked:
    """What the looks at one model on one dataset have found so far."""

    verdicts: dict[str, Verdict]  # of every arm that a look has seen; those not decided are undecided
    seeds: dict[str, int]  # arm, base too -> seeds that it should have by now: 0 to n - 1
    look: int  # looks taken
    open: tuple[str, ...]  # arms that are not decided; empty, or no look left: nothing more is to be trained

    def runs(self, outcomes: Mapping[str, Outcomes]) -> dict[str, Runs]:
        """What the verdicts rest on."""
        return {arm: _runs(outcomes.get(arm, {}), n) for arm, n in self.seeds.items()}


def look(outcomes: Mapping[str, Outcomes], plan: SeedPlan, margin: float = MARGIN) -> Looked:
    """Takes every look that can be taken. outcomes: of base and of each arm, those without a run included."""
    arms = [arm for arm in outcomes if arm != BASE]
    seeds = {BASE: plan.base, **dict.fromkeys(arms, plan.looks[0])}
    open_, held, found = list(arms), dict[str, Evidence](), dict[str, Verdict]()
    base = _runs(outcomes[BASE], plan.base)
    for taken, (n, weight) in enumerate(zip(plan.looks, plan.weights, strict=True)):
        seeds |= dict.fromkeys(open_, n)
        if base.finished < plan.base or any(_runs(outcomes[a], n).finished < n for a in open_):
            return Looked(found, seeds, taken, tuple(open_))
        data = {a: _runs(outcomes[a], seeds[a]) for a in arms}
        now = weigh(data, base, margin)
        for arm in open_:
            held[arm] = spend(now[arm], weight, held.get(arm))
        found = decide(held, data, base, planned=len(arms), margin=margin)
        open_ = [a for a in open_ if found[a].verdict == "undecided"]
        if not open_:
            break
    return Looked(found, seeds, taken + 1, tuple(open_))


def spend(now: Evidence, weight: float, before: Evidence | None) -> Evidence:
    """The evidence of a look with that of those before: the least of p / weight, of either question (a union bound)."""
    p, same = min(1.0, now.p / weight), min(1.0, now.p_same / weight)
    if before is None:
        return now._replace(p=p, p_same=same)
    earlier = before.p < p
    return now._replace(
        p=min(p, before.p), p_same=min(same, before.p_same), direction=before.direction if earlier else now.direction
    )


def _runs(outcomes: Outcomes, n: int) -> Runs:
    """The first n seeds."""
    held = [outcomes[s] for s in range(n) if s in outcomes]
    return Runs(tuple(x for x in held if x is not None), sum(x is None for x in held))
