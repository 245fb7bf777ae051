"""Which runs of a study are to be trained by what is known so far: by its looks, and at its second budget.

See `findings.looks`. A study that is not adaptive trains all of its first budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gan_ablate.errors import InputError
from gan_ablate.findings.looks import Looked, Place, look_everywhere, mean_seconds, outcomes_of
from gan_ablate.recipe import BASE, Recipe
from gan_ablate.results.runs import MISSING, Run, read_run
from gan_ablate.results.study_file import NAME, Cell, read_study
from gan_ablate.study.budgets import Budgets
from gan_ablate.study.cells import Expansion, ties
from gan_ablate.study.seed_plan import SeedPlan, plan_of


class FinishedRuns:
    """Reads runs of a root, each that is finished once. Called with a recipe, and what its cell says beyond it."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.finished: dict[str, Run] = {}  # by run id

    def __call__(self, recipe: Recipe, **cell: Any) -> Run:
        run_id = recipe.run_id
        if run_id in self.finished:
            return self.finished[run_id]
        run = read_run(
            self.root / "runs" / run_id,
            Cell(run_id, recipe.model, recipe.dataset, recipe.arm, recipe.seed, **cell),
        )
        if run.outcome != MISSING:
            self.finished[run_id] = run
        return run


class Releases:
    """The runs of a study, released look by look, the first budget before the second. What is released depends on the
    results alone."""

    def __init__(self, root: Path, expansion: Expansion, plan: SeedPlan, budgets: Budgets | None = None) -> None:
        self.expansion, self.plan, self.budgets = expansion, plan, budgets
        tied = ties(expansion.recipes) | ties(expansion.longer)
        self._by_construction = {run_id for run_id, tie in tied.items() if tie.same_as_base}
        self._read = FinishedRuns(root)

    def looks(self) -> dict[Place, Looked]:
        """(model, dataset, budget) -> what its looks have found. Arms that are base by construction are no tests."""
        tested = [
            self._read(r, budget=budget) for budget, recipes in self._each().items() for r in recipes
            if r.run_id not in self._by_construction
        ]  # fmt: skip
        return look_everywhere(outcomes_of(tested), self.plan, self.budgets)

    def wanted(self) -> Expansion:
        """The runs that every look so far asks for, finished or not, the place first that is decided soonest.

        Within a place seed by seed. Only whole looks decide anything, so under a budget one place is finished first.
        """
        found = self.looks()
        places = sorted(found, key=lambda place: self._cost(place, found[place]))
        asked = {p: self._asked(p, found[p]) for p in places}
        first, longer = (tuple(r for p in places if bool(p[2]) == more for r in asked[p]) for more in (False, True))
        return replace(self.expansion, recipes=first, longer=longer)

    def _each(self) -> Mapping[str, Sequence[Recipe]]:
        """What each budget may train."""
        return {"": self.expansion.recipes} | ({self.budgets.label: self.expansion.longer} if self.budgets else {})

    def _asked(self, place: Place, looked: Looked) -> list[Recipe]:
        """A place's runs. Arms that no look tests are trained at the first budget, as far as its first look goes."""
        least = 0 if place[2] else self.plan.looks[0]
        seeds = {n: set(self.plan.first(n)) for n in {least, *looked.seeds.values()}}
        here = [r for r in self._each()[place[2]] if (r.model, r.dataset) == place[:2]]
        return [r for r in here if r.seed in seeds[looked.seeds.get(r.arm, least)]]

    def _cost(self, place: Place, looked: Looked) -> float:
        """Seconds until the next look, for each arm that it may decide; 0 where they are not known."""
        asked = self._asked(place, looked)
        missing = [r for r in asked if r.arm in looked.seeds and r.run_id not in self._read.finished]
        own = (run for run in self._read.finished.values() if (run.model, run.dataset, run.budget) == place)
        return len(missing) * (mean_seconds(own) or 0.0) / max(1, len(looked.open))


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
