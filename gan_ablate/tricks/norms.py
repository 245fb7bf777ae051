"""Normalisation layers."""

from __future__ import annotations

from dataclasses import dataclass

from gan_ablate.blueprint import Blueprint, replace
from gan_ablate.trick import Trick, register


@register("no_batch_norm")
@dataclass(frozen=True)
class NoBatchNorm(Trick):
    """Take normalisation out of G and D."""

    paper = "Radford et al. 2015, section 3 (the guideline taken away)"
    catalogue = "S0.3 S4"

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, g_norm=None, d_norm=None)
