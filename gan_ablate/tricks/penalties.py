"""Penalties on D's gradient, constraints on weights and gradients, and terms that keep D calm."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gan_ablate.blueprint import Blueprint, Build, Factory, replace
from gan_ablate.errors import InputError
from gan_ablate.presets import GRADIENT_PENALTY, PENALTIES
from gan_ablate.trick import OVER_0, Step, Trick, register
from gan_ablate.tricks.needs import D_NORM_TEXT, D_NORMS, ONE_KIND, ONE_PAIR, with_d_norm

if TYPE_CHECKING:
    from torch import Tensor

    from gan_ablate.trick import State

POSITIVE = (OVER_0, 1e6)
CONSTRAINTS = "gan_ablate.nets.weights"
PLAYERS = ("d", "g", "both")


def _with(blueprint: Blueprint, penalty: Factory, d_norm: str) -> Blueprint:
    """The blueprint with a penalty, in place of one of the same kind, and with D's normalisation as the trick asks."""
    others = tuple(p for p in blueprint.penalties if getattr(p, "target", "") != penalty.target)
    return with_d_norm(replace(blueprint, penalties=(*others, penalty)), d_norm)


@register("gradient_penalty")
class GradientPenalty(Trick):
    """Keep the norm of D's gradient at 1 between real and fake images."""

    paper = "Gulrajani et al. 2017, equation 3; on cross entropy: Fedus et al. 2018"
    recommended_by = "S4"
    models = "DN"
    needs = (ONE_PAIR,)
    bounds = {"weight": POSITIVE, "target": (0.0, 1e3)}
    batch_norm = D_NORM_TEXT
    choices = {"points": ("line", "real", "fake"), "d_norm": D_NORMS}
    weight: float = 10.0
    target: float = 1.0  # norm of the gradient per sample
    points: str = "line"  # where: on the line between each pair, at real, at fake
    d_norm: str = "layer"  # none | layer | keep

    def edit(self, blueprint: Blueprint) -> Blueprint:
        options = {"weight": self.weight, "target": self.target, "points": self.points}
        return _with(blueprint, GRADIENT_PENALTY.but(**options), self.d_norm)


@register("no_gradient_penalty")
class NoGradientPenalty(Trick):
    """Take the gradient penalty away: nothing keeps the critic Lipschitz."""

    paper = "Gulrajani et al. 2017, section 4 (the penalty taken away)"
    advised_against_by = "S4"
    models = "W"

    def edit(self, blueprint: Blueprint) -> Blueprint:
        kept = tuple(p for p in blueprint.penalties if getattr(p, "target", "") != GRADIENT_PENALTY.target)
        return replace(blueprint, penalties=kept)


@register("gp_weight")
class GPWeight(Trick):
    """Another weight of the gradient penalty that the model has."""

    paper = "Gulrajani et al. 2017, equation 3 (lambda)"
    recommended_by = "S4 (10)"
    models = "W"
    bounds = {"weight": POSITIVE}
    weight: float = 1.0

    def __post_init__(self) -> None:
        if self.weight == 0:
            raise InputError(f"gp_weight: weight={self.weight!r} is no penalty at all: use no_gradient_penalty")
        super().__post_init__()

    def edit(self, blueprint: Blueprint) -> Blueprint:
        changed = tuple(
            p.but(weight=self.weight) if isinstance(p, Factory) and p.target == GRADIENT_PENALTY.target else p
            for p in blueprint.penalties
        )
        return replace(blueprint, penalties=changed)


@register("dragan")
class DRAGAN(Trick):
    """Keep the norm of D's gradient at 1 around the real images."""

    paper = "Kodali et al. 2017, equation 2"
    recommended_by = "P"
    models = "DN"
    needs = (ONE_KIND,)
    batch_norm = D_NORM_TEXT
    bounds = {"weight": POSITIVE, "noise": (0.0, 1e3)}
    choices = {"d_norm": D_NORMS}
    weight: float = 10.0
    noise: float = 0.5  # standard deviation of the noise around real images, in standard deviations of the images
    d_norm: str = "layer"  # none | layer | keep

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return _with(
            blueprint, Factory(f"{PENALTIES}:dragan", {"weight": self.weight, "noise": self.noise}), self.d_norm
        )


@register("r1")
class R1(Trick):
    """Penalise D's squared gradient at real images."""

    paper = "Mescheder et al. 2018, equation 9"
    recommended_by = "P"
    needs = (ONE_PAIR,)
    batch_norm = D_NORM_TEXT
    bounds = {"gamma": POSITIVE}
    choices = {"d_norm": D_NORMS}
    gamma: float = 10.0
    d_norm: str = "none"  # none | layer | keep

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return _with(blueprint, Factory(f"{PENALTIES}:r1", {"gamma": self.gamma}), self.d_norm)


@register("r2")
class R2(Trick):
    """Penalise D's squared gradient at generated images."""

    paper = "Mescheder et al. 2018, section 4.1"
    recommended_by = "P"
    needs = (ONE_PAIR,)
    batch_norm = D_NORM_TEXT
    bounds = {"gamma": POSITIVE}
    choices = {"d_norm": D_NORMS}
    gamma: float = 10.0
    d_norm: str = "none"  # none | layer | keep

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return _with(blueprint, Factory(f"{PENALTIES}:r2", {"gamma": self.gamma}), self.d_norm)


def _finish(blueprint: Blueprint, name: str, on: str, **options: str | float) -> Blueprint:
    """The blueprint with a constraint on the weights, in place of any that a player has."""
    added = Factory(f"{CONSTRAINTS}:{name}", options)

    def constrained(finish: tuple[Build, ...]) -> tuple[Build, ...]:
        return (*(f for f in finish if not getattr(f, "target", "").startswith(f"{CONSTRAINTS}:")), added)

    g = constrained(blueprint.g_finish) if on in ("g", "both") else blueprint.g_finish
    d = constrained(blueprint.d_finish) if on in ("d", "both") else blueprint.d_finish
    return replace(blueprint, g_finish=g, d_finish=d)


@register("spectral_norm")
class SpectralNorm(Trick):
    """Divide each of D's weights by its greatest singular value, in place of D's normalisation layers."""

    paper = "Miyato et al. 2018, section 2.1 and algorithm 1; on G too: Zhang et al. 2019, section 4.1"
    recommended_by = "P"
    conflicts = ("weight_norm",)
    choices = {"on": PLAYERS}
    on: str = "d"  # d | g | both

    def edit(self, blueprint: Blueprint) -> Blueprint:
        blueprint = _finish(blueprint, "spectral_norm", self.on)
        return blueprint if self.on == "g" else replace(blueprint, d_norm=None)


@register("bounded_spectral_norm")
class BoundedSpectralNorm(Trick):
    """Scale a weight down where its greatest singular value is over a bound; in place of D's normalisation layers.

    Spectral norm also scales up those that are under it. The bound is spectral norm's 1: no GAN's paper names one.
    """

    paper = "Gouk et al. 2021, section 3 (W / max(1, sigma / lambda)); at each pass: Liu et al. 2020 (SNGP)"
    recommended_by = "P"
    conflicts = ("spectral_norm", "weight_norm", "equalised_learning_rate", "wgan_clip")
    bounds = {"bound": POSITIVE}
    choices = {"on": PLAYERS}
    bound: float = 1.0  # greatest singular value of a weight
    on: str = "d"  # d | g | both

    def edit(self, blueprint: Blueprint) -> Blueprint:
        blueprint = _finish(blueprint, "spectral_norm", self.on, bound=self.bound)
        return blueprint if self.on == "g" else replace(blueprint, d_norm=None)


@register("weight_norm")
class WeightNorm(Trick):
    """Each weight as a length and a direction, in place of batch norm; the first batch sets lengths and biases."""

    paper = (
        "Salimans & Kingma 2016, equation 2 and section 3; in D: Salimans et al. 2016, code; "
        "in both players: Xiang & Li 2017"
    )
    recommended_by = "S4.11"
    conflicts = ("spectral_norm",)
    batch_norm = (
        "weight norm stands in its place, as in its papers: behind weight norm, batch norm would cancel the lengths; "
        "d_norm=keep and g_norm=keep leave it"
    )
    choices = {
        "on": PLAYERS,
        "d_norm": ("none", "keep"),
        "g_norm": ("none", "keep"),
        "start": ("data", "drawn"),
        "lengths": ("trained", "fixed"),
    }
    on: str = "d"  # d | g | both
    d_norm: str = "none"  # D's normalisation layers, where D has weight norm: taken away, or kept
    g_norm: str = "none"  # the same in G
    start: str = "data"  # data: unit outputs on the first batch; drawn: the weights as they were drawn
    lengths: str = "trained"  # fixed: trained at the players' outputs only, as in the code of Salimans et al. 2016

    def edit(self, blueprint: Blueprint) -> Blueprint:
        blueprint = _finish(blueprint, "weight_norm", self.on, start=self.start, lengths=self.lengths)
        g = self.on in ("g", "both") and self.g_norm == "none"
        d = self.on in ("d", "both") and self.d_norm == "none"
        return replace(blueprint, g_norm=None if g else blueprint.g_norm, d_norm=None if d else blueprint.d_norm)


@register("gradient_clipping")
class GradientClipping(Trick):
    """Scale each player's gradient down to a greatest 2-norm."""

    paper = "Pascanu et al. 2013, algorithm 1"
    recommended_by = "S4.11"
    bounds = {"max_norm": (OVER_0, 1e6)}
    max_norm: float = 1.0

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, gradient_clip=self.max_norm)


@register("lecam")
class LeCam(Trick):
    """Pull D's answers to real images towards its running mean on fakes, and the other way round.

    As in the authors' code, both means take in D's answers of a step before that step's loss reads them. They start at
    the first answers. Between G steps they stand still: of a round with several D steps, the last one's answers stay.
    The equation pulls from both sides; the authors' code only where an answer is on the far side (`sides=one`), and
    from step 1,000 on (`start=1000`).
    """

    paper = "Tseng et al. 2021, equation 4; sides, start: the authors' code"
    recommended_by = "P"
    needs = (ONE_PAIR,)
    bounds = {"weight": POSITIVE, "decay": (0.0, 1.0), "start": (0, 10**9)}
    choices = {"sides": ("both", "one")}
    weight: float = 0.3
    decay: float = 0.99  # of the running means, per G step
    sides: str = "both"  # both: the square of the distance | one: of its positive part
    start: int = 0  # G steps before the term counts

    def init(self, step: Step) -> State:
        return {name: step.t.new_zeros(()) for name in ("real", "fake", "started", "steps")}

    def _means(self, state: State, step: Step) -> State:
        """The running means with D's answers of its last step in them."""
        assert step.real_critique is not None
        assert step.d_fake_critique is not None
        share = 1 - self.decay * state["started"]
        answers = {"real": step.real_critique, "fake": step.d_fake_critique}
        return {side: state[side].lerp(answer.logits.detach().mean(), share) for side, answer in answers.items()}

    def advance(self, state: State, step: Step) -> State:
        return {**self._means(state, step), "started": step.t.new_ones(()), "steps": state["steps"] + 1}

    def d_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        assert step.real_critique is not None
        assert step.fake_critique is not None
        means = self._means(state, step)
        real = step.real_critique.logits - means["fake"]  # (N,)
        fake = means["real"] - step.fake_critique.logits  # (N,)
        if self.sides == "one":
            real, fake = real.relu(), fake.relu()
        return loss + self.weight * (state["steps"] >= self.start) * (real.square().mean() + fake.square().mean())
