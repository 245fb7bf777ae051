"""The shape and size of the networks."""

from __future__ import annotations

from dataclasses import dataclass

from gan_ablate.blueprint import Blueprint, replace
from gan_ablate.presets import with_networks
from gan_ablate.trick import Trick, register
from gan_ablate.tricks.needs import IMAGES

FACTOR = {"factor": (0.125, 16.0)}


@register("fully_connected")
@dataclass(frozen=True)
class FullyConnected(Trick):
    """A hidden dense layer behind z in G and before D's head."""

    paper = "Radford et al. 2015, section 3 (the guideline taken away)"
    advised_against_by = "S0.2 S4"
    models = "D"
    bounds = {"units": (1, 65536)}
    units: int = 128

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, dense=self.units)


@register("mlp")
@dataclass(frozen=True)
class MLP(Trick):
    """Fully connected networks throughout."""

    paper = "Goodfellow et al. 2014, section 5"
    advised_against_by = "S2.A S2.B"
    models = "N"

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return with_networks(blueprint, "mlp")


@register("residual")
@dataclass(frozen=True)
class Residual(Trick):
    """Residual blocks in G and D."""

    paper = "Miyato et al. 2018, appendix B.4; Gulrajani et al. 2017, appendix F"
    recommended_by = "S3"
    needs = (IMAGES,)

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return with_networks(blueprint, "resnet")


@register("wide_discriminator")
@dataclass(frozen=True)
class WideDiscriminator(Trick):
    """A wider D."""

    paper = "Goodfellow 2016 (tutorial), section 4.4"
    recommended_by = "S0"
    bounds = FACTOR
    factor: float = 2.0  # of D's channels

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, d_width=max(1, round(blueprint.d_width * self.factor)))


@register("deep_discriminator")
@dataclass(frozen=True)
class DeepDiscriminator(Trick):
    """A deeper D: more convolutions at each resolution."""

    paper = "Goodfellow 2016 (tutorial), section 4.4"
    recommended_by = "S0"
    bounds = {"factor": (1, 8)}
    factor: int = 2  # of D's layers

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, d_depth=blueprint.d_depth * self.factor)


@register("wide_generator")
@dataclass(frozen=True)
class WideGenerator(Trick):
    """A G wider than D: the balance that the advice warns of."""

    paper = "Goodfellow 2016 (tutorial), section 4.4 (the guideline turned round)"
    advised_against_by = "S0"
    bounds = FACTOR
    factor: float = 2.0  # of G's channels

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, g_width=max(1, round(blueprint.g_width * self.factor)))
