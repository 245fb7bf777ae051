"""What D sees of an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gan_ablate.trick import Step, Trick, register

if TYPE_CHECKING:
    from torch import Tensor

    from gan_ablate.trick import State


@register("instance_noise")
@dataclass(frozen=True)
class InstanceNoise(Trick):
    """Gaussian noise on D's inputs, real and fake, that decays linearly to 0."""

    paper = "Arjovsky & Bottou 2017, section 3; Soenderby et al. 2016, section 2.2"
    catalogue = "S0 S1.13 S2"
    bounds = {"std": (0.0, 10.0), "until": (1e-6, 1.0)}
    std: float = 0.1  # in units of the image's [-1, 1]
    until: float = 0.5  # share of training after which the noise is exactly 0

    def inputs(self, images: Tensor, step: Step, state: State) -> Tensor:
        std = self.std * (1 - step.t / self.until).clamp(min=0.0)
        return images + std * step.normal_like(images)
