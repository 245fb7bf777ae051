"""Second tasks of D that need no labels."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gan_ablate.blueprint import Blueprint, Factory, replace
from gan_ablate.trick import Step, Trick, register
from gan_ablate.tricks.needs import CONVOLUTIONS, IMAGES, SEES_IMAGES, SUITE_D, halved_twice, with_d_norm

if TYPE_CHECKING:
    from torch import Tensor

    from gan_ablate.nets import Critique
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


@register("infomax")
class InfoMax(Trick):
    """InfoMax-GAN: D's features at a place tell which image of the batch they are of; G's images must let them.

    That is InfoNCE, a lower bound of the information that a place's features and an image's share: of real images in
    D's step, of generated ones in G's. A place is one of the map that D's last hidden stage reads. As in the authors'
    code the other places of the same image are no wrong answers; there they count e^-10 each, here nothing.
    """

    paper = "Lee et al. 2021 (InfoMax-GAN); numbers: the authors' infomax_gan_base.py"
    recommended_by = "P"
    needs = (CONVOLUTIONS, IMAGES, SUITE_D, SEES_IMAGES)
    batch_norm = "kept in D; in the paper both arms have spectral norm in its place (d_norm=spectral)"
    bounds = {"g_weight": WEIGHT, "d_weight": WEIGHT, "dims": (1, 65536)}
    choices = {"d_norm": ("keep", "none", "spectral")}
    g_weight: float = 0.2  # alpha
    d_weight: float = 0.2  # beta
    dims: int = 1024  # numbers that features of places and of images are held against each other by
    d_norm: str = "keep"  # D's normalisation layers: kept, taken away, or spectral norm in their place

    def edit(self, blueprint: Blueprint) -> Blueprint:
        of_images = Factory(f"{HEADS}:FeatureProjection", {"dims": self.dims})
        of_places = Factory(f"{HEADS}:PlaceProjection", {"dims": self.dims})
        bp = replace(blueprint, d_heads=(*blueprint.d_heads, of_images), d_local=of_places)
        return with_d_norm(bp, self.d_norm)

    def missing(self, blueprint: Blueprint) -> str | None:
        return super().missing(blueprint) or halved_twice(blueprint)

    def d_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        return loss + self.d_weight * _info_nce(step.real_critique)

    def g_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        return loss + self.g_weight * _info_nce(step.fake_critique)


def _info_nce(critique: Critique | None) -> Tensor:
    """() cross entropy of each place's own image among it and all places of the other images, by inner products."""
    import torch

    assert critique is not None
    images, places = critique.heads["FeatureProjection"], critique.heads["local"]  # (N, E), (N, P, E)
    scores = torch.einsum("ie,jpe->ijp", images, places)  # (N, N, P)
    itself = torch.eye(len(images), dtype=torch.bool, device=scores.device)
    own = scores.diagonal().T  # (N, P)
    others = scores.masked_fill(itself[:, :, None], -torch.inf).flatten(1).logsumexp(1)  # (N,)
    return (torch.logaddexp(own, others[:, None]) - own).mean()
