"""Another D: a second opinion, answers per pixel, scores for a kernel, features out of a dictionary."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gan_ablate.blueprint import Blueprint, Factory, replace
from gan_ablate.presets import GRADIENT_PENALTY, LOSSES
from gan_ablate.trick import OVER_0, Step, Targets, Trick, register
from gan_ablate.tricks.needs import (
    CONVOLUTIONS,
    EACH_FAKE,
    IMAGES,
    ONE_PAIR,
    PLAIN_D,
    SEES_IMAGES,
    SUITE_D,
    UNPENALISED,
    with_d_norm,
)

if TYPE_CHECKING:
    from torch import Tensor

    from gan_ablate.trick import State

HEADS = "gan_ablate.nets.further_heads"
POSITIVE = (OVER_0, 1e6)


@register("dual_discriminator")
class DualDiscriminator(Trick):
    """D2GAN: one D is paid for high answers to real images, another for high answers to G's; G faces both.

    At their best G minimises alpha KL(data || G) + beta KL(G || data). The second D is a second head of the first one's
    body; in the paper it is a network of its own.
    """

    paper = "Nguyen et al. 2017 (D2GAN); numbers: the authors' main.py"
    recommended_by = "P"
    models = "DN"
    needs = (SUITE_D, ONE_PAIR)
    bounds = {"alpha": POSITIVE, "beta": POSITIVE}
    alpha: float = 1.0  # weight of log D1 on real images
    beta: float = 1.0  # weight of log D2 on G's images

    def edit(self, blueprint: Blueprint) -> Blueprint:
        objective = Factory(f"{LOSSES}:DualDiscriminator", {"alpha": self.alpha, "beta": self.beta})
        second = Factory(f"{HEADS}:second_head")
        return replace(blueprint, objective=objective, d_heads=(*blueprint.d_heads, second))

    def d_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        assert step.real_critique is not None
        assert step.fake_critique is not None
        fake, real = (answer.heads["second_head"] for answer in (step.fake_critique, step.real_critique))
        return loss - step.objective.second(fake, real)

    def g_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        assert step.fake_critique is not None
        return loss + step.objective.second(step.fake_critique.heads["second_head"])


@register("repulsive_mmd")
class RepulsiveMMD(Trick):
    """D's scores push real images apart and pull generated ones together; G matches their distributions by MMD.

    D's logit is not trained: what reads it (its records of training health too) says nothing here.
    """

    paper = "Wang et al. 2019 (bounded kernel, sigma 1, 16 scores); the authors' math_func.py"
    recommended_by = "P"
    models = "DN"
    needs = (SUITE_D, UNPENALISED, ONE_PAIR)
    conflicts = (
        "lecam", "ada", "pseudo_augmentation", "consistency", "balanced_consistency", "latent_consistency",
        "gradient_normalisation",
    )  # fmt: skip
    batch_norm = "spectral norm in its place (d_norm=spectral), as in the paper; d_norm=keep leaves it"
    bounds = {"scores": (1, 1024)}
    choices = {"d_norm": ("spectral", "none", "keep")}
    scores: int = 16  # numbers that the kernel is taken of
    d_norm: str = "spectral"  # D's normalisation layers: spectral norm in their place, taken away, or kept

    def edit(self, blueprint: Blueprint) -> Blueprint:
        head = Factory(f"{HEADS}:score_head", {"dims": self.scores})
        kept = tuple(p for p in blueprint.penalties if getattr(p, "target", "") != GRADIENT_PENALTY.target)
        bp = replace(
            blueprint,
            objective=Factory(f"{LOSSES}:RepulsiveMMD"),
            penalties=kept,
            d_heads=(*blueprint.d_heads, head),
        )
        return with_d_norm(bp, self.d_norm)


@register("feature_quantisation")
class FeatureQuantisation(Trick):
    """FQ-GAN: what D's last hidden stage reads is the nearest vector of a dictionary, at each place.

    The paper quantises at several stages; here one is. The dictionary follows D's features at a decay.
    """

    paper = "Zhao et al. 2020 (FQ-GAN); numbers: the authors' launch_C10.sh (2^6 vectors)"
    recommended_by = "P"
    needs = (IMAGES, SUITE_D, ONE_PAIR)
    batch_norm = "kept in D: features are quantised behind it"
    bounds = {"weight": POSITIVE, "size": (2, 65536), "decay": (0.0, 1 - OVER_0)}
    weight: float = 1.0  # of the squared distance of D's features to their vectors
    size: int = 64  # vectors in the dictionary
    decay: float = 0.9  # of the running means

    def edit(self, blueprint: Blueprint) -> Blueprint:
        codes = Factory("gan_ablate.nets.codes:Codes", {"size": self.size, "decay": self.decay})
        return replace(blueprint, d_codebook=codes)

    def d_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        assert step.real_critique is not None
        assert step.fake_critique is not None
        both = step.real_critique.heads["codes"].mean() + step.fake_critique.heads["codes"].mean()
        return loss + self.weight * both


@register("unet_discriminator")
class UNetDiscriminator(Trick):
    """D also answers for each pixel, and the same in an image and in a collage of it with another (CutMix).

    Of the authors' two ways to mix, the collages are a batch beside the others at every step, and the weight of their
    consistency rises linearly from 0. The decoder has DCGAN's layers, not residual blocks.
    """

    paper = "Schoenfeld et al. 2020 (U-Net GAN); the authors' train_fns.py with --consistency_loss"
    recommended_by = "P"
    models = "DN"  # no penalty keeps a Wasserstein critic of pixels steady
    needs = (IMAGES, CONVOLUTIONS, PLAIN_D, EACH_FAKE, SEES_IMAGES)
    # draws of their own for each image would be part of the distance, and they move pixels
    conflicts = ("diff_augment", "ada", "packing")
    batch_norm = "kept in D: the collages are a batch of their own"
    bounds = {"weight": (0.0, 1e6), "warm_up": (OVER_0, 1.0)}
    weight: float = 1.0  # of the consistency
    warm_up: float = 0.1  # share of training over which its weight rises

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, discriminator=Factory("gan_ablate.nets.unet:Discriminator"))

    def d_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        from gan_ablate.nets import augment

        assert step.fake is not None
        assert step.real_critique is not None
        assert step.fake_critique is not None
        real, fake = step.real_critique.heads["pixels"], step.fake_critique.heads["pixels"]  # (N, H W)
        of_pixels = step.objective.discriminator(real.flatten(), fake.flatten(), Targets())
        mask = augment.cutmix_mask(step.real, step)  # (N, 1, H, W)
        mixed = step.critique(mask * step.real + (1 - mask) * step.fake).heads["pixels"]
        expected = mask.flatten(1) * real + (1 - mask.flatten(1)) * fake
        risen = (step.t / self.warm_up).clamp(max=1)
        return loss + of_pixels + self.weight * risen * (mixed - expected).square().mean()

    def g_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        assert step.fake_critique is not None
        return loss + step.objective.generator(step.fake_critique.heads["pixels"].flatten())
