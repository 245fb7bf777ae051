"""A study: base recipe x models x arms x seeds, written in YAML, expanded to recipes by a named design."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from gan_ablate import tricks
from gan_ablate.errors import InputError, unknown
from gan_ablate.recipe import BASE, CATALOGUED, Recipe, TrickSpec
from gan_ablate.study.budgets import Budgets, read_budgets
from gan_ablate.study.cells import Expansion, NotApplicable, Setting, dataset_names, expand_arms
from gan_ablate.study.designs import DESIGNS, FACTOR_DESIGNS, check_factors, read_design
from gan_ablate.study.entries import (
    EVALUATION_FIELDS,
    Arm,
    kind,
    merge,
    read_arm,
    read_datasets,
    read_models,
    read_recipe_fields,
    read_seeds,
    set_twice,
    without,
)
from gan_ablate.study.factors import Factor, read_factors
from gan_ablate.study.planning import plan, summary
from gan_ablate.study.seed_plan import SeedPlan, read_seed_plan
from gan_ablate.study.shipped import study_file
from gan_ablate.study.strict_yaml import read_yaml
from gan_ablate.study.tuning import Tune, read_tune, refuse_fixed, refuse_seeds, trials

LONGEST_NAME = 100  # characters
MOST_RUNS = 100_000
KEYS = (
    "name", "design", "base", "models", "datasets", "arms", "factors", "seeds", "tune", "budgets", "beyond_catalogue",
)  # fmt: skip


@dataclass(frozen=True)
class Study:
    """A study as its author wrote it. `arms` may hold the word `all`; the base arm is added by the design."""

    name: str
    base: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {m: {} for m in CATALOGUED})
    arms: tuple[Arm | str, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    seed_plan: SeedPlan | None = None  # of an adaptive study; `seeds` are then the most that a run may have
    tune: Tune | None = None  # each arm is judged at its best setting of this grid
    budgets: Budgets | None = None  # arms that are worth it are trained longer; not of a tuned study
    design: str = "one_at_a_time"
    options: Mapping[str, Any] = field(default_factory=dict)  # of the design, defaults filled in
    factors: tuple[Factor, ...] = ()  # what a factor design varies
    datasets: tuple[Mapping[str, Any], ...] = ()  # recipe fields of each; none: the base's dataset
    beyond_catalogue: bool = False  # train arms also on models that the catalogue does not put them to the test on
    source: Mapping[str, Any] = field(default_factory=dict)  # the YAML's plain data, kept in the store
    path: str = "study"  # where it was read, for error lines


def load_study(word: str | Path) -> Study:
    """The study in one YAML file, or a shipped one by its name. Raises `InputError` naming file and place of the first
    mistake."""
    path = study_file(word)
    return from_dict(read_yaml(path), str(path))


def from_dict(data: object, where: str = "study") -> Study:
    """A study from plain data (see `sweeps/*.yaml` for the keys). Raises `InputError`."""
    if not isinstance(data, Mapping):
        raise InputError(f"{where}: a study is a mapping with the keys {', '.join(KEYS)}; got {kind(data)}")
    for key in data:
        if key not in KEYS:
            raise unknown("key", key, KEYS, where)
    name = data.get("name", Path(where).stem)
    check_name(name, where)
    design, options = read_design(data.get("design", "one_at_a_time"), where)
    beyond = data.get("beyond_catalogue", False)
    if not isinstance(beyond, bool):
        raise InputError(f"{where}: beyond_catalogue={beyond!r}: needs true or false")
    arms = data.get("arms", ())
    entries = [arms] if isinstance(arms, str) else arms or ()
    if not isinstance(entries, Sequence):
        raise InputError(f"{where}: arms: expected a list of tricks or the word all, got {kind(arms)}")
    factors = read_factors(data.get("factors") or (), where)
    base, datasets = read_recipe_fields(data.get("base"), f"{where}: base"), read_datasets(data.get("datasets"), where)
    if factors and design in DESIGNS:
        raise InputError(f"{where}: design {design} takes arms, not factors: use factorial, fractional, ..")
    if entries and design in FACTOR_DESIGNS:
        raise InputError(f"{where}: design {design} makes its arms from factors: take arms: out")
    if datasets and "dataset" in base:
        raise InputError(f"{where}: dataset stands in the base and under datasets: take it out of the base")
    seeds = data.get("seeds", 5)
    seed_plan, tune, budgets = _stages(data, seeds, design, where)
    study = Study(
        name=name,
        design=design,
        options=options,
        factors=factors,
        datasets=datasets,
        beyond_catalogue=beyond,
        base=base,
        models=read_models(data.get("models", list(CATALOGUED)), where),
        arms=tuple(read_arm(entry, f"{where}: arms") for entry in entries),
        seeds=read_seeds(max(seed_plan.base, seed_plan.looks[-1]) if seed_plan else seeds, where),
        seed_plan=seed_plan,
        tune=tune,
        budgets=budgets,
        source=dict(data),
        path=where,
    )
    for arm in budgets.also if budgets else ():
        if arm not in (known := [own.label for own in _arms(study)]):
            raise unknown("arm", arm, known, f"{where}: budgets: also")
    return study


def _stages(
    data: Mapping[str, Any], seeds: object, design: str, where: str
) -> tuple[SeedPlan | None, Tune | None, Budgets | None]:
    """What makes a study of arms against base go on by what it has found: looks, settings, a second budget."""
    seed_plan = read_seed_plan(seeds, where) if isinstance(seeds, Mapping) else None
    tune = read_tune(data["tune"], where) if "tune" in data else None
    budgets = read_budgets(data.get("budgets"), where)
    if design in FACTOR_DESIGNS:
        if seed_plan:
            why = f"looks are for arms against base; design {design} takes a number of seeds"
            raise InputError(f"{where}: seeds: {why}")
        if tune:
            raise InputError(f"{where}: tune: is for arms against base; in design {design} make the field a factor")
        if budgets:
            raise InputError(f"{where}: budgets: are for arms against base; design {design} has one: write its steps")
    if tune and budgets:
        why = "a setting that is best at the study's steps need not be so at more of them"
        raise InputError(f"{where}: tune and budgets: a study has one of them, for {why}: write two studies")
    return seed_plan, tune, budgets


def check_name(name: object, where: str) -> None:
    """Raises `InputError` for a name that cannot be a folder's: a study's runs are kept in `runs/<name>`."""
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"{where}: name={name!r}: needs a text")
    folder = not {"/", "\\"} & set(name) and not name.startswith((".", "-", " ")) and not name.endswith(" ")
    if not folder or not name.isprintable() or len(name) > LONGEST_NAME:
        raise InputError(
            f"{where}: name={name[:LONGEST_NAME]!r}: names the folder of the runs: at most {LONGEST_NAME} printable "
            "characters, without a slash, not beginning with a dot, a dash or a space"
        )


def override(
    study: Study,
    *,
    seeds: int | Sequence[int] | None = None,
    models: Sequence[str] | None = None,
    arms: Sequence[str] | None = None,
    **recipe_fields: Any,
) -> Study:
    """The study with changes from the command line; `None` changes nothing.

    `arms` picks arms of the study by label or pattern, or adds `trick:key=value`. Recipe fields (`steps=100`,
    `size=28`, also `samples`, `points`, `extractor` of the evaluation) win over the base and over the per-model
    values (and per-dataset ones), and leave the arms' own fields alone: those are what the study compares.
    """
    where = f"{study.path} with options"
    given = {k: v for k, v in recipe_fields.items() if v is not None}
    evaluation = {k: given.pop(k) for k in EVALUATION_FIELDS if k in given}
    if evaluation:
        given["evaluation"] = {**evaluation, **given.get("evaluation", {})}
    given = read_recipe_fields(given, where)
    if models is not None:
        study = replace(study, models={m: study.models.get(m, {}) for m in read_models(list(models), where)})
    if seeds is not None:
        if study.seed_plan:
            raise InputError(f"{where}: --seeds: the study fixes its looks beforehand, so that its verdicts hold")
        study = replace(study, seeds=read_seeds(seeds, where))
    if arms is not None:
        if study.design in FACTOR_DESIGNS:
            raise InputError(f"{where}: --arms: design {study.design} makes its arms from factors: choose by --only")
        study = replace(study, arms=tuple(_pick(study.arms, arms, where)))
    if given:
        kept = {m: without(own, given) for m, own in study.models.items()}
        datasets = tuple(without(own, given) for own in study.datasets)
        study = replace(study, base=merge(study.base, given), models=kept, datasets=datasets)
    return study


def expand(study: Study) -> Expansion:
    """The study's recipes, validated and with every default filled in. Raises `InputError`.

    An arm that equals base on some model is not applicable there; one that equals base on every model, or another arm,
    is an error.
    """
    try:
        settings = _settings(study)
        return (_expand_factors if study.design in FACTOR_DESIGNS else _expand_arms)(study, settings)
    except InputError as error:
        raise InputError(f"{study.path}: {error}") from None


def _settings(study: Study) -> list[Setting]:
    """Every model on every dataset. Raises `InputError` for a field that a model and a dataset both set."""
    names = dataset_names([d["dataset"] for d in study.datasets])
    settings = []
    for dataset in study.datasets or ({},):
        for model, own in study.models.items():
            name = f"{model}@{names[dataset['dataset']]}" if len(study.datasets) > 1 else model
            for key in set_twice(own, dataset):
                raise InputError(f"{name}: {key} is set under models and under datasets: set it in one of them")
            fields_ = merge(merge(study.base, own), dataset)
            settings.append(Setting(name, model, fields_, study.seeds[0], study.beyond_catalogue))
    return settings


def _expand_arms(study: Study, settings: Sequence[Setting]) -> Expansion:
    arms = _arms(study)
    for label, count in Counter(arm.label for arm in arms).items():
        if count > 1:
            raise InputError(f"two arms are called {label!r}: give one another label with `arm:`")
    cells: list[Recipe] = []
    skipped: list[NotApplicable] = []
    for setting in settings:
        found = expand_arms(setting, arms, made=False)
        cells += found[0]
        skipped += found[1]
    for arm in arms:
        same = [n for n in skipped if n.arm == arm.label and n.reason == "the same recipe as base"]
        if len(same) == len(settings):
            raise InputError(f"arm {arm.label!r} is the same run as base on every model")
    recipes = _over_seeds(cells, study)
    if study.tune is not None:
        refuse_fixed(arms, study.tune)
        refuse_seeds(study.seeds)
        tried, tuning = trials(cells, study.tune)
        return Expansion((*tried, *recipes), tuple(skipped), tuning=tuning)
    if study.budgets is not None:
        longer = _longer(recipes, study.budgets)
        return Expansion(recipes, tuple(skipped), longer=longer, budget=study.budgets.label)
    return Expansion(recipes, tuple(skipped))


def _longer(recipes: Sequence[Recipe], budgets: Budgets) -> tuple[Recipe, ...]:
    """The recipes at the second budget. Raises `InputError` for one that is an arm of the first too."""
    first = {r.run_id: r for r in recipes}
    longer = tuple(replace(r, steps=budgets.steps(r.steps)) for r in recipes)
    for recipe in longer:
        if (twin := first.get(recipe.run_id)) is not None:
            same = f"{recipe.model}/{recipe.arm} is the same run as {twin.arm} at the first: take that arm out"
            raise InputError(f"budgets: at {budgets.label} the steps {same}")
    return longer


def _expand_factors(study: Study, settings: Sequence[Setting]) -> Expansion:
    check_factors(study.design, study.options, study.factors)
    cells: list[Recipe] = []
    skipped: list[NotApplicable] = []
    levels: dict[str, dict[str, Any]] = {}
    facts: dict[str, Mapping[str, Any]] = {}
    for setting in settings:
        base, _ = expand_arms(setting, [Arm(BASE)], made=True)
        try:
            planned = plan(study.design, study.options, study.factors, setting.probe)
        except InputError as error:
            raise InputError(f"{setting.name}: {error}") from None
        if len({cell.label for cell in planned.cells}) < len(planned.cells):
            raise InputError(f"{setting.name}: two cells have one label: give levels other labels with `arm:`")
        arms = [setting.arm(cell.label, list(cell.levels.values())) for cell in planned.cells]
        found = expand_arms(setting, arms, made=True)
        cells += found[0]
        skipped += [NotApplicable(setting.model, base[0].dataset, *entry) for entry in planned.skipped] + found[1]
        facts[setting.name] = planned.facts
        for cell in planned.cells:
            levels[cell.label] = {name: level.value for name, level in cell.levels.items()}
    for factor in study.factors:
        if not any(factor.name in found["factors"] for found in facts.values()):
            reason = next(n.reason for n in skipped if n.arm == factor.name)
            raise InputError(f"factor {factor.name!r} can be varied on none of the models: {reason}")
    kept = {label: levels[label] for label in dict.fromkeys(c.arm for c in cells)}
    return Expansion(_over_seeds(cells, study), tuple(skipped), kept, summary(study.design, facts, study.factors))


def _over_seeds(cells: Sequence[Recipe], study: Study) -> tuple[Recipe, ...]:
    if (planned := study.seed_plan) is not None:
        most = {True: planned.base, False: planned.looks[-1]}
        return tuple(replace(c, seed=s) for s in study.seeds for c in cells if s < most[c.arm == BASE])
    if len(cells) * len(study.seeds) > MOST_RUNS:
        count = f"{len(cells):,} cells x {len(study.seeds):,} seeds"
        raise InputError(f"{count} are over {MOST_RUNS:,} runs: make several studies of them, each with its root")
    return tuple(replace(cell, seed=seed) for seed in study.seeds for cell in cells)


def run_name(recipe: Recipe) -> str:
    """`model/arm/seed`: what `--only` patterns are matched against."""
    return f"{recipe.model}/{recipe.arm}/{recipe.seed}"


def select_runs(recipes: Sequence[Recipe], only: str | Sequence[str] | None) -> tuple[Recipe, ...]:
    """The recipes that match any of the patterns: `model/arm/seed`, an arm or a model, with * ? [..].

    `model@dataset` may stand in place of the model. Raises `InputError` for a pattern that names nothing.
    """
    if only is None:
        return tuple(recipes)
    short = dataset_names(list(dict.fromkeys(r.dataset for r in recipes)))
    chosen: set[int] = set()
    for pattern in [only] if isinstance(only, str) else only:
        hits = {k for k, r in enumerate(recipes) if any(fnmatchcase(t, pattern) for t in _called(r, short))}
        if not hits:
            arms = dict.fromkeys(r.arm for r in recipes)
            raise InputError(f"--only {pattern!r} matches no run of model/arm/seed; arms: {', '.join(arms)}")
        chosen |= hits
    return tuple(r for k, r in enumerate(recipes) if k in chosen)


def _called(recipe: Recipe, short: Mapping[str, str]) -> list[str]:
    """The texts that a pattern may match to choose a run."""
    models = [recipe.model, *(f"{recipe.model}@{d}" for d in (recipe.dataset, short[recipe.dataset]))]
    ends = ("", f"/{recipe.arm}", f"/{recipe.arm}/{recipe.seed}")
    return [recipe.arm, *(model + end for model in models for end in ends)]


def _arms(study: Study) -> tuple[Arm, ...]:
    """The arms of a design that takes them, base first. Raises `InputError`."""
    return DESIGNS[study.design](_spell_out(study), _base_tricks(study))


def _spell_out(study: Study) -> list[Arm]:
    """The arms with `all` replaced by every registered trick that is not written out beside it."""
    written = {arm.label for arm in study.arms if isinstance(arm, Arm)}
    arms: list[Arm] = []
    for arm in study.arms:
        if isinstance(arm, Arm):
            arms.append(arm)
        else:
            arms.extend(Arm(name, (TrickSpec(name),)) for name in tricks.trick_names() if name not in written)
    return arms


def _base_tricks(study: Study) -> list[str]:
    """Names of the tricks in the base of any model, each once."""
    held = [study.base, *study.models.values()]
    return list(dict.fromkeys(t.name for fields_ in held for t in fields_.get("tricks", ())))


def _pick(known: Sequence[Arm | str], wanted: Sequence[str], where: str) -> list[Arm | str]:
    picked: list[Arm | str] = []
    for text in wanted:
        hits: list[Arm | str] = [a for a in known if isinstance(a, Arm) and fnmatchcase(a.label, text)]
        picked.extend(arm for arm in hits or [read_arm(text, where)] if arm not in picked)
    return picked
