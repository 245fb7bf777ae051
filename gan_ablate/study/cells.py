"""Cells of a study: one model on one dataset with one arm; completed to a recipe, or listed as not applicable."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

from gan_ablate import tricks
from gan_ablate.errors import InputError
from gan_ablate.layout import extractor_for
from gan_ablate.presets import preset
from gan_ablate.recipe import AUTO, BASE, Recipe, TrickSpec, with_usual_fields
from gan_ablate.study.entries import Arm, merge
from gan_ablate.study.factors import Level
from gan_ablate.trick import Chain, build
from gan_ablate.tricks.combining import effects


@dataclass(frozen=True)
class NotApplicable:
    """A cell that is listed but not trained: it means nothing on its model, or is no row of the catalogue.

    In a factor design `arm` may also be a factor or a level of one that is no part of the model's design.
    """

    model: str
    dataset: str
    arm: str
    reason: str


@dataclass(frozen=True)
class Expansion:
    """What a study asks for. `recipes` come seed by seed (all arms at the first seed first).

    factors: arm -> {factor: level as plain data}, of a factor design. design: see `planning.summary`. tuning: run id ->
    what is tried, of the tuning runs among the recipes (`study.tuning`); the others are then at the arms' own settings.
    longer: what the second of two budgets may train, in the same order. budget: what it is called, as `4x`.
    """

    recipes: tuple[Recipe, ...]
    not_applicable: tuple[NotApplicable, ...] = ()
    factors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    design: Mapping[str, Any] = field(default_factory=dict)
    tuning: Mapping[str, Trial] = field(default_factory=dict)
    longer: tuple[Recipe, ...] = ()
    budget: str = ""

    @property
    def every(self) -> tuple[Recipe, ...]:
        """The runs of both budgets."""
        return (*self.recipes, *self.longer)


class Trial(NamedTuple):
    """What a tuning run tries."""

    setting: str  # as `tuning.label` calls it
    own: bool  # the setting that the arm has in the study as written


class Setting(NamedTuple):
    """One model on one dataset, with the recipe fields that base, model and dataset give together."""

    name: str  # dcgan, or dcgan@mnist where the study has several datasets
    model: str
    fields: Mapping[str, Any]
    seed: int
    beyond_catalogue: bool = False  # whether arms that are no row of the catalogue are trained too

    @property
    def base_tricks(self) -> tuple[TrickSpec, ...]:
        return tuple(self.fields.get("tricks", ()))

    def recipe(self, arm: Arm) -> Recipe:
        """The completed recipe of an arm. Raises `InputError` for what cannot be used."""
        held = tuple(t for t in self.base_tricks if t.name != arm.without)
        given = {k: v for k, v in merge(self.fields, arm.overrides).items() if k != "tricks"}
        fields_ = with_usual_fields(given, self.model)
        evaluation = fields_.get("evaluation") or {}
        chosen = extractor_for(fields_["dataset"], evaluation.get("extractor", AUTO))
        fields_["evaluation"] = {**evaluation, "extractor": chosen}
        recipe = Recipe.from_dict({**fields_, "model": self.model, "arm": arm.label, "seed": self.seed})
        return tricks.complete(replace(recipe, tricks=(*held, *arm.tricks)))

    def reason(self, arm: Arm, recipe: Recipe) -> str | None:
        """Why the arm is not trained here, or `None` where it is."""
        reason = tricks.not_applicable(recipe)
        if reason is None and arm.without and arm.without not in [t.name for t in self.base_tricks]:
            reason = f"{arm.without} is not in this model's base"
        if self.beyond_catalogue:
            return reason
        return reason or tricks.beyond_catalogue(self.model, [t.name for t in arm.tricks])

    def arm(self, label: str, levels: Sequence[Level]) -> Arm:
        """The arm that has these levels. A level's trick is left out if the model is like that without it."""
        overrides = {k: v for level in levels for k, v in level.overrides.items()}
        base = None
        chosen: list[TrickSpec] = []
        for level in levels:
            for spec in level.tricks:
                # a trick that is on or off must do something where it is on; one of several levels need not
                if level.value is not True:
                    base = base or self.recipe(Arm(BASE, overrides=overrides))
                    if _is_so_already(spec, base):
                        continue
                chosen.append(spec)
        return Arm(label, tuple(chosen), overrides)

    def probe(self, levels: Sequence[Level]) -> tuple[str, str | None]:
        """Identity of base with these levels, and why they mean nothing here. Raises `InputError`."""
        arm = self.arm("+".join(level.label for level in levels), levels)
        recipe = self.recipe(arm)
        return recipe.run_id, self.reason(arm, recipe)


def _is_so_already(spec: TrickSpec, base: Recipe) -> bool:
    """Whether a trick changes nothing here: its edit leaves the blueprint as it is, and it has no hooks."""
    trick = build(spec)
    before = Chain(tuple(build(t) for t in base.tricks)).edit(preset(base))
    return not trick.overridden and not effects(trick, before)


def dataset_names(datasets: Sequence[str]) -> dict[str, str]:
    """Dataset -> its name in tables: the last part of its path, or the whole path where two would have one name."""
    short = [Path(d).name for d in datasets]
    return {d: s if short.count(s) == 1 else d for d, s in zip(datasets, short)}


def expand_arms(setting: Setting, arms: Sequence[Arm], made: bool) -> tuple[list[Recipe], list[NotApplicable]]:
    """The recipes of one setting's arms, and the arms that are not applicable there. Raises `InputError`.

    made: by a factor design, where two arms may come out as one run; where a person wrote them that is a mistake.
    """
    cells: list[Recipe] = []
    skipped: list[NotApplicable] = []
    seen: dict[str, str] = {}
    for arm in arms:
        try:
            recipe = setting.recipe(arm)
        except InputError as error:
            raise InputError(f"{setting.name}/{arm.label}: {error}") from None
        twin = seen.setdefault(recipe.run_id, arm.label)
        reason = setting.reason(arm, recipe)
        if reason is not None and arm.label == BASE:
            raise InputError(f"{setting.name}/base: {reason}: set it per model, under models:")
        if reason is None and twin != arm.label and (made or twin == BASE):
            reason = f"the same recipe as {twin}"
        if reason is not None:
            skipped.append(NotApplicable(setting.model, recipe.dataset, arm.label, reason))
        elif twin != arm.label:
            raise InputError(f"{setting.name}: arms {twin!r} and {arm.label!r} are the same run")
        else:
            cells.append(recipe)
    return cells, skipped


@dataclass(frozen=True)
class Tie:
    """What an arm shares with base by construction, on one model."""

    same_as_base: str = ""  # why it trains and samples exactly as base; empty where it does not
    shares_weights: bool = False  # it trains exactly as base, and only what is sampled or measured may differ


def ties(recipes: Sequence[Recipe]) -> dict[str, Tie]:
    """run_id -> its tie, for runs whose arm adds to base only tricks that declare one."""

    def own(recipe: Recipe) -> list[str] | None:
        """The tricks that an arm adds to base; `None` where it differs in more."""
        base = bases.get((recipe.model, recipe.dataset))
        if base is None or _plain(recipe) != _plain(base) or any(t not in recipe.tricks for t in base.tricks):
            return None
        return [t.name for t in recipe.tricks if t not in base.tricks]

    bases = {(r.model, r.dataset): r for r in recipes if r.arm == BASE}
    known: dict[tuple[str, str, str], Tie] = {}
    found = {}
    for recipe in recipes:
        place = (recipe.model, recipe.dataset, recipe.arm)
        if place not in known:
            names = None if recipe.arm == BASE else own(recipe)
            known[place] = Tie()
            if names:
                told = tricks.same_as_base(recipe.model, names), tricks.shares_weights(recipe.model, names)
                known[place] = Tie(*told)
        if known[place] != Tie():
            found[recipe.run_id] = known[place]
    return found


def _plain(recipe: Recipe) -> Recipe:
    return replace(recipe, tricks=(), arm="", seed=0)
