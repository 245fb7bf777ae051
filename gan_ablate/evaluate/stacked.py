"""The extractor of `stacked_mnist`: MNIST's classifier on each channel (Metz et al. 2017).

Modes covered are of 1000, so the number of samples decides: 26,000 are the literature's. A perfect generator covers
871 of them with 2,048, and its KL is about 999 / 2N, 0.019 at 26,000.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from gan_ablate.data import ImageSet
from gan_ablate.errors import InputError
from gan_ablate.evaluate.classifier import classifier_for
from gan_ablate.evaluate.features import Extractor, Features


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


def stacked_for(dataset: ImageSet, device: torch.device | str = "cpu") -> StackedExtractor:
    """The extractor of a stacked set: its digits' own classifier, shared with runs on the digits themselves."""
    assert dataset.drawn_from is not None
    digits = classifier_for(dataset.drawn_from, device)
    return StackedExtractor(digits, dataset.name, dataset.classes, dataset.images.shape[1]).to(device)
