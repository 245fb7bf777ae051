"""Augmentation of what D sees, so that it cannot learn the training set by heart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gan_ablate.blueprint import Blueprint, replace
from gan_ablate.errors import InputError
from gan_ablate.presets import SPECTRAL_NORM
from gan_ablate.trick import OVER_0, Step, Trick, register
from gan_ablate.tricks.needs import IMAGES

if TYPE_CHECKING:
    from torch import Tensor

    from gan_ablate.trick import State

POLICIES = ("color", "translation", "cutout")


@register("diff_augment")
class DiffAugment(Trick):
    """Augment real and fake images alike, differentiably, in D's step and in G's."""

    paper = "Zhao et al. 2020, section 3.2 and appendix B"
    recommended_by = "P"
    conflicts = ("ada",)
    needs = (IMAGES,)
    policy: str = "color+translation+cutout"

    def __post_init__(self) -> None:
        super().__post_init__()
        parts = str(self.policy).split("+")
        if not set(parts) <= set(POLICIES) or len(set(parts)) != len(parts):
            raise InputError(f"diff_augment: policy={self.policy!r}: join some of {', '.join(POLICIES)} with +")

    def inputs(self, images: Tensor, step: Step, state: State) -> Tensor:
        from gan_ablate.nets import augment

        for part in self.policy.split("+"):
            images = getattr(augment, part)(images, step)
        return images


@register("ada")
class AdaptiveAugmentation(Trick):
    """Augment with a probability that follows how sure D is of the real images.

    r_t takes D's answer for a logit, with 0 for undecided. Objectives without probabilities have another middle
    (`lsgan` 1/2, `f_gan` its divergence's) or none (Wasserstein and `relativistic` know differences only): there r_t
    tells on which side of 0 the critic stands, which is not how sure it is, and p follows that all the same.

    p moves by 1 while D sees `images` real images, so that over a run it reaches their share of that at the most: with
    the defaults 0.26 on dcgan and nsgan (1,000 steps of 128) and 0.64 on wgan_gp (five D steps of 64 each). It moves at
    each G step, by the sign of D's last answers; in the authors' code every four batches, by the mean over them.
    """

    paper = "Karras et al. 2020 (ADA), section 3.1 and appendix B (pipeline bgc)"
    recommended_by = "P"
    needs = (IMAGES,)
    bounds = {"target": (-1.0, 1.0), "images": (1, 10**9)}
    target: float = 0.6  # of r_t = E[sign(D(real))]
    images: int = 500_000  # real images that D sees while the probability goes from 0 to 1

    def init(self, step: Step) -> State:
        return {"p": step.t.new_zeros(())}

    def advance(self, state: State, step: Step) -> State:
        assert step.real_critique is not None
        sure = step.real_critique.logits.detach().float().sign().mean()
        change = (sure - self.target).sign() * (len(step.real) * step.d_steps / self.images)
        return {"p": (state["p"] + change).clamp(0.0, 1.0)}

    def inputs(self, images: Tensor, step: Step, state: State) -> Tensor:
        from gan_ablate.nets import augment

        return augment.adaptive(images, step, state["p"])


@register("consistency")
class ConsistencyRegularisation(Trick):
    """D answers the same to a real image and to its flipped and shifted copy.

    A flip does not keep the class of what has a left and a right (crescents, digits): there take flip=false.
    """

    paper = "Zhang et al. 2020 (CR-GAN), equation 3 and section 3; padding: StudioGAN"
    recommended_by = "P"
    conflicts = ("diff_augment", "ada")  # a draw each for image and copy would be part of their distance
    needs = (IMAGES,)
    batch_norm = (
        "kept in D: the copies are a batch of their own, with the statistics of real images; in the paper both arms "
        "have spectral norm in its place (d_norm=spectral)"
    )
    bounds = {"weight": (OVER_0, 1e6)}
    choices = {"padding": ("reflect", "zero"), "d_norm": ("keep", "none", "spectral")}
    weight: float = 10.0
    flip: bool = True  # left to right, each copy with probability 1/2
    padding: str = "reflect"  # what a shift brings in: the image mirrored at its edge, or 0
    d_norm: str = "keep"  # D's normalisation layers: kept, taken away, or spectral norm in their place

    def edit(self, blueprint: Blueprint) -> Blueprint:
        if self.d_norm == "keep":
            return blueprint
        added = (SPECTRAL_NORM,) if self.d_norm == "spectral" and SPECTRAL_NORM not in blueprint.d_finish else ()
        return replace(blueprint, d_norm=None, d_finish=(*blueprint.d_finish, *added))

    def d_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        from gan_ablate.nets import augment

        assert step.real_critique is not None
        copy = augment.flip(step.real, step) if self.flip else step.real
        most = int(copy.shape[2] * augment.SHIFT)
        moved = augment.shift(copy, step, most, {"reflect": "reflect", "zero": "constant"}[self.padding])
        distance = (step.real_critique.logits - step.critique(moved).logits).square().mean()
        return loss + self.weight * distance
