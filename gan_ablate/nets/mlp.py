"""Fully connected networks: the plain game without convolutions.

G is that of Goodfellow et al. 2014, section 5 (ReLU), but for its range. D has the blueprint's activation: LeakyReLU in
the presets; the paper's maxout and dropout come with the trick.
"""

from __future__ import annotations

import math

from torch import Tensor, nn

from gan_ablate.blueprint import Blueprint, replace
from gan_ablate.nets import Critique
from gan_ablate.nets.conv import Images, Latents
from gan_ablate.nets.heads import Critic
from gan_ablate.nets.layers import Stack, hidden, pieces

HIDDEN_PER_WIDTH = 16  # hidden units per unit of width: 256 at width 16


class Generator(nn.Module):
    """z (N, latent_dim) and labels (N,), where it is conditional -> images (N, C, H, W) in [-1, 1]."""

    def __init__(self, bp: Blueprint) -> None:
        super().__init__()
        units = bp.g_width * HIDDEN_PER_WIDTH
        self.shape = bp.shape
        bias = bp.g_norm is None
        self.latents = Latents(bp)
        self.body = Stack(
            *(
                Stack(nn.Linear(a, units, bias), hidden(bp.g_norm, bp.g_activation, bp.g_after, units, dims=0))
                for a in (self.latents.out_features, units)
            )
        )
        self.last = nn.Linear(units, math.prod(self.shape))
        self.last_norm = bp.g_last_norm(bp.channels, bp.dims) if bp.g_last_norm else nn.Identity()
        self.output = bp.g_output()

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        x = self.last(self.body(self.latents(z, labels), labels)).unflatten(1, self.shape)
        return self.output(self.last_norm(x))


class Discriminator(Critic):
    """Images (N, C, H, W) and labels (N,), where it is conditional -> Critique, through two hidden layers.

    Where the activation takes the greatest of several pieces, a layer puts out fewer units from as many weights.
    """

    def __init__(self, bp: Blueprint) -> None:
        super().__init__()
        each = pieces(bp.d_activation)
        units = max(1, bp.d_width * HIDDEN_PER_WIDTH // each)
        self.images = Images(bp)
        inputs = [self.images.channels * bp.size**bp.dims, *[units] * (2 * bp.d_depth - 1)]
        inputs[-1] += self.build_map_statistics(bp, inputs[-1])
        norms = (bp.d_first_norm, *[bp.d_norm] * (len(inputs) - 1))
        self.body = nn.ModuleList(
            Stack(
                nn.Linear(a, units * each, norm is None),
                hidden(norm, bp.d_activation, bp.d_after, units * each, dims=0),
            )
            for a, norm in zip(inputs, norms, strict=True)
        )
        self.build_heads(bp, units)

    def forward(self, x: Tensor, labels: Tensor | None = None, beside: Tensor | None = None) -> Critique:
        x, seen = self.images(x, labels).flatten(1), []
        for layer in self.body:
            x = layer(self.before_last(x) if layer is self.body[-1] else x, labels)
            seen.append(x)
        return self.answer(x, labels, tuple(seen), beside)


def of_codes(bp: Blueprint) -> Discriminator:
    """D of codes (N, latent_dim, 1, 1), as of images of one pixel (Makhzani et al. 2015, appendix A)."""
    return Discriminator(replace(bp, size=1, channels=bp.latent_dim, d_input=None))
