"""Are samples copies? How far they lie from training images, against how far from real images that G never saw.

To a G that learned the distribution, training images are as far away as held-out ones; to one that repeats what it was
shown they are nearer. The comparison with held-out images is that of Meehan et al. 2020 (A non-parametric test to
detect data-copying in generative models), who compare the distances to the training images of generated and of held-out
ones. Here each sample's distance to either set is taken, as in the distance to the closest record against a holdout
(Platzer & Reutterer 2021), so that poor samples, which are far from both, do not hide copies. Both sets have equally
many images, since a nearest neighbour is the nearer the more there are.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO

import numpy as np
import torch
from torch import Tensor

from gan_ablate.cache import read_or_make
from gan_ablate.data import NAMES, ImageSet, load
from gan_ablate.evaluate.extractors import Extractor, extract
from gan_ablate.evaluate.prdc import nearest_distances
from gan_ablate.layout import has_split
from gan_ablate.recipe import TOYS

NEIGHBOURS = 1  # raise it when what a file of them holds changes
KEPT = 5000  # images of each set at most
SEED = 0  # of the choice of images


@dataclass(frozen=True)
class HeldOut:
    """Real images that are no part of the training: `identity` says which without loading them."""

    identity: str
    load: Callable[[], ImageSet]


@dataclass(frozen=True)
class Neighbours:
    """Features of training images and of equally many held-out ones, both (M, d) float32 on the CPU."""

    train: Tensor
    held_out: Tensor


def held_out_of(
    dataset: str | Path, *, size: int, channels: int, data_root: str | Path | None = None
) -> HeldOut | None:
    """The test split of a dataset by its name or path; `None` where there is none, and for points in the plane."""
    name = str(dataset)
    test = partial(load, name, size=size, channels=channels, split="test", data_root=data_root)
    if name in NAMES:
        return None if name in TOYS else HeldOut(f"{name} test", test)
    if not has_split(name, "test"):
        return None
    images = test()
    return HeldOut(images.fingerprint, lambda: images)


def neighbours_of(train: ImageSet, held_out: HeldOut | None, extractor: Extractor) -> Neighbours | None:
    """Features of at most `KEPT` images of each, chosen by a fixed seed; `None` without held-out images.

    Cached by the training set's content, the held-out set's identity, the extractor and its weights.
    """
    if held_out is None:
        return None
    key = f"neighbours {NEIGHBOURS}/{train.fingerprint}/{held_out.identity}/{extractor.name}/{extractor.digest}"
    return read_or_make(
        "neighbours",
        f"{key}/{'x'.join(map(str, train.images.shape))}/{KEPT}/{SEED}",
        suffix=".npz",
        read=_read,
        make=lambda: _compute(train, held_out.load(), extractor),
        write=lambda made, to: np.savez(to, train=made.train.numpy(), held_out=made.held_out.numpy()),
    )


def nearest_neighbour_ratio(fake: Tensor, known: Neighbours) -> float:
    """Mean distance of generated features (N, d) to the nearest training image over that to the nearest held-out one.

    1: training images are no nearer than others. 0: all samples are copies of the training images that were kept. A
    share s of copies among good samples makes it about 1 - s. NaN where all samples are held-out images.
    """
    train, held_out = (nearest_distances(fake, x.to(fake.device)).mean() for x in (known.train, known.held_out))
    return float(train / held_out) if held_out > 0 else float("nan")


def _compute(train: ImageSet, held_out: ImageSet, extractor: Extractor) -> Neighbours:
    count = min(len(train), len(held_out), KEPT)

    def features(images: ImageSet) -> Tensor:
        rows = torch.randperm(len(images), generator=torch.Generator().manual_seed(SEED))[:count]
        return extract(extractor, images.images[rows]).features.float().cpu()

    return Neighbours(features(train), features(held_out))


def _read(content: IO[bytes]) -> Neighbours | None:
    try:
        with np.load(content, allow_pickle=False) as file:
            found = Neighbours(*(torch.from_numpy(file[name]) for name in ("train", "held_out")))
    except Exception:  # a truncated zip raises one of many types
        return None
    return found if all(bool(torch.isfinite(x).all()) for x in (found.train, found.held_out)) else None
