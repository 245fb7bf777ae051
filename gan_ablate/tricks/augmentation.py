"""Augmentation of what D sees, so that it cannot learn the training set by heart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gan_ablate.blueprint import Blueprint
from gan_ablate.errors import InputError
from gan_ablate.trick import OVER_0, Step, Trick, register
from gan_ablate.tricks.needs import IMAGES, SEES_IMAGES, SEES_NOTHING_ELSE, UNCONDITIONAL, with_d_norm

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
    needs = (IMAGES, SEES_IMAGES)
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
    needs = (IMAGES, SEES_IMAGES)
    bounds = {"target": (-1.0, 1.0), "images": (1, 10**9)}
    target: float = 0.6  # of r_t = E[sign(D(real))]
    images: int = 500_000  # real images that D sees while the probability goes from 0 to 1

    def init(self, step: Step) -> State:
        return {"p": step.t.new_zeros(())}

    def advance(self, state: State, step: Step) -> State:
        return {"p": _followed(state["p"], self.target, self.images, step)}

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
    needs = (IMAGES, SEES_NOTHING_ELSE)
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
        return with_d_norm(blueprint, self.d_norm)

    def d_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        assert step.real_critique is not None
        moved = flipped_and_shifted(step.real, step, self.flip, self.padding)
        distance = (step.real_critique.logits - step.critique(moved).logits).square().mean()
        return loss + self.weight * distance


def flipped_and_shifted(images: Tensor, step: Step, flip: bool, padding: str) -> Tensor:
    """Copies of images (N, C, H, W), each moved by draws of its own. padding: reflect, zero."""
    from gan_ablate.nets import augment

    copy = augment.flip(images, step) if flip else images
    most = int(copy.shape[2] * augment.SHIFT)
    return augment.shift(copy, step, most, {"reflect": "reflect", "zero": "constant"}[padding])


@register("pseudo_augmentation")
class AdaptivePseudoAugmentation(Trick):
    """Show D generated images as real, each with a probability that follows how sure D is of the real ones.

    They are those of G's last step, as in the authors' code. p moves as in `ada`: by 1 while D sees `images` real
    images, at each G step, by the sign of D's answers to what it is shown as real.
    """

    paper = "Jiang et al. 2021 (APA); the authors' training/loss.py"
    recommended_by = "P"
    needs = (IMAGES, UNCONDITIONAL)  # a generated image has not the label of the real one in whose place it stands
    batch_norm = "kept: the generated images among the real ones share their statistics, as they do in the real batch"
    bounds = {"target": (-1.0, 1.0), "images": (1, 10**9)}
    target: float = 0.6  # of lambda_r = E[sign(D(real))]
    images: int = 500_000  # real images that D sees while the probability goes from 0 to 1

    def init(self, step: Step) -> State:
        return {"p": step.t.new_zeros(()), "images": step.real.new_zeros(step.real.shape)}

    def advance(self, state: State, step: Step) -> State:
        assert step.fake is not None
        return {
            "p": _followed(state["p"], self.target, self.images, step),
            "images": step.fake.to(state["images"].dtype),
        }

    def reals(self, images: Tensor, step: Step, state: State) -> Tensor:
        shown = step.uniform_like(images[:, :1, :1, :1].float()) < state["p"]  # (N, 1, 1, 1)
        return state["images"].to(images.dtype).where(shown, images)


def _followed(p: Tensor, target: float, images: int, step: Step) -> Tensor:
    """() a probability after one more G step: up where D is surer of the real images than `target`, else down."""
    assert step.real_critique is not None
    sure = step.real_critique.logits.detach().float().sign().mean()
    change = (sure - target).sign() * (len(step.real) * step.d_steps / images)
    return (p + change).clamp(0.0, 1.0)
