"""`digits`: the embedded dataset. The ten numerals drawn as strokes, so it needs no download and its modes are known.

Each image shows one numeral in white on black. Turn, slant, width, height, place, thickness of the stroke and a smooth
warp vary freely; so do the ways people write a 1, a 4 and a 7. With three channels the image is three numerals, one in
each: 1000 modes that can be counted, as in `stacked_mnist`.

Real digits are what the tricks' papers train on. Strokes are quick to learn: a small G draws legible numerals within
seconds on one core, where it leaves coloured areas (`shapes`) as smears (docs/embedded.md).
"""

from __future__ import annotations

import math
from functools import cache

import torch
from torch import Tensor

from gan_ablate.data.images import ImageSet
from gan_ablate.data.stacks import DIGITS, stack
from gan_ablate.errors import InputError, unknown
from gan_ablate.recipe import seed_for

COUNTS = {"train": 60_000, "test": 10_000}  # images when no count is asked for, as MNIST
CLASSES = tuple("0123456789")
HEIGHT = 0.72  # half the numeral's height, of the half image
TURN = math.radians(12)  # largest turn to either side
SLANT = (-0.1, 0.4)  # of the top, to the right, in heights
SCALE = (0.8, 1.1)  # of width, and of height
SHIFT = 0.1  # largest, of the half image
THICKNESS = (0.07, 0.15)  # half the stroke's width, of the half image
WARP = 0.12  # largest amplitude, in half heights; two waves, each across and down
POINTS = 48  # dots along the strokes; they lie nearer to each other than the stroke is thick
GRID = 64  # dots are rounded to this part of a pixel: distances are integers, the same on every processor

Stroke = tuple[tuple[float, float], ...]  # a smooth curve through points (x, y), y down, in half heights
# Each numeral in the ways it is written; strokes that meet share an end
NUMERALS: dict[str, tuple[tuple[Stroke, ...], ...]] = {
    "0": ((tuple((0.6 * math.sin(a * math.pi / 5), -math.cos(a * math.pi / 5)) for a in range(11)),),),
    "1": (
        (((0.0, -1.0), (0.0, 1.0)),),
        (((-0.35, -0.6), (0.0, -1.0)), ((0.0, -1.0), (0.0, 1.0))),
    ),
    "2": (
        (
            ((-0.5, -0.55), (-0.25, -0.92), (0.2, -0.95), (0.5, -0.6), (0.35, -0.1), (-0.1, 0.45), (-0.55, 0.95)),
            ((-0.55, 0.95), (0.6, 0.95)),
        ),
    ),
    "3": (
        (
            ((-0.5, -0.8), (-0.05, -1.0), (0.45, -0.7), (0.35, -0.25), (-0.15, -0.05)),
            ((-0.15, -0.05), (0.4, 0.12), (0.52, 0.55), (0.1, 0.98), (-0.5, 0.8)),
        ),
    ),
    "4": (
        (((0.25, -1.0), (-0.6, 0.35)), ((-0.6, 0.35), (0.6, 0.35)), ((0.25, -1.0), (0.25, 1.0))),
        (((-0.4, -0.95), (-0.5, 0.1)), ((-0.5, 0.1), (0.35, 0.1)), ((0.4, -0.9), (0.3, 1.0))),
    ),
    "5": (
        (
            ((0.5, -0.95), (-0.4, -0.95)),
            ((-0.4, -0.95), (-0.45, -0.1)),
            ((-0.45, -0.1), (0.05, -0.3), (0.5, 0.05), (0.48, 0.6), (0.0, 1.0), (-0.5, 0.8)),
        ),
    ),
    "6": (
        (
            (
                *((0.35, -0.95), (-0.2, -0.5), (-0.5, 0.2), (-0.4, 0.8), (0.05, 1.0)),
                *((0.45, 0.65), (0.35, 0.15), (-0.05, 0.0), (-0.48, 0.4)),
            ),
        ),
    ),
    "7": (
        (((-0.55, -0.95), (0.55, -0.95)), ((0.55, -0.95), (0.1, 0.0), (-0.15, 1.0))),
        (
            ((-0.55, -0.95), (0.55, -0.95)),
            ((0.55, -0.95), (0.1, 0.0), (-0.15, 1.0)),
            ((-0.25, 0.0), (0.45, 0.0)),
        ),
    ),
    "8": (
        (
            (
                *((0.0, -0.05), (-0.4, -0.4), (-0.3, -0.85), (0.0, -1.0), (0.35, -0.8), (0.35, -0.4), (0.0, -0.05)),
                *((-0.45, 0.35), (-0.4, 0.8), (0.0, 1.0), (0.45, 0.8), (0.45, 0.35), (0.0, -0.05)),
            ),
        ),
    ),
    "9": (
        (
            (
                *((0.45, -0.45), (0.1, -0.05), (-0.35, -0.2), (-0.45, -0.65), (-0.1, -1.0), (0.35, -0.85)),
                *((0.45, -0.45), (0.4, 0.2), (0.2, 1.0)),
            ),
        ),
    ),
}


def generate(
    size: int = 16, channels: int = 1, split: str = "train", count: int | None = None, *, chunk: int = 64
) -> ImageSet:
    """`count` images (60,000 for train, 10,000 for test) of `size` x `size` pixels, the same on every call.

    Image i has class i modulo the number of classes (10; 1000 with three channels), so every run of consecutive images
    is balanced. What varies is drawn before the pixels and does not depend on `size`. Train and test have seeds of
    their own. Raises `InputError` for an unknown split, a size under 8, other than 1 or 3 channels, or a count under 1.
    """
    if split not in COUNTS:
        raise unknown("split", split, COUNTS)
    if size < 8 or channels not in (1, DIGITS) or (count is not None and count < 1):
        raise InputError(
            f"digits: size={size}, channels={channels}, count={count}: needs size >= 8, 1 or 3 channels, count >= 1"
        )
    number = COUNTS[split] if count is None else count
    if channels == DIGITS:
        single = generate(size, 1, split, chunk=chunk)
        return stack(single, number, seed_for(0, "stacked_digits", split))
    labels = torch.arange(number) % len(CLASSES)
    generator = torch.Generator().manual_seed(seed_for(0, "digits", split))
    draws = torch.rand(number, 20, generator=generator, dtype=torch.float64)
    images = torch.empty(number, 1, size, size, dtype=torch.uint8)
    for digit, name in enumerate(CLASSES):
        rows = (labels == digit).nonzero().squeeze(1)
        ways = torch.stack([_dots(way) for way in NUMERALS[name]])  # (ways, POINTS, 2)
        for part in rows.split(chunk):  # chunks that stay in the processor's cache
            dots, thickness = _written(ways, draws[part])
            images[part, 0] = _drawn(dots, thickness, size)
    return ImageSet.of(images, labels, CLASSES, "digits")


def _written(ways: Tensor, draws: Tensor) -> tuple[Tensor, Tensor]:
    """Dots (n, POINTS, 2) and half the strokes' width (n, 1, 1), in half images, of the numeral as each image has it.

    ways: (ways, POINTS, 2) dots of the numeral, in half heights; draws: (n, 20) in [0, 1).
    """
    way, turn, slant, wide, high, across, down, thickness, *waves = draws.unsqueeze(2).unbind(1)  # (n, 1) each
    x, y = ways[(way.squeeze(1) * len(ways)).long()].unbind(2)  # (n, POINTS)
    for wave in (waves[:6], waves[6:]):  # a smooth field, so that strokes that meet still do
        amplitude_x, amplitude_y, direction, length, phase_x, phase_y = wave
        angle, pace = 2 * math.pi * direction, 1.5 + 2 * length  # radians per half height
        along = pace * (x * angle.cos() + y * angle.sin())
        x, y = (
            x + WARP * (2 * amplitude_x - 1) * (along + 2 * math.pi * phase_x).sin(),
            y + WARP * (2 * amplitude_y - 1) * (along + 2 * math.pi * phase_y).sin(),
        )
    x, y = x * _between(SCALE, wide), y * _between(SCALE, high)
    x = x - _between(SLANT, slant) * y
    angle = TURN * (2 * turn - 1)
    x, y = x * angle.cos() - y * angle.sin(), x * angle.sin() + y * angle.cos()
    place = torch.stack([SHIFT * (2 * across - 1), SHIFT * (2 * down - 1)], 2)
    return torch.stack([x, y], 2) * HEIGHT + place, _between(THICKNESS, thickness).unsqueeze(2)


def _drawn(dots: Tensor, thickness: Tensor, size: int) -> Tensor:
    """uint8 (n, size, size): the share of each pixel that a stroke covers, by its distance to the nearest dot."""
    centre = (torch.arange(size, dtype=torch.int32) * 2 + 1) * (GRID // 2)  # of pixels, in 1 / GRID pixels
    places = ((dots + 1) * (size * GRID / 2)).round().to(torch.int32)  # (n, POINTS, 2)
    square = (places.unsqueeze(3) - centre).square()  # (n, POINTS, 2, size)
    nearest = (square[:, :, 1, :, None] + square[:, :, 0, None, :]).amin(1)  # (n, size, size)
    pixels = nearest.double().sqrt() / GRID
    return (thickness * (size / 2) + 0.5 - pixels).clamp(0, 1).mul(255).round().to(torch.uint8)


def _between(ends: tuple[float, float], share: Tensor) -> Tensor:
    return ends[0] + (ends[1] - ends[0]) * share


@cache
def _dots(strokes: tuple[Stroke, ...]) -> Tensor:
    """(POINTS, 2) float64 dots at equal distances along the strokes."""
    curves = [_curve(torch.tensor(stroke, dtype=torch.float64)) for stroke in strokes]
    lengths = torch.stack([(c[1:] - c[:-1]).norm(dim=1).sum() for c in curves])
    counts = (lengths / lengths.sum() * POINTS).round().long().clamp(min=2)
    counts[lengths.argmax()] += POINTS - counts.sum()
    return torch.cat([_spaced(c, int(n)) for c, n in zip(curves, counts, strict=True)])


def _curve(points: Tensor, fine: int = 50) -> Tensor:
    """(m, 2) close points of the Catmull-Rom spline through `points` (n, 2)."""
    if len(points) == 2:
        return torch.lerp(points[:1], points[1:], torch.linspace(0, 1, fine, dtype=torch.float64)[:, None])
    closed = bool((points[0] == points[-1]).all())
    before = points[-2:-1] if closed else 2 * points[:1] - points[1:2]
    after = points[1:2] if closed else 2 * points[-1:] - points[-2:-1]
    p = torch.cat([before, points, after])
    t = torch.linspace(0, 1, fine + 1, dtype=torch.float64)[:-1, None, None]
    a, b, c, d = p[:-3], p[1:-2], p[2:-1], p[3:]  # (n - 1, 2)
    pieces = 0.5 * (2 * b + (c - a) * t + (2 * a - 5 * b + 4 * c - d) * t**2 + (3 * b - a - 3 * c + d) * t**3)
    return torch.cat([pieces.transpose(0, 1).reshape(-1, 2), points[-1:]])


def _spaced(curve: Tensor, count: int) -> Tensor:
    """(count, 2) points of `curve` (m, 2) at equal distances along it, both ends among them."""
    along = torch.cat([torch.zeros(1, dtype=torch.float64), (curve[1:] - curve[:-1]).norm(dim=1).cumsum(0)])
    wanted = torch.linspace(0, float(along[-1]), count, dtype=torch.float64)
    right = torch.searchsorted(along, wanted).clamp(1, len(along) - 1)
    share = ((wanted - along[right - 1]) / (along[right] - along[right - 1]))[:, None]
    return torch.lerp(curve[right - 1], curve[right], share)
