"""Generated datasets are drawn once on a machine and kept: each run of a sweep is a process of its own."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import torch

from gan_ablate.cache import read_or_make
from gan_ablate.data import digits, shapes, stacks, voxels
from gan_ablate.data.images import ImageSet
from gan_ablate.errors import InputError

GENERATED: dict[str, Callable[[int, int, str, int | None], ImageSet]] = {
    "digits": digits.generate,
    "shapes": shapes.generate,
    "voxels": voxels.generate,
}
# what a set looks like is said by these files alone: change one, and sets are drawn anew
SOURCES = tuple(Path(module.__file__ or "") for module in (digits, shapes, stacks, voxels))


def load_generated(name: str, size: int, channels: int, split: str, count: int | None) -> ImageSet:
    """The generated set `name`, from the cache where it was drawn before. Raises as its `generate` does."""
    code = hashlib.sha256(b"".join(path.read_bytes() for path in SOURCES)).hexdigest()

    def draw() -> ImageSet:
        return GENERATED[name](size, channels, split, count)

    key = f"{name}/{size}/{channels}/{split}/{count}/{code}"
    try:
        return read_or_make("datasets", key, suffix=".pt", read=_read, make=draw, write=_write)
    except InputError:  # there can be no cache, or no such set: `draw` says that itself
        return draw()


def _write(images: ImageSet, file: IO[bytes]) -> None:
    torch.save(_as_dict(images), file)


def _as_dict(images: ImageSet) -> dict[str, Any]:
    drawn_from = None if images.drawn_from is None else _as_dict(images.drawn_from)
    return {**vars(images), "drawn_from": drawn_from}


def _read(file: IO[bytes]) -> ImageSet:
    return _from_dict(torch.load(file, weights_only=True))


def _from_dict(parts: dict[str, Any]) -> ImageSet:
    drawn_from = None if parts["drawn_from"] is None else _from_dict(parts["drawn_from"])
    return ImageSet(**{**parts, "drawn_from": drawn_from})
