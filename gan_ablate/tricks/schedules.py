"""Who is trained when, and how fast."""

from __future__ import annotations

from dataclasses import dataclass

from gan_ablate.blueprint import Blueprint, Factory, replace
from gan_ablate.trick import Trick, register
from gan_ablate.tricks.needs import PROBABILITIES

EQUAL = {"equal": ("steps", "compute")}
STEPS = (1, 1000)


def _rounds(blueprint: Blueprint, n_critic: int, n_generator: int, equal: str) -> Blueprint:
    """Another number of steps per round, at equal G steps or at equal updates of both players together."""
    before = (blueprint.n_critic + blueprint.n_generator) / blueprint.n_generator  # updates per G step
    after = (n_critic + n_generator) / n_generator
    share = before / after if equal == "compute" else 1
    steps = max(1, round(blueprint.steps * share))
    return replace(blueprint, n_critic=n_critic, n_generator=n_generator, steps=steps)


@register("n_critic")
@dataclass(frozen=True)
class NCritic(Trick):
    """D steps per G step.

    `equal=compute` prices an update of D as one of G, so with a penalty, which makes D's dearer, time is not equal.
    """

    paper = "Goodfellow et al. 2014, algorithm 1; Arjovsky et al. 2017, algorithm 1"
    recommended_by = "S1.14 S2 S4.8"
    bounds = {"n": STEPS}
    choices = EQUAL
    n: int = 2
    equal: str = "steps"  # steps: as many G steps as base; compute: as many updates of both players together

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return _rounds(blueprint, self.n, blueprint.n_generator, self.equal)


@register("n_generator")
@dataclass(frozen=True)
class NGenerator(Trick):
    """G steps per D step.

    `equal=compute` prices an update of D as one of G, so with a penalty, which makes D's dearer, time is not equal.
    """

    paper = "S4.11 (2023): update D less often; Goodfellow et al. 2014, algorithm 1 (k the other way)"
    recommended_by = "S4.11"
    bounds = {"n": STEPS}
    choices = EQUAL
    n: int = 2
    equal: str = "steps"  # steps: as many G steps as base; compute: as many updates of both players together

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return _rounds(blueprint, blueprint.n_critic, self.n, self.equal)


@register("loss_balancing")
@dataclass(frozen=True)
class LossBalancing(Trick):
    """Train only the player whose loss is over its threshold; a round in which neither is trained counts too.

    The loss is the whole one: penalties and the terms of other tricks open the gate as well as the game does.
    """

    paper = "Chintala et al. 2016, tip 11 (advises against)"
    advised_against_by = "S0 S1.11"
    models = "DN"
    needs = (PROBABILITIES,)
    bounds = {"d": (0.0, 1e3), "g": (0.0, 1e3)}
    d: float = 1.0  # D is trained while its loss (real and fake half together) is over it; 0: always
    g: float = 1.0  # the same for G

    def edit(self, blueprint: Blueprint) -> Blueprint:
        gates = [Factory("gan_ablate.optim:over", {"threshold": x}) if x else None for x in (self.d, self.g)]
        return replace(blueprint, d_gate=gates[0], g_gate=gates[1])


@register("lr_decay")
@dataclass(frozen=True)
class LRDecay(Trick):
    """Both learning rates fall linearly to 0."""

    paper = "Gulrajani et al. 2017, appendix F; Miyato et al. 2018, appendix C"
    recommended_by = "P"
    bounds = {"start": (0.0, 0.999)}
    start: float = 0.0  # share of training after which they fall

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, lr_schedule=Factory("gan_ablate.optim:linear_to_zero", {"start": self.start}))
