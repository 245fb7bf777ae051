"""Consistency after CR-GAN: of D on generated images too, and of G and D under small moves of z."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gan_ablate.trick import OVER_0, Step, Trick, register
from gan_ablate.tricks.augmentation import flipped_and_shifted
from gan_ablate.tricks.needs import IMAGES, SEES_IMAGES

if TYPE_CHECKING:
    from torch import Tensor

    from gan_ablate.trick import State

WEIGHT = (0.0, 1e6)
BATCH_NORM = "kept in D: the copies are a batch of their own, so they have the statistics of copies alone"
CODE = "weights: StudioGAN's configuration of ICR"


@register("balanced_consistency")
class BalancedConsistency(Trick):
    """bCR: D answers the same to an image and to its flipped and shifted copy, real and generated.

    A flip does not keep the class of what has a left and a right (crescents, digits): there take flip=false. Beside
    `latent_consistency:d_weight=20` it is ICR.
    """

    paper = f"Zhao et al. 2021 (ICR), algorithm 1; {CODE}"
    recommended_by = "P"
    # it has consistency in it; a draw each for image and copy would be part of their distance
    conflicts = ("consistency", "diff_augment", "ada")
    needs = (IMAGES, SEES_IMAGES)
    batch_norm = BATCH_NORM
    bounds = {"real": WEIGHT, "fake": (OVER_0, 1e6)}  # without fakes it is `consistency`
    choices = {"padding": ("reflect", "zero")}
    real: float = 10.0  # weight of the distance on real images
    fake: float = 10.0  # weight of the distance on generated images
    flip: bool = True  # left to right, each copy with probability 1/2
    padding: str = "reflect"  # what a shift brings in: the image mirrored at its edge, or 0

    def d_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        assert step.fake is not None
        assert step.real_critique is not None
        assert step.fake_critique is not None
        for weight, images, answer in (
            (self.real, step.real, step.real_critique),
            (self.fake, step.fake, step.fake_critique),
        ):
            moved = step.critique(flipped_and_shifted(images, step, self.flip, self.padding))
            loss = loss + weight * (answer.logits - moved.logits).square().mean()
        return loss


@register("latent_consistency")
class LatentConsistency(Trick):
    """zCR: D answers the same to G(z) and G(z + noise), which G is rewarded for telling apart.

    The distance of two images is the mean over pixels, as in StudioGAN, so that one weight does for every size.
    """

    paper = f"Zhao et al. 2021 (ICR), algorithm 2; {CODE}, but for d_weight: 5 for zCR alone"
    recommended_by = "P"
    conflicts = ("diff_augment", "ada")  # a draw each for both images would be part of their distance
    batch_norm = BATCH_NORM
    bounds = {"std": (OVER_0, 10.0), "g_weight": WEIGHT, "d_weight": WEIGHT}
    std: float = 0.05  # of the noise on z
    g_weight: float = 0.5  # of the distance between both images, which G makes larger
    d_weight: float = 5.0  # of the distance between D's answers

    def _moved(self, step: Step) -> Tensor:
        """(N, C, H, W) what G makes of z + noise."""
        assert step.z is not None
        assert step.generate is not None
        return step.generate(step.z + self.std * step.normal_like(step.z))

    def d_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        import torch

        assert step.fake_critique is not None
        with torch.no_grad():
            moved = self._moved(step)
        distance = (step.fake_critique.logits - step.critique(moved).logits).square().mean()
        return loss + self.d_weight * distance

    def g_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        assert step.fake is not None
        return loss - self.g_weight * (step.fake - self._moved(step)).square().mean()
