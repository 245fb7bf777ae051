"""Normalisation layers."""

from __future__ import annotations

from gan_ablate.blueprint import Blueprint, Factory, replace
from gan_ablate.presets import BATCH_NORM, NORMS
from gan_ablate.trick import Trick, register
from gan_ablate.tricks.needs import CONVOLUTIONS, NOISE_ALONE, ONE_PAIR

PLAYERS = {"on": ("d", "g", "both")}


def _norm(blueprint: Blueprint, norm: Factory | None, on: str = "both") -> Blueprint:
    g = norm if on in ("g", "both") else blueprint.g_norm
    d = norm if on in ("d", "both") else blueprint.d_norm
    return replace(blueprint, g_norm=g, d_norm=d)


@register("no_batch_norm")
class NoBatchNorm(Trick):
    """Take normalisation out of G and D.

    `on=d` is the control of the tricks that take it out of D for their penalties (`r1`, `r2`, `relativistic`).
    """

    paper = "Radford et al. 2015, section 3 (the guideline taken away)"
    advised_against_by = "S0.3 S4"
    models = "D"
    choices = PLAYERS
    on: str = "both"  # d | g | both

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return _norm(blueprint, None, self.on)


@register("batch_norm_everywhere")
class BatchNormEverywhere(Trick):
    """Batch norm at G's output and D's input layer as well."""

    paper = "Radford et al. 2015, section 3 (the guideline taken away)"
    advised_against_by = "S0.3 S4.9"
    models = "D"

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(_norm(blueprint, BATCH_NORM), g_last_norm=BATCH_NORM, d_first_norm=BATCH_NORM)


@register("batch_norm")
class BatchNorm(Trick):
    """Batch norm where DCGAN has it: in a critic under a gradient penalty it must do harm."""

    paper = "Radford et al. 2015, section 3; in a critic: Gulrajani et al. 2017, section 4 (advises against)"
    recommended_by = "S0.3 S4 (N)"
    advised_against_by = "S4.8 (W)"
    models = "NW"

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return _norm(blueprint, BATCH_NORM)


@register("instance_norm")
class InstanceNorm(Trick):
    """Instance norm in place of the model's own."""

    paper = "Ulyanov et al. 2016, section 2"
    recommended_by = "S1.4 S4.8 S4.9"
    needs = (CONVOLUTIONS,)
    choices = PLAYERS
    on: str = "both"  # d | g | both

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return _norm(blueprint, Factory(f"{NORMS}:instance_norm"), self.on)


@register("layer_norm")
class LayerNorm(Trick):
    """Layer norm in place of the model's own."""

    paper = "Ba et al. 2016, section 3; in a critic: Gulrajani et al. 2017, section 4"
    recommended_by = "S4.8 S4.9"
    choices = PLAYERS
    on: str = "both"  # d | g | both

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return _norm(blueprint, Factory(f"{NORMS}:layer_norm"), self.on)


@register("group_norm")
class GroupNorm(Trick):
    """Group norm in place of the model's own."""

    paper = "Wu & He 2018, section 3"
    recommended_by = "S4.9"
    choices = PLAYERS
    bounds = {"groups": (1, 1024)}
    groups: int = 8  # at most; as many as divide the channels
    on: str = "both"  # d | g | both

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return _norm(blueprint, Factory(f"{NORMS}:group_norm", {"groups": self.groups}), self.on)


@register("pixel_norm")
class PixelNorm(Trick):
    """Pixel norm in place of G's own."""

    paper = "Karras et al. 2018, section 4.2"
    recommended_by = "P"
    choices = PLAYERS
    on: str = "g"  # d | g | both

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return _norm(blueprint, Factory(f"{NORMS}:pixel_norm"), self.on)


@register("virtual_batch_norm")
class VirtualBatchNorm(Trick):
    """G's batch norm with the statistics of a fixed reference batch."""

    paper = "Salimans et al. 2016, section 3.5 (in G only, as there)"
    recommended_by = "S0 S2"
    models = "DN"
    needs = (NOISE_ALONE, ONE_PAIR)
    conflicts = ("uniform_latents", "spherical_latents")  # the reference batch is one of normal z

    def edit(self, blueprint: Blueprint) -> Blueprint:
        reference = Factory(f"{NORMS}:with_reference")
        norm = Factory(f"{NORMS}:VirtualBatchNorm")
        return replace(blueprint, g_norm=norm, g_finish=(*blueprint.g_finish, reference))
