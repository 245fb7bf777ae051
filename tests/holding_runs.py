"""Run functions for the pool's tests whose server holds something: `hold` is called in it, between forks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import fake_runs

from gan_ablate.recipe import Recipe

HELD: list[str] = []


def hold(recipe: Recipe, *, seconds: float, **_: Any) -> None:
    HELD.append(f"{recipe.dataset} after seed {recipe.seed}")
    if recipe.dataset == "shapes":
        raise OSError("cannot be read")


def carry_out(recipe: Recipe, folder: Path, **options: Any) -> dict[str, Any]:
    return {**fake_runs.carry_out(recipe, folder, **options), "held": HELD}


def first_fails(recipe: Recipe, folder: Path, **options: Any) -> dict[str, Any]:
    """Seed 0 crashes: there is nothing yet to hold."""
    if recipe.seed == 0:
        raise ZeroDivisionError
    return carry_out(recipe, folder, **options)
