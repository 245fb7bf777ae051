"""One training step as pure functions: the only callers of the step-time hooks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gan_ablate.blueprint import Blueprint
from gan_ablate.nets import Critique
from gan_ablate.trick import Chain, FakeBatch, State, Step, Targets


@dataclass(frozen=True)
class Game:
    """The players and the rules: what a blueprint and its tricks were built into."""

    blueprint: Blueprint
    chain: Chain
    objective: Any  # of gan_ablate.losses
    generator: nn.Module  # z (N, latent_dim), labels (N,) -> images (N, C, H, W) in [-1, 1]
    discriminator: Callable[..., Critique]  # images, labels -> Critique

    def uses(self, hook: str) -> bool:
        """Whether this game consults a hook and some trick changes it."""
        return hook in self.blueprint.consulted and hook in self.chain.overridden

    def critique(self, images: Tensor, step: Step, state: State) -> Critique:
        """D's answer to images behind the `inputs` hooks."""
        return self.discriminator(self.chain.inputs(images, step, state), step.labels)


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
    """D's whole loss for one batch: objective, penalties and every term that tricks add, as one scalar."""
    with torch.no_grad():
        step.fake = game.generator(latents(game, z, step, state), step.labels)  # (N, C, H, W) in [-1, 1]
    batches = game.chain.fakes((FakeBatch(step.fake, 1.0),), step, state)
    real_inputs = game.chain.inputs(step.real, step, state)
    fake_inputs = [game.chain.inputs(batch.images, step, state) for batch in batches]
    real, newest = _answers(game, real_inputs, fake_inputs[0], step)
    answers = [newest, *(game.discriminator(x, step.labels) for x in fake_inputs[1:])]
    step.real_critique, step.fake_critique, step.d_fake_critique = real, newest, newest.detach()
    fakes = [answer.logits for answer in answers]
    targets = Targets(torch.ones_like(real.logits), torch.zeros_like(torch.cat(fakes)))
    if game.uses("targets"):
        targets = game.chain.targets(targets, step, state)
    loss = real.logits.new_zeros(())
    for batch, logits, target in zip(batches, fakes, targets.fake.split([len(x) for x in fakes]), strict=True):
        loss = loss + batch.weight * game.objective.discriminator(real.logits, logits, Targets(targets.real, target))
    for penalty in game.blueprint.penalties:
        loss = loss + penalty(lambda x: game.discriminator(x, step.labels).logits, real_inputs, fake_inputs[0], step)
    return Played(game.chain.d_loss(loss, step, state), real, newest)


def _answers(game: Game, real: Tensor, fake: Tensor, step: Step) -> tuple[Critique, Critique]:
    """D's answers: two batches, so that batch norm's statistics never mix real and fake, unless they are joint."""
    if not game.blueprint.joint:
        return game.discriminator(real, step.labels), game.discriminator(fake, step.labels)
    labels = None if step.labels is None else torch.cat((step.labels, step.labels))
    return game.discriminator(torch.cat((real, fake)), labels).split(len(real))


def generator_loss(game: Game, z: Tensor, step: Step, state: State) -> Played:
    """G's whole loss for one batch of latents. D sees batches made up as in its own step."""
    step.fake = game.generator(latents(game, z, step, state), step.labels)
    fake_inputs = game.chain.inputs(step.fake, step, state)
    if game.blueprint.joint or game.objective.needs_real:
        real, step.fake_critique = _answers(game, game.chain.inputs(step.real, step, state), fake_inputs, step)
    else:
        real, step.fake_critique = None, game.discriminator(fake_inputs, step.labels)
    loss = game.objective.generator(step.fake_critique.logits, real and real.logits)
    with untracked(game.generator):  # what tricks send through G is not what is sampled
        return Played(game.chain.g_loss(loss, step, state), None, step.fake_critique)


@contextmanager
def untracked(network: nn.Module) -> Iterator[None]:
    """Batch norm as in training, but no batch enters its running statistics."""
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
