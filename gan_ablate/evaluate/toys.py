"""What is measured on `ring` and `grid`: the rules of Srivastava et al. 2017 and Lin et al. 2018 for points with modes.

A sample is of high quality if it lies within three standard deviations of the nearest mode's centre; a mode is covered
if a high-quality sample lies nearest to it; the KL is that of the histogram of all samples, each counted for its
nearest mode. Of a perfect generator's samples 1 - exp(-4.5) = 98.9 % are of high quality, since distances in the plane
are Rayleigh distributed.

FID and KID are on the points themselves. Two dimensions have two means and three covariances: a G that reaches every
other mode of the ring has FID 0. What it covers stands in `modes`, `mode_kl` and `high_quality`.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor
from torch.nn import functional as F

from gan_ablate.data import ImageSet
from gan_ablate.data.toys import BY_NAME, Toy
from gan_ablate.errors import InputError
from gan_ablate.evaluate.features import Extractor, Features

WITHIN = 3.0  # standard deviations from the nearest centre
# Logits of the nearest mode, the others having 0: `mode_coverage` counts those over its confidence only
CERTAIN, DOUBTFUL = 20.0, 0.1


class PointsExtractor(Extractor):
    """Float images (N, 2, 1, 1) -> features: points (N, 2) in the toy's units; logits (N, K) by the nearest mode.

    The nearest mode's logit makes a probability near 1 for samples of high quality, and near 1/K for all others.
    """

    dtype = torch.float32
    dim = 2
    own_modes = True
    centres: Tensor  # (K, 2) float64

    def __init__(self, toy: Toy) -> None:
        super().__init__()
        self.toy = toy
        self.name = f"{toy.name} points"
        self.digest = hashlib.sha256(f"{toy} {WITHIN} {CERTAIN} {DOUBTFUL}".encode()).hexdigest()
        self.classes = toy.classes
        self.register_buffer("centres", torch.tensor(toy.centres, dtype=torch.float64))
        self.freeze()

    @property
    def device(self) -> torch.device:
        return self.centres.device

    def forward(self, images: Tensor) -> Features:
        """`InputError` for images that are no points."""
        points, distance, mode = self._nearest(images)
        certain = torch.where(distance <= WITHIN * self.toy.std, CERTAIN, DOUBTFUL)
        logits = F.one_hot(mode, len(self.centres)) * certain[:, None]
        return Features(points.float(), logits.float())

    def high_quality(self, images: Tensor) -> float:
        _, distance, _ = self._nearest(images.to(self.device))
        return float((distance <= WITHIN * self.toy.std).double().mean())

    def _nearest(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Points (N, 2) float64, their distance (N,) to the nearest centre, and its mode (N,)."""
        if images.shape[1:] != (2, 1, 1):
            raise InputError(f"{self.name}: expected points 2 x 1 x 1, got {' x '.join(map(str, images.shape[1:]))}")
        points = self.toy.points(images.double())
        distance, mode = (points[:, None] - self.centres).norm(dim=2).min(1)
        return points, distance, mode


def points_for(dataset: ImageSet, device: torch.device | str = "cpu") -> PointsExtractor:
    """The extractor of a toy; `InputError` for any other set."""
    if dataset.name not in BY_NAME:
        raise InputError(f"{dataset.name}: float images, and none of the toys {', '.join(BY_NAME)}")
    return PointsExtractor(BY_NAME[dataset.name]).to(device)
