"""The arms of a table that a contrast means."""

from __future__ import annotations

import math
from functools import lru_cache

from gan_ablate.errors import InputError
from gan_ablate.recipe import TrickSpec
from gan_ablate.results.tables import BASE, Table

HELD = {"adam_lr": ("lr", "lr"), "batch_size": ("size", "batch_size")}  # trick -> its number, and where base has it


def match(table: Table, model: str, wanted: str) -> list[str]:
    """The arms that a contrast means: the one called so, else every single trick of that name and parameters, else
    base where its recipe holds that number already."""
    labels = table.arms.get(model, {})
    found = [wanted] if wanted in labels else [label for label in labels if means(label, wanted)]
    return found or ([BASE] if _base_holds(table, model, wanted) else [])


def _base_holds(table: Table, model: str, wanted: str) -> bool:
    spec, runs = TrickSpec.parse(wanted), table.side(model, BASE).values()
    if not runs or spec.name not in HELD:
        return False
    number_of, place = HELD[spec.name]
    return all(not r.tricks and r.recipe.get(place) == spec.params.get(number_of, math.nan) for r in runs)


def means(label: str, wanted: str) -> bool:
    """Whether an arm's label is the trick `wanted`, with at least the parameters that `wanted` names."""
    named, asked = _spec(label), TrickSpec.parse(wanted)
    if named is None or named.name != asked.name:
        return False
    return all(named.params.get(key) == value for key, value in asked.params.items())


@lru_cache(maxsize=4096)
def _spec(label: str) -> TrickSpec | None:
    """The one registered trick that a label names, all its parameters filled in; no user's module is imported."""
    from gan_ablate.trick import REGISTRY, build, spec_of
    from gan_ablate.tricks import trick_names

    try:
        spec = TrickSpec.parse(label)
        return spec_of(build(spec), spec.name) if spec.name in trick_names() and spec.name in REGISTRY else None
    except (InputError, TypeError, ValueError):
        return None
