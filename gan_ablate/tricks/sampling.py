"""What is drawn from G once it is trained."""

from __future__ import annotations

from gan_ablate.blueprint import Blueprint, Factory, replace
from gan_ablate.trick import Trick, register
from gan_ablate.tricks.needs import PROBABILITIES


@register("truncation")
class Truncation(Trick):
    """Sample z from a truncated normal: training is base's, only what is measured differs.

    Less variety for images that are more like the usual ones: the paper trades one for the other by the threshold.
    """

    paper = "Brock et al. 2019, section 3.1 and figure 2 (thresholds 2, 1, 0.5, 0.04); 2: the authors' demo"
    recommended_by = "P"
    shares_weights = True
    conflicts = ("uniform_latents", "spherical_latents")  # their z is no normal draw
    bounds = {"threshold": (1e-3, 5.0)}
    threshold: float = 2.0  # greatest absolute value of each number of z

    def edit(self, blueprint: Blueprint) -> Blueprint:
        latents = Factory("gan_ablate.interpolation:truncated", {"threshold": self.threshold})
        return replace(blueprint, sample_latents=latents)


@register("rejection_sampling")
class RejectionSampling(Trick):
    """Of a trained G's images keep those that D takes for real more readily: training is base's.

    D is taken as it is: the paper first trains its last layer on, and without penalties, so that its answers are
    probabilities.
    """

    paper = "Azadi et al. 2019 (discriminator rejection sampling), algorithm 1 and section 3.2"
    recommended_by = "P"
    models = "DN"
    needs = (PROBABILITIES,)
    shares_weights = True
    bounds = {"percentile": (0.0, 100.0)}
    percentile: float = 80.0  # of F over a batch, whose image is kept with probability 1/2

    def edit(self, blueprint: Blueprint) -> Blueprint:
        choice = Factory("gan_ablate.rejection:accepted", {"percentile": self.percentile})
        return replace(blueprint, sample_choice=choice)
