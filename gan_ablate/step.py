"""One training step as pure functions: the only callers of the step-time hooks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gan_ablate.blueprint import Blueprint
from gan_ablate.nets import Critique
from gan_ablate.trick import Chain, State, Step, Targets


@dataclass(frozen=True)
class Game:
    """The two players and the rules: what a blueprint and its tricks were built into."""

    blueprint: Blueprint
    chain: Chain
    objective: Any  # of gan_ablate.losses
    generator: Callable[[Tensor], Tensor]  # z (N, latent_dim) -> images (N, C, H, W) in [-1, 1]
    discriminator: Callable[[Tensor], Critique]

    def uses(self, hook: str) -> bool:
        """Whether this game consults a hook and some trick changes it."""
        return hook in self.blueprint.hooks and hook in self.chain.overridden

    def critique(self, images: Tensor, step: Step, state: State) -> Critique:
        """D's answer to images behind the `inputs` hooks."""
        return self.discriminator(self.chain.inputs(images, step, state))


@dataclass(frozen=True)
class Played:
    """A player's loss and D's answers that it came from."""

    loss: Tensor  # ()
    real: Critique | None
    fake: Critique


def latents(game: Game, z: Tensor, step: Step, state: State) -> Tensor:
    """z (N, latent_dim) from N(0, 1) as G sees it."""
    return game.chain.latents(z, step, state)


def discriminator_loss(game: Game, z: Tensor, step: Step, state: State) -> Played:
    """D's whole loss for one batch: objective, penalty and every term that tricks add, as one scalar."""
    with torch.no_grad():
        step.fake = game.generator(latents(game, z, step, state))  # (N, C, H, W) in [-1, 1]
    fakes = game.chain.fakes(step.fake, step, state)
    real_inputs = game.chain.inputs(step.real, step, state)
    fake_inputs = game.chain.inputs(fakes, step, state)
    # two batches, so that batch norm's statistics never mix real and fake (Chintala et al. 2016, tip 4)
    real, fake = game.discriminator(real_inputs), game.discriminator(fake_inputs)
    targets = Targets(torch.ones_like(real.logits), torch.zeros_like(fake.logits))
    if game.uses("targets"):
        targets = game.chain.targets(targets, step, state)
    loss = game.objective.discriminator(real.logits, fake.logits, targets)
    if game.blueprint.penalty is not None:
        loss = loss + game.blueprint.penalty(lambda x: game.discriminator(x).logits, real_inputs, fake_inputs, step)
    return Played(game.chain.d_loss(loss, step, state), real, fake)


def generator_loss(game: Game, z: Tensor, step: Step, state: State) -> Played:
    """G's whole loss for one batch of fresh latents."""
    step.fake = game.generator(latents(game, z, step, state))
    step.fake_critique = game.critique(step.fake, step, state)
    loss = game.objective.generator(step.fake_critique.logits)
    return Played(game.chain.g_loss(loss, step, state), None, step.fake_critique)
