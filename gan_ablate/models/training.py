"""One training step as Lightning calls it: play, update, record, stop."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn

from gan_ablate.data.images import to_float
from gan_ablate.data.module import Batches
from gan_ablate.data.torch_sets import batch_of
from gan_ablate.models.gradients import DiscriminatorTurn, agree, extrapolate, sharpen, unroll
from gan_ablate.models.networks import frozen, gradient_norm, take_first_values
from gan_ablate.models.rounds import Players, Record, Rounds
from gan_ablate.models.sampler import Sampler
from gan_ablate.nets.layers import MEMORY
from gan_ablate.nets.progressive import grow
from gan_ablate.nets.weights import advance, matrices
from gan_ablate.optim import gated_step
from gan_ablate.step import Played, discriminator_loss, generator_loss, lazy_penalties
from gan_ablate.trick import States, Step
from gan_ablate.trick import players as player_parameters

LOG_EVERY = 50  # D steps between two records of training health, at the most
SHOWN = ("d_loss", "g_loss")  # what callbacks and the progress bar get of a record
RECORDS = 64  # records that a short run should have: the signs of failure need some in its first half too


class Training(Sampler):
    """`training_step` and what it is made of; the module that inherits it builds the players."""

    finite: Tensor  # () bool, whether every loss so far was finite
    g_count: Tensor  # () int64, `g_steps` on the device: what changes over training is computed from it there
    streams: dict[str, torch.Generator]  # random numbers of training by purpose
    limit: int | None  # G steps after which training stops; None: the Trainer decides
    total_steps: int  # G steps that `t` is a share of
    g_steps: int
    d_steps: int
    round_d_steps: int  # D steps since the last G step
    step: str  # eager: a call for each batch | captured: many rounds a call, on a GPU as CUDA graphs | auto
    pauses: frozenset[int]  # G steps at which something looks at the run: several rounds never stride over them
    _rounds: Rounds | None  # while it trains so
    _lowest: float | None  # of a loader's floats: 0 for images in [0, 1], -1 for [-1, 1]; None before the first batch
    diverged_at: int  # G steps done, plus 1, when a loss was found not to be finite; 0: it was not
    _recorded = 0, LOG_EVERY  # `total_steps`, and what `log_every` is for so many

    @property
    def log_every(self) -> int:
        """D steps between two records of training health."""
        if self._recorded[0] != self.total_steps:  # asked at each step, counted once
            d_steps = replace(self.blueprint, steps=self.total_steps).d_steps
            self._recorded = self.total_steps, min(LOG_EVERY, max(10, d_steps // RECORDS))
        return self._recorded[1]

    def training_step(self, batch: Any, batch_idx: int) -> None:
        """One D step and, after the last one of a round, its G steps. Given `Batches`: as many rounds as may pass.

        Any loader's batch does: images, (images, labels, ..), or a mapping (see `data.torch_sets.batch_of`).
        """
        if isinstance(batch, Batches):
            if not self.round_d_steps:
                self._play_rounds(batch)
                return
            batch = batch[self.d_steps]  # resumed inside a round: its rest comes batch by batch
        batch = self._batch(batch)
        d_optimizer, g_optimizer = cast(list[Any], self.optimizers())
        players = Players(d_optimizer, g_optimizer, backward=self.manual_backward)
        recorded, penalised = self.is_recorded(self.d_steps), self.is_penalised(self.d_steps)
        turn = self.discriminator_turn(players, batch, self.is_first, recorded, penalised)
        self._log(turn.record)
        self.d_steps += 1
        self.round_d_steps += 1
        if self.round_d_steps >= (needed := self.blueprint.critic_steps(self.g_steps)):
            self.round_d_steps = 0
            for _ in range(self._round_g_steps):
                record = self.generator_turn(players, turn, self.is_recorded_g(self.g_steps))
                self.g_steps += 1
                self._log(record)
            self._stop(check_finite=any(map(self.is_recorded, range(self.d_steps - needed, self.d_steps))))

    def _batch(self, batch: Any) -> tuple[Tensor, Tensor]:
        """Images uint8, or floats in [-1, 1], and labels."""
        images, labels = batch_of(batch)
        return (images * 2 - 1 if images.is_floating_point() and self._lowest == 0 else images), labels

    def _play_rounds(self, batches: Batches) -> None:
        """Rounds up to the next record, pause or end of training."""
        if self._rounds is None:
            self._rounds = Rounds(self, batches, self.trainer.optimizers, strict=self.step == "captured")
        before = self._updates
        found = self._rounds.play()
        progress = self.trainer.fit_loop.epoch_loop.manual_optimization.optim_step_progress
        progress.total.ready += self._updates - before  # which `trainer.global_step` counts by
        progress.total.completed += self._updates - before
        for g_steps, record in found:
            self._log(record, g_steps)
        self._stop(check_finite=bool(found))

    # -- a player's turn: it changes tensors only, so that a graph can replay it --------------------------------------

    def discriminator_turn(
        self, players: Players, batch: tuple[Tensor, Tensor], first: bool, recorded: bool, penalised: bool = False
    ) -> DiscriminatorTurn:
        """D's turn. first: it is the first of the training. penalised: an update on lazy penalties ends it."""
        self.t.copy_(self._share(self.t))
        step = self._step(to_float(batch[0]), batch[1])
        z = self._z("latents_d", len(step.real))
        if first:
            self._first_values(step, z)
        states = self._state(step)
        for network in (self.generator, self.discriminator):
            grow(network, self.t)
        if self.blueprint.d_finish:
            advance(self.discriminator)
        # a gradient that goes through G, to z, leaves G's own alone
        with frozen(self.game.g_parameters.values() if self.blueprint.latent_step else ()):
            played = self._play(discriminator_loss, players.discriminator, players.backward, z, step, states)
        norm = gradient_norm(self.discriminator) if recorded else None
        found = played.step.detached()
        if self.blueprint.updates == "alternating":
            self._update_discriminator(players, played, found, states, penalised)
        return DiscriminatorTurn(found, z, _discriminator_record(played.loss, found, norm) if recorded else {})

    def generator_turn(self, players: Players, turn: DiscriminatorTurn, recorded: bool) -> Record:
        """G's turn, on z of its own or on that of D's turn. The state of the tricks moves on with it."""
        bp, step, states = self.blueprint, turn.step, self._states()
        if bp.g_finish:
            advance(self.generator)
        z = self._z("latents_g", len(step.real)) if bp.fresh_latents else turn.z
        with frozen(self.game.d_parameters.values()):
            loss_of: Any = unroll(players, turn) if bp.unrolled else generator_loss
            played = self._play(loss_of, players.generator, players.backward, z, step, states)
        norm = gradient_norm(self.generator) if recorded else None
        if bp.consensus:
            agree(self, turn, z, states)
        if bp.updates == "extrapolated":
            extrapolate(self, players, turn, z, states)
        found = played.step.detached()
        if bp.updates != "alternating":
            self._update_discriminator(players, played, found, states)
        self._update(players.generator, played, bp.g_gate)
        if self.game.uses("settle"):
            with torch.no_grad():
                self.chain.settle(player_parameters(found), found, states)
        self._advance(found, states)
        self.g_count.add_(1)
        return _generator_record(played.loss, found, norm) if recorded else {}

    def _play(  # noqa: PLR0917
        self, loss_of: Any, optimizer: Any, backward: Callable[[Tensor], None], z: Tensor, step: Step, states: States
    ) -> Played:
        """A player's loss, with its gradients in place."""
        with self._precision():
            played: Played = loss_of(self.game, z, step, states)
        optimizer.zero_grad()
        backward(played.loss)
        self.finite.logical_and_(
            played.loss.detach().abs() < math.inf
        )  # in place: a module's attributes are slow to set
        if self.blueprint.sharpness is not None:
            sharpen(self, loss_of, optimizer, backward, z, step, states)
        return played

    def _update_discriminator(
        self, players: Players, played: Played, found: Step, states: States, penalised: bool = False
    ) -> None:
        """D's update, where it is due the one on lazy penalties, and what moves its weights afterwards."""
        self._update(players.discriminator, played, self.blueprint.d_gate)
        if penalised:
            assert found.z is not None
            if self.blueprint.d_finish:
                advance(self.discriminator)
            self._play(lazy_penalties, players.discriminator, players.backward, found.z, found, states)
            # the gate is open where it was for the game
            self._update(players.discriminator, played, self.blueprint.d_gate)
        if self.game.uses("project"):
            with torch.no_grad():
                self.chain.project(list(self.discriminator.parameters()), found, states)

    def _update(self, optimizer: Any, played: Played, gate: Any) -> None:
        """One optimiser step, with the blueprint's clipping, schedule and gate."""
        self._clip_and_schedule(optimizer)
        if gate is None:
            optimizer.step()
        else:
            gated_step(optimizer, gate(played.loss, played.step))

    def _clip_and_schedule(self, optimizer: Any) -> None:
        bp = self.blueprint
        for group in optimizer.param_groups:
            if bp.gradient_clip is not None:
                nn.utils.clip_grad_norm_(group["params"], bp.gradient_clip)
            if bp.lr_schedule is not None:
                group["lr"].copy_(group["initial_lr"] * bp.lr_schedule(self._share(group["lr"])))
            if bp.beta2_schedule is not None and "beta2" in group:
                share = self._share(group["beta2"])
                group["beta2"].copy_(1 - (1 - group["betas"][1]) * bp.beta2_schedule(share))

    def _share(self, like: Tensor) -> Tensor:
        """() share of training done, in [0, 1], on the device and in the precision of `like`."""
        return (self.g_count.to(like) / self.total_steps).clamp(max=1.0)

    @torch.no_grad()
    def _advance(self, step: Step, states: States) -> None:
        """The tricks' tensors as they are after one more G step, into their buffers."""
        if any(states):
            for buffers, new in zip(states, self.chain.advance(states, step), strict=True):
                for name, value in new.items():
                    buffers[name].copy_(value)

    # -- where the run stands ----------------------------------------------------------------------------------

    @property
    def is_first(self) -> bool:
        return not (self.d_steps or self.g_steps)

    @property
    def _is_done(self) -> bool:
        return self.limit is not None and self.g_steps >= self.limit

    @property
    def _updates(self) -> int:
        """Updates of both players so far, those on lazy penalties included."""
        every = self.blueprint.penalty_every
        return self.d_steps + self.g_steps + (-(-self.d_steps // every) if every > 1 else 0)

    @property
    def _round_g_steps(self) -> int:
        """G steps of the round that is being played: the last one ends where training does."""
        n = self.blueprint.n_generator
        return n if self.limit is None else min(n, self.limit - self.g_steps)

    def is_recorded(self, d_steps: int) -> bool:
        """Whether the D step after `d_steps` of them is recorded."""
        return (d_steps + 1) % self.log_every == 0

    def is_penalised(self, d_steps: int) -> bool:
        """Whether an update on lazy penalties follows the D step after `d_steps` of them: the first one and so on."""
        every = self.blueprint.penalty_every
        return every > 1 and d_steps % every == 0

    def is_recorded_g(self, g_steps: int) -> bool:
        """The same for G's steps."""
        return (g_steps + 1) % max(1, self.log_every // self.blueprint.n_critic) == 0

    def _stop(self, check_finite: bool) -> None:
        """Ask the Trainer to stop where all steps are done, or where a loss was not finite."""
        if self._is_done:
            self.trainer.should_stop = True
        if check_finite and not self.finite.item():
            self.diverged_at = self.g_steps + 1
            self.trainer.should_stop = True

    # -- what a step is made of --------------------------------------------------------------------------------

    def _z(self, stream: str, n: int) -> Tensor:
        drawn_by = self.streams[stream]
        return torch.randn(n, self.latent_dim, generator=drawn_by, device=drawn_by.device)  # (N, latent_dim), N(0, 1)

    def _step(self, real: Tensor, labels: Tensor) -> Step:
        step = Step(
            t=self.t,
            real=real.contiguous(memory_format=MEMORY[self.blueprint.dims]),
            labels=labels if len(labels) else None,
            fake=None,
            critique=self.discriminator,
            noise=self.streams["tricks"],
            g_parameters=self.game.g_parameters,
            d_parameters=self.game.d_parameters,
            encode=self.encoder,
            d_steps=self.blueprint.n_critic / self.blueprint.n_generator,
            latent_dim=self.latent_dim,
            objective=self.game.objective,
            g_matrices=partial(matrices, self.generator),
            d_matrices=partial(matrices, self.discriminator),
        )
        return self.game.with_found(step, self._states())

    def _first_values(self, step: Step, z: Tensor) -> None:
        """Layers whose first values come from data take them from the first batch, as the players see it."""
        drawn = self.streams["tricks"].get_state()
        with torch.no_grad(), self._precision():
            states = self.chain.init(step)
            z = self.game.latents(z, step, states)
            take_first_values(self.generator, z, step.labels)
            seen = self.game.inputs(self.game.rules.real(self.game, step.real, z), step, states)
            take_first_values(self.discriminator, seen.x, step.labels, *(() if seen.beside is None else (seen.beside,)))
        self.streams["tricks"].set_state(drawn)  # what tricks drew here, they draw again

    def _state(self, step: Step) -> States:
        """The state of the tricks, as buffers; before the first step it is made."""
        states = self._states()
        if not any(states):
            with torch.no_grad():
                for trick, tensors in zip(self.state, self.chain.init(step), strict=True):
                    for name, value in tensors.items():
                        trick.register_buffer(name, value.clone())
        return states

    def _log(self, record: Record, step: int | None = None) -> None:
        """Write a record of training health, if there is one. step: G steps at the time, if not those of now."""
        if not record:
            return
        # straight to the loggers, with the G step: Lightning's own step counts batches
        values = torch.stack([v.float() for v in record.values()]).tolist()  # one transfer
        row = dict(zip(record, values, strict=True))
        for logger in self.loggers:
            logger.log_metrics(row, step=self.g_steps if step is None else step)
        if self._trainer is not None:
            self.log_dict({k: row[k] for k in SHOWN if k in row}, prog_bar=True, logger=False)

    def validation_step(self, batch: Any, batch_idx: int) -> None:
        """Nothing: figures are of all samples together, which `GANEvaluation` measures when a validation ends."""


def _discriminator_record(loss: Tensor, found: Step, norm: Tensor | None) -> Record:
    assert found.real_critique is not None
    assert found.fake_critique is not None
    assert norm is not None
    real, fake = (c.logits.sigmoid().mean() for c in (found.real_critique, found.fake_critique))
    return {"d_loss": loss.detach(), "d_of_real": real, "d_of_fake": fake, "d_gradient": norm}


def _generator_record(loss: Tensor, found: Step, norm: Tensor | None) -> Record:
    assert found.fake_critique is not None
    assert norm is not None
    return {"g_loss": loss.detach(), "d_of_fake_g": found.fake_critique.logits.sigmoid().mean(), "g_gradient": norm}
