"""`shapes`: the embedded dataset. Generated, so it needs no download and its modes are known and can be counted.

Each image shows one coloured shape with anti-aliased edges on a dark, neutral background. Shape and hue
are the class (8 x 8 = 64 modes); place, size, turn, brightness and background vary freely inside it.

Shapes are signed-distance functions over unit coordinates. No two of them are each other's turned or scaled
copy (so no diamond beside the square), and the turn stays within +-20 degrees.

With one channel the hues would become grey levels that the random brightness makes ambiguous: there the
shape alone is the class, and the set has 8 modes.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor

from gan_ablate.data.images import ImageSet
from gan_ablate.errors import InputError, unknown
from gan_ablate.recipe import seed_for

COUNTS = {"train": 60_000, "test": 10_000}  # images when no count is asked for, as MNIST
HUES: dict[str, tuple[float, float, float]] = {  # RGB in [0, 1] at full brightness
    "red": (1.0, 0.05, 0.05),
    "orange": (1.0, 0.5, 0.0),
    "yellow": (1.0, 1.0, 0.1),
    "green": (0.05, 0.9, 0.1),
    "cyan": (0.1, 1.0, 1.0),
    "blue": (0.1, 0.25, 1.0),
    "purple": (0.6, 0.1, 1.0),
    "pink": (1.0, 0.45, 0.8),
}
RADIUS = (0.55, 0.85)  # of the circle around the shape; the image spans [-1, 1]
TURN = math.radians(20)  # largest turn to either side
BRIGHTNESS = (0.7, 1.0)
BACKGROUND = (0.0, 0.15)  # grey level


# Signed distance (negative inside) at points (x, y), y down, to a shape inside the unit circle. Exact next to
# the edges, where anti-aliasing reads it.
def _star(x: Tensor, y: Tensor) -> Tensor:
    # fold the plane into one tenth: angle from the nearest of the five points, in [0, pi / 5]
    part = 2 * math.pi / 5
    angle = torch.atan2(x, -y)
    angle = (angle - part * torch.round(angle / part)).abs()
    radius = torch.hypot(x, y)
    # line from the point (1, 0) to the notch at angle pi / 5
    notch = 0.42
    nx, ny = notch * math.sin(part / 2), 1 - notch * math.cos(part / 2)
    length = math.hypot(nx, ny)
    return ((radius * torch.cos(angle) - 1) * nx + radius * torch.sin(angle) * ny) / length


def _cross(x: Tensor, y: Tensor) -> Tensor:
    x, y = x.abs(), y.abs()
    long, short = torch.maximum(x, y), torch.minimum(x, y)
    return torch.maximum(long - 0.93, short - 0.27)


def _heart(x: Tensor, y: Tensor) -> Tensor:
    # a right-angled corner under two round lobes (after I. Quilez, "heart - exact 2D"), scaled to the unit circle
    scale = 1.5
    x, y = x.abs() / scale, 0.55 - y / scale
    lobe = torch.hypot(x - 0.25, y - 0.75) - math.sqrt(2) / 4
    fold = 0.5 * (x + y).clamp(min=0)
    corner = torch.minimum(torch.hypot(x, y - 1), torch.hypot(x - fold, y - fold))
    return torch.where(x + y > 1, lobe, corner * torch.where(x > y, 1.0, -1.0)) * scale


SHAPES: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "circle": lambda x, y: torch.hypot(x, y) - 0.85,
    "ring": lambda x, y: (torch.hypot(x, y) - 0.74).abs() - 0.22,
    "square": lambda x, y: torch.maximum(x.abs(), y.abs()) - 0.7,
    # half-planes of the equilateral triangle with corners on the unit circle, one corner up
    "triangle": lambda x, y: torch.maximum(y, x.abs() * (math.sqrt(3) / 2) - y * 0.5) - 0.5,
    "star": _star,
    "cross": _cross,
    "heart": _heart,
    "crescent": lambda x, y: torch.maximum(torch.hypot(x, y) - 0.95, 0.78 - torch.hypot(x - 0.5, y)),
}


def class_names(channels: int) -> tuple[str, ...]:
    """The classes in the order of their labels: "red circle", "orange circle", ...; with one channel the shapes."""
    if channels == 1:
        return tuple(SHAPES)
    return tuple(f"{hue} {shape}" for shape in SHAPES for hue in HUES)


def generate(
    size: int = 16, channels: int = 3, split: str = "train", count: int | None = None, *, chunk_pixels: int = 1 << 17
) -> ImageSet:
    """`count` images (60,000 for train, 10,000 for test) of `size` x `size` pixels, the same on every call.

    Image i has class i modulo the number of classes, so every run of consecutive images is balanced. What varies
    (place, turn, ...) is drawn before the pixels and does not depend on `size`. Train and test have seeds of their
    own. Raises `InputError` for an unknown split, a size under 8, other than 1 or 3 channels, or a count under 1.
    """
    if split not in COUNTS:
        raise unknown("split", split, COUNTS)
    count = COUNTS[split] if count is None else count
    if size < 8 or channels not in (1, 3) or count < 1:
        raise InputError(
            f"shapes: size={size}, channels={channels}, count={count}: needs size >= 8, 1 or 3 channels, count >= 1"
        )
    classes = class_names(channels)
    labels = torch.arange(count) % len(classes)
    generator = torch.Generator().manual_seed(seed_for(0, "shapes", split))
    # float64 throughout: a last bit that differs between processors then never reaches a rounded pixel
    draws = torch.rand(count, 6, generator=generator, dtype=torch.float64)
    images = torch.empty(count, channels, size, size, dtype=torch.uint8)
    per_shape = len(HUES) if channels == 3 else 1
    hues = torch.tensor(list(HUES.values()), dtype=torch.float64)
    axis = (torch.arange(size, dtype=torch.float64) + 0.5) * (2 / size) - 1
    step = max(1, chunk_pixels // size**2)  # chunks that stay in the processor's cache
    for index, distance in enumerate(SHAPES.values()):
        for rows in (labels // per_shape == index).nonzero().squeeze(1).split(step):
            radius, turn, across, down, brightness, ground = draws[rows].unbind(1)
            radius = RADIUS[0] + (RADIUS[1] - RADIUS[0]) * radius
            room = 1 - radius  # the circle around the shape stays inside the image
            x = axis.view(1, 1, -1) - (room * (2 * across - 1)).view(-1, 1, 1)
            y = axis.view(1, -1, 1) - (room * (2 * down - 1)).view(-1, 1, 1)
            angle = TURN * (2 * turn - 1)
            cos, sin = (angle.cos() / radius).view(-1, 1, 1), (angle.sin() / radius).view(-1, 1, 1)
            inside = distance(x * cos + y * sin, y * cos - x * sin)  # (n, H, W), in radii
            # share of the pixel that the shape covers: the distance in pixels, from half inside to half outside
            cover = (0.5 - inside * (radius * (size / 2)).view(-1, 1, 1)).clamp(0, 1).unsqueeze(1)
            bright = (BRIGHTNESS[0] + (BRIGHTNESS[1] - BRIGHTNESS[0]) * brightness).view(-1, 1, 1, 1)
            dark = (BACKGROUND[0] + (BACKGROUND[1] - BACKGROUND[0]) * ground).view(-1, 1, 1, 1)
            colour = bright if channels == 1 else bright * hues[labels[rows] % per_shape].view(-1, 3, 1, 1)
            images[rows] = (dark + cover * (colour - dark)).mul(255).round().to(torch.uint8)
    return ImageSet.of(images, labels, classes, "shapes")
