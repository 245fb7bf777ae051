"""Noise on D's input and in G, and where z comes from."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gan_ablate.blueprint import Blueprint, Factory, replace
from gan_ablate.presets import LAYERS
from gan_ablate.trick import OVER_0, Step, Trick, register
from gan_ablate.tricks.needs import G_BATCH_NORM, NOISE_ALONE, NORMAL_LATENTS

if TYPE_CHECKING:
    from torch import Tensor

    from gan_ablate.trick import State

STD = (OVER_0, 10.0)
P = (OVER_0, 0.99)


@register("instance_noise")
class InstanceNoise(Trick):
    """Gaussian noise on D's inputs, real and fake, that decays linearly to 0."""

    paper = "Arjovsky & Bottou 2017, section 3; Soenderby et al. 2017, section 2.2"
    recommended_by = "S0 S1.13 S2"
    conflicts = ("instance_noise_constant",)
    bounds = {"std": STD, "until": (OVER_0, 1.0)}
    std: float = 0.1  # in units of the image's [-1, 1]
    until: float = 0.5  # share of training after which the noise is exactly 0

    def inputs(self, images: Tensor, step: Step, state: State) -> Tensor:
        std = self.std * (1 - step.t / self.until).clamp(min=0.0)
        return images + std * step.normal_like(images)


@register("instance_noise_constant")
class ConstantInstanceNoise(Trick):
    """Gaussian noise on D's inputs that never decays: the control of `instance_noise`."""

    paper = "Arjovsky & Bottou 2017, section 3 (without annealing)"
    advised_against_by = "S1.13 S2"
    bounds = {"std": STD}
    std: float = 0.1  # in units of the image's [-1, 1]

    def inputs(self, images: Tensor, step: Step, state: State) -> Tensor:
        return images + self.std * step.normal_like(images)


@register("generator_noise")
class GeneratorNoise(Trick):
    """Gaussian noise behind each hidden activation of G, at training and at sampling."""

    paper = "Zhao et al. 2017 (EBGAN); Chintala et al. 2016, tip 13"
    recommended_by = "S1.13"
    bounds = {"std": STD}
    std: float = 0.1

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, g_after=Factory(f"{LAYERS}:GaussianNoise", {"std": self.std}))


@register("generator_dropout")
class GeneratorDropout(Trick):
    """Dropout behind G's hidden activations, at training and at sampling: noise for G."""

    paper = "Isola et al. 2017, section 3.2; Chintala et al. 2016, tip 17"
    recommended_by = "S0 S1.17"
    bounds = {"p": P}
    p: float = 0.5  # probability that a unit is 0

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, g_after=Factory(f"{LAYERS}:AlwaysDropout", {"p": self.p}))


@register("generator_dropout_train_only")
class GeneratorDropoutTrainOnly(Trick):
    """Dropout in G at training only: the control of `generator_dropout`."""

    paper = "Srivastava et al. 2014, section 4 (dropout as usual)"
    advised_against_by = "S1.17"
    bounds = {"p": P}
    p: float = 0.5  # probability that a unit is 0

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, g_after=Factory("torch.nn:Dropout", {"p": self.p}))


@register("discriminator_dropout")
class DiscriminatorDropout(Trick):
    """Dropout behind D's hidden activations."""

    paper = "Srivastava et al. 2014, section 4; the listing of S3 (2023)"
    recommended_by = "S3"
    bounds = {"p": P}
    p: float = 0.3  # probability that a unit is 0

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, d_after=Factory("torch.nn:Dropout", {"p": self.p}))


@register("uniform_latents")
class UniformLatents(Trick):
    """z from U(-1, 1), through the normal's distribution function, so that arms share the draw."""

    paper = "Radford et al. 2015, section 4; Chintala et al. 2016, tip 3 (advises against)"
    advised_against_by = "S0 S1.3"
    needs = (NOISE_ALONE,)
    conflicts = ("spherical_latents", "interpolation")
    needs = (NORMAL_LATENTS,)

    def latents(self, z: Tensor, step: Step, state: State) -> Tensor:
        return (z / math.sqrt(2)).erf()  # 2 Phi(z) - 1


@register("spherical_latents")
class SphericalLatents(Trick):
    """z normalised to the sphere of radius sqrt(latent_dim), where most of a Gaussian lies."""

    paper = "White 2016, section 2.1; Chintala et al. 2016, tip 3"
    recommended_by = "S1.3"
    needs = (NOISE_ALONE,)
    conflicts = ("interpolation",)  # midpoints of either path would be brought back to the same sphere

    def latents(self, z: Tensor, step: Step, state: State) -> Tensor:
        return z * (z.shape[1] / z.square().sum(1, keepdim=True)).sqrt()


@register("interpolation")
class Interpolation(Trick):
    """Sample half way between two draws of z: training is base's, only what is measured differs."""

    paper = "White 2016, section 2.1"
    recommended_by = "S1.3 (slerp)"
    advised_against_by = "S1.3 (lerp)"
    shares_weights = True
    choices = {"path": ("slerp", "lerp")}
    path: str = "slerp"  # slerp: along the great circle; lerp: along the line

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, sample_latents=Factory("gan_ablate.interpolation:midpoints", {"path": self.path}))


@register("batch_statistics_at_sampling")
class BatchStatisticsAtSampling(Trick):
    """Sample with G in training mode: batch norm uses each batch's own statistics."""

    paper = "Isola et al. 2017, section 3.3 (test-time batch statistics); Ioffe & Szegedy 2015, section 3.1 (against)"
    advised_against_by = "S4.9"
    needs = (G_BATCH_NORM,)
    shares_weights = True
    models = "DW"

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, sample_mode="train")
