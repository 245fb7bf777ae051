"""`stacked_mnist`: three MNIST digits as the channels of one image, which makes 1000 modes (Metz et al. 2017).

Lin et al. 2018 draw 128,000 of them to train on and 26,000 to measure with. Here these are 128 and 26 of each mode, the
three digits drawn at random (with replacement) among the images of their class. So the real modes are exactly equally
likely, and the histogram that generated ones are compared with has no noise of its own: drawn without regard to the
class, 128,000 images would add 999 / 256,000 = 0.004 to the KL of a perfect generator's 26,000, which is 0.019.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch

from gan_ablate.data import torchvision_sets
from gan_ablate.data.images import ImageSet
from gan_ablate.errors import InputError
from gan_ablate.recipe import seed_for

NAME = "stacked_mnist"
COUNTS = {"train": 128_000, "test": 26_000}  # images when no count is asked for
CHANNELS = 3


def read(
    *, size: int, channels: int = CHANNELS, split: str, data_root: str | Path | None = None, count: int | None = None
) -> ImageSet:
    """`count` stacks of three digits of MNIST's `split`; raises `InputError` as MNIST does, and for other channels."""
    if channels != CHANNELS:
        raise InputError(f"{NAME}: channels={channels}: needs {CHANNELS}, one for each digit")
    digits = torchvision_sets.read("mnist", size=size, channels=1, split=split, data_root=data_root)
    return stack(digits, COUNTS[split] if count is None else count, seed_for(0, NAME, split))


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
    labels = torch.arange(count) % kinds**CHANNELS
    generator = torch.Generator().manual_seed(seed)
    draws = torch.rand(count, CHANNELS, generator=generator, dtype=torch.float64)
    images = torch.empty(count, CHANNELS, *digits.images.shape[2:], dtype=torch.uint8)
    sizes = torch.tensor([len(rows) for rows in members])
    starts = sizes.cumsum(0) - sizes
    ordered = torch.cat(members)  # rows of `digits`, class by class
    for channel in range(CHANNELS):
        kind = labels // kinds ** (CHANNELS - 1 - channel) % kinds
        place = (draws[:, channel] * sizes[kind]).long()
        torch.index_select(digits.images[:, 0], 0, ordered[starts[kind] + place], out=images[:, channel])
    names = [""]
    for _ in range(CHANNELS):
        names = [before + name for before in names for name in digits.classes]
    return replace(ImageSet.of(images, labels, tuple(names), f"stacked_{digits.name}"), drawn_from=digits)
