"""The LightningModule that plays any game a blueprint describes, by manual optimisation."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar, cast

import lightning
import torch
from torch import Tensor, nn

from gan_ablate.data.images import to_float
from gan_ablate.errors import InputError
from gan_ablate.models.networks import build_network, frozen, gradient_norm, take_first_values
from gan_ablate.models.sampler import Sampler
from gan_ablate.nets.weights import advance
from gan_ablate.optim import gated_step
from gan_ablate.recipe import Recipe, seed_for
from gan_ablate.step import Game, Played, discriminator_loss, generator_loss
from gan_ablate.trick import State, Step
from gan_ablate.tricks import assemble

COUNTERS = (
    "g_steps",
    "d_steps",
    "round_d_steps",
    "diverged_at",
    "total_steps",
)  # Python numbers that a checkpoint carries
STREAMS = ("latents_d", "latents_g", "tricks")  # random numbers of training, one generator each
LOG_EVERY = 50  # D steps between records of training health, at the most
RECORDS = 64  # as many records as a short run has: its signs of failure need some in the first half too


class GANModule(Sampler):
    """A game of G against D. One `training_step` is one D update, and after every `n_critic`-th one G update.

    Args:
        tricks: registered names, `name:key=value` or `TrickSpec`s.
        steps: G steps in all; training stops there. `None`: the Trainer's own limits decide. A trick may change it.
        fields: any other field of `Recipe` (size, channels, width, lr, seed, ...).

    Raises:
        InputError: a field, trick or parameter that cannot be used.
    """

    model: ClassVar[str] = "dcgan"
    finite: Tensor  # () whether every loss so far was

    def __init__(self, *, tricks: Any = (), steps: int | None = None, **fields: Any) -> None:
        super().__init__()
        data = {"model": self.model, "tricks": list(tricks), **fields}
        recipe = Recipe.from_dict(data if steps is None else {**data, "steps": steps}, type(self).__name__)
        self._build(recipe, limit=steps)

    @classmethod
    def from_recipe(cls, recipe: Recipe) -> GANModule:
        """The module that a recipe describes; it stops after its blueprint's number of G steps."""
        module = cls.__new__(cls)
        lightning.LightningModule.__init__(module)
        module._build(recipe, limit=recipe.steps)
        return module

    def _build(self, recipe: Recipe, limit: int | None) -> None:
        self.automatic_optimization = False
        self.recipe, self.blueprint, self.chain = assemble(recipe)
        bp = self.blueprint
        self.limit = limit and bp.steps
        self.total_steps = bp.steps  # G steps that `t` is a share of
        self.latent_dim = bp.latent_dim
        self.g_steps = self.d_steps = self.diverged_at = 0  # diverged_at: G steps done, plus 1, when it was noticed
        self.round_d_steps = 0  # D steps since the last G step
        self._recorded = 0, LOG_EVERY  # `total_steps`, and what `log_every` is for so many
        seed = self.recipe.seed
        if (bp.conditional or bp.d_classes) and not bp.classes:
            raise InputError(f"{self.recipe.dataset}: the number of its classes is not known: give classes=...")
        self.generator = build_network(bp.generator, bp, seed, "generator", bp.g_finish)
        self.discriminator = build_network(bp.discriminator, bp, seed, "discriminator", bp.d_finish)
        self.encoder = build_network(bp.encoder, bp, seed, "encoder") if bp.encoder else None
        self.register_buffer("t", torch.zeros(()))
        self.register_buffer("finite", torch.ones((), dtype=torch.bool))
        if bp.conditional or bp.d_classes:
            assert bp.classes
            self.register_buffer("class_share", torch.full((bp.classes,), 1 / bp.classes))
        self.state = nn.Module()  # the tricks' tensors as buffers
        self.game = Game(bp, self.chain, bp.objective(), self.generator, self.discriminator)
        self.streams: dict[str, torch.Generator] = {}
        self._saved_random: dict[str, Tensor] | None = None

    # -- Lightning's hooks -------------------------------------------------------------------------------------

    def configure_optimizers(self) -> list[torch.optim.Optimizer]:
        encoder = [] if self.encoder is None else self.encoder.parameters()
        optimizers = [
            self.blueprint.d_optimizer(self.discriminator.parameters()),
            self.blueprint.g_optimizer([*self.generator.parameters(), *encoder]),
        ]
        for group in (g for optimizer in optimizers for g in optimizer.param_groups):
            group["initial_lr"] = group["lr"]
        return optimizers

    def on_fit_start(self) -> None:
        bp = self.blueprint
        if self.limit is None and self._trainer is not None:
            batches = self.trainer.estimated_stepping_batches
            self.total_steps = max(1, bp.g_steps_in(int(batches)) if batches != float("inf") else 1)
        if (bp.conditional or bp.d_classes) and self._trainer is not None:
            self._read_class_share(getattr(self.trainer, "datamodule", None))
        # convolutions run fastest on channels_last memory, and a module just moved has lost it
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def _read_class_share(self, data: Any) -> None:
        images = getattr(data, "images", None)
        if images is None:
            return  # a loader of the user's own: labels are drawn evenly
        classes, labels = len(self.class_share), images.labels
        if labels is None or int(labels.max()) >= classes:
            held = "no classes" if labels is None else f"{int(labels.max()) + 1} classes"
            raise InputError(f"{images.name} has {held}, but the model was built for {classes}: give classes=...")
        self.class_share.copy_(torch.bincount(labels, minlength=classes) / len(labels))

    def on_train_start(self) -> None:
        self.streams = {name: torch.Generator(self.device) for name in STREAMS}
        if self._saved_random is None:
            for name, generator in self.streams.items():
                generator.manual_seed(seed_for(self.recipe.seed, name))
            torch.manual_seed(seed_for(self.recipe.seed, "layers"))  # dropout draws from the global generator
        else:
            for name, generator in self.streams.items():
                generator.set_state(self._saved_random[name].cpu())
            torch.set_rng_state(self._saved_random["layers"].cpu())
            if "layers_cuda" in self._saved_random and self.device.type == "cuda":
                torch.cuda.set_rng_state(self._saved_random["layers_cuda"].cpu(), self.device)

    def on_train_batch_start(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> int | None:
        shape, bp = tuple(batch[0].shape[1:]), self.blueprint
        if shape != (bp.channels, bp.size, bp.size):
            got, want = "x".join(map(str, shape)), "x".join(map(str, (bp.channels, bp.size, bp.size)))
            raise InputError(f"images are {got} but the model was built for {want}: give both the same size, channels")
        if self.limit is not None and self.g_steps >= self.limit:
            self.trainer.should_stop = True  # resumed from a checkpoint of the last step: nothing is left to train
            return -1
        return None

    @property
    def log_every(self) -> int:
        """D steps between two records of training health."""
        if self._recorded[0] != self.total_steps:  # asked at each step: counted once
            d_steps = replace(self.blueprint, steps=self.total_steps).d_steps
            self._recorded = self.total_steps, min(LOG_EVERY, max(10, d_steps // RECORDS))
        return self._recorded[1]

    def training_step(self, batch: tuple[Tensor, Tensor], batch_idx: int) -> None:
        d_optimizer, g_optimizer = cast(list[Any], self.optimizers())
        bp, log = self.blueprint, (self.d_steps + 1) % self.log_every == 0
        self.t.fill_(min(self.g_steps / self.total_steps, 1.0))
        step = self._step(to_float(batch[0]), batch[1])
        z = self._z("latents_d", len(step.real))
        if not (self.d_steps or self.g_steps):
            self._first_values(step, z)
        state = self._state(step)
        if bp.d_finish:
            advance(self.discriminator)

        with self._precision():
            played = discriminator_loss(self.game, z, step, state)
        d_optimizer.zero_grad()
        self.manual_backward(played.loss)
        d_norm = gradient_norm(self.discriminator) if log else None
        self._update(d_optimizer, played.loss, bp.d_gate)
        step.real_critique, step.fake_critique = (c and c.detach() for c in (step.real_critique, step.fake_critique))
        if self.game.uses("project"):
            with torch.no_grad():
                self.chain.project(list(self.discriminator.parameters()), step, state)
        self.d_steps += 1
        self.round_d_steps += 1
        self.finite &= torch.isfinite(played.loss.detach())
        if log:
            self._log_discriminator(played, d_norm)

        if self.round_d_steps >= bp.critic_steps(self.g_steps):
            self.round_d_steps = 0
            for _ in range(bp.n_generator):
                if self.limit is not None and self.g_steps >= self.limit:
                    break
                self._generator_step(g_optimizer, step, state, None if bp.fresh_latents else z)
            if self.limit is not None and self.g_steps >= self.limit:
                self.trainer.should_stop = True
        if log and not self.finite.item():
            self.diverged_at = self.g_steps + 1
            self.trainer.should_stop = True

    def _update(self, optimizer: Any, loss: Tensor, gate: Any) -> None:
        """One optimiser step, with the blueprint's clipping, schedule and gate."""
        bp = self.blueprint
        for group in optimizer.param_groups:
            if bp.gradient_clip is not None:
                nn.utils.clip_grad_norm_(group["params"], bp.gradient_clip)
            if bp.lr_schedule is not None:
                group["lr"] = group["initial_lr"] * bp.lr_schedule(min(self.g_steps / self.total_steps, 1.0))
        if gate is None:
            optimizer.step()
        else:
            gated_step(optimizer, gate(loss))

    def _generator_step(self, optimizer: Any, step: Step, state: State, z: Tensor | None) -> None:
        log = (self.g_steps + 1) % max(1, self.log_every // self.blueprint.n_critic) == 0
        if self.blueprint.g_finish:
            advance(self.generator)
        z = self._z("latents_g", len(step.real)) if z is None else z
        with frozen(self.discriminator):
            with self._precision():
                played = generator_loss(self.game, z, step, state)
            optimizer.zero_grad()
            self.manual_backward(played.loss)
        g_norm = gradient_norm(self.generator) if log else None
        self._update(optimizer, played.loss, self.blueprint.g_gate)
        self.g_steps += 1
        self.finite &= torch.isfinite(played.loss.detach())
        if state:
            with torch.no_grad():
                step.fake = step.fake.detach() if step.fake is not None else None
                for name, value in self.chain.advance(state, step).items():
                    self.state.get_buffer(_key(name)).copy_(value)
        if log:
            self._log({"g_loss": played.loss, "d_of_fake_g": played.fake.logits.sigmoid().mean(), "g_gradient": g_norm})

    # -- what a step is made of --------------------------------------------------------------------------------

    def _z(self, stream: str, n: int) -> Tensor:
        # drawn on the generator's own device; (N, latent_dim) from N(0, 1)
        return torch.randn(n, self.latent_dim, generator=self.streams[stream], device=self.device)

    def _step(self, real: Tensor, labels: Tensor) -> Step:
        real = real.contiguous(memory_format=torch.channels_last)
        step = Step(
            t=self.t,
            real=real,
            labels=labels if len(labels) else None,
            fake=None,
            critique=lambda x: self.game.critique(x, step, self._read_state()),
            noise=self.streams["tricks"],
            g_parameters=dict(self.generator.named_parameters()),
            d_parameters=dict(self.discriminator.named_parameters()),
            generate=lambda z: self.generator(self.chain.latents(z, step, self._read_state()), step.labels),
            encode=self.encoder,
            d_steps=self.blueprint.n_critic / self.blueprint.n_generator,
        )
        return step

    def _first_values(self, step: Step, z: Tensor) -> None:
        """Layers whose first values come from data take them from the first batch, as the players see it."""
        drawn = self.streams["tricks"].get_state()
        with torch.no_grad(), self._precision():
            state = self.chain.init(step)
            take_first_values(self.generator, self.chain.latents(z, step, state), step.labels)
            take_first_values(self.discriminator, self.chain.inputs(step.real, step, state), step.labels)
        self.streams["tricks"].set_state(drawn)  # what tricks drew here, they draw again

    def _state(self, step: Step) -> State:
        if not self.state._buffers:
            with torch.no_grad():
                for name, value in self.chain.init(step).items():
                    self.state.register_buffer(_key(name), value.clone())
        return self._read_state()

    # -- training health ---------------------------------------------------------------------------------------

    def _log_discriminator(self, played: Played, norm: Tensor | None) -> None:
        assert played.real is not None
        answers = {"d_of_real": played.real.logits.sigmoid().mean(), "d_of_fake": played.fake.logits.sigmoid().mean()}
        self._log({"d_loss": played.loss, **answers, "d_gradient": norm})

    def _log(self, values: dict[str, Tensor | None]) -> None:
        # straight to the loggers: `self.log` on every step costs more than a small step
        row = {name: float(v.detach()) for name, v in values.items() if v is not None}
        for logger in self.loggers:
            logger.log_metrics(row, step=self.g_steps)

    # -- checkpoints: Lightning's hold no random state, so a resumed run would be another run --------------------

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        random = {name: generator.get_state() for name, generator in self.streams.items()}
        random["layers"] = torch.get_rng_state()
        if self.device.type == "cuda":
            random["layers_cuda"] = torch.cuda.get_rng_state(self.device)
        counters = {name: getattr(self, name) for name in COUNTERS}
        checkpoint["gan_ablate"] = {"recipe": self.recipe.to_dict(), "random": random, **counters}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        own = checkpoint["gan_ablate"]
        for name in COUNTERS:
            setattr(self, name, own[name])
        self._saved_random = own["random"]
        for name, value in checkpoint["state_dict"].items():
            if name.startswith("state."):
                self.state.register_buffer(name.removeprefix("state."), value.clone().to(self.device))


def _key(name: str) -> str:
    return name.replace(".", "/")  # a buffer's name holds no dot
