"""Reads the entries of a study's file: arms, models, datasets, seeds, recipe fields. One line per mistake."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any

from gan_ablate.errors import InputError, unknown
from gan_ablate.recipe import BASE, LARGEST_WHOLE, MODELS, Evaluation, Recipe, TrickSpec, is_own_model

ALL = "all"  # in a list of arms: every registered trick with its default parameters
MOST_SEEDS = 10_000
LONGEST_LABEL = 1000  # characters: one of a dozen factors with their levels has 300
EVALUATION_FIELDS = tuple(f.name for f in fields(Evaluation))
# what a study says elsewhere, and so may not stand among the recipe fields
ELSEWHERE = {"model": "models", "arm": "arms", "seed": "seeds"}
RECIPE_FIELDS = tuple(f.name for f in fields(Recipe) if f.name not in ELSEWHERE)


@dataclass(frozen=True)
class Arm:
    """One level of the study: tricks and recipe fields that are put on top of the base, or a trick taken away."""

    label: str
    tricks: tuple[TrickSpec, ...] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    without: str = ""  # a trick of the base that this arm does not have


def read_arm(entry: object, where: str) -> Arm | str:
    """An arm as written in a list, or the word `all`."""
    if entry == ALL:
        return ALL
    if entry == BASE:
        return Arm(BASE)
    if isinstance(entry, str):
        return trick_arm(entry, where)
    if not isinstance(entry, Mapping):
        raise InputError(f"{where}: {entry!r}: write trick, {{trick: {{key: value}}}} or {{arm: .., tricks: ..}}")
    if not {"arm", "tricks"} & set(entry):
        if len(entry) == 1 and next(iter(entry)) not in RECIPE_FIELDS:
            return trick_arm(entry, where)
        raise InputError(f"{where}: {dict(entry)!r}: recipe fields need a label, as in {{arm: wide, width: 32}}")
    overrides = read_recipe_fields({k: v for k, v in entry.items() if k != "arm"}, f"{where}: {entry.get('arm', '')}")
    tricks = tuple(overrides.pop("tricks", ()))
    label = entry.get("arm", "+".join(map(str, tricks)))
    if not isinstance(label, str) or not label or (overrides and "arm" not in entry):
        raise InputError(f"{where}: {_short(dict(entry))}: needs a label, as in {{arm: my_label, ..}}")
    return Arm(read_label(label, where), tricks, overrides)


def read_label(label: str, where: str) -> str:
    """An arm's label. Raises `InputError` for one that is too long for a table, or that has control characters."""
    if len(label) > LONGEST_LABEL or not label.isprintable():
        raise InputError(f"{where}: arm {_short(label)}: needs at most {LONGEST_LABEL} printable characters")
    return label


def trick_arm(text: str | Mapping[str, Any], where: str) -> Arm:
    """An arm of one trick, labelled by it."""
    try:
        spec = TrickSpec.parse(text)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None
    return Arm(read_label(str(spec), where), (spec,))


def read_models(given: object, where: str) -> dict[str, dict[str, Any]]:
    """Model -> its own recipe fields, from a list of names or a mapping."""
    if isinstance(given, str):
        given = [given]
    if isinstance(given, Sequence):
        given = {m if isinstance(m, str | int | float) else str(m): {} for m in given}
    if not isinstance(given, Mapping) or not given:
        raise InputError(f"{where}: models: expected a list of {', '.join(MODELS)}, got {kind(given)}")
    for model in given:
        if model not in MODELS and not (isinstance(model, str) and is_own_model(model)):
            raise unknown("model", model, MODELS, where)
    return {model: read_recipe_fields(own, f"{where}: models: {model}") for model, own in given.items()}


def read_datasets(given: object, where: str) -> tuple[dict[str, Any], ...]:
    """The datasets, each as recipe fields with `dataset` among them; none where the base's is the only one."""
    if given is None:
        return ()
    if isinstance(given, str | Mapping):
        given = [given]
    if not isinstance(given, Sequence) or not given:
        raise InputError(f"{where}: datasets: expected a list of names or of recipe fields, got {kind(given)}")
    found: dict[str, dict[str, Any]] = {}
    for entry in given:
        own = read_recipe_fields({"dataset": entry} if isinstance(entry, str) else entry, f"{where}: datasets")
        name = own.get("dataset")
        if not isinstance(name, str) or not name:
            raise InputError(f"{where}: datasets: {entry!r}: needs a name, as in {{dataset: mnist, size: 28}}")
        if name in found:
            raise InputError(f"{where}: datasets: {name!r} is given twice")
        found[name] = own
    return tuple(found.values())


def set_twice(one: Mapping[str, Any], other: Mapping[str, Any]) -> list[str]:
    """Recipe fields that both set, those of the evaluation by their own names. Tricks are not set but added."""
    both = [k for k in one if k in other and k not in ("tricks", "evaluation")]
    evaluations = one.get("evaluation", {}), other.get("evaluation", {})
    return both + [f"evaluation.{k}" for k in evaluations[0] if k in evaluations[1]]


def read_seeds(given: Any, where: str) -> tuple[int, ...]:
    """The seeds: a number of them, or a list."""
    if isinstance(given, int) and not isinstance(given, bool) and given >= 1:
        if given > MOST_SEEDS:
            raise InputError(f"{where}: seeds={_short(given)}: at most {MOST_SEEDS:,}, or a list of seeds")
        return tuple(range(given))
    whole = isinstance(given, Sequence) and not isinstance(given, str) and 0 < len(given) <= MOST_SEEDS
    if whole and all(isinstance(s, int) and not isinstance(s, bool) and 0 <= s <= LARGEST_WHOLE for s in given):
        if len(set(given)) == len(given):
            return tuple(given)
        raise InputError(f"{where}: seeds={_short(list(given))}: a seed is given twice")
    raise InputError(
        f"{where}: seeds={_short(given)}: needs a whole number of at least 1 (5 means 0..4) or a list of seeds"
    )


def read_recipe_fields(given: object, where: str) -> dict[str, Any]:
    """Recipe fields of the base, of a model or of an arm: known names, tricks parsed, evaluation a mapping."""
    if given is None:
        return {}
    if not isinstance(given, Mapping):
        raise InputError(f"{where}: expected recipe fields, as in steps: 1000; got {kind(given)}")
    result = dict(given)
    for key in result:
        if key in ELSEWHERE:
            raise InputError(f"{where}: {key!r} is not set here: use the study's key {ELSEWHERE[key]!r}")
        if key not in RECIPE_FIELDS:
            raise unknown("recipe field", key, RECIPE_FIELDS, where)
    evaluation = result.get("evaluation", {})
    if not isinstance(evaluation, Mapping):
        raise InputError(f"{where}: evaluation: expected {', '.join(EVALUATION_FIELDS)}; got {kind(evaluation)}")
    for key in evaluation:
        if key not in EVALUATION_FIELDS:
            raise unknown("field", key, EVALUATION_FIELDS, f"{where}: evaluation")
    if "tricks" in result:
        tricks = result["tricks"] or ()
        if isinstance(tricks, str | Mapping):
            tricks = [tricks]
        if not isinstance(tricks, Sequence):
            raise InputError(f"{where}: tricks: expected a list, got {kind(tricks)}")
        try:
            result["tricks"] = tuple(t if isinstance(t, TrickSpec) else TrickSpec.parse(t) for t in tricks)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None
    return result


def merge(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """`over` on top of `under`: tricks are appended, the evaluation's fields are merged one by one."""
    merged = {**under, **over}
    if "evaluation" in under and "evaluation" in over:
        merged["evaluation"] = {**under["evaluation"], **over["evaluation"]}
    if "tricks" in under and "tricks" in over:
        merged["tricks"] = (*under["tricks"], *over["tricks"])
    return merged


def without(own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """A model's own fields without those that the command line sets."""
    rest = {k: v for k, v in own.items() if k not in given or k in ("evaluation", "tricks")}
    if "evaluation" in rest:
        rest["evaluation"] = {k: v for k, v in rest["evaluation"].items() if k not in given.get("evaluation", {})}
    return rest


def _short(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # a number of more digits than Python writes
        return "a number of thousands of digits"
    return text if len(text) <= 100 else f"{text[:100]}.."


def kind(value: object) -> str:
    return "nothing" if value is None else f"{type(value).__name__} {str(value)[:40]!r}"
