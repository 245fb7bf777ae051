"""Stacks of digits: three one-channel images as the channels of one, which makes 1000 modes (Metz et al. 2017)."""

from __future__ import annotations

import itertools
from dataclasses import replace

import torch

from gan_ablate.data.images import ImageSet
from gan_ablate.errors import InputError

DIGITS = 3


def stack(digits: ImageSet, count: int, seed: int) -> ImageSet:
    """`count` images whose three channels are images of `digits`, uint8 (N, 1, H, W) with labels.

    Image i has mode i modulo K^3; with ten digits a mode's own three, red first, name and number it: 407 is a 4 in red,
    a 0 in green and a 7 in blue. Raises `InputError` for a class without images.
    """
    assert digits.labels is not None
    kinds = len(digits.classes)
    members = [(digits.labels == k).nonzero().squeeze(1) for k in range(kinds)]
    for name, rows in zip(digits.classes, members, strict=True):
        if not len(rows):
            raise InputError(f"{digits.name}: no image of {name}, which stacks need")
    labels = torch.arange(count) % kinds**DIGITS
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand(count, DIGITS, generator=generator, dtype=torch.float64)
    images = torch.empty(count, DIGITS, *digits.images.shape[2:], dtype=torch.uint8)
    sizes = torch.tensor([len(rows) for rows in members])
    starts = sizes.cumsum(0) - sizes
    ordered = torch.cat(members)  # rows of `digits`, class by class
    for channel in range(DIGITS):
        kind = labels // kinds ** (DIGITS - 1 - channel) % kinds
        place = (draws[:, channel] * sizes[kind]).long()
        torch.index_select(digits.images[:, 0], 0, ordered[starts[kind] + place], out=images[:, channel])
    names = tuple(map("".join, itertools.product(digits.classes, repeat=DIGITS)))
    return replace(ImageSet.of(images, labels, names, f"stacked_{digits.name}"), drawn_from=digits)
