"""Terms of G's loss, beside its adversarial one or in its place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gan_ablate.blueprint import Blueprint, Factory, replace, stages
from gan_ablate.errors import InputError
from gan_ablate.trick import OVER_0, Step, Trick, register
from gan_ablate.tricks.needs import (
    CONVOLUTIONS,
    NOISE_ALONE,
    PROBABILITIES,
    REAL_AS_IT_IS,
    SEES_IMAGES,
    SEES_NOTHING_ELSE,
)

if TYPE_CHECKING:
    from torch import Tensor

    from gan_ablate.trick import State

POSITIVE = (OVER_0, 1e6)


def d_stages(blueprint: Blueprint) -> int | None:
    """How many stages D has (`Critique.hidden`); `None` for a D of the user's own."""
    halvings, _ = stages(blueprint.size)
    depth = blueprint.d_depth
    counts = {"conv": halvings, "resnext": halvings + 1, "resnet": halvings + depth, "mlp": 2 * depth}
    package, _, network = getattr(blueprint.discriminator, "target", "").partition(":")[0].rpartition(".")
    return counts.get(network) if package == "gan_ablate.nets" else None


@register("feature_matching")
class FeatureMatching(Trick):
    """G matches the mean of D's features on real images, in place of its adversarial loss."""

    paper = "Salimans et al. 2016, section 3.1"
    recommended_by = "S0 S2 S4"
    needs = (REAL_AS_IT_IS,)
    replaces = "g_loss"
    # the loss that these change is replaced
    conflicts = ("saturating", "flipped_generator_labels", "inverted_generator_loss")
    bounds = {"weight": POSITIVE, "layer": (-8, 7)}
    weight: float = 1.0
    layer: int = -1  # of D's stages, 0 the first, -1 the last (what its head reads)

    def missing(self, blueprint: Blueprint) -> str | None:
        count = d_stages(blueprint)
        if count is not None and not -count <= self.layer < count:
            return f"stage {self.layer} of D (the stages are 0 to {count - 1})"
        return super().missing(blueprint)

    def g_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        assert step.fake_critique is not None
        real = self._features(step.critique(step.real)).detach().mean(0)
        fake = self._features(step.fake_critique).mean(0)
        return self.weight * (real - fake).square().sum()

    def _features(self, critique) -> Tensor:  # (N, F)
        if self.layer == -1:
            return critique.features.float()
        count = len(critique.hidden)  # of a D of the user's own, it is known only here
        if not -count <= self.layer < count:
            raise InputError(f"feature_matching: layer={self.layer}: this D has the layers 0 to {count - 1}")
        return critique.hidden[self.layer].flatten(1).float()


@register("auxiliary_generator_loss")
class AuxiliaryGeneratorLoss(Trick):
    """G also matches the mean and variance of each pixel over the batch: a signal that a strong D cannot take away."""

    paper = "S4.11 (2023); moments as in Li et al. 2015 (GMMN), section 2"
    recommended_by = "S4.11"
    models = "DN"
    needs = (SEES_IMAGES,)
    bounds = {"weight": POSITIVE}
    weight: float = 1.0

    def g_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        assert step.fake is not None
        real, fake = step.real.float(), step.fake.float()
        means = (real.mean(0) - fake.mean(0)).square().mean()
        variances = (real.var(0) - fake.var(0)).square().mean()
        return loss + self.weight * (means + variances)


@register("kl_hybrid")
class KLHybrid(Trick):
    """G also minimises KL(G || data), estimated by D's log density ratio: -E[logit]."""

    paper = "Soenderby et al. 2017, section 2.1; Chintala et al. 2016, tip 7"
    recommended_by = "S1.7"
    models = "DN"
    needs = (PROBABILITIES,)
    bounds = {"weight": POSITIVE}
    weight: float = 1.0

    def g_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        assert step.fake_critique is not None
        return loss - self.weight * step.fake_critique.logits.mean()


@register("vae_hybrid")
class VAEHybrid(Trick):
    """An encoder trained with G: reconstructions are close in D's features, codes are close to the prior.

    Both terms are means, over features and over numbers of z, so that one weight does for every width; unlike the
    paper's, D is not trained on the reconstructions.
    """

    paper = "Larsen et al. 2016, equations 5 to 8; Chintala et al. 2016, tip 7"
    recommended_by = "S1.7"
    models = "DN"
    conflicts = ("diff_augment", "ada")  # a draw each for image and reconstruction would be part of their distance
    needs = (CONVOLUTIONS, SEES_NOTHING_ELSE, NOISE_ALONE)
    bounds = {"weight": POSITIVE}
    weight: float = 1.0  # of reconstruction and prior, beside the adversarial loss

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, encoder=Factory("gan_ablate.nets.conv:Encoder"))

    def g_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        assert step.encode is not None
        assert step.generate is not None
        mean, log_variance = step.encode(step.real).unbind(1)  # (N, latent_dim) each
        z = mean + (log_variance / 2).exp() * step.normal_like(mean)
        rebuilt = step.critique(step.generate(z)).features.float()
        real = step.critique(step.real).features.float().detach()
        reconstruction = (rebuilt - real).square().mean()
        prior = (mean.square() + log_variance.exp() - 1 - log_variance).mean() / 2  # KL(q || N(0, 1)) per number of z
        return loss + self.weight * (reconstruction + prior)
