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
from gan_ablate.nets import Critique, Seen
from gan_ablate.penalties import sides_of
from gan_ablate.rules import Plain
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
    discriminator: nn.Module  # what D sees (N, C, H, W), labels (N,), where the game has it what is beside -> Critique
    rules: Plain = Plain()
    encoder: nn.Module | None = None  # images -> codes, trained with G

    @cached_property
    def g_parameters(self) -> Mapping[str, Tensor]:
        """G's parameters by name."""
        return dict(self.generator.named_parameters())

    @cached_property
    def d_parameters(self) -> Mapping[str, Tensor]:
        """D's parameters by name."""
        return dict(self.discriminator.named_parameters())

    @cached_property
    def sloped(self) -> frozenset[str]:
        """The sides, `real` or `fake`, whose answer in the game serves D's penalties too."""
        bp = self.blueprint
        apart = bp.joint or bp.penalty_every > 1  # the penalties' answers are others
        return frozenset() if apart else frozenset[str]().union(*map(sides_of, bp.penalties))

    @cached_property
    def hooks(self) -> frozenset[str]:
        """The hooks that the blueprint consults and some trick changes."""
        return self.blueprint.consulted & self.chain.overridden

    def uses(self, hook: str) -> bool:
        """Whether the blueprint consults a hook and some trick changes it."""
        return hook in self.hooks

    def values(self, critique: Critique) -> Tensor:
        """What the objective reads of D's answer: logits (N,), or the head (N, ..) that it names."""
        head = getattr(self.objective, "head", "")
        return critique.heads[head] if head else critique.logits

    def with_found(self, step: Step, states: States, **found: Any) -> Step:
        """The step with more of its fields known, and with `critique` and `generate` that pass it on to the hooks."""

        def critique(images: Tensor) -> Critique:
            with torch.no_grad():  # of an encoder; images keep their own graph
                seen = self.rules.real(self, images, now.latents)  # type: ignore[arg-type]
            return self.answer(self.inputs(seen, now, states), now)

        def generate(z: Tensor) -> Tensor:
            return self.generator(self.latents(z, now, states), now.labels)

        now = replace(step, **found, critique=critique, generate=generate)
        return now

    def latents(self, z: Tensor, step: Step, states: States) -> Tensor:
        """z (N, latent_dim) from N(0, 1) -> z as G sees it."""
        return self.rules.latents(self.chain.latents(z, step, states))

    def inputs(self, seen: Seen, step: Step, states: States) -> Seen:
        """What D is to see, behind the tricks' `inputs`."""
        return seen._replace(x=self.chain.inputs(seen.x, step, states))

    def answer(self, seen: Seen, step: Step) -> Critique:
        """D's answer."""
        beside = () if seen.beside is None else (seen.beside,)
        return self.discriminator(seen.x, step.labels, *beside)


@dataclass(frozen=True)
class Played:
    """What one player's turn found."""

    loss: Tensor  # ()
    step: Step  # the step that was given, with G's newest fakes and D's answers


def discriminator_loss(game: Game, z: Tensor, step: Step, states: States, through_g: bool = False) -> Played:
    """D's whole loss for one batch: objective, penalties and every term that tricks add, as one scalar.

    z: (N, latent_dim) from N(0, 1). through_g: the loss has gradients by the parameters of G's side too. Found: `z`,
    `drawn`, `latents`, `fake`, `real_critique`, `fake_critique` and `d_fake_critique`. Penalties that are trained on
    every so many steps only are `lazy_penalties`.
    """
    # of the players on G's side; where D's gradient moves z, D's loss depends on D by z as well
    with torch.set_grad_enabled(through_g or game.blueprint.latent_step is not None):
        drawn = game.latents(z, step, states)
        latents = _moved(game, drawn, step, states)
        fake = game.rules.fake(game, step.real, latents, step.labels)
    step = game.with_found(step, states, z=z, drawn=drawn, latents=latents, fake=fake.x)
    with torch.set_grad_enabled(through_g):
        real_seen = game.rules.real(game, game.chain.reals(step.real, step, states), latents)
    batches = game.chain.fakes((FakeBatch(fake.x, 1.0),), step, states)
    real_inputs = game.inputs(real_seen, step, states)
    fake_inputs = [game.inputs(fake._replace(x=batch.images), step, states) for batch in batches]
    if game.sloped and not through_g:
        real_inputs = _differentiable(game, "real", real_inputs)
        fake_inputs[0] = _differentiable(game, "fake", fake_inputs[0])
    real, newest = _answers(game, real_inputs, fake_inputs[0], step)
    answers = [newest, *(game.answer(seen, step) for seen in fake_inputs[1:])]
    step = game.with_found(step, states, real_critique=real, fake_critique=newest, d_fake_critique=newest.detach())
    fakes = [game.values(answer) for answer in answers]
    losses = [
        game.objective.discriminator(game.values(real), values, target)
        for values, target in zip(fakes, _targets(game, real, answers, step, states), strict=True)
    ]
    # most steps have one batch, which weighs 1: no product and no sum then
    weighted = [x if b.weight == 1 else b.weight * x for b, x in zip(batches, losses, strict=True)]
    loss = sum(weighted[1:], start=weighted[0])
    if game.blueprint.penalty_every == 1:
        loss = _penalised(loss, game, real_inputs, fake_inputs[0], step, (real, newest))
    for term in game.blueprint.d_terms:
        loss = loss + term(game, step)
    if game.uses("d_loss"):
        with untracked(game.generator):  # what tricks send through G is not what is sampled
            loss = game.chain.d_loss(loss, step, states)
    return Played(loss, step)


def _targets(game: Game, real: Critique, fakes: list[Critique], step: Step, states: States) -> list[Targets]:
    """What D should answer to the real images and to each batch of fakes."""
    if not game.uses("targets"):
        return [Targets()] * len(fakes)
    logits = [fake.logits for fake in fakes]
    targets = Targets(torch.ones_like(real.logits), torch.zeros_like(torch.cat(logits)))
    targets = game.chain.targets(targets, step, states)
    return [Targets(targets.real, part) for part in targets.fake.split([len(x) for x in logits])]


def lazy_penalties(game: Game, z: Tensor, step: Step, states: States) -> Played:
    """D's penalties alone, times the D steps that they stand for (Karras et al. 2020, StyleGAN2, appendix B).

    step: as D's step left it, with the fakes made of z.
    """
    assert step.fake is not None
    real = game.inputs(Seen(game.chain.reals(step.real, step, states)), step, states)
    fake = game.inputs(Seen(step.fake), step, states)
    loss = _penalised(step.t.new_zeros(()), game, real, fake, step)
    return Played(game.blueprint.penalty_every * loss, step)


def _differentiable(game: Game, side: str, seen: Seen) -> Seen:
    """What D sees of a side, as a leaf that has gradients where D's one answer serves the game and a penalty.

    So it is in the code of Mescheder et al. 2018 and Huang et al. 2024. Penalties are in fp32: in bf16 D answers anew.
    """
    x = seen.x
    alike = x.dtype == torch.float32 and not torch.is_autocast_enabled(x.device.type)
    if side not in game.sloped or seen.beside is not None or x.requires_grad or not alike:
        return seen
    return Seen(x.detach().requires_grad_())


def _penalised(  # noqa: PLR0917
    loss: Tensor, game: Game, real: Seen, fake: Seen, step: Step, answers: tuple[Critique, ...] = ()
) -> Tensor:
    """The loss with D's penalties. answers: what D said of real and of fake in the game, where it did."""

    def critic(x: Tensor) -> Tensor:
        for seen, answer in zip((real, fake), answers, strict=False):
            if x is seen.x and x.requires_grad:
                return answer.mean_logits
        return game.answer(real.like(x), step).mean_logits

    for penalty in game.blueprint.penalties:
        loss = loss + penalty(critic, real.whole(), fake.whole(), step)
    return loss


def _moved(game: Game, z: Tensor, step: Step, states: States) -> Tensor:
    """z (N, latent_dim) as G would see it -> z as G sees it in training."""
    if game.blueprint.latent_step is None:
        return z

    def logits(z: Tensor) -> Tensor:
        seen = game.rules.fake(game, step.real, z, step.labels)
        return game.answer(game.inputs(seen, step, states), step).mean_logits

    with untracked(game.generator), untracked(game.discriminator):
        return game.blueprint.latent_step(z, logits, differentiably=torch.is_grad_enabled())


class Ahead(nn.Module):
    """A network with other parameters in place of its own."""

    def __init__(self, network: nn.Module, parameters: Mapping[str, Tensor]) -> None:
        super().__init__()
        self.network, self.ahead = network, dict(parameters)

    def forward(self, *inputs: Any) -> Any:
        return torch.func.functional_call(self.network, self.ahead, inputs)


def unrolled(game: Game, update: Any, z: Tensor, step: Step, states: States) -> Game:
    """The game with D as it is after further updates, as a function of G's parameters (Metz et al. 2017, equation 7).

    update: an `optim.Unrolled` of D's optimiser. All updates are on one batch.
    """
    weights = {name: p.detach().requires_grad_() for name, p in game.d_parameters.items()}
    for _ in range(game.blueprint.unrolled):
        ahead = replace(game, discriminator=Ahead(game.discriminator, weights))
        with untracked(game.generator), untracked(game.discriminator):
            loss = discriminator_loss(ahead, z, step, states, through_g=True).loss
        weights = update(weights, torch.autograd.grad(loss, list(weights.values()), create_graph=True))
    return replace(game, discriminator=Ahead(game.discriminator, weights))


def _answers(game: Game, real: Seen, fake: Seen, step: Step) -> tuple[Critique, Critique]:
    """D's answers: two batches, so that batch norm's statistics never mix real and fake, unless they are joint."""
    if not game.blueprint.joint:
        return game.answer(real, step), game.answer(fake, step)
    labels = None if step.labels is None else torch.cat((step.labels, step.labels))
    return game.answer(real.joined(fake), replace(step, labels=labels)).split(len(real.x))


def generator_loss(game: Game, z: Tensor, step: Step, states: States) -> Played:
    """G's whole loss for one batch of latents. D sees batches made up as in its own step.

    z: (N, latent_dim) from N(0, 1). Found: `z`, `drawn`, `latents`, `fake` and `fake_critique`.
    """
    drawn = game.latents(z, step, states)
    latents = _moved(game, drawn, step, states)
    fake = game.rules.fake(game, step.real, latents, step.labels)
    step = game.with_found(step, states, z=z, drawn=drawn, latents=latents, fake=fake.x)
    fake_inputs = game.inputs(fake, step, states)
    if game.blueprint.joint or game.objective.needs_real or game.rules.encodes:
        real_inputs = game.inputs(game.rules.real(game, step.real, latents), step, states)
        real, answer = _answers(game, real_inputs, fake_inputs, step)
    else:
        real, answer = None, game.answer(fake_inputs, step)
    step = game.with_found(step, states, fake_critique=answer)
    loss = game.objective.generator(game.values(answer), real and game.values(real))
    if game.rules.encodes and real:
        loss = loss + game.objective.encoder(game.values(real))
    if game.uses("g_loss"):
        with untracked(game.generator):  # what tricks send through G is not what is sampled
            loss = game.chain.g_loss(loss, step, states)
    for term in game.blueprint.g_terms:
        loss = loss + term(game, step)
    return Played(loss, step)


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
