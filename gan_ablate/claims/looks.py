"""Tests on an adaptive study, where whether an arm got more seeds was decided by what its first ones said.

The test is made at each look that the arms took part in, on the seeds of that look, and p is the least p_l / w_l: a
union bound, as for the report's verdicts.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache

from gan_ablate.claims.planned_tests import PlannedTest
from gan_ablate.claims.verdict import Finding
from gan_ablate.findings.compared import Compared, compare
from gan_ablate.findings.looks import outcomes_of
from gan_ablate.recipe import BASE
from gan_ablate.results.frames import RunTable
from gan_ablate.stats.more_seeds import scaled

Test = Callable[[PlannedTest, float], Finding]
NO_LOOK = "no look at both arms has been taken yet"


@lru_cache(maxsize=256)
def compared(table: RunTable, model: str) -> Compared:
    """What the verdicts of a model's arms rest on."""
    runs = (run for arm, own in table.arms[model].items() if (model, arm) not in table.same for run in own.values())
    held = outcomes_of(runs).get((model, table.dataset, table.budget), {})
    return compare(held, table.plan if BASE in held else None)


def at_each_look(test: PlannedTest, alpha: float, run_test: Test) -> Finding:
    """What `run_test` finds at each look, as one finding: p of all, effect of the last, side of the one that gives p.

    Two bases have their seeds from the first look on: there is one test of them, as in a study without looks.
    """
    plan, arms = test.table.plan, (test.treatment, test.control)
    if plan is None or set(arms) == {BASE} or test.contrast.is_rule:
        return run_test(test, alpha)
    held = compared(test.table, test.model)
    looks = held.looks_of(*arms)
    if not looks:
        return Finding(note=NO_LOOK, n=(len(test.treatment_runs), len(test.control_runs)))
    found = [run_test(replace(test, table=_seen(test.table, k)), alpha * plan.weights[k]) for k in looks]
    tested = [(f.p / plan.weights[k], f) for k, f in zip(looks, found, strict=True) if not math.isnan(f.p)]
    last = found[-1]
    if not tested:
        return last
    p, best = min(tested, key=lambda pair: pair[0])

    def more(threshold: float) -> tuple[int, int] | None:
        offers = [o for o in held.offers(*sorted(arms, key=lambda arm: arm == BASE)) if o.base in (0, o.seeds)]
        offer = scaled(last.p, plan.looks[looks[-1]], threshold, offers)
        return offer and tuple(0 if arm == BASE else offer.seeds for arm in arms)  # type: ignore[return-value]

    return replace(last, p=min(1.0, p), supports=best.supports, favours=best.favours, more=more)


@lru_cache(maxsize=64)
def _seen(table: RunTable, k: int) -> RunTable:
    """The runs that a look of an adaptive study saw: the first seeds of each arm, and base's."""
    assert table.plan is not None
    most, base = (set(table.plan.first(n)) for n in (table.plan.looks[k], table.plan.base))
    arms = {
        model: {
            arm: {seed: run for seed, run in runs.items() if seed in (base if arm == BASE else most)}
            for arm, runs in own.items()
        }
        for model, own in table.arms.items()
    }
    return replace(table, arms=arms)
