"""Sampling from a trained G, as evaluation sees it: the half of a GANModule that trains nothing."""

from __future__ import annotations

import copy
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from types import MappingProxyType
from typing import Any

import lightning
import torch
from torch import Tensor, nn

from gan_ablate.blueprint import Blueprint
from gan_ablate.data.images import to_uint8
from gan_ablate.errors import InputError
from gan_ablate.nets.weights import advance
from gan_ablate.recipe import TOYS, Recipe, seed_for
from gan_ablate.step import Game
from gan_ablate.trick import Chain, States, Step

BURN_IN = 2048  # images whose greatest value of D is known before one is chosen
TRIES = 50  # images drawn for each that is asked for, at the most: after them any is taken
STATISTICS_BATCHES = 16  # batches that batch norm's statistics are measured on for averaged weights


class Sampler(lightning.LightningModule):
    """`generate`, `forward` and `sampling`; the module that inherits them builds the players."""

    recipe: Recipe
    game: Game
    generator: nn.Module
    discriminator: nn.Module
    encoder: nn.Module | None
    state: nn.ModuleList  # the tensors of each trick as buffers
    latent_dim: int
    t: Tensor  # () share of training done
    class_share: Tensor  # (K,) share of each class in the data, which labels are drawn by at sampling

    @property
    def blueprint(self) -> Blueprint:
        """What the game is played by. A new one changes how it is played; the networks stay."""
        return self.game.blueprint

    @blueprint.setter
    def blueprint(self, blueprint: Blueprint) -> None:
        self.game = replace(self.game, blueprint=blueprint)

    @property
    def chain(self) -> Chain:
        """The tricks of the game."""
        return self.game.chain

    def _states(self) -> States:
        """The tensors of each trick as they are at any time; before the first step there are none."""
        return tuple(MappingProxyType(trick._buffers) for trick in self.state)

    def _precision(self) -> Any:
        # a Trainer with its own precision plugin wraps the step already
        bf16 = self.recipe.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16) if bf16 else nullcontext()

    @contextmanager
    def sampling(self):
        """G in evaluation mode, with averaged weights if a trick keeps any; leaves training as it was."""
        live = self.generator
        with torch.random.fork_rng(devices=[self.device] if self.device.type == "cuda" else []), torch.no_grad():
            torch.manual_seed(seed_for(self.recipe.seed, "sampling"))
            if self.game.uses("averaged") and any(self._states()):
                yield self._averaged_generator()
                return
            if self.blueprint.sample_mode == "train":
                yield _by_batch(copy.deepcopy(live))  # a copy, since batch norm's running statistics move in this mode
                return
            was = live.training
            live.eval()
            try:
                yield live
            finally:
                live.train(was)

    def _averaged_generator(self) -> nn.Module:
        averaged = copy.deepcopy(self.generator)
        weights = self.chain.averaged(dict(self.generator.named_parameters()), None, self._states())
        for name, parameter in averaged.named_parameters():
            parameter.copy_(weights[name])
        # batch norm's running statistics belong to the live weights: measure those of the averaged ones
        advance(averaged)
        norms = _batch_norms(averaged)
        for norm in norms:
            norm.reset_running_stats()
            norm.momentum = None  # the plain mean over the batches
        if norms:
            noise = torch.Generator(self.device).manual_seed(seed_for(self.recipe.seed, "statistics"))
            averaged.train()
            for _ in range(STATISTICS_BATCHES):
                averaged(*self._prior(self.blueprint.batch_size, noise, training=True))
        return _by_batch(averaged) if self.blueprint.sample_mode == "train" else averaged.eval()

    def _prior(self, n: int, noise: torch.Generator, training: bool = False) -> tuple[Tensor, Tensor | None]:
        """z (n, latent_dim) as G sees it, and labels (n,) by their share in the data where G is conditional."""
        bp = self.blueprint
        z = torch.randn(n, self.latent_dim, generator=noise, device=self.device)
        if bp.sample_latents is not None and not training:
            z = bp.sample_latents(z, noise)
        labels = torch.multinomial(self.class_share, n, True, generator=noise) if bp.conditional else None
        return self._seen(z, labels, noise), labels

    def _seen(self, z: Tensor, labels: Tensor | None, noise: torch.Generator) -> Tensor:
        """z (N, latent_dim) from N(0, 1) as G sees it."""
        if self.game.uses("latents"):
            bp = self.blueprint
            empty = z.new_empty(len(z), *bp.shape)
            step = Step(self.t, empty, labels, None, self.discriminator, noise, {}, {})
            z = self.chain.latents(z, step, self._states())
        return self.game.rules.latents(z)

    def generate(self, n: int, *, seed: int, batch_size: int = 256) -> Tensor:
        """(n, C, H, W) uint8 on the CPU, from G as evaluation sees it; volumes (n, C, D, H, W).

        Non-finite images come out as 0.
        For points in the plane float32 (n, 2, 1, 1), as G gives them.
        """
        noise = torch.Generator(self.device).manual_seed(seed)
        whole = self.blueprint.sample_mode == "train"
        if whole:
            batch_size = self.blueprint.batch_size  # each batch's statistics are those of a batch as in training
        sizes = [batch_size if whole else min(batch_size, n - k) for k in range(0, n, batch_size)]
        with self.sampling() as generator, self._precision():
            if self.blueprint.sample_choice is not None:
                return self._chosen(generator, n, noise)
            parts = [self._shown(generator(*self._prior(m, noise)).float()).cpu() for m in sizes]
        return torch.cat(parts)[:n]

    def _chosen(self, generator: nn.Module, n: int, noise: torch.Generator) -> Tensor:
        """(n, C, H, W) images as `generate` gives them, those that `sample_choice` keeps by D's answers.

        D answers batches as in training, since its running statistics are of real and generated images together.
        """
        bp = self.blueprint
        assert bp.sample_choice is not None
        critic = _by_batch(copy.deepcopy(self.discriminator))
        most, drawn, kept = torch.full((), -torch.inf, device=self.device), 0, list[Tensor]()
        while sum(map(len, kept)) < n:
            z, labels = self._prior(bp.batch_size, noise)
            images = generator(z, labels)
            logits = critic(images, labels).mean_logits.float()
            most = torch.maximum(most, logits.max())
            drawn += len(images)
            if drawn <= BURN_IN:
                continue
            chosen = bp.sample_choice(logits, most, noise) if drawn <= BURN_IN + TRIES * n else slice(None)
            kept.append(self._shown(images[chosen].float()).cpu())
        return torch.cat(kept)[:n]

    def _shown(self, x: Tensor) -> Tensor:
        """G's output (N, C, H, W) in [-1, 1] as the dataset holds its images."""
        return x if self.recipe.dataset in TOYS else to_uint8(x.nan_to_num(-1.0))

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """z (N, latent_dim) from N(0, 1) -> images (N, C, H, W) in [-1, 1], as evaluation sees them.

        labels: (N,) int64 for a conditional G; the classes in turn where they are not given.
        """
        if labels is None and self.blueprint.conditional:
            labels = torch.arange(len(z), device=z.device) % len(self.class_share)
        noise = torch.Generator(self.device).manual_seed(seed_for(self.recipe.seed, "forward"))
        with self.sampling() as generator:
            return generator(self._seen(z, labels, noise), labels)

    def encode(self, images: Tensor) -> Tensor:
        """Images (N, C, H, W) in [-1, 1] -> codes (N, latent_dim), of a model that has an encoder."""
        if self.encoder is None:
            raise InputError(f"{self.recipe.model}: has no encoder")
        was = self.encoder.training
        self.encoder.eval()
        try:
            with torch.no_grad():
                return self.encoder(images)
        finally:
            self.encoder.train(was)

    def decode(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        """z (N, latent_dim) as G sees it, such as codes -> images (N, C, H, W) in [-1, 1], as evaluation sees them."""
        with self.sampling() as generator:
            return generator(z, labels)


def _batch_norms(network: nn.Module) -> list[nn.modules.batchnorm._BatchNorm]:
    return [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]


def _by_batch(network: nn.Module) -> nn.Module:
    """A network in evaluation mode, but for batch norm, which uses each batch's own statistics."""
    network.eval()
    for norm in _batch_norms(network):
        norm.train()
    return network
