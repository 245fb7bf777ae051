"""Second tasks of D that need no labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gan_ablate.blueprint import Blueprint, Factory, replace
from gan_ablate.trick import Step, Trick, register
from gan_ablate.tricks.needs import IMAGES, SEES_IMAGES, SUITE_D

if TYPE_CHECKING:
    from torch import Tensor

    from gan_ablate.trick import State

HEADS = "gan_ablate.nets.further_heads"
WEIGHT = (0.0, 1e6)


@register("self_supervision")
class SelfSupervision(Trick):
    """SS-GAN: D also tells by how many quarter turns an image is rotated; G is rewarded where D can tell.

    A quarter of the batch is shown in all four rotations, real images in D's step and generated ones in G's.
    """

    paper = "Chen et al. 2019 (SS-GAN; alpha 0.2, beta 1, a quarter of the batch)"
    recommended_by = "P"
    needs = (IMAGES, SUITE_D, SEES_IMAGES)
    batch_norm = "kept in D: the rotated images are a batch of their own"
    bounds = {"g_weight": WEIGHT, "d_weight": WEIGHT}
    g_weight: float = 0.2  # alpha
    d_weight: float = 1.0  # beta

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, d_heads=(*blueprint.d_heads, Factory(f"{HEADS}:rotation_head")))

    def d_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        return loss + self.d_weight * self._error(step.real, step)

    def g_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        assert step.fake is not None
        return loss + self.g_weight * self._error(step.fake, step)

    def _error(self, images: Tensor, step: Step) -> Tensor:
        """() cross entropy of D's answers to images in all four rotations."""
        import torch
        from torch.nn.functional import cross_entropy

        chosen = images[: max(1, len(images) // 4)]
        turned = torch.cat([chosen.rot90(turns, (2, 3)) for turns in range(4)])
        asked = torch.arange(4, device=images.device).repeat_interleave(len(chosen))
        return cross_entropy(step.critique(turned).heads["rotation_head"], asked)
