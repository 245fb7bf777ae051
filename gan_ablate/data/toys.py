"""`ring` and `grid`: mixtures of Gaussians in the plane whose modes are known (Metz et al. 2017; Lin et al. 2018, 4.1).

`ring`: 8 Gaussians of std 0.01 around a circle of radius 1. `grid`: 25 of std 0.05 at (-4, -2, 0, 2, 4) squared.

The suite sees points as images of two channels and one pixel, float32 (N, 2, 1, 1): x and y divided by the toy's
`scale`, so that all data lie in [-1, 1], the range of G's tanh. The outermost centres come to 0.8 there: tanh reaches
them well before it saturates. `Toy.points` takes images back to the toy's own units.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from gan_ablate.data.images import ImageSet
from gan_ablate.errors import InputError, unknown
from gan_ablate.recipe import seed_for

COUNTS = {"train": 100_000, "test": 10_000}  # points when no count is asked for; Lin et al. train on 100,000
STEPS = 1 << 20  # values are whole multiples of 1/STEPS: a last bit that differs between processors never shows


@dataclass(frozen=True)
class Toy:
    """A mixture of equally likely Gaussians with one standard deviation."""

    name: str
    centres: tuple[tuple[float, float], ...]  # mode k's centre, in the toy's own units
    std: float  # of x and of y around it
    scale: float  # the toy's units per unit of the image

    @property
    def classes(self) -> tuple[str, ...]:
        """The modes, named by their centres: "(1, 0)", ..."""
        return tuple(f"({x:.3g}, {y:.3g})" for x, y in self.centres)

    def images(self, points: Tensor) -> Tensor:
        """Points (N, 2) in the toy's units as images (N, 2, 1, 1)."""
        return (points / self.scale)[:, :, None, None]

    def points(self, images: Tensor) -> Tensor:
        """Images (N, 2, 1, 1) as points (N, 2) in the toy's units."""
        return images.flatten(1) * self.scale


def _circle(count: int) -> tuple[tuple[float, float], ...]:
    angles = (2 * math.pi * k / count for k in range(count))
    return tuple((round(math.cos(a), 12) + 0.0, round(math.sin(a), 12) + 0.0) for a in angles)  # + 0.0: no -0


BY_NAME = {
    "ring": Toy("ring", _circle(8), std=0.01, scale=1.25),
    "grid": Toy("grid", tuple((float(x), float(y)) for x in range(-4, 5, 2) for y in range(-4, 5, 2)), 0.05, scale=5.0),
}


def generate(
    name: str, split: str = "train", count: int | None = None, *, size: int = 1, channels: int = 2
) -> ImageSet:
    """`count` points (100,000 for train, 10,000 for test) of the toy `name` with their modes as labels.

    The same on every call; point i is of mode i modulo their number. Train and test have seeds of their own.
    Raises `InputError` for an unknown toy or split, another size than 1, other than 2 channels, or a count under 1.
    """
    if name not in BY_NAME:
        raise unknown("toy", name, BY_NAME)
    if split not in COUNTS:
        raise unknown("split", split, COUNTS)
    count = COUNTS[split] if count is None else count
    if (size, channels) != (1, 2) or count < 1:
        raise InputError(
            f"{name}: size={size}, channels={channels}, count={count}: points in the plane need size=1, channels=2, "
            "count >= 1"
        )
    toy = BY_NAME[name]
    labels = torch.arange(count) % len(toy.centres)
    generator = torch.Generator().manual_seed(seed_for(0, name, split))
    noise = torch.randn(count, 2, generator=generator, dtype=torch.float64)
    points = torch.tensor(toy.centres, dtype=torch.float64)[labels] + toy.std * noise
    images = toy.images(points).mul(STEPS).round().div(STEPS).to(torch.float32)
    return ImageSet.of(images, labels, toy.classes, name)
