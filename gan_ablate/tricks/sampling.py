"""What is drawn from G once it is trained."""

from __future__ import annotations

from gan_ablate.blueprint import Blueprint, Factory, replace
from gan_ablate.trick import Trick, register


@register("truncation")
class Truncation(Trick):
    """Sample z from a truncated normal: training is base's, only what is measured differs.

    Less variety for images that are more like the usual ones: the paper trades one for the other by the threshold.
    """

    paper = "Brock et al. 2019, section 3.1 and figure 2 (thresholds 2, 1, 0.5, 0.04)"
    recommended_by = "P"
    shares_weights = True
    conflicts = ("uniform_latents", "spherical_latents")  # their z is no normal draw
    bounds = {"threshold": (1e-3, 5.0)}
    threshold: float = 1.0  # greatest absolute value of each number of z

    def edit(self, blueprint: Blueprint) -> Blueprint:
        latents = Factory("gan_ablate.interpolation:truncated", {"threshold": self.threshold})
        return replace(blueprint, sample_latents=latents)
