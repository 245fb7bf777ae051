"""Networks of one's own in a game: no row of the catalogue, and so reached by its path and by no name."""

from __future__ import annotations

from dataclasses import dataclass

from gan_ablate.blueprint import Blueprint
from gan_ablate.presets import with_own_networks
from gan_ablate.trick import Trick, name_of


@dataclass(frozen=True)
class Networks(Trick):
    """G, D or both of one's own, by import path (`presets.with_own_networks` says what they take and return)."""

    generator: str = ""
    discriminator: str = ""

    def missing(self, blueprint: Blueprint) -> str | None:
        if self.discriminator and (blueprint.sees != "images" or blueprint.d_q):
            return "a D that is asked about images alone, and for one answer"
        if self.generator and blueprint.sees == "pyramids":
            return "one G, not one per level"
        return super().missing(blueprint)

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return with_own_networks(blueprint, self.generator or None, self.discriminator or None)


OWN_NETWORKS = name_of(Networks)
