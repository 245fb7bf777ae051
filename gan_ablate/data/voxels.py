"""`voxels`: solid things of ten kinds as volumes of occupied and empty voxels. Generated, so it needs no download.

Each volume holds one thing, upright but for a tilt of at most 15 degrees, turned around the vertical by any angle, with
random size, height and place. Things are given as functions that are negative inside, over coordinates in which they
fill the unit ball; a voxel is occupied (255) where its centre is inside, else empty (0).
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gan_ablate.data.images import ImageSet
from gan_ablate.errors import InputError, unknown
from gan_ablate.recipe import seed_for

COUNTS = {"train": 20_000, "test": 5_000}  # volumes when no count is asked for
RADIUS = (0.75, 0.95)  # of the ball around the thing; the volume spans [-1, 1]
HEIGHT = (0.85, 1.15)  # factor of the vertical
TILT = math.radians(15)

Inside = Callable[[Tensor, Tensor, Tensor], Tensor]


def _box(x: Tensor, y: Tensor, z: Tensor, *half: float) -> Tensor:
    """A box around the origin with these half sides."""
    return torch.maximum(torch.maximum(x.abs() - half[0], y.abs() - half[1]), z.abs() - half[2])


def _round(x: Tensor, y: Tensor) -> Tensor:
    """The distance from the vertical axis."""
    return torch.hypot(x, y)


def _cross(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    arms = (_box(a, b, c, 0.9, 0.22, 0.22) for a, b, c in ((x, y, z), (y, z, x), (z, x, y)))
    return torch.stack(list(arms)).amin(0)


def _table(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    legs = _box(x.abs() - 0.48, y.abs() - 0.48, z + 0.15, 0.17, 0.17, 0.55)
    return torch.minimum(_box(x, y, z - 0.42, 0.68, 0.68, 0.17), legs)


def _chair(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    seat = _box(x, y, z + 0.1, 0.5, 0.5, 0.16)
    back = _box(x, y - 0.36, z - 0.4, 0.5, 0.16, 0.5)
    legs = _box(x.abs() - 0.34, y.abs() - 0.34, z + 0.5, 0.16, 0.16, 0.4)
    return torch.minimum(torch.minimum(seat, back), legs)


def _stairs(x: Tensor, y: Tensor, z: Tensor) -> Tensor:
    top = 0.4 * ((x + 0.75) * 2).floor().clamp(0, 2) - 0.2  # of the step at x: -0.2, 0.2, 0.6
    return torch.maximum(_box(x, y, z, 0.74, 0.5, 0.6), z - top)


THINGS: dict[str, Inside] = {  # x to the right, y to the back, z up
    "sphere": lambda x, y, z: torch.hypot(_round(x, y), z) - 0.75,
    "box": lambda x, y, z: _box(x, y, z, 0.65, 0.45, 0.4),
    "cylinder": lambda x, y, z: torch.maximum(_round(x, y) - 0.45, z.abs() - 0.8),
    "cone": lambda x, y, z: torch.maximum(_round(x, y) - 0.4 * (0.85 - z), z.abs() - 0.85),
    "torus": lambda x, y, z: torch.hypot(_round(x, y) - 0.62, z) - 0.26,
    "tube": lambda x, y, z: torch.maximum((_round(x, y) - 0.48).abs() - 0.18, z.abs() - 0.7),
    "cross": _cross,
    "table": _table,
    "chair": _chair,
    "stairs": _stairs,
}
CLASSES = tuple(THINGS)


def generate(
    size: int = 16, channels: int = 1, split: str = "train", count: int | None = None, *, chunk: int = 64
) -> ImageSet:
    """`count` volumes (20,000 for train, 5,000 for test), uint8 (N, 1, D, H, W) with D = H = W = size, D upwards.

    The same on every call; volume i is of class i modulo ten. What varies is drawn before the voxels and does not
    depend on `size`. Train and test have seeds of their own. Raises `InputError` for an unknown split, a size under 8,
    other than 1 channel, or a count under 1.
    """
    if split not in COUNTS:
        raise unknown("split", split, COUNTS)
    count = COUNTS[split] if count is None else count
    if size < 8 or channels != 1 or count < 1:
        given = f"size={size}, channels={channels}, count={count}"
        raise InputError(f"voxels: {given}: needs size >= 8, 1 channel, count >= 1")
    labels = torch.arange(count) % len(THINGS)
    generator = torch.Generator().manual_seed(seed_for(0, "voxels", split))
    # float64 throughout: a last bit that differs between processors then hardly ever moves a voxel
    draws = torch.rand(count, 8, generator=generator, dtype=torch.float64)
    volumes = torch.empty(count, 1, size, size, size, dtype=torch.uint8)
    for index, inside in enumerate(THINGS.values()):
        for rows in (labels == index).nonzero().squeeze(1).split(chunk):
            volumes[rows, 0] = inside(*_coordinates(draws[rows], size)).le(0).to(torch.uint8) * 255
    return ImageSet.of(volumes, labels, CLASSES, "voxels")


def _coordinates(draws: Tensor, size: int) -> tuple[Tensor, ...]:
    """x, y and z (n, D, H, W) of the voxels' centres in each thing's own coordinates; draws: (n, 8) in [0, 1)."""
    axis = (torch.arange(size, dtype=torch.float64) + 0.5) * (2 / size) - 1
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    radius, height, turn, tilt, towards, *place = draws.unbind(1)
    radius = RADIUS[0] + (RADIUS[1] - RADIUS[0]) * radius
    room = 1 - radius  # the ball around the thing stays inside the volume
    x, y, z = (a - (room * (2 * p - 1)).view(-1, 1, 1, 1) for a, p in zip((x, y, z), place, strict=True))
    angle, lean = 2 * math.pi * towards, TILT * tilt
    x, y = _turned(x, y, angle)  # towards where it leans
    x, z = _turned(x, z, lean)
    x, y = _turned(x, y, 2 * math.pi * turn - angle)
    height = HEIGHT[0] + (HEIGHT[1] - HEIGHT[0]) * height
    scale = radius.view(-1, 1, 1, 1)
    return x / scale, y / scale, z / (scale * height.view(-1, 1, 1, 1))


def _turned(a: Tensor, b: Tensor, angle: Tensor) -> tuple[Tensor, Tensor]:
    """Two coordinates (n, D, H, W) turned by angles (n,)."""
    cos, sin = angle.cos().view(-1, 1, 1, 1), angle.sin().view(-1, 1, 1, 1)
    return a * cos + b * sin, b * cos - a * sin
