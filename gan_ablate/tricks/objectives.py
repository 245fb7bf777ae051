"""What G is trained to do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from gan_ablate.trick import Step, Trick, register

if TYPE_CHECKING:
    from torch import Tensor

    from gan_ablate.trick import State


@register("feature_matching")
@dataclass(frozen=True)
class FeatureMatching(Trick):
    """G matches the mean of D's features on real images, in place of its adversarial loss."""

    paper = "Salimans et al. 2016, section 3.1"
    catalogue = "S0 S2 S4"
    bounds = {"weight": (0.0, 1e6)}
    weight: float = 1.0

    def g_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        assert step.fake_critique is not None
        real = step.critique(step.real).features.detach().float().mean(0)  # (F,)
        fake = step.fake_critique.features.float().mean(0)  # (F,)
        return self.weight * (real - fake).square().sum()
