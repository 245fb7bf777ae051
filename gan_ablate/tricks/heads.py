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
    """Tell D how much its features vary over the batch, as one number."""

    paper = "Karras et al. 2018, section 3"
    recommended_by = "P"

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, d_statistics=Factory(f"{HEADS}:MinibatchStddev"))
