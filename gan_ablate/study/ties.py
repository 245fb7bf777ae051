"""What an arm shares with base by construction, as its tricks declare it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from gan_ablate.recipe import BASE, Recipe


@dataclass(frozen=True)
class Tie:
    """How an arm stands to base on one model."""

    same_as_base: str = ""  # why it trains and samples exactly as base; empty where it does not
    shares_weights: bool = False  # it trains exactly as base, and only what is sampled or measured may differ


def ties(recipes: Sequence[Recipe]) -> dict[str, Tie]:
    """run_id -> its tie, of the runs whose arm is base and tricks that declare one."""
    from gan_ablate.tricks import same_as_base, shares_weights

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
            known[place] = (
                Tie(same_as_base(recipe.model, names), shares_weights(recipe.model, names)) if names else Tie()
            )
        if known[place] != Tie():
            found[recipe.run_id] = known[place]
    return found


def _plain(recipe: Recipe) -> Recipe:
    return replace(recipe, tricks=(), arm="", seed=0)
