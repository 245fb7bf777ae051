"""A study: base recipe x models x arms x seeds, written in YAML, expanded to recipes by a named design."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any

from gan_ablate.errors import InputError, unknown
from gan_ablate.recipe import MODELS, Evaluation, Recipe, TrickSpec
from gan_ablate.sweep.designs import BASE, DESIGNS, Arm
from gan_ablate.sweep.reading import read_yaml

ALL = "all"  # in a list of arms: every registered trick with its default parameters
KEYS = ("name", "design", "base", "models", "arms", "seeds", "beyond_catalogue")
EVALUATION_FIELDS = tuple(f.name for f in fields(Evaluation))
# what a study says elsewhere, and so may not stand among the recipe fields
ELSEWHERE = {"model": "models", "arm": "arms", "seed": "seeds"}
RECIPE_FIELDS = tuple(f.name for f in fields(Recipe) if f.name not in ELSEWHERE)


@dataclass(frozen=True)
class Study:
    """A study as its author wrote it. `arms` may hold the word `all`; the base arm is added by the design."""

    name: str
    base: Mapping[str, Any] = field(default_factory=dict)
    models: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {m: {} for m in MODELS})
    arms: tuple[Arm | str, ...] = ()
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    design: str = "one_at_a_time"
    beyond_catalogue: bool = False  # train arms also on models that the catalogue does not put them to the test on
    source: Mapping[str, Any] = field(default_factory=dict)  # the YAML's plain data, kept in the store
    path: str = "study"  # where it was read, for error lines


@dataclass(frozen=True)
class NotApplicable:
    """A cell that is listed and not trained: it means nothing on its model, or is no row of the catalogue."""

    model: str
    dataset: str
    arm: str
    reason: str


@dataclass(frozen=True)
class Expansion:
    """What a study asks for. `recipes` come seed by seed (all arms at the first seed first)."""

    recipes: tuple[Recipe, ...]
    not_applicable: tuple[NotApplicable, ...] = ()


def read(path: str | Path) -> Study:
    """The study in one YAML file. Raises `InputError` naming file and place of the first mistake."""
    return from_dict(read_yaml(path), str(path))


def from_dict(data: object, where: str = "study") -> Study:
    """A study from plain data (see `sweeps/*.yaml` for the keys). Raises `InputError`."""
    if not isinstance(data, Mapping):
        raise InputError(f"{where}: a study is a mapping with the keys {', '.join(KEYS)}; got {_kind(data)}")
    for key in data:
        if key not in KEYS:
            raise unknown("key", key, KEYS, where)
    name = data.get("name", Path(where).stem)
    if not isinstance(name, str) or not name.strip():
        raise InputError(f"{where}: name={name!r}: needs a text")
    design = data.get("design", "one_at_a_time")
    if design not in DESIGNS:
        raise unknown("design", design, DESIGNS, where)
    beyond = data.get("beyond_catalogue", False)
    if not isinstance(beyond, bool):
        raise InputError(f"{where}: beyond_catalogue={beyond!r}: needs true or false")
    arms = data.get("arms", ())
    entries = [arms] if isinstance(arms, str) else arms or ()
    if not isinstance(entries, Sequence):
        raise InputError(f"{where}: arms: expected a list of tricks or the word all, got {_kind(arms)}")
    return Study(
        name=name,
        design=str(design),
        beyond_catalogue=beyond,
        base=_recipe_fields(data.get("base"), f"{where}: base"),
        models=_models(data.get("models", list(MODELS)), where),
        arms=tuple(_arm(entry, f"{where}: arms") for entry in entries),
        seeds=_seeds(data.get("seeds", 5), where),
        source=dict(data),
        path=where,
    )


def override(
    study: Study,
    *,
    seeds: int | Sequence[int] | None = None,
    models: Sequence[str] | None = None,
    arms: Sequence[str] | None = None,
    **recipe_fields: Any,
) -> Study:
    """The study scaled down (or up) from the command line; `None` leaves a thing as it is.

    `arms` picks arms of the study by label or pattern, or adds `trick:key=value`. Recipe fields (`steps=100`,
    `size=28`, also `samples`, `points`, `extractor` of the evaluation) win over the base and over the per-model
    values, and leave the arms' own fields alone: those are what the study compares.
    """
    where = f"{study.path} with options"
    given = {k: v for k, v in recipe_fields.items() if v is not None}
    evaluation = {k: given.pop(k) for k in EVALUATION_FIELDS if k in given}
    if evaluation:
        given["evaluation"] = {**evaluation, **given.get("evaluation", {})}
    given = _recipe_fields(given, where)
    if models is not None:
        study = replace(study, models={m: study.models.get(m, {}) for m in _models(list(models), where)})
    if seeds is not None:
        study = replace(study, seeds=_seeds(seeds, where))
    if arms is not None:
        study = replace(study, arms=tuple(_pick(study.arms, arms, where)))
    if given:
        kept = {m: _without(own, given) for m, own in study.models.items()}
        study = replace(study, base=_merge(study.base, given), models=kept)
    return study


def expand(
    study: Study,
    *,
    complete: Callable[[Recipe], Recipe] | None = None,
    not_applicable: Callable[[Recipe], str | None] | None = None,
    trick_names: Callable[[], Iterable[str]] | None = None,
) -> Expansion:
    """The study's recipes, validated and with every default filled in. Raises `InputError`.

    `complete`, `not_applicable` and `trick_names` default to those of `gan_ablate.tricks`. An arm that equals
    base on some model is not applicable there; one that equals base on every model, or another arm, is an error.
    """
    from gan_ablate.tricks import beyond_catalogue

    if complete is None or not_applicable is None or trick_names is None:
        from gan_ablate import tricks

        complete = complete or tricks.complete
        not_applicable = not_applicable or tricks.not_applicable
        trick_names = trick_names or tricks.trick_names
    try:
        arms = DESIGNS[study.design](_spell_out(study, trick_names), _base_tricks(study))
    except InputError as error:
        raise InputError(f"{study.path}: {error}") from None
    labels: set[str] = set()
    for arm in arms:
        if arm.label in labels:
            raise InputError(f"{study.path}: two arms are called {arm.label!r}: give one another label with `arm:`")
        labels.add(arm.label)
    cells: list[Recipe] = []
    skipped: list[NotApplicable] = []
    for model, own in study.models.items():
        seen: dict[str, str] = {}
        for arm in arms:
            fields_ = _merge(_merge(study.base, own), arm.overrides)
            held = fields_.pop("tricks", ())
            tricks_ = (*(t for t in held if t.name != arm.without), *arm.tricks)
            try:
                recipe = Recipe.from_dict({**fields_, "model": model, "arm": arm.label, "seed": study.seeds[0]})
                recipe = complete(replace(recipe, tricks=tricks_))
            except InputError as error:
                raise InputError(f"{study.path}: {model}/{arm.label}: {error}") from None
            twin = seen.setdefault(recipe.run_id, arm.label)
            reason = not_applicable(recipe)
            if reason is not None and arm.label == BASE:
                raise InputError(f"{study.path}: {model}/base: {reason}: set it per model, under models:")
            if reason is None and arm.without and arm.without not in [t.name for t in held]:
                reason = f"{arm.without} is not in this model's base"
            if reason is None and not study.beyond_catalogue:
                reason = beyond_catalogue(model, [t.name for t in arm.tricks])
            if reason is None and twin == BASE and arm.label != BASE:
                reason = "the same recipe as base"
            if reason is not None:
                skipped.append(NotApplicable(model, recipe.dataset, arm.label, reason))
            elif twin != arm.label:
                raise InputError(f"{study.path}: {model}: arms {twin!r} and {arm.label!r} are the same run")
            else:
                cells.append(recipe)
    for arm in arms:
        same = [n for n in skipped if n.arm == arm.label and n.reason == "the same recipe as base"]
        if len(same) == len(study.models):
            raise InputError(f"{study.path}: arm {arm.label!r} is the same run as base on every model")
    return Expansion(tuple(replace(c, seed=s) for s in study.seeds for c in cells), tuple(skipped))


def run_name(recipe: Recipe) -> str:
    """`model/arm/seed`: what `--only` patterns are matched against."""
    return f"{recipe.model}/{recipe.arm}/{recipe.seed}"


def select(recipes: Sequence[Recipe], only: str | Sequence[str] | None) -> tuple[Recipe, ...]:
    """The recipes that any of the patterns names: `model/arm/seed`, an arm or a model, with * ? [..].

    Raises `InputError` for a pattern that names nothing.
    """
    if only is None:
        return tuple(recipes)
    chosen: set[int] = set()
    for pattern in [only] if isinstance(only, str) else only:
        hits = {
            k
            for k, r in enumerate(recipes)
            if any(fnmatchcase(text, pattern) for text in (run_name(r), r.arm, r.model, f"{r.model}/{r.arm}"))
        }
        if not hits:
            arms = dict.fromkeys(r.arm for r in recipes)
            raise InputError(f"--only {pattern!r} matches no run of model/arm/seed; arms: {', '.join(arms)}")
        chosen |= hits
    return tuple(r for k, r in enumerate(recipes) if k in chosen)


def _spell_out(study: Study, trick_names: Callable[[], Iterable[str]]) -> list[Arm]:
    """The arms with `all` replaced by every registered trick that is not written out beside it."""
    written = {arm.label for arm in study.arms if isinstance(arm, Arm)}
    arms: list[Arm] = []
    for arm in study.arms:
        if isinstance(arm, Arm):
            arms.append(arm)
        else:
            arms.extend(Arm(name, (TrickSpec(name),)) for name in trick_names() if name not in written)
    return arms


def _base_tricks(study: Study) -> list[str]:
    """Names of the tricks in the base of any model, each once."""
    held = [study.base, *study.models.values()]
    return list(dict.fromkeys(t.name for fields_ in held for t in fields_.get("tricks", ())))


def _arm(entry: object, where: str) -> Arm | str:
    if entry == ALL:
        return ALL
    if entry == BASE:
        return Arm(BASE)
    if isinstance(entry, str):
        return _trick_arm(entry, where)
    if not isinstance(entry, Mapping):
        raise InputError(f"{where}: {entry!r}: write trick, {{trick: {{key: value}}}} or {{arm: .., tricks: ..}}")
    if not {"arm", "tricks"} & set(entry):
        if len(entry) == 1 and next(iter(entry)) not in RECIPE_FIELDS:
            return _trick_arm(entry, where)
        raise InputError(f"{where}: {dict(entry)!r}: recipe fields need a label, as in {{arm: wide, width: 32}}")
    overrides = _recipe_fields({k: v for k, v in entry.items() if k != "arm"}, f"{where}: {entry.get('arm', '')}")
    tricks = tuple(overrides.pop("tricks", ()))
    label = entry.get("arm", "+".join(map(str, tricks)))
    if not isinstance(label, str) or not label or (overrides and "arm" not in entry):
        raise InputError(f"{where}: {dict(entry)!r}: needs a label, as in {{arm: my_label, ..}}")
    return Arm(label, tricks, overrides)


def _trick_arm(text: str | Mapping[str, Any], where: str) -> Arm:
    try:
        spec = TrickSpec.parse(text)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return Arm(str(spec), (spec,))


def _pick(known: Sequence[Arm | str], wanted: Sequence[str], where: str) -> list[Arm | str]:
    picked: list[Arm | str] = []
    for text in wanted:
        hits: list[Arm | str] = [a for a in known if isinstance(a, Arm) and fnmatchcase(a.label, text)]
        picked.extend(arm for arm in hits or [_arm(text, where)] if arm not in picked)
    return picked


def _models(given: object, where: str) -> dict[str, dict[str, Any]]:
    if isinstance(given, str):
        given = [given]
    if isinstance(given, Sequence):
        given = {model: {} for model in map(_hashable, given)}
    if not isinstance(given, Mapping) or not given:
        raise InputError(f"{where}: models: expected a list of {', '.join(MODELS)}, got {_kind(given)}")
    for model in given:
        if model not in MODELS:
            raise unknown("model", model, MODELS, where)
    return {model: _recipe_fields(own, f"{where}: models: {model}") for model, own in given.items()}


def _hashable(item: object) -> object:
    return item if isinstance(item, str | int | float) else str(item)


def _seeds(given: Any, where: str) -> tuple[int, ...]:
    if isinstance(given, int) and not isinstance(given, bool) and given >= 1:
        return tuple(range(given))
    whole = isinstance(given, Sequence) and not isinstance(given, str) and len(given) > 0
    if whole and all(isinstance(s, int) and not isinstance(s, bool) and s >= 0 for s in given):
        if len(set(given)) == len(given):
            return tuple(given)
        raise InputError(f"{where}: seeds={list(given)!r}: a seed is given twice")
    raise InputError(f"{where}: seeds={given!r}: needs a whole number of at least 1 (5 means 0..4) or a list of seeds")


def _recipe_fields(given: object, where: str) -> dict[str, Any]:
    """Recipe fields of the base, of a model or of an arm: known names, tricks parsed, evaluation a mapping."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InputError(f"{where}: expected recipe fields, as in steps: 1000; got {_kind(given)}")
    result = dict(given)
    for key in result:
        if key in ELSEWHERE:
            raise InputError(f"{where}: {key!r} is not set here: use the study's key {ELSEWHERE[key]!r}")
        if key not in RECIPE_FIELDS:
            raise unknown("recipe field", key, RECIPE_FIELDS, where)
    evaluation = result.get("evaluation", {})
    if not isinstance(evaluation, Mapping):
        raise InputError(f"{where}: evaluation: expected {', '.join(EVALUATION_FIELDS)}; got {_kind(evaluation)}")
    for key in evaluation:
        if key not in EVALUATION_FIELDS:
            raise unknown("field", key, EVALUATION_FIELDS, f"{where}: evaluation")
    if "tricks" in result:
        tricks = result["tricks"] or ()
        if isinstance(tricks, str | Mapping):
            tricks = [tricks]
        if not isinstance(tricks, Sequence):
            raise InputError(f"{where}: tricks: expected a list, got {_kind(tricks)}")
        try:
            result["tricks"] = tuple(t if isinstance(t, TrickSpec) else TrickSpec.parse(t) for t in tricks)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    return result


def _merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `under`: tricks are appended, the evaluation's fields are merged one by one."""
    merged = {**under, **over}
    if "evaluation" in under and "evaluation" in over:
        merged["evaluation"] = {**under["evaluation"], **over["evaluation"]}
    if "tricks" in under and "tricks" in over:
        merged["tricks"] = (*under["tricks"], *over["tricks"])
    return merged


def _without(own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A model's own fields less those the command line gives."""
    rest = {k: v for k, v in own.items() if k not in given or k in ("evaluation", "tricks")}
    if "evaluation" in rest:
        rest["evaluation"] = {k: v for k, v in rest["evaluation"].items() if k not in given.get("evaluation", {})}
    return rest


def _kind(value: object) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"
