"""Which runs of a tuned study are to be trained by what is known so far (see `findings.tuning`)."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from gan_ablate.errors import InputError
from gan_ablate.findings.tuning import Choice, choices, ready
from gan_ablate.recipe import Recipe
from gan_ablate.results.runs import Run, RunCache
from gan_ablate.results.study_file import NAME, Cell, read_study
from gan_ablate.study.cells import Expansion
from gan_ablate.study.seed_plan import SeedPlan
from gan_ablate.study.tuning import Tune, settings, tune_of
from gan_ablate.sweep.releases import Releases


class TunedReleases:
    """First the tuning runs of every arm. Of a model and dataset where all of them are finished, the judged runs too,
    each arm at the setting that it picked; of an adaptive study look by look."""

    def __init__(self, root: Path, expansion: Expansion, tune: Tune, plan: SeedPlan | None) -> None:
        self.root, self.expansion, self.tune, self.plan = root, expansion, tune, plan
        self.trials = tuple(r for r in expansion.recipes if r.run_id in expansion.tuning)
        self._as_written = tuple(r for r in expansion.recipes if r.run_id not in expansion.tuning)
        self._settings: dict[tuple[str, str, str], dict[str, Recipe]] = {}
        self._read = RunCache()
        self._looks: Releases | None = None

    def wanted(self) -> Expansion:
        """The runs that are asked for by now, finished or not. Where all settings are known, the judged ones first: a
        budget then buys whole verdicts."""
        found = choices(map(self._run, self.trials))
        judged = self._at_their_best(found, only_ready=True)
        if self.plan is not None:
            if self._looks is None or self._looks.expansion.recipes != judged:
                self._looks = Releases(self.root, Expansion(judged), self.plan)
            judged = self._looks.wanted().recipes
        return replace(self.expansion, recipes=(*judged, *self.trials))

    def planned(self) -> tuple[Recipe, ...]:
        """All judged runs that there may be, where nothing is picked yet at the arm's own setting."""
        return self._at_their_best(choices(map(self._run, self.trials)), only_ready=False)

    def _at_their_best(self, found: dict[tuple[str, str, str], Choice], only_ready: bool) -> tuple[Recipe, ...]:
        """The study's runs, each at the setting that its arm picked. Arms of one setting were not tried."""
        places, tuned = ready(found), {(r.model, r.dataset) for r in self.trials}
        judged = []
        for recipe in self._as_written:
            place = recipe.model, recipe.dataset
            if place in places:
                judged.append(self._picked(recipe, found.get((*place, recipe.arm))))
            elif not only_ready or place not in tuned:
                judged.append(recipe)
        return tuple(judged)

    def _picked(self, recipe: Recipe, choice: Choice | None) -> Recipe:
        if choice is None or choice.chosen is None or choice.chosen.own:
            return recipe
        arm = recipe.model, recipe.dataset, recipe.arm
        if arm not in self._settings:
            self._settings[arm] = settings(recipe, self.tune)
        return replace(self._settings[arm][choice.chosen.setting], seed=recipe.seed)

    def _run(self, recipe: Recipe) -> Run:
        setting, own = self.expansion.tuning[recipe.run_id]
        return self._read(self.root / "runs" / recipe.run_id, Cell.of(recipe, tuning=setting, own_setting=own))


def refuse_other_tune(root: Path, tune: Tune) -> None:
    """Raises `InputError` where a root's study was begun with another grid, or with none: arms would be judged at
    settings that were picked in two ways."""
    if not (root / NAME).exists():
        return
    begun = tune_of(read_study(root).source)
    if begun != tune:
        grid = f"tune: {begun.written()}" if begun else "no tune"
        raise InputError(
            f"{root}: was begun with {grid}: the settings to choose from are fixed beforehand; give another --root"
        )
