"""The suite's figures as torchmetrics' objects (`update`, `compute`, `reset`), on features that are there already.

Thin: each keeps what it is given and hands it to the function that runs use. So figures are those of a report where
features, counts and order are. Nothing is sampled, and no network is run.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric
from torchmetrics.utilities import dim_zero_cat

from gan_ablate.errors import InputError
from gan_ablate.evaluate.frechet import frechet_distance, moments
from gan_ablate.evaluate.modes import CONFIDENCE, mode_coverage
from gan_ablate.evaluate.prdc import precision_recall_density_coverage, squared_radii


class _OnFeatures(Metric):
    """Keeps features (N, d) of real and of generated images.

    reset_real_features: whether `reset` forgets the real ones too, as torchmetrics' FID has it.
    """

    is_differentiable = False
    full_state_update = False
    real: list[Tensor]
    fake: list[Tensor]

    def __init__(self, *, reset_real_features: bool = True, **options: Any) -> None:
        super().__init__(**options)
        self.reset_real_features = reset_real_features
        self.add_state("real", default=[], dist_reduce_fx="cat")
        self.add_state("fake", default=[], dist_reduce_fx="cat")

    def update(self, features: Tensor, real: bool) -> None:
        """Features (N, d) of some real (`real=True`) or generated images. Raises `InputError` for another shape."""
        held = [*self.real, *self.fake]
        if features.dim() != 2 or (held and features.shape[1] != held[0].shape[1]):
            wanted = f"(N, {held[0].shape[1]})" if held else "(N, d)"
            raise InputError(f"{type(self).__name__}: features are {tuple(features.shape)}, not {wanted}")
        (self.real if real else self.fake).append(features.detach())

    def reset(self) -> None:
        held = list(self.real)  # `reset` empties the list itself
        super().reset()
        if not self.reset_real_features:
            self.real = held

    def _both(self) -> tuple[Tensor, Tensor]:
        """All generated features and all real ones."""
        for name, held in (("real", self.real), ("generated", self.fake)):
            if sum(map(len, held)) < 2:
                raise InputError(f"{type(self).__name__}: needs features of at least 2 {name} images")
        return dim_zero_cat(self.fake), dim_zero_cat(self.real)


class FrechetDistance(_OnFeatures):
    """FID of features, in float64 (`frechet.frechet_distance`). NaN where they are not finite."""

    higher_is_better = False

    def compute(self) -> Tensor:
        """() float64."""
        fake, real = self._both()
        if not (torch.isfinite(fake).all() and torch.isfinite(real).all()):
            return torch.tensor(torch.nan, dtype=torch.float64)
        return torch.tensor(frechet_distance(fake, moments(real)), dtype=torch.float64)


class PRDC(_OnFeatures):
    """Precision, recall, density and coverage (`prdc.precision_recall_density_coverage`)."""

    higher_is_better = True

    def compute(self) -> dict[str, Tensor]:
        """{"precision": () float64, "recall": .., "density": .., "coverage": ..}."""
        fake, real = self._both()
        found = precision_recall_density_coverage(fake, real, squared_radii(real))
        return {name: torch.tensor(value, dtype=torch.float64) for name, value in found.items()}


class ModeCoverage(Metric):
    """Modes that generated images reach, by the literature's rule, and their KL (`modes.mode_coverage`).

    real_counts: (K,) real images per class. confidence: the probability from which a sample counts as a class's.
    """

    is_differentiable = False
    full_state_update = False
    higher_is_better = True
    logits: list[Tensor]
    real_counts: Tensor

    def __init__(self, real_counts: Tensor, *, confidence: float = CONFIDENCE, **options: Any) -> None:
        super().__init__(**options)
        self.confidence = confidence
        self.register_buffer("real_counts", torch.as_tensor(real_counts))
        self.add_state("logits", default=[], dist_reduce_fx="cat")

    def update(self, logits: Tensor) -> None:
        """Logits (N, K) of generated images. Raises `InputError` for another shape."""
        if logits.dim() != 2 or logits.shape[1] != len(self.real_counts):
            raise InputError(f"ModeCoverage: logits are {tuple(logits.shape)}, not (N, {len(self.real_counts)})")
        self.logits.append(logits.detach())

    def compute(self) -> dict[str, Tensor]:
        """{"modes": () int64, "mode_kl": () float64 in nats}."""
        if not self.logits:
            raise InputError("ModeCoverage: needs logits of at least 1 generated image")
        modes, divergence = mode_coverage(dim_zero_cat(self.logits), self.real_counts, confidence=self.confidence)
        return {"modes": torch.tensor(modes), "mode_kl": torch.tensor(divergence, dtype=torch.float64)}
