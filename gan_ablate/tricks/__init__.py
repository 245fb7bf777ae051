"""All tricks by name, and what they make of a recipe."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from gan_ablate.blueprint import Blueprint
from gan_ablate.errors import InputError
from gan_ablate.presets import preset
from gan_ablate.recipe import CATALOGUED, Recipe
from gan_ablate.trick import REGISTRY, Chain, Trick, build, catalogue_models, spec_of
from gan_ablate.tricks import (
    architecture,
    augmentation,
    averaging,
    batches,
    conditioning,
    consistency,
    contrastive,
    discriminators,
    generator_losses,
    labels,
    layers,
    networks,
    noise,
    norms,
    objectives,
    optimisers,
    penalties,
    regularisers,
    sampling,
    self_supervision,
    updates,
)
from gan_ablate.tricks.combining import combine, unmet
from gan_ablate.tricks.own import OWN_NETWORKS

__all__ = [
    "OWN_NETWORKS",
    "assemble",
    "beyond_catalogue",
    "complete",
    "not_applicable",
    "same_as_base",
    "shares_weights",
    "trick_names",
]

FAMILIES = (  # in the catalogue's order
    labels,
    objectives,
    generator_losses,
    penalties,
    regularisers,
    augmentation,
    consistency,
    self_supervision,
    noise,
    sampling,
    layers,
    norms,
    architecture,
    networks,
    discriminators,
    batches,
    optimisers,
    updates,
    averaging,
    conditioning,
    contrastive,
)


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
    """Why some trick of this recipe means nothing in it, or `None` where each acts and has what it needs."""
    base, tricks = preset(recipe), _tricks(recipe)
    final = Chain(tuple(tricks.values())).edit(base)
    reasons = (unmet(name, trick, base, final) for name, trick in tricks.items())
    return next((reason for reason in reasons if reason), None)


def beyond_catalogue(model: str, names: list[str]) -> str | None:
    """Why an arm of these tricks is no row of the catalogue for a model, or `None` where it is one, or the model none
    of the catalogue's."""
    for name in names if model in CATALOGUED else ():
        wanted = catalogue_models(REGISTRY[name]) if name in REGISTRY else (model,)
        if model not in wanted:
            return f"the catalogue tests {name} on {', '.join(wanted)} only"
    return None


def same_as_base(model: str, names: Iterable[str]) -> str:
    """Why an arm of these tricks is base by construction on a model; empty where one of them is a change."""
    reasons = [REGISTRY[n].same_as_base.get(model, "") if n in REGISTRY else "" for n in names]
    return "; ".join(reasons) if all(reasons) else ""


def shares_weights(model: str, names: Iterable[str]) -> bool:
    """Whether an arm of these tricks trains exactly as base does, seed by seed."""
    return all(n in REGISTRY and (REGISTRY[n].shares_weights or model in REGISTRY[n].same_as_base) for n in names)


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
