"""Gradients of the players that are not those of their losses where both stand: further on, uphill, of both together.

Each function changes gradients in place, as tensors, so that a CUDA graph can replay it. `module` is a
`models.training.Training`, whose file imports this one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from gan_ablate.models.networks import frozen
from gan_ablate.models.rounds import Players, Record
from gan_ablate.optim import Unrolled, bare, taken_back, uphill
from gan_ablate.step import Game, Played, discriminator_loss, generator_loss, unrolled, untracked
from gan_ablate.trick import States, Step


class DiscriminatorTurn(NamedTuple):
    """What D's turn leaves to G's."""

    step: Step  # with what was found, detached
    z: Tensor  # (N, latent_dim)
    record: Record


def sharpen(  # noqa: PLR0917
    module: Any, loss_of: Any, optimizer: Any, backward: Callable[[Tensor], None], z: Tensor, step: Step, states: States
) -> None:
    """One player's gradient, in place, where its last one leads uphill (Foret et al. 2021, algorithm 1)."""
    with uphill(optimizer, module.blueprint.sharpness), untracked(module.generator), untracked(module.discriminator):
        with module._precision():
            worse: Played = loss_of(module.game, z, step, states)
        optimizer.zero_grad()
        backward(worse.loss)


def extrapolate(module: Any, players: Players, turn: DiscriminatorTurn, z: Tensor, states: States) -> None:
    """Both players' gradients, in place, where one update of each leads; the weights are as before.

    Gidel et al. 2019, algorithm 4, on one batch: the optimisers' moments take in both gradients. The two points share
    the batch and z (Mishchenko et al. 2020), so that no arm's draws move.
    """
    with taken_back(players.discriminator, players.generator):
        for optimizer in map(bare, players[:2]):
            module._clip_and_schedule(optimizer)
            optimizer.step()
        module._play(discriminator_loss, players.discriminator, players.backward, turn.z, turn.step, states)
        with frozen(module.game.d_parameters.values()):
            module._play(generator_loss, players.generator, players.backward, z, turn.step, states)


def agree(module: Any, turn: DiscriminatorTurn, z: Tensor, states: States) -> None:
    """Adds to both players' gradients that of half the square of both (Mescheder et al. 2017, algorithm 1)."""
    players = [list(network.parameters()) for network in (module.discriminator, module.generator)]
    with untracked(module.generator), untracked(module.discriminator), module._precision():
        d = discriminator_loss(module.game, turn.z, turn.step, states, through_g=True).loss
        g = generator_loss(module.game, z, turn.step, states).loss
    gradients = [
        v
        for loss, own in zip((d, g), players, strict=True)
        for v in torch.autograd.grad(loss, own, create_graph=True, allow_unused=True)
        if v is not None
    ]
    half_square = torch.stack([v.square().sum() for v in gradients]).sum() / 2
    parameters = [p for own in players for p in own]
    for p, more in zip(parameters, torch.autograd.grad(half_square, parameters, allow_unused=True), strict=True):
        if more is not None and p.grad is not None:
            p.grad.add_(more, alpha=module.blueprint.consensus)


def unroll(players: Players, turn: DiscriminatorTurn) -> Callable[..., Played]:
    """G's loss against D as it is after further updates, on the batch and z of its last one."""

    def loss_of(game: Game, z: Tensor, step: Step, states: States) -> Played:
        update = Unrolled(players.discriminator)
        return generator_loss(unrolled(game, update, turn.z, step, states), z, step, states)

    return loss_of
