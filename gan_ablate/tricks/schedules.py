"""Who is trained when."""

from __future__ import annotations

from dataclasses import dataclass

from gan_ablate.blueprint import Blueprint, replace
from gan_ablate.trick import Trick, register


@register("n_critic")
@dataclass(frozen=True)
class NCritic(Trick):
    """D steps per G step."""

    paper = "Goodfellow et al. 2014, algorithm 1; Arjovsky et al. 2017, algorithm 1"
    catalogue = "S1.14 S2 S4.8"
    bounds = {"n": (1, 1000)}
    n: int = 2

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, n_critic=self.n)
