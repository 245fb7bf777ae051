"""Evaluation: extractors turn images into features, metrics compare features, a callback does so during training."""

from __future__ import annotations

import torch

from gan_ablate.data import ImageSet
from gan_ablate.errors import unknown
from gan_ablate.evaluate.features import Extractor, Features
from gan_ablate.recipe import EXTRACTORS

__all__ = ["Extractor", "Features", "load_extractor"]


def load_extractor(
    name: str, *, dataset: ImageSet, device: torch.device | str = "cpu", weights: str | None = None
) -> Extractor:
    """The extractor `classifier` (of `dataset`) or `inception` (`weights`: path of its file), on `device`.

    Raises `InputError` for another name, a dataset without labels (classifier), and weights that are missing, of
    another SHA-256 or cannot be downloaded (inception).
    """
    if name == "classifier":
        from gan_ablate.evaluate.classifier import classifier_for

        return classifier_for(dataset, device)
    if name == "inception":
        from gan_ablate.evaluate.inception import inception_for

        return inception_for(weights, channels=dataset.images.shape[1], device=device)
    raise unknown("extractor", name, EXTRACTORS)
