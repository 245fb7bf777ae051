"""How an update is made: Adam's other numbers, momentum, extrapolation, looking ahead."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from gan_ablate.blueprint import Blueprint, Factory, replace
from gan_ablate.presets import GAME_ADAM
from gan_ablate.trick import OVER_0, Step, Trick, players, register
from gan_ablate.tricks.needs import ADAM, FAKE_OF_Z, ONE_STEP_EACH, UNROLLABLE

if TYPE_CHECKING:
    from torch import Tensor

    from gan_ablate.trick import State


def _adam(optimizer: Any, **options: Any) -> Any:
    """An Adam with some options changed, as the suite's own class where torch's refuses them; any other as it is."""
    if not isinstance(optimizer, Factory) or "betas" not in optimizer.options:
        return optimizer
    own = "optimism" in options or min(options.get("betas", (0.0,))) < 0
    return (Factory(GAME_ADAM, optimizer.options) if own else optimizer).but(**options)


@register("adam_epsilon")
class AdamEpsilon(Trick):
    """Another epsilon of both players' Adam: where a gradient is under it, the step is no longer of one size."""

    paper = "Kingma & Ba 2015, algorithm 1 (1e-8); 1e-6: Brock et al. 2019, code"
    recommended_by = "P"
    needs = (ADAM,)
    bounds = {"eps": (1e-16, 1.0)}
    eps: float = 1e-6

    def edit(self, blueprint: Blueprint) -> Blueprint:
        g, d = (_adam(each, eps=self.eps) for each in (blueprint.g_optimizer, blueprint.d_optimizer))
        return replace(blueprint, g_optimizer=g, d_optimizer=d)


@register("adam_beta2")
class AdamBeta2(Trick):
    """Another beta2 of both players' Adam: how long the squared gradients are averaged."""

    paper = "Karras et al. 2018, appendix A.1 (0.99); Gulrajani et al. 2017, algorithm 1 (0.9); default 0.999"
    recommended_by = "P"
    needs = (ADAM,)
    bounds = {"beta2": (0.0, 0.999999)}
    beta2: float = 0.99

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(
            blueprint,
            g_optimizer=self._changed(blueprint.g_optimizer),
            d_optimizer=self._changed(blueprint.d_optimizer),
        )

    def _changed(self, optimizer: Any) -> Any:
        beta1, _ = getattr(optimizer, "options", {}).get("betas", (0.0, 0.0))
        return _adam(optimizer, betas=(float(beta1), self.beta2))


@register("negative_momentum")
class NegativeMomentum(Trick):
    """A momentum of D under 0, which damps the turning of the game; G keeps its own."""

    paper = "Gidel et al. 2019 (negative momentum), section 5 (both players) and 6 (D alone, in GANs)"
    recommended_by = "P"
    needs = (ADAM,)
    bounds = {"beta1": (-0.999, 0.0)}
    choices = {"on": ("d", "both")}
    beta1: float = -0.5
    on: str = "d"  # d: as in the paper's GANs | both: as in its bilinear games

    def edit(self, blueprint: Blueprint) -> Blueprint:
        blueprint = replace(blueprint, d_optimizer=self._changed(blueprint.d_optimizer))
        return replace(blueprint, g_optimizer=self._changed(blueprint.g_optimizer)) if self.on == "both" else blueprint

    def _changed(self, optimizer: Any) -> Any:
        _, beta2 = getattr(optimizer, "options", {}).get("betas", (0.0, 0.0))
        return _adam(optimizer, betas=(self.beta1, float(beta2)))


@register("optimistic_adam")
class OptimisticAdam(Trick):
    """Twice the step of Adam minus its last one, for both players: the last change stands for the next."""

    paper = "Daskalakis et al. 2018, algorithm 1"
    recommended_by = "P"
    needs = (ADAM,)

    def edit(self, blueprint: Blueprint) -> Blueprint:
        g, d = (_adam(each, optimism=1.0) for each in (blueprint.g_optimizer, blueprint.d_optimizer))
        return replace(blueprint, g_optimizer=g, d_optimizer=d)


@register("simultaneous_updates")
class SimultaneousUpdates(Trick):
    """Both gradients at one point, before either player moves: the control of alternating steps.

    Without the players' norms (norm=none) it is that of `consensus_optimisation`, which takes them away.
    """

    paper = "Nowozin et al. 2016, algorithm 1; Gidel et al. 2019 (negative momentum), section 5 (advises against)"
    advised_against_by = "P"
    models = "DN"
    needs = (ONE_STEP_EACH,)
    choices = {"norm": ("keep", "none")}
    later = ("norm",)
    norm: str = "keep"  # both players' normalisation layers: kept, or taken away

    def edit(self, blueprint: Blueprint) -> Blueprint:
        if self.norm == "none":
            blueprint = replace(blueprint, g_norm=None, d_norm=None)
        return replace(blueprint, updates="simultaneous")


@register("extragradient")
class Extragradient(Trick):
    """Each player moves by its gradient where a step of both players would lead: twice the work of a step.

    With Adam this is ExtraAdam. Both gradients of a step are taken on one batch, where the paper draws two: Mishchenko
    et al. 2020 (Revisiting stochastic extragradient) find one at least as good, and the data's order stays base's.
    """

    paper = "Gidel et al. 2019 (a variational inequality perspective), algorithm 4; one batch: Mishchenko et al. 2020"
    recommended_by = "P"
    models = "DN"
    needs = (ONE_STEP_EACH,)
    conflicts = ("optimistic_adam",)  # which stands for it at the price of one gradient

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, updates="extrapolated")


@register("lookahead")
class Lookahead(Trick):
    """After every k-th step of G both players go back: part of the way from where they were k steps ago.

    What is sampled in between are the live weights.
    """

    paper = "Chavdarova et al. 2021, algorithm 1 and code (k 5, alpha 0.5)"
    recommended_by = "P"
    bounds = {"k": (2, 10**6), "alpha": (OVER_0, 0.999999)}
    k: int = 5  # G steps
    alpha: float = 0.5  # share of the way that is kept

    def init(self, step: Step) -> State:
        return {"steps": step.t.new_zeros(()), **{name: p.detach().clone() for name, p in players(step).items()}}

    def settle(self, parameters: Mapping[str, Tensor], step: Step, state: State) -> None:
        back = (state["steps"] + 1) % self.k == 0  # () bool
        for name, p in parameters.items():
            p.copy_(p.where(~back, state[name].lerp(p, self.alpha)))

    def advance(self, state: State, step: Step) -> State:
        steps = state["steps"] + 1
        slow = {name: p.detach().where(steps % self.k == 0, state[name]) for name, p in players(step).items()}
        return {"steps": steps, **slow}


@register("sharpness_aware")
class SharpnessAware(Trick):
    """Each player's gradient is taken a short way uphill, on its own weights: twice the work of a step.

    SAM seeks weights around which the loss is low. In a game the loss that rises around D's is the other player's gain.
    """

    paper = "Foret et al. 2021, equation 2 and algorithm 1 (rho 0.05)"
    recommended_by = "P"
    bounds = {"rho": (OVER_0, 1e3)}
    rho: float = 0.05

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, sharpness=self.rho)


@register("consensus_optimisation")
class ConsensusOptimisation(Trick):
    """Both players also make both gradients small: a third loss, weight / 2 * ||v||^2, that they share.

    v is the gradient of each player's loss by its own weights, and both move at once, as in the authors' code. That has
    RMSprop at 1e-4; here they keep their optimisers. Both may come to rest where D answers 1/2 everywhere and G draws
    nothing, another point of no gradients: seen on digits beside batch norm.
    """

    paper = "Mescheder et al. 2017 (The numerics of GANs), algorithm 1; weight: all of the authors' experiments/"
    recommended_by = "P"
    models = "DN"
    needs = (ONE_STEP_EACH,)
    batch_norm = (
        "taken out of both players (norm=none): under it gradients are smaller where weights are merely longer, which "
        "is no rest of the game; norm=keep leaves it"
    )
    bounds = {"weight": (OVER_0, 1e6)}
    choices = {"norm": ("none", "keep")}
    weight: float = 10.0
    norm: str = "none"  # both players' normalisation layers: taken away, or kept

    def edit(self, blueprint: Blueprint) -> Blueprint:
        if self.norm == "none":
            blueprint = replace(blueprint, g_norm=None, d_norm=None)
        return replace(blueprint, updates="simultaneous", consensus=self.weight)


@register("unrolled")
class Unrolled(Trick):
    """G's loss is against D as it is some updates later, and knows how those depend on G.

    All of D's updates are on the batch of its last step. D itself takes none of them.
    """

    paper = "Metz et al. 2017, equations 7 and 9 and section 2.3 (Adam unrolled), section 3.2 (5 steps)"
    recommended_by = "P"
    models = "DN"
    needs = (UNROLLABLE,)
    conflicts = (
        *(
            "simultaneous_updates",
            "extragradient",
            "consensus_optimisation",
        ),  # D's moments are not there before its step
        *("negative_momentum", "optimistic_adam"),  # other equations than those that are unrolled
        "weight_norm",  # its lengths may be no part of what is trained
    )
    bounds = {"steps": (1, 100)}
    steps: int = 5  # of D

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, unrolled=self.steps)


@register("latent_optimisation")
class LatentOptimisation(Trick):
    """In training z takes a step of the natural gradient towards what D takes for real, before both players' losses.

    Both players learn through that step, and both pay for its length. All numbers of z move; the paper's z is uniform
    and clipped, that of normal numbers here has no bounds. Sampling is from the draw. The paper's numbers are for
    ImageNet; StudioGAN has damping=0.1,penalty=0.1 for CIFAR-10.
    """

    paper = (
        "Wu et al. 2019 (LOGAN), equations 10 to 12 and section 5 (alpha 0.9, beta 5, w_r 300); StudioGAN's worker.py"
    )
    recommended_by = "P"
    needs = (FAKE_OF_Z,)
    bounds = {"rate": (OVER_0, 1e3), "damping": (1e-3, 1e6), "penalty": (0.0, 1e6)}
    rate: float = 0.9
    damping: float = 5.0
    penalty: float = 300.0  # weight of the mean squared length of the step, in both losses

    def edit(self, blueprint: Blueprint) -> Blueprint:
        options = {"rate": self.rate, "damping": self.damping}
        return replace(blueprint, latent_step=Factory("gan_ablate.interpolation:towards_d", options))

    def d_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        return loss + self._cost(step)

    def g_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        return loss + self._cost(step)

    def _cost(self, step: Step) -> Tensor:
        assert step.latents is not None
        assert step.drawn is not None
        return self.penalty * (step.latents - step.drawn).square().sum(1).mean()
