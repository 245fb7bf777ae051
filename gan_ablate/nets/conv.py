"""DCGAN's networks (Radford et al. 2015, section 3): strided and transposed convolutions; and a VAE-GAN's encoder.

Where the blueprint has three dimensions, so have they: images (N, C, H, W) are then volumes (N, C, D, H, W), and the
networks those of 3D-GAN (Wu et al. 2016, section 3.2).
"""

from __future__ import annotations

import itertools
import math
from functools import partial

import torch
from torch import Tensor, nn

from gan_ablate.blueprint import Blueprint, stages
from gan_ablate.nets import Critique
from gan_ablate.nets.heads import Critic
from gan_ablate.nets.layers import CONVOLUTION, Stack, behind, hidden


def widths(width: int, size: int) -> list[int]:
    """Channels at each resolution, from the finest hidden one to the coarsest."""
    return [width * 2**i for i in range(stages(size)[0])]


class Latents(nn.Module):
    """z, the label's embedding beside it and a hidden dense layer behind it, where the blueprint has them."""

    def __init__(self, bp: Blueprint) -> None:
        super().__init__()
        self.prior = bp.g_input() if bp.g_input else nn.Identity()
        self.condition = bp.g_condition(bp.classes) if bp.g_condition else None
        self.out_features = bp.latent_dim + (self.condition.out_features if self.condition else 0)
        self.dense = None
        if bp.dense:
            layers = hidden(bp.g_norm, bp.g_activation, bp.g_after, bp.dense, dims=0)
            self.dense = Stack(nn.Linear(self.out_features, bp.dense, bp.g_norm is None), layers)
            self.out_features = bp.dense

    def forward(self, z: Tensor, labels: Tensor | None) -> Tensor:
        z = self.prior(z)
        if self.condition is not None:
            z = torch.cat((z, self.condition(labels)), dim=1)
        return z if self.dense is None else self.dense(z, labels)


class Images(nn.Module):
    """D's input: the images in the range it wants, with the label's channel where it is given one."""

    def __init__(self, bp: Blueprint) -> None:
        super().__init__()
        self.range = bp.d_input() if bp.d_input else nn.Identity()
        self.condition = bp.d_condition(bp.classes, bp.size) if bp.d_condition else None
        self.channels = bp.channels * bp.d_packed + (self.condition is not None)

    def forward(self, x: Tensor, labels: Tensor | None) -> Tensor:
        x = self.range(x)
        return x if self.condition is None else torch.cat((x, self.condition(labels).to(x.dtype)), dim=1)


class Generator(nn.Module):
    """z (N, latent_dim) and labels (N,), where it is conditional -> images (N, C, H, W) in [-1, 1]."""

    def __init__(self, bp: Blueprint) -> None:
        super().__init__()
        self.bottom = [stages(bp.size)[1]] * bp.dims
        channels = widths(bp.g_width, bp.size)[::-1]
        bias = bp.g_norm is None  # a normalisation subtracts what a bias adds
        self.latents = Latents(bp)
        self.project = nn.Linear(self.latents.out_features, channels[0] * math.prod(self.bottom), bias=bias)
        layers = partial(hidden, bp.g_norm, bp.g_activation, bp.g_after, dims=bp.dims)
        self.first = layers(channels[0])
        self.first.extend(behind(bp.g_attention, channels[0], self.bottom[0]))
        self.up = nn.ModuleList(
            Stack(bp.up(a, b, bias), layers(b), *behind(bp.g_attention, b, self.bottom[0] * 2 ** (i + 1)))
            for i, (a, b) in enumerate(itertools.pairwise(channels))
        )
        self.last = bp.up(channels[-1], bp.channels, True)
        self.last_norm = bp.g_last_norm(bp.channels, bp.dims) if bp.g_last_norm else nn.Identity()
        self.output = bp.g_output()

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        x = self.project(self.latents(z, labels)).unflatten(1, (-1, *self.bottom))
        x = self.first(x, labels)
        for up in self.up:
            x = up(x, labels)
        return self.output(self.last_norm(self.last(x)))


class Discriminator(Critic):
    """Images (N, C, H, W) and labels (N,), where it is conditional -> Critique; no norm at the input layer."""

    def __init__(self, bp: Blueprint) -> None:
        super().__init__()
        self.images = Images(bp)
        channels = [self.images.channels, *widths(bp.d_width, bp.size)]
        last, extra = len(channels) - 2, self.build_map_statistics(bp, channels[-2])
        self.down = nn.ModuleList(
            Stack(
                *_stage(bp, a + extra * (i == last), b, bp.d_norm if i else bp.d_first_norm),
                *behind(bp.d_attention, b, bp.size // 2 ** (i + 1)),
            )
            for i, (a, b) in enumerate(itertools.pairwise(channels))
        )
        self.build_heads(bp, channels[-1] * stages(bp.size)[1] ** bp.dims)

    def forward(self, x: Tensor, labels: Tensor | None = None, beside: Tensor | None = None) -> Critique:
        x, seen = self.images(x, labels), []
        for down in self.down:
            x = down(self.before_last(x) if down is self.down[-1] else x, labels)
            seen.append(x)
        return self.answer(x.flatten(1), labels, tuple(seen), beside)


def _stage(bp: Blueprint, channels: int, out: int, norm) -> list[nn.Module]:
    """Half the resolution, then further convolutions at it where D is deep."""
    layers = [bp.down(channels, out, norm is None), hidden(norm, bp.d_activation, bp.d_after, out, bp.dims)]
    for _ in range(bp.d_depth - 1):
        layers += [
            CONVOLUTION[bp.dims](out, out, 3, padding=1, bias=bp.d_norm is None),
            hidden(bp.d_norm, bp.d_activation, bp.d_after, out, bp.dims),
        ]
    return layers


class Encoder(nn.Module):
    """Images (N, C, H, W) in [-1, 1] -> (N, 2, latent_dim): mean and log variance of q(z | x)."""

    def __init__(self, bp: Blueprint) -> None:
        super().__init__()
        channels = [bp.channels, *widths(bp.g_width, bp.size)]
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(channels):
            layers += [CONVOLUTION[bp.dims](a, b, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.last = nn.Linear(channels[-1] * stages(bp.size)[1] ** bp.dims, 2 * bp.latent_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.body(x)).unflatten(1, (2, -1)).float()
