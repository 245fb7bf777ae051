"""Both players' losses for one batch, as functions of their arguments.

They are the only callers of the hooks that run within a step. They write nothing into what they are given and return
what they found. Two things move all the same, as in any forward pass in training mode: the running statistics of batch
norm, and the random generator of the tricks.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from gan_ablate.blueprint import Blueprint
from gan_ablate.nets import Critique
from gan_ablate.trick import Chain, FakeBatch, States, Step, Targets


@dataclass(frozen=True)
class Game:
    """The players and the rules.

    `replace(game, blueprint=...)` plays by other numbers; networks and objective stay as they were built.
    """

    blueprint: Blueprint
    chain: Chain
    objective: Any  # of gan_ablate.losses
    generator: nn.Module  # z (N, latent_dim), labels (N,) -> images (N, C, H, W) in [-1, 1]
    discriminator: nn.Module  # images (N, C, H, W), labels (N,) -> Critique

    @cached_property
    def g_parameters(self) -> Mapping[str, Tensor]:
        """G's parameters by name."""
        return dict(self.generator.named_parameters())

    @cached_property
    def d_parameters(self) -> Mapping[str, Tensor]:
        """D's parameters by name."""
        return dict(self.discriminator.named_parameters())

    def uses(self, hook: str) -> bool:
        """Whether the blueprint consults a hook and some trick changes it."""
        return hook in self.blueprint.consulted and hook in self.chain.overridden

    def values(self, critique: Critique) -> Tensor:
        """What the objective reads of D's answer: logits (N,), or the head (N, ..) that it names."""
        head = getattr(self.objective, "head", "")
        return critique.heads[head] if head else critique.logits

    def with_found(self, step: Step, states: States, **found: Any) -> Step:
        """The step with more of its fields known, and with `critique` and `generate` that pass it on to the hooks."""

        def critique(images: Tensor) -> Critique:
            return self.discriminator(self.chain.inputs(images, now, states), now.labels)

        def generate(z: Tensor) -> Tensor:
            return self.generator(self.chain.latents(z, now, states), now.labels)

        now = replace(step, **found, critique=critique, generate=generate)
        return now


@dataclass(frozen=True)
class Played:
    """What one player's turn found."""

    loss: Tensor  # ()
    step: Step  # the step that was given, with G's newest fakes and D's answers


def discriminator_loss(game: Game, z: Tensor, step: Step, states: States) -> Played:
    """D's whole loss for one batch: objective, penalties and every term that tricks add, as one scalar.

    z: (N, latent_dim) from N(0, 1). Found: `fake`, `z`, `real_critique`, `fake_critique` and `d_fake_critique`.
    Penalties that are trained on every so many steps only are `lazy_penalties`.
    """
    with torch.no_grad():
        fake = game.generator(game.chain.latents(z, step, states), step.labels)  # (N, C, H, W) in [-1, 1]
    step = game.with_found(step, states, fake=fake, z=z)
    batches = game.chain.fakes((FakeBatch(fake, 1.0),), step, states)
    real_inputs = game.chain.inputs(game.chain.reals(step.real, step, states), step, states)
    fake_inputs = [game.chain.inputs(batch.images, step, states) for batch in batches]
    real, newest = _answers(game, real_inputs, fake_inputs[0], step)
    answers = [newest, *(game.discriminator(x, step.labels) for x in fake_inputs[1:])]
    step = game.with_found(step, states, real_critique=real, fake_critique=newest, d_fake_critique=newest.detach())
    fakes = [game.values(answer) for answer in answers]
    targets = Targets(torch.ones_like(real.logits), torch.zeros_like(torch.cat([answer.logits for answer in answers])))
    if game.uses("targets"):
        targets = game.chain.targets(targets, step, states)
    loss = real.logits.new_zeros(())
    for batch, values, target in zip(batches, fakes, targets.fake.split([len(x) for x in fakes]), strict=True):
        weighted = game.objective.discriminator(game.values(real), values, Targets(targets.real, target))
        loss = loss + batch.weight * weighted
    if game.blueprint.penalty_every == 1:
        loss = _penalised(loss, game, real_inputs, fake_inputs[0], step)
    with untracked(game.generator):  # what tricks send through G is not what is sampled
        return Played(game.chain.d_loss(loss, step, states), step)


def lazy_penalties(game: Game, z: Tensor, step: Step, states: States) -> Played:
    """D's penalties alone, times the D steps that they stand for (Karras et al. 2020, StyleGAN2, appendix B).

    step: as D's step left it, with the fakes made of z.
    """
    assert step.fake is not None
    real = game.chain.inputs(game.chain.reals(step.real, step, states), step, states)
    fake = game.chain.inputs(step.fake, step, states)
    loss = _penalised(step.t.new_zeros(()), game, real, fake, step)
    return Played(game.blueprint.penalty_every * loss, step)


def _penalised(loss: Tensor, game: Game, real: Tensor, fake: Tensor, step: Step) -> Tensor:
    for penalty in game.blueprint.penalties:
        loss = loss + penalty(lambda x: game.discriminator(x, step.labels).logits, real, fake, step)
    return loss


def _answers(game: Game, real: Tensor, fake: Tensor, step: Step) -> tuple[Critique, Critique]:
    """D's answers: two batches, so that batch norm's statistics never mix real and fake, unless they are joint."""
    if not game.blueprint.joint:
        return game.discriminator(real, step.labels), game.discriminator(fake, step.labels)
    labels = None if step.labels is None else torch.cat((step.labels, step.labels))
    return game.discriminator(torch.cat((real, fake)), labels).split(len(real))


def generator_loss(game: Game, z: Tensor, step: Step, states: States) -> Played:
    """G's whole loss for one batch of latents. D sees batches made up as in its own step.

    z: (N, latent_dim) from N(0, 1). Found: `fake`, `z` and `fake_critique`.
    """
    fake = game.generator(game.chain.latents(z, step, states), step.labels)  # (N, C, H, W) in [-1, 1]
    step = game.with_found(step, states, fake=fake, z=z)
    fake_inputs = game.chain.inputs(fake, step, states)
    if game.blueprint.joint or game.objective.needs_real:
        real, answer = _answers(game, game.chain.inputs(step.real, step, states), fake_inputs, step)
    else:
        real, answer = None, game.discriminator(fake_inputs, step.labels)
    step = game.with_found(step, states, fake_critique=answer)
    loss = game.objective.generator(game.values(answer), real and game.values(real))
    with untracked(game.generator):  # what tricks send through G is not what is sampled
        return Played(game.chain.g_loss(loss, step, states), step)


@contextmanager
def untracked(network: nn.Module) -> Iterator[None]:
    """Batch norm as in training, but no batch enters its running statistics.

    It changes a flag of the modules and puts it back. `functional_call` on copies of the statistics would leave the
    modules alone, but would make those copies at every step.
    """
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.track_running_stats]
    for norm in norms:
        norm.track_running_stats = False
    try:
        yield
    finally:
        for norm in norms:
            norm.track_running_stats = True
