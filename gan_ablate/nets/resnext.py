"""R3GAN's networks (Huang et al. 2024, section 3.2 and the authors' Networks.py): ResNeXt blocks without normalisation.

The widest resolution has `width` channels and each halving doubles them, as in all networks here; the authors have as
many at every resolution up to 32 pixels, and halve them beyond that.
"""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from torch import Tensor, nn

from gan_ablate.blueprint import Blueprint, stages
from gan_ablate.nets import Critique
from gan_ablate.nets.conv import Images, Latents
from gan_ablate.nets.heads import Critic
from gan_ablate.nets.layers import Conditioned, Stack, hidden
from gan_ablate.nets.norms import Bias

BLOCKS = 2  # per resolution
EXPANSION = 2  # of the channels inside a block: the inverted bottleneck
GROUP = 16  # channels of a group of the 3x3 convolution: the authors' 1,536 in 96 groups
LAYERS = 3  # convolutions of a block
ACTIVATION_GAIN = math.sqrt(2 / (1 + 0.2**2))  # of LeakyReLU(0.2) (He et al. 2015, section 2.2)


class Block(Conditioned):
    """(N, channels, H, W) -> the same: x + 1x1(act(grouped 3x3(act(1x1(x))))), each activation behind a bias.

    gain: by which the first two convolutions' initial weights are scaled; the last one starts at 0 (Zhang et al. 2019,
    Fixup: L^(-1 / (2m - 2)) for L blocks of m convolutions). A norm of the blueprint's stands in the bias's place.
    """

    def __init__(self, channels: int, gain: float, norm: Any, activation: Any, after: Any) -> None:
        super().__init__()
        inside = channels * EXPANSION
        groups = math.gcd(inside, max(1, inside // GROUP))
        act = lambda: hidden(norm or Bias, activation, after, inside)  # noqa: E731
        self.body = Stack(
            _scaled(nn.Conv2d(channels, inside, 1, bias=False), gain),
            act(),
            _scaled(nn.Conv2d(inside, inside, 3, padding=1, groups=groups, bias=False), gain),
            act(),
            _scaled(nn.Conv2d(inside, channels, 1, bias=False), 0.0),
        )

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return x + self.body(x, labels)


def _scaled(layer: nn.Conv2d, gain: float) -> nn.Conv2d:
    """The layer with the gain that `msr_init` reads."""
    layer.gain = gain  # type: ignore[assignment]
    return layer


def block_gain(blocks: int) -> float:
    """The gain of the first two convolutions of each of a network's blocks."""
    return ACTIVATION_GAIN * blocks ** (-1 / (2 * LAYERS - 2))


class GenerativeBasis(nn.Module):
    """z (N, F) -> (N, channels, side, side): a learned map per channel, scaled by a linear function of z."""

    def __init__(self, features: int, channels: int, side: int) -> None:
        super().__init__()
        self.basis = nn.Parameter(torch.empty(channels, side, side))
        self.linear = nn.Linear(features, channels, bias=False)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The maps from N(0, 1)."""
        nn.init.normal_(self.basis)

    def forward(self, z: Tensor) -> Tensor:
        return self.basis * self.linear(z)[:, :, None, None]


class DiscriminativeBasis(nn.Conv2d):
    """(N, channels, side, side) -> (N, channels): each channel weighed by a learned map, and added up.

    A depthwise convolution over all of its input, as the authors have it. Written out, its second derivatives, which
    R1 and R2 need, are not taken one channel at a time.
    """

    def forward(self, x: Tensor) -> Tensor:
        return (x * self.weight[:, 0]).sum((2, 3))


class Generator(nn.Module):
    """z (N, latent_dim) and labels (N,), where it is conditional -> images (N, C, H, W), in [-1, 1] if so trained."""

    def __init__(self, bp: Blueprint) -> None:
        super().__init__()
        count, bottom = stages(bp.size)
        widths = [bp.g_width * 2**i for i in range(count, -1, -1)]
        gain = block_gain(BLOCKS * len(widths))
        self.latents = Latents(bp)
        self.basis = GenerativeBasis(self.latents.out_features, widths[0], bottom)
        self.up = nn.ModuleList(bp.up(a, b, False) for a, b in itertools.pairwise(widths))
        self.blocks = nn.ModuleList(
            Stack(*(Block(w, gain, bp.g_norm, bp.g_activation, bp.g_after) for _ in range(BLOCKS))) for w in widths
        )
        self.last = nn.Conv2d(widths[-1], bp.channels, 1, bias=False)
        self.last_norm = bp.g_last_norm(bp.channels, 2) if bp.g_last_norm else nn.Identity()
        self.output = bp.g_output()

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        x = self.blocks[0](self.basis(self.latents(z, labels)), labels)
        for up, blocks in zip(self.up, self.blocks[1:], strict=True):
            x = blocks(up(x), labels)
        return self.output(self.last_norm(self.last(x)))


class Discriminator(Critic):
    """Images (N, C, H, W) and labels (N,), where it is conditional -> Critique: G's stages the other way round."""

    def __init__(self, bp: Blueprint) -> None:
        super().__init__()
        self.images = Images(bp)
        count, bottom = stages(bp.size)
        widths = [bp.d_width * 2**i for i in range(count + 1)]
        depth, extra = BLOCKS * bp.d_depth, self.build_map_statistics(bp, widths[-2])
        gain = block_gain(depth * len(widths))
        self.first = nn.Conv2d(self.images.channels, widths[0], 1, bias=False)
        self.first_norm = bp.d_first_norm(widths[0], 2) if bp.d_first_norm else nn.Identity()
        self.blocks = nn.ModuleList(
            Stack(*(Block(w, gain, bp.d_norm, bp.d_activation, bp.d_after) for _ in range(depth))) for w in widths
        )
        last = len(widths) - 2
        self.down = nn.ModuleList(
            bp.down(a + extra * (i == last), b, False) for i, (a, b) in enumerate(itertools.pairwise(widths))
        )
        self.basis = DiscriminativeBasis(widths[-1], widths[-1], bottom, groups=widths[-1], bias=False)
        self.build_heads(bp, widths[-1])

    def forward(self, x: Tensor, labels: Tensor | None = None, beside: Tensor | None = None) -> Critique:
        x = self.blocks[0](self.first_norm(self.first(self.images(x, labels))), labels)
        seen = [x]
        for down, blocks in zip(self.down, self.blocks[1:], strict=True):
            x = blocks(down(self.before_last(x) if down is self.down[-1] else x), labels)
            seen.append(x)
        return self.answer(self.basis(x), labels, tuple(seen), beside)
