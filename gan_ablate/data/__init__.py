"""Datasets as tensors: `load` finds one by its name or its path."""

from __future__ import annotations

import os
from functools import lru_cache
from pathlib import Path

import torch

from gan_ablate.data import folders, torchvision_sets, toys
from gan_ablate.data.generated import GENERATED, load_generated
from gan_ablate.data.images import ImageSet, to_float, to_uint8
from gan_ablate.errors import InputError, unknown
from gan_ablate.recipe import TOYS

__all__ = ["GENERATED", "NAMES", "ImageSet", "load", "to_float", "to_uint8"]

SPLITS = ("train", "test")
NAMES = (*GENERATED, *torchvision_sets.SETS, torchvision_sets.STACKED, *TOYS)


def load(
    name: str | Path,
    *,
    size: int,
    channels: int,
    split: str = "train",
    data_root: str | Path | None = None,
    count: int | None = None,
    progress: bool = False,
) -> ImageSet:
    """The dataset `name` as uint8 (N, channels, size, size); `ring` and `grid` as float32 (N, 2, 1, 1).

    `voxels` are volumes (N, 1, size, size, size).

    name: `digits`, `shapes`, `mnist`, `fashion_mnist`, `cifar10`, `stacked_mnist`, `voxels`, `ring`, `grid`, or the
    path of a folder or zip of images.
    data_root: where torchvision's files lie or go; else $GAN_ABLATE_DATA, else ~/.cache/gan_ablate/data.
    count: that many images: generated for `digits`, `shapes`, `stacked_mnist`, `ring` and `grid`, else spread evenly
    over the set.
    Named sets are kept in memory, so a forked worker gets the one that its server loaded: do not write to the tensors.
    Raises `InputError` for an unknown name, a split or file that is missing, and an image that cannot be read.
    """
    if split not in SPLITS:
        raise unknown("split", split, SPLITS)
    name = str(name)
    if (name not in TOYS and (size < 1 or channels not in (1, 3))) or (count is not None and count < 1):
        raise InputError(
            f"{name}: size={size}, channels={channels}, count={count}: needs size >= 1, 1 or 3 channels, count >= 1"
        )
    if name in NAMES:
        root = str(torchvision_sets.data_folder(data_root))
        return _named(name, size=size, channels=channels, split=split, root=root, count=count)
    path = Path(name).expanduser()
    if not path.exists():
        raise _not_found(name)
    return _take(
        folders.read_folder(path, size=size, channels=channels, split=split, name=path.name, progress=progress), count
    )


@lru_cache(maxsize=4)
def _named(name: str, *, size: int, channels: int, split: str, root: str, count: int | None) -> ImageSet:
    if name in GENERATED:
        return load_generated(name, size, channels, split, count)
    if name in TOYS:
        return toys.generate(name, split, count, size=size, channels=channels)
    if name == torchvision_sets.STACKED:
        return torchvision_sets.read_stacked(size=size, channels=channels, split=split, data_root=root, count=count)
    return _take(torchvision_sets.read_named(name, size=size, channels=channels, split=split, data_root=root), count)


def _take(images: ImageSet, count: int | None) -> ImageSet:
    """`count` images spread evenly over the set: folders are sorted by class, so the first ones would be one class."""
    if count is None or count == len(images):
        return images
    if count > len(images):
        raise InputError(f"{images.name}: {count} images asked for, but it has {len(images)}")
    return images.rows(torch.arange(count) * len(images) // count)


def _not_found(name: str) -> InputError:
    if os.sep in name or Path(name).suffix:
        return InputError(f"dataset {name!r}: no such folder or zip of images; sets by name: {', '.join(NAMES)}")
    return InputError(f"{unknown('dataset', name, NAMES)} (or give the path of a folder or zip of images)")
