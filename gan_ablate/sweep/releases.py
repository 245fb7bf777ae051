"""Which runs of an adaptive study are to be trained by what is known so far (see `findings.looks`)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from gan_ablate.errors import InputError
from gan_ablate.findings.looks import Looked, Place, look, mean_seconds, outcomes_of
from gan_ablate.recipe import BASE, Recipe
from gan_ablate.results.runs import MISSING, Run, read_run
from gan_ablate.results.study_file import NAME, Cell, read_study
from gan_ablate.study.cells import ties
from gan_ablate.study.seed_plan import SeedPlan, plan_of


class Releases:
    """The runs of an adaptive study, released look by look. What is released depends on the results alone."""

    def __init__(self, root: Path, recipes: Sequence[Recipe], plan: SeedPlan) -> None:
        self.root, self.recipes, self.plan = root, recipes, plan
        tied = ties(recipes)
        self._by_construction = {r.run_id for r in recipes if r.run_id in tied and tied[r.run_id].same_as_base}
        self._known: dict[str, Run] = {}  # by run id: finished runs, each read once

    def looks(self) -> dict[Place, Looked]:
        """(model, dataset) -> what its looks have found. Arms that are base by construction are no tests."""
        tested = [self._run(r) for r in self.recipes if r.run_id not in self._by_construction]
        return {place: look(outcomes, self.plan) for place, outcomes in outcomes_of(tested).items()}

    def wanted(self) -> tuple[Recipe, ...]:
        """The runs that every look so far asks for, finished or not, the place first that is decided soonest.

        Within a place seed by seed. Only whole looks decide anything, so under a budget one place is finished first.
        """
        found = self.looks()
        places = sorted(found, key=lambda place: self._cost(place, found[place]))
        first = self.plan.looks[0]
        return tuple(
            r for place in places for r in self.recipes
            if (r.model, r.dataset) == place and r.seed < found[place].seeds.get(r.arm, first)
        )  # fmt: skip

    def _cost(self, place: Place, looked: Looked) -> float:
        """Seconds until the next look, for each arm that it may decide; 0 where they are not known."""
        missing = [
            r for r in self.recipes
            if (r.model, r.dataset) == place and r.seed < looked.seeds.get(r.arm, 0) and r.run_id not in self._known
        ]  # fmt: skip
        each = mean_seconds(run for run in self._known.values() if (run.model, run.dataset) == place)
        return len(missing) * (each or 0.0) / max(1, len(looked.open))

    def _run(self, recipe: Recipe) -> Run:
        if recipe.run_id in self._known:
            return self._known[recipe.run_id]
        cell = Cell(recipe.run_id, recipe.model, recipe.dataset, recipe.arm, recipe.seed)
        run = read_run(self.root / "runs" / recipe.run_id, cell)
        if run.outcome != MISSING:
            self._known[recipe.run_id] = run
        return run


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
