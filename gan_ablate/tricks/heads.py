"""What D's head reads."""

from __future__ import annotations

from dataclasses import dataclass

from gan_ablate.blueprint import Blueprint, Factory, replace
from gan_ablate.presets import HEADS
from gan_ablate.trick import Trick, register


@register("minibatch_discrimination")
@dataclass(frozen=True)
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
@dataclass(frozen=True)
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
