"""Where z comes from, in training and at sampling."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gan_ablate.blueprint import Blueprint, Factory, replace
from gan_ablate.trick import Step, Trick, register
from gan_ablate.tricks.needs import G_BATCH_NORM

if TYPE_CHECKING:
    from torch import Tensor

    from gan_ablate.trick import State


@register("uniform_latents")
@dataclass(frozen=True)
class UniformLatents(Trick):
    """z from U(-1, 1), through the normal's distribution function, so that arms share the draw."""

    paper = "Radford et al. 2015, section 4; Chintala et al. 2016, tip 3 (advises against)"
    advised_against_by = "S0 S1.3"
    conflicts = ("spherical_latents", "interpolation")

    def latents(self, z: Tensor, step: Step, state: State) -> Tensor:
        return (z / math.sqrt(2)).erf()  # 2 Phi(z) - 1


@register("spherical_latents")
@dataclass(frozen=True)
class SphericalLatents(Trick):
    """z normalised to the sphere of radius sqrt(latent_dim), where most of a Gaussian lies."""

    paper = "White 2016, section 2.1; Chintala et al. 2016, tip 3"
    recommended_by = "S1.3"
    conflicts = ("interpolation",)  # midpoints of either path would be brought back to the same sphere

    def latents(self, z: Tensor, step: Step, state: State) -> Tensor:
        return z * (z.shape[1] / z.square().sum(1, keepdim=True)).sqrt()


@register("interpolation")
@dataclass(frozen=True)
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
@dataclass(frozen=True)
class BatchStatisticsAtSampling(Trick):
    """Sample with G in training mode: batch norm uses each batch's own statistics."""

    paper = "Isola et al. 2017, section 3.3 (test-time batch statistics); Ioffe & Szegedy 2015, section 3.1 (against)"
    advised_against_by = "S4.9"
    needs = (G_BATCH_NORM,)
    shares_weights = True
    models = "DW"

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, sample_mode="train")
