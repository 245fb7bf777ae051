"""Statistics of the real images that generated ones are measured against, computed once and kept in the cache."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import IO, Any

import numpy as np
import torch
from torch import Tensor

from gan_ablate.cache import read_or_make
from gan_ablate.data import ImageSet
from gan_ablate.errors import InputError
from gan_ablate.evaluate.extractors import Extractor, exact, extract
from gan_ablate.evaluate.frechet import moments
from gan_ablate.evaluate.modes import class_reach
from gan_ablate.evaluate.prdc import RandomCNN, squared_radii

STATISTICS = 5  # raise it when what a statistics file holds changes
KID_REAL = 5000  # real feature rows kept, for KID's subsets and as the neighbours of prdc
SEED = 0  # of the choice of real images: the same at every evaluation


@dataclass(frozen=True)
class RealStatistics:
    """What the metrics need to know of the real images. Tensors lie on the CPU."""

    count: int  # real images that mean and factor come from
    mean: Tensor  # (d,) float64
    factor: Tensor  # (d, d) float64, lower triangular: factor factor^T is the covariance
    kid_features: Tensor  # (m, d) float32, m <= KID_REAL
    radii: Tensor  # (m, 2) float64: squared distances of each to its 3rd and 5th neighbour, in the space of prdc
    class_counts: Tensor | None  # (K,) int64: images per class in the whole set; None where modes are not known
    kept_labels: Tensor | None = None  # (m,) int64: classes of the kept rows; None where modes go by the logits alone
    reach: Tensor | None = None  # (K,) float64: see `class_reach`
    random_reach: Tensor | None = None  # (K,) float64: the same in the space of the random CNN
    prdc_features: Tensor | None = None  # (m, p) float32 of the random CNN; None where prdc is on the features above
    random_cnn: Tensor | None = None  # its `statistics`

    def __post_init__(self) -> None:
        for name, value in vars(self).items():
            if isinstance(value, Tensor) and not torch.isfinite(value).all():
                raise InputError(f"the {name} of the real images' features is not finite: nothing can be measured")

    @classmethod
    def of(
        cls,
        features: Tensor,
        class_counts: Tensor | None = None,
        labels: Tensor | None = None,
        images: Tensor | None = None,
    ) -> RealStatistics:
        """From features (N, d) of real images in random order; `InputError` for N < 2 and features not finite.

        labels: their classes (N,), for modes by distance. images: themselves, uint8 (N, C, H, W), for prdc in the space
        of the random CNN.
        """
        if len(features) < 2:
            raise InputError(f"statistics of real images need at least 2 images, got {len(features)}")
        if not torch.isfinite(features).all():
            raise InputError("the extractor's features of the real images are not finite: nothing can be measured")
        mean, lower = moments(features)
        kept = features[:KID_REAL].float()
        found = cls(len(features), mean.cpu(), lower.cpu(), kept.cpu(), torch.empty(0), class_counts)
        if class_counts is not None and labels is not None:
            own = labels[:KID_REAL].to(kept.device)
            found = replace(found, kept_labels=own.cpu(), reach=class_reach(kept, own, len(class_counts)).cpu())
        space = kept
        if images is not None:
            with exact(kept.device):
                network = RandomCNN.fitted(images[:KID_REAL].to(kept.device))
                space = network(images[:KID_REAL])
            found = replace(found, prdc_features=space.cpu(), random_cnn=network.statistics.cpu())
            if found.reach is not None and found.kept_labels is not None:
                found = replace(found, random_reach=class_reach(space.cpu(), found.kept_labels, len(found.reach)))
        return replace(found, radii=squared_radii(space).cpu())


def real_statistics(real: ImageSet, extractor: Extractor) -> RealStatistics:
    """Statistics of `real` (at most `extractor.real_images` of it, chosen once for all by a fixed seed).

    Cached on disk by the set's content (its split is part of that), image size and classes, the extractor, its weights
    and the count; a file that is damaged, changed or of another key is made anew.
    """
    count = min(len(real), extractor.real_images)
    shape, classes = "x".join(map(str, real.images.shape)), hashlib.sha256("/".join(real.classes).encode()).hexdigest()
    data = f"{real.fingerprint}/{shape}/classes {classes[:16]}"
    key = f"statistics {STATISTICS}/{data}/{extractor.name}/{extractor.digest}/{count}/{KID_REAL}/{SEED}"
    return read_or_make(
        "statistics",
        key,
        suffix=".npz",
        read=_read,
        make=lambda: _compute(real, extractor, count),
        write=lambda made, to: _write(to, made),
    )


def _compute(real: ImageSet, extractor: Extractor, count: int) -> RealStatistics:
    generator = torch.Generator().manual_seed(SEED)  # shuffled: class folders come one class after the other
    rows = torch.randperm(len(real), generator=generator)[:count]
    counts = labels = None
    if real.labels is not None and extractor.classes and extractor.classes == real.classes:
        counts = torch.bincount(real.labels.cpu(), minlength=len(real.classes))
        labels = None if extractor.own_modes else real.labels.cpu()[rows]
    images = real.images[rows]
    return RealStatistics.of(
        extract(extractor, images).features, counts, labels, images if extractor.random_prdc else None
    )


def _write(file: IO[bytes], statistics: RealStatistics) -> None:
    arrays: dict[str, Any] = {n: value.numpy() for n, value in vars(statistics).items() if isinstance(value, Tensor)}
    np.savez(file, **{"count": np.array(statistics.count), **arrays})


def _read(content: IO[bytes]) -> RealStatistics | None:
    """The statistics in a file, or None where it is damaged or they are not finite."""
    try:
        with np.load(content, allow_pickle=False) as file:
            arrays: dict[str, Any] = {name: torch.from_numpy(file[name]) for name in file.files if name != "count"}
            count = int(file["count"])
        return RealStatistics(**{"class_counts": None, **arrays, "count": count})
    except Exception:  # a truncated zip raises one of many types
        return None
