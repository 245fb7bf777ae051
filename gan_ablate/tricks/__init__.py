"""All tricks by name, and what they make of a recipe."""

from __future__ import annotations

from dataclasses import replace

from gan_ablate.blueprint import Blueprint
from gan_ablate.errors import InputError
from gan_ablate.presets import preset
from gan_ablate.recipe import Recipe
from gan_ablate.trick import REGISTRY, Chain, Trick, build, combine, effects, spec_of
from gan_ablate.tricks import averaging, batches, heads, inputs, labels, layers, norms, objectives, schedules

__all__ = ["assemble", "complete", "not_applicable", "trick_names"]

FAMILIES = (averaging, batches, heads, inputs, labels, layers, norms, objectives, schedules)


def trick_names() -> list[str]:
    """Every registered trick, by name."""
    return sorted(REGISTRY)


def _tricks(recipe: Recipe) -> dict[str, Trick]:
    tricks = {}
    for spec in recipe.tricks:
        if spec.name in tricks:
            raise InputError(f"trick {spec.name!r} stands twice in one arm: keep one of them")
        tricks[spec.name] = build(spec)
    return tricks


def complete(recipe: Recipe) -> Recipe:
    """The recipe with every default filled in, the tricks' too. Raises `InputError` for what cannot be used."""
    full = recipe.validate()
    tricks = _tricks(full)
    combine(tricks, preset(full))
    return replace(full, tricks=tuple(spec_of(trick, name) for name, trick in tricks.items()))


def not_applicable(recipe: Recipe) -> str | None:
    """Why some trick of this recipe would change nothing on its model, or `None` where each acts."""
    blueprint = preset(recipe)
    for name, trick in _tricks(recipe).items():
        if not effects(trick, blueprint):
            used = ", ".join(sorted(trick.overridden)) or "no hook"
            absent = f"uses {used}, which {recipe.model} never consults" if trick.overridden else "is so already"
            return f"{name} would change nothing on {recipe.model}: it {absent}"
    return None


def assemble(recipe: Recipe) -> tuple[Recipe, Blueprint, Chain]:
    """The completed recipe, its edited blueprint and its chain of tricks.

    Raises:
        InputError: a bad field, an unknown trick or parameter, tricks in conflict, or one that changes nothing here.
    """
    full = complete(recipe)
    reason = not_applicable(full)
    if reason:
        raise InputError(reason)
    base = preset(full)
    chain = combine(_tricks(full), base)
    return full, chain.edit(base), chain
