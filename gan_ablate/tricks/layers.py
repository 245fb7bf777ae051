"""Activations and what stands behind them."""

from __future__ import annotations

from dataclasses import dataclass

from gan_ablate.blueprint import Blueprint, Factory, replace
from gan_ablate.presets import LAYERS
from gan_ablate.trick import Trick, register


@register("leaky_relu_generator")
@dataclass(frozen=True)
class LeakyReLUGenerator(Trick):
    """LeakyReLU in G as well as in D."""

    paper = "Chintala et al. 2016, tip 5"
    catalogue = "S0 S1.5"
    bounds = {"slope": (0.0, 1.0)}
    slope: float = 0.2  # for negative inputs

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, g_activation=Factory("torch.nn:LeakyReLU", {"negative_slope": self.slope}))


@register("generator_dropout")
@dataclass(frozen=True)
class GeneratorDropout(Trick):
    """Dropout behind G's hidden activations, at training and at sampling: noise for G."""

    paper = "Isola et al. 2017, section 3.2; Chintala et al. 2016, tip 17"
    catalogue = "S0 S1.17"
    bounds = {"p": (0.0, 0.99)}
    p: float = 0.5  # probability that a unit is 0

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, g_after=Factory(f"{LAYERS}:AlwaysDropout", {"p": self.p}))
