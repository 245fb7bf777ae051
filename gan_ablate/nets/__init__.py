"""Networks built from a blueprint. G maps z to images; D maps images to a `Critique`."""

from typing import NamedTuple

from torch import Tensor


class Critique(NamedTuple):
    """D's answer to a batch of images."""

    logits: Tensor  # (N,) before any sigmoid
    features: Tensor  # (N, F) what D's head reads, before minibatch statistics
