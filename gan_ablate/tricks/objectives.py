"""What the players are trained to do: another objective in place of the model's own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gan_ablate.blueprint import Blueprint, Factory, replace
from gan_ablate.presets import BATCH_NORM, BURN_IN, DCGAN_INIT, GRADIENT_PENALTY, LOSSES, zero_centred
from gan_ablate.trick import OVER_0, Step, Trick, register
from gan_ablate.tricks.needs import D_NORM_TEXT, D_NORMS, ONE_PAIR, UNCONSTRAINED_D, with_d_norm

if TYPE_CHECKING:
    from torch import Tensor

    from gan_ablate.trick import State

POSITIVE = (0.0, 1e6)


def _objective(name: str, **options: object) -> Factory:
    return Factory(f"{LOSSES}:{name}", options)


@register("saturating")
class Saturating(Trick):
    """G minimises log(1 - D(G(z))), the minimax game as it stands."""

    paper = "Goodfellow et al. 2014, equation 1 and section 3"
    advised_against_by = "S1.2 S2 S4"
    models = "DN"

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, objective=_objective("Saturating"))


@register("flipped_generator_labels")
class FlippedGeneratorLabels(Trick):
    """Train G with real = fake swapped; its gradient is exactly the non-saturating loss's."""

    paper = "Chintala et al. 2016, tip 2"
    recommended_by = "S0 S1.2 S4"
    models = "DN"
    same_as_base = dict.fromkeys(
        ("dcgan", "nsgan", "bigan", "infogan", "aae", "lapgan"),
        "base's G loss is -log D(G(z)): cross entropy with flipped labels",
    )

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, objective=_objective("FlippedLabels"))


@register("inverted_generator_loss")
class InvertedGeneratorLoss(Trick):
    """G's cross entropy against zeros, as one listing prints it: a negative control that must fail."""

    paper = "the listing of S3 (2023); the opposite of Goodfellow et al. 2014, section 3"
    recommended_by = "S3 (as printed)"
    models = "DN"

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, objective=_objective("InvertedGenerator"))


@register("lsgan")
class LSGAN(Trick):
    """Least squares in place of cross entropy."""

    paper = "Mao et al. 2017, equation 2"
    recommended_by = "P"
    models = "DN"

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, objective=_objective("LeastSquares"))


@register("hinge")
class HingeLoss(Trick):
    """The hinge loss for D, its plain answer for G."""

    paper = "Lim & Ye 2017, section 3; Miyato et al. 2018, equations 16 and 17"
    recommended_by = "P"
    models = "DN"

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, objective=_objective("Hinge"))


@register("f_gan")
class FGAN(Trick):
    """Minimise another f-divergence, by its variational bound."""

    paper = "Nowozin et al. 2016, equation 9 and table 2"
    recommended_by = "S2.C"
    models = "DN"
    choices = {"divergence": ("kl", "reverse_kl", "pearson", "squared_hellinger", "js")}
    divergence: str = "kl"

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, objective=_objective("FDivergence", divergence=self.divergence))


@register("wgan_clip")
class WGANClip(Trick):
    """The first WGAN: D's weights clipped to [-c, c] after each update, RMSprop, no gradient penalty.

    Around it stands the setting of its paper: DCGAN's networks, with batch norm in D too, and N(0, 0.02) weights.
    Without them, weights clipped to 0.01 shrink what goes through each layer, and little of it reaches G.
    `schedule=code` trains the critic as the authors' code does: 100 steps in each of the first 25 rounds and in every
    500th.
    """

    paper = "Arjovsky et al. 2017, algorithm 1 and section 4; schedule=code: the authors' main.py"
    recommended_by = "S2 S4"
    models = "W"
    conflicts = ("gradient_penalty", "spectral_norm", "weight_norm")  # their parameters are not the weights
    needs = (UNCONSTRAINED_D,)
    batch_norm = "put into D, as in the paper's networks; real and fake images stay batches of their own"
    bounds = {"c": (OVER_0, 1e3), "lr": (1e-9, 10.0)}
    choices = {"d_norm": ("batch", "keep"), "weights": ("dcgan", "keep"), "schedule": ("algorithm", "code")}
    c: float = 0.01  # greatest absolute weight of D
    lr: float = 5e-5  # of RMSprop, both players
    d_norm: str = "batch"  # batch | keep: what the model has
    weights: str = "dcgan"  # initial ones: dcgan: N(0, 0.02) | keep: the model's own
    schedule: str = "algorithm"  # algorithm: n_critic D steps in each round | code: as above

    def edit(self, blueprint: Blueprint) -> Blueprint:
        rmsprop = Factory("torch.optim:RMSprop", {"lr": self.lr})
        # other tricks' penalties stay, whichever comes first
        kept = tuple(p for p in blueprint.penalties if getattr(p, "target", "") != GRADIENT_PENALTY.target)
        bp = replace(
            blueprint, objective=_objective("Wasserstein"), penalties=kept, g_optimizer=rmsprop, d_optimizer=rmsprop
        )
        if self.d_norm == "batch":
            bp = replace(bp, d_norm=BATCH_NORM)
        if self.weights == "dcgan":
            bp = replace(bp, init=DCGAN_INIT)
        if self.schedule == "code":
            options = {"usual": bp.n_critic, "burst": 100, "first": 25, "every": 500}
            bp = replace(bp, critic_schedule=Factory("gan_ablate.optim:bursts", options))
        return bp

    def project(self, parameters: list[Tensor], step: Step, state: State) -> None:
        for p in parameters:
            p.clamp_(-self.c, self.c)


@register("relativistic_average")
class RelativisticAveraging(Trick):
    """D tells how much more real an image looks than the other side's do on average; G moves both sides."""

    paper = "Jolicoeur-Martineau 2019 (RaSGAN, RaLSGAN, RaHingeGAN)"
    recommended_by = "P"
    models = "DN"
    choices = {"loss": ("cross_entropy", "least_squares", "hinge_loss")}
    loss: str = "cross_entropy"  # of the distances

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, objective=_objective("RelativisticAverage", loss=self.loss))


@register("boundary_seeking")
class BoundarySeekingLoss(Trick):
    """G seeks D's decision boundary, not its far side: half the square of D's logit."""

    paper = "Hjelm et al. 2018 (BGAN), continuous variables"
    recommended_by = "P"
    models = "DN"

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, objective=_objective("BoundarySeeking"))


@register("relativistic")
class RelativisticPairing(Trick):
    """D compares each fake with its real image; R1 and R2 keep its gradient flat on both.

    The authors' gamma goes with the images: 0.05 (CIFAR-10), 1 (stacked MNIST), 2 (FFHQ 64), 150 (FFHQ 256). It falls
    to a tenth along a cosine at the start of training.
    """

    paper = "Huang et al. 2024 (R3GAN), section 2 and the authors' train.py; Jolicoeur-Martineau 2019, section 3.2"
    recommended_by = "P"
    models = "DN"
    needs = (ONE_PAIR,)
    batch_norm = D_NORM_TEXT
    bounds = {"gamma": POSITIVE, "final": (0.0, 1.0), "until": (OVER_0, 1.0)}
    choices = {"d_norm": D_NORMS}
    gamma: float = 1.0  # of R1 and of R2, at the start
    final: float = 0.1  # share of gamma that is left after `until`
    until: float = BURN_IN  # share of training over which gamma falls
    d_norm: str = "none"  # none | layer | keep

    def edit(self, blueprint: Blueprint) -> Blueprint:
        penalties = zero_centred(self.gamma, self.final, self.until)
        own = {p.target for p in penalties}  # a model that has them gets them anew
        kept = tuple(p for p in blueprint.penalties if getattr(p, "target", "") not in own)
        bp = replace(blueprint, objective=_objective("Relativistic"), penalties=(*kept, *penalties))
        return with_d_norm(bp, self.d_norm)
