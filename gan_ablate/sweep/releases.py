"""Which runs of a study are to be trained by what is known so far: by its looks, and at its second budget.

See `findings.looks`. A study that is not adaptive trains all of its first budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from gan_ablate.errors import InputError
from gan_ablate.findings.looks import Looked, Place, look_everywhere, mean_seconds, outcomes_of
from gan_ablate.recipe import BASE, Recipe
from gan_ablate.results.runs import MISSING, Run, RunCache
from gan_ablate.results.study_file import NAME, Cell, read_study
from gan_ablate.study.budgets import Budgets
from gan_ablate.study.cells import Expansion, ties
from gan_ablate.study.seed_plan import SeedPlan, plan_of


class Releases:
    """The runs of a study, released look by look, the first budget before the second. What is released depends on the
    results alone."""

    def __init__(self, root: Path, expansion: Expansion, plan: SeedPlan, budgets: Budgets | None = None) -> None:
        self.root, self.expansion, self.plan, self.budgets = root, expansion, plan, budgets
        tied = ties(expansion.recipes) | ties(expansion.longer)
        self._by_construction = {run_id for run_id, tie in tied.items() if tie.same_as_base}
        self._read = RunCache()

    def looks(self) -> dict[Place, Looked]:
        """(model, dataset, budget) -> what its looks have found."""
        return self._look(self._tested())

    def wanted(self) -> Expansion:
        """The runs that every look so far asks for, finished or not, the place first that is decided soonest.

        Within a place base first, then arm by arm: an arm has its early verdict once its own seeds are there, and a
        budget that ends before the look leaves verdicts on some arms in place of none.
        """
        tested = self._tested()
        found, finished = self._look(tested), [run for run in tested if run.outcome != MISSING]
        places = sorted(found, key=lambda place: self._cost(place, found[place], finished))
        asked = {p: self._asked(p, found[p]) for p in places}
        first, longer = (tuple(r for p in places if bool(p[2]) == more for r in asked[p]) for more in (False, True))
        return replace(self.expansion, recipes=first, longer=longer)

    def _tested(self) -> list[Run]:
        """The runs of all arms that looks test: those that are base by construction are no tests."""
        cells = (Cell.of(r, budget=budget) for budget, recipes in self._each().items() for r in recipes)
        tested = (cell for cell in cells if cell.run_id not in self._by_construction)
        return [self._read(self.root / "runs" / cell.run_id, cell) for cell in tested]

    def _look(self, tested: Sequence[Run]) -> dict[Place, Looked]:
        return look_everywhere(outcomes_of(tested), self.plan, self.budgets)

    def _each(self) -> Mapping[str, Sequence[Recipe]]:
        """What each budget may train."""
        return {"": self.expansion.recipes} | ({self.budgets.label: self.expansion.longer} if self.budgets else {})

    def _asked(self, place: Place, looked: Looked) -> list[Recipe]:
        """A place's runs. Arms that no look tests are trained at the first budget, as far as its first look goes."""
        least = 0 if place[2] else self.plan.looks[0]
        seeds = {n: set(self.plan.first(n)) for n in {least, *looked.seeds.values()}}
        here = [r for r in self._each()[place[2]] if (r.model, r.dataset) == place[:2]]
        asked = [r for r in here if r.seed in seeds[looked.seeds.get(r.arm, least)]]
        rank = {arm: k for k, arm in enumerate(dict.fromkeys([BASE, *(r.arm for r in asked)]))}
        return sorted(asked, key=lambda r: rank[r.arm])  # stable: an arm's seeds keep their order

    def _cost(self, place: Place, looked: Looked, finished: Sequence[Run]) -> float:
        """Seconds until the next look, for each arm that it may decide; 0 where they are not known."""
        own = {run.run_id: run for run in finished if (run.model, run.dataset, run.budget) == place}
        missing = [r for r in self._asked(place, looked) if r.arm in looked.seeds and r.run_id not in own]
        return len(missing) * (mean_seconds(own.values()) or 0.0) / max(1, len(looked.open))


def refuse_other_plan(root: Path, plan: SeedPlan) -> None:
    """Raises `InputError` where a root's study was begun with other looks: its verdicts would hold no more."""
    if not (root / NAME).exists():
        return
    begun = plan_of(read_study(root).source)
    if begun is not None and begun != plan:
        looks = f"base {begun.base}, looks {list(begun.looks)}, weights {[round(w, 4) for w in begun.weights]}"
        raise InputError(f"{root}: was begun with {looks}: looks are fixed beforehand; give another --root")


def least_and_most(recipes: Sequence[Recipe], plan: SeedPlan) -> tuple[int, int]:
    """How many runs an adaptive study trains if every arm is decided at the first look, and if none ever is."""
    return sum(r.arm == BASE or r.seed < plan.looks[0] for r in recipes), len(recipes)
