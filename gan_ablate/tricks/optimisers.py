"""Optimisers and their numbers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from gan_ablate.blueprint import Blueprint, Factory, replace
from gan_ablate.trick import Trick, register

RATE = (1e-9, 10.0)


def _both(blueprint: Blueprint, change: Callable[[Factory], Factory]) -> Blueprint:
    """Both players' optimisers changed."""
    g, d = blueprint.g_optimizer, blueprint.d_optimizer
    assert isinstance(g, Factory)
    assert isinstance(d, Factory)
    return replace(blueprint, g_optimizer=change(g), d_optimizer=change(d))


@register("adam_lr")
@dataclass(frozen=True)
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
@dataclass(frozen=True)
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
@dataclass(frozen=True)
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
@dataclass(frozen=True)
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
@dataclass(frozen=True)
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
