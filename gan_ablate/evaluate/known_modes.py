"""The extractors of the sets whose modes are known: `stacked_mnist`, `ring` and `grid`.

Stacked digits: MNIST's classifier on each channel (Metz et al. 2017). Modes covered are of 1000, so the number of
samples decides: 26,000 are the literature's. A perfect generator covers 871 of them with 2,048, and its KL is about
999 / 2N, 0.019 at 26,000.

Points in the plane, by the rules of Srivastava et al. 2017 and Lin et al. 2018: a sample is of high quality if it lies
within three standard deviations of the nearest mode's centre; a mode is covered if a high-quality sample lies nearest
to it; the KL is that of the histogram of all samples, each counted for its nearest mode. Of a perfect generator's
samples 1 - exp(-4.5) = 98.9 % are of high quality, since distances in the plane are Rayleigh distributed.

FID and KID of points are on x and y and on how near a point is to each mode. On x and y alone they would be blind: two
means and three covariances are also those of a G that reaches every other mode of the ring, or none, and FIDs of GANs
that circle about the modes were all noise, 0.001 to 0.02 with 2 % to 36 % of samples of high quality.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor
from torch.nn import functional as F

from gan_ablate.data import ImageSet
from gan_ablate.data.toys import BY_NAME, Toy
from gan_ablate.errors import InputError
from gan_ablate.evaluate.classifier import classifier_for
from gan_ablate.evaluate.extractors import Extractor, Features


class StackedExtractor(Extractor):
    """uint8 (N, 3, H, W) -> the channels' features side by side, and log-probabilities of the K^3 classes.

    Channels are classified one by one, so a stack's probability is the product of its digits': the logits are sums.
    """

    random_prdc = True
    own_modes = True

    def __init__(self, digits: Extractor, name: str, classes: tuple[str, ...], channels: int = 3) -> None:
        super().__init__()
        self.digits, self.channels = digits, channels
        self.name, self.classes = f"{name} classifier", classes
        self.dim = channels * digits.dim
        self.digest = hashlib.sha256(f"{channels} x {digits.digest}".encode()).hexdigest()
        self.freeze()

    def forward(self, images: Tensor) -> Features:
        """`InputError` for another number of channels, or a size that the classifier was not trained on."""
        if images.shape[1] != self.channels:
            raise InputError(f"{self.name}: expected {self.channels} channels, got {images.shape[1]}")
        one = self.digits(images.flatten(0, 1)[:, None])
        assert one.logits is not None  # of a classifier
        logits = stacked_logits(one.logits.unflatten(0, (-1, self.channels)))
        return Features(one.features.unflatten(0, (-1, self.channels)).flatten(1), logits)


def stacked_logits(logits: Tensor) -> Tensor:
    """Logits (N, C, K) of each channel as log-probabilities (N, K^C) of the stack; the first channel counts most.

    >>> stacked_logits(torch.tensor([[[9.0, 0.0], [0.0, 9.0], [0.0, 9.0]]])).argmax(1).item()  # 0, 1, 1
    3
    """
    logits = logits.log_softmax(2)
    total = logits[:, 0]
    for channel in range(1, logits.shape[1]):
        total = (total[:, :, None] + logits[:, channel, None, :]).flatten(1)
    return total


def stacked_for(dataset: ImageSet, device: torch.device | str = "cpu", *, kept_only: bool = False) -> StackedExtractor:
    """The extractor of a stacked set: its digits' own classifier, shared with runs on the digits themselves."""
    assert dataset.drawn_from is not None
    digits = classifier_for(dataset.drawn_from, device, kept_only=kept_only)
    return StackedExtractor(digits, dataset.name, dataset.classes, dataset.images.shape[1]).to(device)


WITHIN = 3.0  # standard deviations from the nearest centre
# Logits of the nearest mode, the others having 0: `mode_coverage` counts those over its confidence only
CERTAIN, DOUBTFUL = 20.0, 0.1


class PointsExtractor(Extractor):
    """Float images (N, 2, 1, 1) -> features (N, 2 + K), logits (N, K) by the nearest mode.

    Features: the point in the toy's units, and its nearness to each mode, exp(-d^2 / 2 w^2) at distance d, where w is
    three standard deviations: 0.9 for a perfect generator's samples on average, 0.61 where high quality ends.
    The nearest mode's logit makes a probability near 1 for samples of high quality, and near 1/K for all others.
    """

    dtype = torch.float32
    own_modes = True
    centres: Tensor  # (K, 2) float64

    def __init__(self, toy: Toy) -> None:
        super().__init__()
        self.toy = toy
        self.name, self.dim = f"{toy.name} points and modes", 2 + len(toy.centres)
        self.digest = hashlib.sha256(f"nearness {toy} {WITHIN} {CERTAIN} {DOUBTFUL}".encode()).hexdigest()
        self.classes = toy.classes
        self.register_buffer("centres", torch.tensor(toy.centres, dtype=torch.float64))
        self.freeze()

    @property
    def device(self) -> torch.device:
        return self.centres.device

    def forward(self, images: Tensor) -> Features:
        """`InputError` for images that are no points."""
        points, distances = self._distances(images)
        distance, mode = distances.min(1)
        width = WITHIN * self.toy.std
        nearness = torch.exp(-0.5 * (distances / width) ** 2)  # (N, K)
        certain = torch.where(distance <= width, CERTAIN, DOUBTFUL)
        logits = F.one_hot(mode, len(self.centres)) * certain[:, None]
        return Features(torch.cat([points, nearness], 1).float(), logits.float())

    def high_quality(self, images: Tensor) -> float:
        _, distances = self._distances(images.to(self.device))
        return float((distances.min(1).values <= WITHIN * self.toy.std).double().mean())

    def _distances(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Points (N, 2) float64, and their distances (N, K) to the centres."""
        if images.shape[1:] != (2, 1, 1):
            raise InputError(f"{self.name}: expected points 2 x 1 x 1, got {' x '.join(map(str, images.shape[1:]))}")
        points = self.toy.points(images.double())
        return points, (points[:, None] - self.centres).norm(dim=2)


def points_for(dataset: ImageSet, device: torch.device | str = "cpu") -> PointsExtractor:
    """The extractor of a toy; `InputError` for any other set."""
    if dataset.name not in BY_NAME:
        raise InputError(f"{dataset.name}: float images, and none of the toys {', '.join(BY_NAME)}")
    return PointsExtractor(BY_NAME[dataset.name]).to(device)
