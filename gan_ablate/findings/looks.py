"""The looks of an adaptive study: which arms are decided by what is there, and what has to be trained next.

A look at a model is taken once every arm that is still open there has its seeds. It uses those seeds only, and of arms
that were decided earlier those of their look. So what is found is a function of the results, whatever order they came
in and whoever was killed meanwhile.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from gan_ablate.outcomes import TINY
from gan_ablate.recipe import BASE
from gan_ablate.results.files import as_number
from gan_ablate.results.runs import MISSING, Run, read_run
from gan_ablate.results.study_file import read_study
from gan_ablate.stats.two_part import MARGIN, VERDICTS, Evidence, Runs, Verdict, decide, over_looks, weigh
from gan_ablate.study.seed_plan import SeedPlan, plan_of

Place = tuple[str, str]  # model, dataset
# by seed: log FID, `None` where the run failed; a seed that is not there is missing
Outcomes = Mapping[int, float | None]


@dataclass(frozen=True)
class Looked:
    """What the looks at one model on one dataset have found so far."""

    verdicts: dict[str, Verdict]  # of every arm that a look has seen; those not decided are undecided
    seeds: dict[str, int]  # arm, base too -> seeds that it should have by now: 0 to n - 1
    look: int  # looks taken
    open: tuple[str, ...]  # arms that are not decided; empty, or no look left: nothing more is to be trained
    rounds: tuple[dict[str, Runs], ...]  # what each look taken saw of every arm, and of base

    def runs(self, outcomes: Mapping[str, Outcomes]) -> dict[str, Runs]:
        """What the verdicts rest on."""
        return {arm: _runs(outcomes.get(arm, {}), n) for arm, n in self.seeds.items()}


def look(outcomes: Mapping[str, Outcomes], plan: SeedPlan, margin: float = MARGIN) -> Looked:
    """Takes every look that can be taken. outcomes: of base and of each arm, those without a run included."""
    arms = [arm for arm in outcomes if arm != BASE]
    seeds = {BASE: plan.base, **dict.fromkeys(arms, plan.looks[0])}
    open_, held, found = list(arms), {arm: list[Evidence]() for arm in arms}, dict[str, Verdict]()
    rounds: list[dict[str, Runs]] = []
    base = _runs(outcomes[BASE], plan.base)
    for taken, n in enumerate(plan.looks):
        seeds |= dict.fromkeys(open_, n)
        if base.finished < plan.base or any(_runs(outcomes[a], n).finished < n for a in open_):
            return Looked(found, seeds, taken, tuple(open_), tuple(rounds))
        data = {a: _runs(outcomes[a], seeds[a]) for a in arms}
        rounds.append({**data, BASE: base})
        now = weigh(data, base, margin)
        for arm in open_:
            held[arm].append(now[arm])
        spent = {arm: over_looks(held[arm], plan.weights) for arm in arms}
        found = decide(spent, planned=len(arms))
        open_ = [a for a in open_ if found[a].verdict == "undecided"]
        if not open_:
            break
    return Looked(found, seeds, taken + 1, tuple(open_), tuple(rounds))


def _runs(outcomes: Outcomes, n: int) -> Runs:
    """The first n seeds."""
    return Runs.of(outcomes[s] for s in range(n) if s in outcomes)


def outcomes_of(runs: Iterable[Run]) -> dict[Place, dict[str, dict[int, float | None]]]:
    """(model, dataset) -> arm -> seed -> log FID, `None` where the run failed. Arms of which none is done are there."""
    found: dict[Place, dict[str, dict[int, float | None]]] = {}
    for run in runs:
        arm = found.setdefault((run.model, run.dataset), {}).setdefault(run.arm, {})
        if run.outcome != MISSING:
            arm[run.seed] = None if run.failed else math.log(max(run.fid, TINY))
    return found


@dataclass(frozen=True)
class Opened:
    """An adaptive study's root as it stands: the runs that were asked for so far."""

    plan: SeedPlan
    runs: tuple[Run, ...]
    looks: dict[Place, Looked]

    def missing(self) -> list[dict[str, Any]]:
        """What its looks ask for and is not finished: one object per model, dataset and arm, the cheapest first.

        minutes: of all these seeds, by the arm's finished runs, else the model's; `None` where none is finished.
        """
        rows = []
        outcomes = outcomes_of(self.runs)
        for (model, dataset), looked in self.looks.items():
            for arm, n in looked.seeds.items():
                seeds = [s for s in range(n) if s not in outcomes[model, dataset].get(arm, {})]
                each = self._seconds(model, dataset, arm) or self._seconds(model, dataset, None)
                minutes = None if each is None else len(seeds) * each / 60
                rows += [{"model": model, "dataset": dataset, "arm": arm, "seeds": seeds, "minutes": minutes}] * bool(
                    seeds
                )
        return sorted(rows, key=lambda row: math.inf if row["minutes"] is None else row["minutes"])

    def _seconds(self, model: str, dataset: str, arm: str | None) -> float | None:
        return mean_seconds(r for r in self.runs if (r.model, r.dataset) == (model, dataset) and arm in (None, r.arm))


def mean_seconds(runs: Iterable[Run]) -> float | None:
    """Of one run; `None` where no run says how long it took."""
    known = [s for r in runs if (s := as_number(r.record.get("seconds"))) > 0]
    return sum(known) / len(known) if known else None


def open_root(root: str | PathLike[str]) -> Opened | None:
    """The looks of a root; `None` where its study is not adaptive. Raises `InputError` where there is no study."""
    study = read_study(Path(root))
    plan = plan_of(study.source)
    if plan is None:
        return None
    runs = tuple(read_run(Path(root) / "runs" / c.run_id, c) for c in study.cells if not c.tuning)
    tested = {c.run_id for c in study.cells if not c.same_as_base}
    found = outcomes_of(r for r in runs if r.run_id in tested)
    return Opened(plan, runs, {place: look(own, plan) for place, own in found.items() if BASE in own})


def describe(place: Place, looked: Looked, plan: SeedPlan) -> str:
    """`dcgan on shapes: 1 of 3 looks taken: 3 helps, 40 undecided; next: 40 arms to 8 seeds`."""
    counts = Counter(v.verdict for v in looked.verdicts.values())
    found = ", ".join(f"{counts[name]} {name}" for name in VERDICTS if counts[name])
    taken = f"{looked.look} of {len(plan.looks)} looks taken"
    if not looked.open or looked.look == len(plan.looks):
        ahead = "nothing more is trained"
    else:
        ahead = f"next: {len(looked.open)} arms to {plan.looks[looked.look]} seeds"
    return f"{' on '.join(place)}: {taken}{': ' * bool(found)}{found}; {ahead}"
