"""Open a checkpoint, and draw a grid of images from it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from gan_ablate.errors import InputError
from gan_ablate.evaluate.samples import save_grid
from gan_ablate.models import BY_NAME, GANModule
from gan_ablate.recipe import Recipe


def open_checkpoint(path: Path) -> GANModule:
    """The module that a checkpoint holds, on the CPU.

    Raises `InputError` if the file is not a checkpoint, or if it names a trick of a module that the user has not
    trusted (`gan_ablate.trust`).
    """
    try:
        checkpoint: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        recipe = Recipe.from_dict(checkpoint["gan_ablate"]["recipe"]).validate()
    except FileNotFoundError:
        raise InputError(f"{path}: no such checkpoint") from None
    except Exception as error:
        raise _not_a_checkpoint(path, error) from error
    try:
        module = BY_NAME[recipe.model].from_recipe(recipe)
    except InputError as error:
        raise InputError(f"{path}: {error}") from error
    try:
        module.on_load_checkpoint(checkpoint)
        module.load_state_dict(checkpoint["state_dict"])
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise _not_a_checkpoint(path, error) from error
    return module


def _not_a_checkpoint(path: Path, error: Exception) -> InputError:
    return InputError(f"{path}: not a checkpoint of gan_ablate ({type(error).__name__})")


def sample(checkpoint: Path, count: int, seed: int, out: Path) -> Path:
    """Write a PNG grid of `count` images at the z of `seed`; returns its path."""
    images = open_checkpoint(checkpoint).generate(count, seed=seed)  # (count, C, H, W) uint8
    out.parent.mkdir(parents=True, exist_ok=True)
    save_grid(images, out, columns=max(1, round(count**0.5)))
    return out
