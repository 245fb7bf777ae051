"""The tricks as a table, and what each changes: the text of `gan-ablate tricks`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import fields
from typing import Any

from gan_ablate.blueprint import STEP_HOOKS, Blueprint, diff
from gan_ablate.presets import preset
from gan_ablate.recipe import CATALOGUED, MODELS, Recipe, TrickSpec
from gan_ablate.trick import REGISTRY, Trick, build, catalogue_models, parameters_of
from gan_ablate.tricks.combining import unmet


def _edited(trick: Trick, model: str) -> tuple[Blueprint, Blueprint]:
    """A model's blueprint without and with a trick."""
    base = preset(Recipe(model=model))
    return base, trick.edit(base)


def _summary(trick: Trick) -> str:
    return (type(trick).__doc__ or "").strip().splitlines()[0]


def _letters(trick: Trick) -> str:
    """Capital: the catalogue tests it there; small: it can be put on there; missing: not applicable."""
    letters = []
    for model in CATALOGUED:
        if unmet("it", trick, *_edited(trick, model)) is None:
            letter = model[0]
            letters.append(letter.upper() if model in catalogue_models(type(trick)) else letter)
    return " ".join(letters)


def _sources(trick: Trick) -> str:
    cls = type(trick)
    for_, against = cls.recommended_by, cls.advised_against_by
    return "; ".join([f"for: {for_}"] * bool(for_) + [f"against: {against}"] * bool(against))


def _changed(trick: Trick) -> str:
    """The blueprint fields and hooks that it touches on the first model where it acts."""
    for model in [*catalogue_models(type(trick)), *MODELS]:
        base, edited = _edited(trick, model)
        if unmet("it", trick, base, edited) is None:
            return ", ".join([c.name for c in diff(base, edited)] + [f"hook {h}" for h in _hooks(trick, edited)])
    return "nothing"


def _hooks(trick: Trick, blueprint: Blueprint) -> list[str]:
    return [h for h in STEP_HOOKS if h in trick.overridden & blueprint.consulted]


def table() -> str:
    """One entry per trick, family by family: name, parameters, what it does and changes, models, paper, sources."""
    lines = []
    for family, members in _families():
        lines += ["", f"== {family} ==", ""]
        for name, trick in members:
            lines += [
                f"{name}({_defaults(trick)})",
                f"    {_summary(trick)}",
                f"    changes {_changed(trick)}",
                f"    models {_letters(trick)}; {type(trick).paper}; {_sources(trick)}",
            ]
    legend = [
        "models: D = dcgan, N = nsgan, W = wgan_gp; capital: the catalogue puts it to the test there, small: it can be",
        "for, against: the sources that recommend it or advise against it (S0 to S4, P: a published peer has it)",
        "`gan-ablate tricks NAME` shows what one of them changes",
    ]
    return "\n".join([*lines[1:], "", *legend])


def markdown() -> str:
    """The map of the tricks: which blueprint field or hook carries each row of the catalogue."""
    lines = []
    for family, members in _families():
        lines += [
            f"### {family}",
            "",
            "| trick | carried by | models | for | against | paper |",
            "|---|---|---|---|---|---|",
        ]
        for name, trick in members:
            cls, call = type(trick), f"`{name}`" + (f" ({_defaults(trick)})" if fields(trick) else "")
            sources = f"{cls.recommended_by} | {cls.advised_against_by}"
            lines.append(f"| {call} | {_changed(trick)} | {_letters(trick)} | {sources} | {cls.paper} |")
        lines.append("")
    return "\n".join(lines)


def _families() -> Iterator[tuple[str, list[tuple[str, Trick]]]]:
    """Each family's heading with its tricks, in the catalogue's order."""
    from gan_ablate.tricks import FAMILIES

    for family in FAMILIES:
        names = [name for name, cls in REGISTRY.items() if cls.__module__ == family.__name__]
        yield (family.__doc__ or "").split(".")[0], [(name, build(TrickSpec(name))) for name in names]


def _defaults(trick: Trick) -> str:
    return ", ".join(f"{k}={v}" for k, v in parameters_of(type(trick)))


def one(name: str) -> str:
    """One trick: its parameters and what it changes on each model. Raises `InputError` for an unknown name."""
    trick = build(TrickSpec(name))
    cls = type(trick)
    lines = [name, f"  {_summary(trick)}", f"  paper: {cls.paper}", f"  sources: {_sources(trick)}", "  parameters:"]
    lines += [f"    {_parameter(trick, f.name, f.default)}" for f in fields(cls)] or ["    none"]
    if cls.batch_norm:
        lines.append(f"  batch norm in D: {cls.batch_norm}")
    if cls.needs:
        lines.append(f"  needs: {'; '.join(need.what for need in cls.needs)}")
    if cls.conflicts:
        lines.append(f"  cannot stand beside: {', '.join(cls.conflicts)}")
    for reason in dict.fromkeys(cls.same_as_base.values()):
        models = ", ".join(m for m, own in cls.same_as_base.items() if own == reason)
        lines.append(f"  is base by construction on {models}, so no test: {reason}")
    if cls.shares_weights:
        lines.append("  trains as base does, so its runs and base's are always paired by seed")
    for model in MODELS:
        base, edited = _edited(trick, model)
        lines.append(f"  {model}:" + ("" if model in catalogue_models(cls) else " (no row of the catalogue)"))
        unfit = unmet("it", trick, base, edited)
        changes = [f"- {c.name}: {_show(c.before)}  + {c.name}: {_show(c.after)}" for c in diff(base, edited)]
        changes += [f"hook: {h}" for h in _hooks(trick, edited)]
        lines += [f"    not applicable: {unfit}"] if unfit else [f"    {c}" for c in changes]
    return "\n".join(lines)


def _parameter(trick: Trick, name: str, default: Any) -> str:
    cls = type(trick)
    if name in cls.choices:
        return f"{name} = {default}  ({' | '.join(cls.choices[name])})"
    if name in cls.bounds:
        low, high = cls.bounds[name]
        return f"{name} = {default}  (from {low:g} to {high:g})"
    return f"{name} = {default}"


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)
