"""Evaluation: extractors turn images into features, metrics compare features, a callback does so during training."""

from __future__ import annotations

import torch

from gan_ablate.data import ImageSet
from gan_ablate.errors import InputError, unknown
from gan_ablate.evaluate.extractors import Extractor, Features
from gan_ablate.recipe import AUTO, EXTRACTORS

__all__ = ["Extractor", "Features", "load_extractor"]


def load_extractor(
    name: str,
    *,
    dataset: ImageSet,
    device: torch.device | str = "cpu",
    weights: str | None = None,
    kept_only: bool = False,
) -> Extractor:
    """The extractor `classifier` or `rotation`, of `dataset`, or one of a weights file: `inception`, `inception_clean`,
    `dinov2` or `clip`.

    `auto` is `classifier` where the dataset has two classes or more, else `rotation`: there is no other fallback.

    `classifier` is what knows the dataset's modes: a CNN trained on it, or on the digits of stacked ones, or for points
    in the plane the distance to each mode.

    Raises `InputError` for another name, a dataset without labels (classifier), weights that are missing, of another
    SHA-256 or cannot be downloaded, a library that is not installed, and points in place of images (all but
    `classifier`). Raises `cache.NotKept` where it would have to be trained but `kept_only` is set.
    """
    points, volumes = dataset.images.is_floating_point(), dataset.images.ndim == 5
    if name == AUTO:
        name = "classifier" if points or len(dataset.classes) > 1 else "rotation"
    if name == "classifier" and points:
        from gan_ablate.evaluate.known_modes import points_for

        return points_for(dataset, device)
    if name == "classifier" and dataset.drawn_from is not None:
        from gan_ablate.evaluate.known_modes import stacked_for

        return stacked_for(dataset, device, kept_only=kept_only)
    if name == "classifier":
        from gan_ablate.evaluate.classifier import classifier_for

        return classifier_for(dataset, device, kept_only=kept_only)
    if points:
        raise InputError(f"extractor {name!r}: {dataset.name} has points, not images, which need classifier")
    if volumes and ":" not in name:
        raise InputError(f"extractor {name!r}: {dataset.name} has volumes, not images, which need classifier")
    if name == "rotation":
        from gan_ablate.evaluate.rotation import rotation_for

        return rotation_for(dataset, device, kept_only=kept_only)
    if ":" in name:
        from gan_ablate.evaluate.extractors import custom_extractor

        return custom_extractor(name, device)
    if name in EXTRACTORS:
        return _of_a_file(name, dataset.images.shape[1], device, weights)
    raise unknown("extractor", name, EXTRACTORS)


def _of_a_file(name: str, channels: int, device: torch.device | str, weights: str | None) -> Extractor:
    """The extractors whose weights others published."""
    if name in ("dinov2", "clip"):
        from gan_ablate.evaluate.foundation import foundation_for

        return foundation_for(name, weights, channels=channels, device=device)
    from gan_ablate.evaluate.inception import inception_for

    return inception_for(weights, channels=channels, device=device, clean=name == "inception_clean")
