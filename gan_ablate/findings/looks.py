"""The looks of a study: which arms are decided by what is there, and what has to be trained next.

A look at a model is taken once every arm that is still open there has its seeds. It uses those seeds only, and of arms
that were decided earlier those of their look. So what is found is a function of the results, whatever order they came
in and whoever was killed meanwhile.

Of a look under way, arms that have their seeds are judged early: the others count as p = 1, and none gets seeds or goes
without them for it. With more arms Benjamini and Hochberg's correction can only reject more, so an early verdict stays,
but where the others' variances move the prior that moderates its own.

Where a study has a second budget, it begins at a model once the looks of the first are over there, with base, the arms
that helped, rescued or failed more, and those that the study names; it has looks of its own. A study that is not
adaptive has one look, at all of its seeds.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from gan_ablate.outcomes import TINY
from gan_ablate.recipe import BASE
from gan_ablate.results.files import as_number
from gan_ablate.results.runs import MISSING, Reader, Run, read_run
from gan_ablate.results.study_file import read_study
from gan_ablate.stats.two_part import MARGIN, VERDICTS, Evidence, Runs, Verdict, decide, over_looks, weigh
from gan_ablate.study.budgets import Budgets, at, budgets_of
from gan_ablate.study.seed_plan import SeedPlan, plan_of

Place = tuple[str, str, str]  # model, dataset, budget: empty or as `4x`
GOES_ON = ("helps", "rescues", "fails more")  # verdicts of arms that a second budget trains too
# by seed: log FID, `None` where the run failed; a seed that is not there is missing
Outcomes = Mapping[int, float | None]


@dataclass(frozen=True)
class Looked:
    """What the looks at one model on one dataset have found so far."""

    verdicts: dict[str, Verdict]  # of every arm that a look has seen, early ones too; those not decided are undecided
    seeds: dict[str, int]  # arm, base too -> how many of the plan's seeds it should have by now
    look: int  # looks taken
    open: tuple[str, ...]  # arms that no look taken has decided; none, or no look left: nothing more is to be trained
    rounds: tuple[dict[str, Runs], ...]  # what each look saw of every arm that had its seeds by then, and of base

    def runs(self, outcomes: Mapping[str, Outcomes], plan: SeedPlan) -> dict[str, Runs]:
        """What the verdicts rest on."""
        return {arm: _runs(outcomes.get(arm, {}), plan.first(n)) for arm, n in self.seeds.items()}

    def under_way(self, plan: SeedPlan) -> str:
        """How far the look is that some arms lack seeds of; empty before its first arm, and where there is none."""
        if len(self.rounds) == self.look:
            return ""
        n, last = plan.looks[self.look], self.rounds[-1]
        there = sum(last[arm].finished == n for arm in self.open if arm in last)
        return f"{there} of {len(self.open)} arms have the {n} seeds of look {self.look + 1}"

    def is_over(self, plan: SeedPlan) -> bool:
        """Whether no look is left that anything waits for."""
        return self.look == len(plan.looks) or (self.look > 0 and not self.open)


def look(outcomes: Mapping[str, Outcomes], plan: SeedPlan, margin: float = MARGIN) -> Looked:
    """Takes every look that can be taken. outcomes: of base and of each arm, those without a run included."""
    arms = [arm for arm in outcomes if arm != BASE]
    seeds = {BASE: plan.base, **dict.fromkeys(arms, plan.looks[0])}
    open_, held, found = list(arms), {arm: list[Evidence]() for arm in arms}, dict[str, Verdict]()
    seen: dict[str, Runs] = {BASE: _runs(outcomes[BASE], plan.first(plan.base))}
    rounds: list[dict[str, Runs]] = []
    for taken, n in enumerate(plan.looks):
        seeds |= dict.fromkeys(open_, n)
        own = {a: _runs(outcomes[a], plan.first(n)) for a in open_}
        there = {a: runs for a, runs in own.items() if runs.finished == n}
        if seen[BASE].finished < plan.base or not there:
            return Looked(found, seeds, taken, tuple(open_), tuple(rounds))
        seen |= there
        rounds.append(dict(seen))
        now = weigh({a: runs for a, runs in seen.items() if a != BASE}, seen[BASE], margin)
        for arm in there:
            held[arm].append(now[arm])
        found = decide({a: over_looks(held[a], plan.weights) for a in arms if held[a]}, planned=len(arms))
        if len(there) < len(open_):
            early = {a: found[a]._replace(early=True) for a in open_ if _decided(found, a)}
            return Looked(found | early, seeds, taken, tuple(open_), tuple(rounds))
        open_ = [a for a in open_ if not _decided(found, a)]
        if not open_:
            break
    return Looked(found, seeds, taken + 1, tuple(open_), tuple(rounds))


def _decided(found: Mapping[str, Verdict], arm: str) -> bool:
    return arm in found and found[arm].verdict != "undecided"


def _runs(outcomes: Outcomes, seeds: Iterable[int]) -> Runs:
    return Runs.of(outcomes[s] for s in seeds if s in outcomes)


def look_everywhere(
    outcomes: Mapping[Place, Mapping[str, Outcomes]], plan: SeedPlan, budgets: Budgets | None
) -> dict[Place, Looked]:
    """The looks at every place that has a base; those of the second budget where it has begun, finished runs or not."""
    found = {place: look(own, plan) for place, own in outcomes.items() if not place[2] and BASE in own}
    for place, looked in list(found.items()) if budgets else ():
        if budgets and looked.is_over(plan):
            told = [a for a in outcomes[place] if a in looked.verdicts and looked.verdicts[a].verdict in GOES_ON]
            arms = {BASE, *told, *budgets.also} & set(outcomes[place])
            later = (*place[:2], budgets.label)
            there = outcomes.get(later, {})
            found[later] = look({a: there.get(a, {}) for a in outcomes[place] if a in arms}, plan)
    return found


def outcomes_of(runs: Iterable[Run]) -> dict[Place, dict[str, dict[int, float | None]]]:
    """Place -> arm -> seed -> log FID, `None` where the run failed. Arms of which none is done are there."""
    found: dict[Place, dict[str, dict[int, float | None]]] = {}
    for run in runs:
        arm = found.setdefault((run.model, run.dataset, run.budget), {}).setdefault(run.arm, {})
        if run.outcome != MISSING:
            arm[run.seed] = None if run.failed else math.log(max(run.fid, TINY))
    return found


@dataclass(frozen=True)
class Opened:
    """The root of a study with looks or a second budget as it stands: the runs that were asked for so far."""

    plan: SeedPlan
    runs: tuple[Run, ...]
    looks: dict[Place, Looked]

    def describe(self) -> list[str]:
        """What the looks at each place have found, and what comes next there."""
        left = Counter[Place]()
        for row in self.missing():
            left[row["model"], row["dataset"], row.get("budget", "")] += len(row["seeds"])
        return [describe(place, looked, self.plan, left[place]) for place, looked in self.looks.items()]

    def missing(self) -> list[dict[str, Any]]:
        """What its looks ask for and is not finished: one object per place and arm, the cheapest first."""
        rows = []
        outcomes = outcomes_of(self.runs)
        for place, looked in self.looks.items():
            here = [r for r in self.runs if (r.model, r.dataset, r.budget) == place]
            for arm, n in looked.seeds.items():
                seeds = [s for s in self.plan.first(n) if s not in outcomes.get(place, {}).get(arm, {})]
                row = missing_row((*place[:2], arm), seeds, [r for r in here if r.arm == arm], here)
                rows += [row | ({"budget": place[2]} if place[2] else {})] * bool(seeds)
        return sorted(rows, key=lambda row: math.inf if row["minutes"] is None else row["minutes"])


def missing_row(
    cell: tuple[str, str, str], seeds: Sequence[int], own: Iterable[Run], here: Iterable[Run]
) -> dict[str, Any]:
    """An object of `gan-ablate next --json`. cell: model, dataset, arm. seeds: that are missing.

    minutes: of them all, by the mean of the arm's own finished runs, else of all `here`; `None` where none is.
    """
    each = mean_seconds(own) or mean_seconds(here)
    minutes = None if each is None else len(seeds) * each / 60
    return {"model": cell[0], "dataset": cell[1], "arm": cell[2], "seeds": list(seeds), "minutes": minutes}


def mean_seconds(runs: Iterable[Run]) -> float | None:
    """Of one run; `None` where no run says how long it took."""
    known = [s for r in runs if (s := as_number(r.record.get("seconds"))) > 0]
    return sum(known) / len(known) if known else None


def open_root(root: str | PathLike[str], read: Reader = read_run) -> Opened | None:
    """The looks of a root; `None` where its study is not adaptive and has one budget. Raises `InputError` where there
    is no study."""
    study = read_study(Path(root))
    plan, budgets = plan_of(study.source), budgets_of(study.source)
    if plan is None and budgets is None:
        return None
    plan = plan or SeedPlan.plain(sorted({c.seed for c in study.cells if not c.budget and not c.tuning}))
    runs = tuple(read(Path(root) / "runs" / c.run_id, c) for c in study.cells if not c.tuning)
    tested = {c.run_id for c in study.cells if not c.same_as_base}
    found = outcomes_of(r for r in runs if r.run_id in tested)
    return Opened(plan, runs, look_everywhere(found, plan, budgets))


def describe(place: Place, looked: Looked, plan: SeedPlan, left: int) -> str:
    """`dcgan on shapes: 1 of 3 looks taken: 3 helps, 40 undecided; next: 40 arms to 8 seeds (runs left: 160)`.

    Of a look under way: `0 of 3 looks taken; 20 of 43 arms have the 4 seeds of look 1: 3 helps, 17 undecided; ..`
    """
    counts = Counter(v.verdict for v in looked.verdicts.values())
    found = ", ".join(f"{counts[name]} {name}" for name in VERDICTS if counts[name])
    taken = "; ".join(filter(None, (f"{looked.look} of {len(plan.looks)} looks taken", looked.under_way(plan))))
    if not looked.open or looked.look == len(plan.looks):
        ahead = "nothing more is trained"
    else:
        first = "" if looked.rounds else f", each judged once it has them and base its {plan.base}"
        ahead = f"next: {len(looked.open)} arms to {plan.looks[looked.look]} seeds{first} (runs left: {left})"
    return f"{' on '.join(place[:2])}{at(place[2])}: {taken}{': ' * bool(found)}{found}; {ahead}"
