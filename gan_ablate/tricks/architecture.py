"""The shape and size of the networks, and what D's head reads."""

from __future__ import annotations

from gan_ablate.blueprint import Blueprint, Factory, replace
from gan_ablate.presets import HEADS, LAYERS, with_networks
from gan_ablate.trick import Trick, register
from gan_ablate.tricks.needs import IMAGES, SEES_IMAGES

FACTOR = {"factor": (0.125, 16.0)}


@register("fully_connected")
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
class MLP(Trick):
    """Fully connected networks throughout; D with maxout and dropout, as in the first GANs."""

    paper = "Goodfellow et al. 2014, section 5 and code (maxout of 5 pieces, a fifth of G's units, dropout 0.2 and 0.5)"
    advised_against_by = "S2.A S2.B"
    models = "N"
    needs = (SEES_IMAGES,)
    choices = {"discriminator": ("maxout", "plain")}
    discriminator: str = "maxout"  # maxout: and dropout; plain: the model's own activation, as many units as G

    def edit(self, blueprint: Blueprint) -> Blueprint:
        blueprint = with_networks(blueprint, "mlp")
        if self.discriminator == "plain":
            return blueprint
        return replace(
            blueprint,
            d_activation=Factory(f"{LAYERS}:Maxout", {"pieces": 5}),
            d_input=Factory("torch.nn:Dropout", {"p": 0.2}),  # of the pixels
            d_after=Factory("torch.nn:Dropout", {"p": 0.5}),  # of hidden units
        )


@register("residual")
class Residual(Trick):
    """Residual blocks in G and D."""

    paper = "Miyato et al. 2018, appendix B.4; Gulrajani et al. 2017, appendix F"
    recommended_by = "S3"
    needs = (IMAGES, SEES_IMAGES)

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return with_networks(blueprint, "resnet")


@register("wide_discriminator")
class WideDiscriminator(Trick):
    """A wider D."""

    paper = "Goodfellow 2016 (tutorial), section 4.4"
    recommended_by = "S0"
    bounds = FACTOR
    factor: float = 2.0  # of D's channels

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, d_width=max(1, round(blueprint.d_width * self.factor)))


@register("deep_discriminator")
class DeepDiscriminator(Trick):
    """A deeper D: more convolutions at each resolution."""

    paper = "Goodfellow 2016 (tutorial), section 4.4"
    recommended_by = "S0"
    bounds = {"factor": (1, 8)}
    factor: int = 2  # of D's layers

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, d_depth=blueprint.d_depth * self.factor)


@register("wide_generator")
class WideGenerator(Trick):
    """A G wider than D: the balance that the advice warns of."""

    paper = "Goodfellow 2016 (tutorial), section 4.4 (the guideline turned round)"
    advised_against_by = "S0"
    bounds = FACTOR
    factor: float = 2.0  # of G's channels

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, g_width=max(1, round(blueprint.g_width * self.factor)))


@register("minibatch_discrimination")
class MinibatchDiscrimination(Trick):
    """Let D compare each sample with the rest of its batch, so that a collapsed G is easy to tell.

    The first batch sets the kernels' scale and offset, as in the authors' code, which has 100 kernels of 5 numbers.
    """

    paper = "Salimans et al. 2016, section 3.2 and code"
    recommended_by = "S0 S1.15 S2 S4"
    bounds = {"kernels": (1, 4096), "dims": (1, 4096)}
    kernels: int = 16
    dims: int = 8

    def edit(self, blueprint: Blueprint) -> Blueprint:
        options = {"kernels": self.kernels, "dims": self.dims}
        return replace(blueprint, d_statistics=Factory(f"{HEADS}:MinibatchDiscrimination", options))


@register("minibatch_stddev")
class MinibatchStddev(Trick):
    """Tell D how much its features vary over small groups of the batch, as a map before its last hidden stage."""

    paper = "Karras et al. 2018, section 3 and code (groups of 4)"
    recommended_by = "P"
    batch_norm = (
        "taken out of D, as in the paper: behind the map it would subtract the batch's mean of it, which is what tells "
        "a collapsed batch; d_norm=keep leaves it"
    )
    bounds = {"group": (2, 4096)}
    choices = {"d_norm": ("none", "keep")}
    group: int = 4  # samples that are compared; a smaller batch is one group
    d_norm: str = "none"  # D's normalisation layers: taken away, or kept

    def edit(self, blueprint: Blueprint) -> Blueprint:
        statistics = Factory(f"{HEADS}:MinibatchStddev", {"group": self.group})
        d_norm = None if self.d_norm == "none" else blueprint.d_norm
        return replace(blueprint, d_map_statistics=statistics, d_norm=d_norm)

    def missing(self, blueprint: Blueprint) -> str | None:
        if blueprint.batch_size % min(self.group, blueprint.batch_size):
            return f"batches that group={self.group} divides (not of {blueprint.batch_size})"
        return super().missing(blueprint)
