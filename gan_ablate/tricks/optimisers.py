"""Optimisers, learning rates, and who is trained when."""

from __future__ import annotations

from collections.abc import Callable

from gan_ablate.blueprint import Blueprint, Factory, replace
from gan_ablate.trick import Trick, register
from gan_ablate.tricks.needs import PROBABILITIES

RATE = (1e-9, 10.0)


def _both(blueprint: Blueprint, change: Callable[[Factory], Factory]) -> Blueprint:
    """Both players' optimisers changed."""
    g, d = blueprint.g_optimizer, blueprint.d_optimizer
    assert isinstance(g, Factory)
    assert isinstance(d, Factory)
    return replace(blueprint, g_optimizer=change(g), d_optimizer=change(d))


@register("adam_lr")
class AdamLR(Trick):
    """Another learning rate of both players; 1e-3 is Adam's default."""

    paper = "Radford et al. 2015, section 4 (2e-4; 1e-3 advised against)"
    advised_against_by = "S0.5 (1e-3)"
    models = "DN"
    bounds = {"lr": RATE}
    lr: float = 1e-3

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return _both(blueprint, lambda optimizer: optimizer.but(lr=self.lr))


@register("adam_beta1")
class AdamBeta1(Trick):
    """Another beta1 of both players; 0.9 is Adam's default."""

    paper = "Radford et al. 2015, section 4 (0.5; 0.9 advised against); Gulrajani et al. 2017, algorithm 1 (0)"
    recommended_by = "S0.5 (0.5) S4.8 (low, W)"
    advised_against_by = "S0.5 (0.9)"
    bounds = {"beta1": (0.0, 0.9999)}
    beta1: float = 0.9

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return _both(blueprint, self._changed)

    def _changed(self, optimizer: Factory) -> Factory:
        if "betas" not in optimizer.options:
            return optimizer  # another trick's RMSprop or SGD has no beta1
        _, beta2 = optimizer.options["betas"]
        return optimizer.but(betas=(float(self.beta1), float(beta2)))  # torch refuses the whole number 0


@register("sgd_discriminator")
class SGDDiscriminator(Trick):
    """SGD for D, Adam for G."""

    paper = "Chintala et al. 2016, tip 9"
    recommended_by = "S1.9"
    models = "DN"
    bounds = {"lr": RATE, "momentum": (0.0, 0.9999)}
    lr: float = 0.01
    momentum: float = 0.0

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, d_optimizer=Factory("torch.optim:SGD", {"lr": self.lr, "momentum": self.momentum}))


@register("rmsprop")
class RMSprop(Trick):
    """RMSprop for both players."""

    paper = "Arjovsky et al. 2017, algorithm 1"
    recommended_by = "S2"
    models = "W"
    bounds = {"lr": RATE}
    lr: float = 5e-5

    def edit(self, blueprint: Blueprint) -> Blueprint:
        rmsprop = Factory("torch.optim:RMSprop", {"lr": self.lr})
        return replace(blueprint, g_optimizer=rmsprop, d_optimizer=rmsprop)


@register("ttur")
class TTUR(Trick):
    """Another learning rate for D than for G; 4 is SAGAN's factor.

    Heusel et al. chose both rates per data set: D's over G's is 1/5 (dcgan on CIFAR-10), 1/10 to 1/50 (dcgan on SVHN,
    LSUN and CelebA) and 3 (wgan_gp, with one D step per G step).
    """

    paper = "Heusel et al. 2017, section 1 and table 1; Zhang et al. 2019 (SAGAN), section 4.2 (4)"
    recommended_by = "S4.11"
    bounds = {"factor": (1e-3, 1e3)}
    factor: float = 4.0  # D's learning rate over what it was

    def edit(self, blueprint: Blueprint) -> Blueprint:
        d = blueprint.d_optimizer
        assert isinstance(d, Factory)
        return replace(blueprint, d_optimizer=d.but(lr=d.options["lr"] * self.factor))


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
class LossBalancing(Trick):
    """Train only the player whose loss is over its threshold; a round in which neither is trained counts too.

    The loss is the whole one: penalties and the terms of other tricks open the gate as well as the game does. The
    source names no thresholds. With ln 2 or less for both one player always trains: where G's loss is under it, D takes
    fakes
    for real, and D's loss is over it. With 1 for both training stood still after a few steps: neither loss was over 1.
    """

    paper = "Chintala et al. 2016, tip 11 (advises against)"
    advised_against_by = "S0 S1.11"
    models = "DN"
    needs = (PROBABILITIES,)
    bounds = {"d": (0.0, 1e3), "g": (0.0, 1e3)}
    d: float = 0.69  # D is trained while its loss (real and fake half together) is over it; 0: always
    g: float = 0.69  # the same for G

    def edit(self, blueprint: Blueprint) -> Blueprint:
        gates = [Factory("gan_ablate.optim:over", {"threshold": x}) if x else None for x in (self.d, self.g)]
        return replace(blueprint, d_gate=gates[0], g_gate=gates[1])


@register("lr_decay")
class LRDecay(Trick):
    """Both learning rates fall linearly to 0."""

    paper = "Gulrajani et al. 2017, appendix F; Miyato et al. 2018, appendix C"
    recommended_by = "P"
    bounds = {"start": (0.0, 0.999)}
    start: float = 0.0  # share of training after which they fall

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, lr_schedule=Factory("gan_ablate.optim:linear_to_zero", {"start": self.start}))
