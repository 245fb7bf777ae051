"""A generator by style (Karras et al. 2019; modulation and demodulation: Karras et al. 2020), scaled down.

What is left out: noise inputs (`generator_noise` is a trick), an image at each resolution, and blurs.
"""

from __future__ import annotations

import itertools
import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from gan_ablate.blueprint import Blueprint, stages
from gan_ablate.nets.conv import Latents, widths
from gan_ablate.nets.layers import hidden
from gan_ablate.nets.norms import PixelNorm
from gan_ablate.nets.weights import slow_down


class ModulatedConvolution(nn.Module):
    """x (N, channels, H, W) and w (N, styles) -> (N, out, H, W) (Karras et al. 2020, equations 1 and 3).

    Input channel i's weights are scaled by the sample's style s_i, then each output's weights by the inverse of their
    2-norm. Both scales stand outside the convolution here, where they give the same numbers for all samples at once.
    """

    def __init__(self, channels: int, out: int, bias: bool, *, kernel: int, styles: int) -> None:
        super().__init__()
        self.layer = nn.Conv2d(channels, out, kernel, padding=kernel // 2, bias=False)
        self.style = nn.Linear(styles, channels)
        self.bias = nn.Parameter(torch.zeros(out))

    def reset_parameters(self) -> None:
        """Bias 0."""
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, w: Tensor) -> Tensor:
        s = 1 + self.style(w)  # (N, channels); the papers' bias starts at 1
        y = self.layer(x * s[:, :, None, None])
        with torch.autocast(x.device.type, enabled=False):
            power = cast(Tensor, self.layer.weight).float().square().sum((2, 3))  # (out, channels)
            d = (s.float().square() @ power.T + 1e-8).rsqrt()  # (N, out)
        return y * d[:, :, None, None].to(y.dtype) + self.bias.to(y.dtype)[:, None, None]


class Mapping(nn.Module):
    """z (N, latent_dim) -> w (N, latent_dim): normalised, then dense layers with LeakyReLU (Karras et al. 2019, 2)."""

    def __init__(self, inputs: int, styles: int, layers: int) -> None:
        super().__init__()
        sizes = [inputs, *[styles] * layers]
        self.norm = PixelNorm()
        self.body = nn.Sequential(
            *(nn.Sequential(nn.Linear(a, b), nn.LeakyReLU(0.2)) for a, b in itertools.pairwise(sizes))
        )

    def forward(self, z: Tensor) -> Tensor:
        return self.body(self.norm(z))


class Generator(nn.Module):
    """z (N, latent_dim) and labels (N,), where it is conditional -> images (N, C, H, W) in [-1, 1].

    A learned constant goes through modulated convolutions, up-sampled before each but the first. In training a sample
    takes, with probability `mixing`, the styles of another z from a random layer on.
    """

    def __init__(self, bp: Blueprint, *, layers: int, mixing: float) -> None:
        super().__init__()
        bottom, channels = stages(bp.size)[1], widths(bp.g_width, bp.size)[::-1]
        channels = [channels[0], channels[0], *channels]
        self.mixing = mixing
        self.latents = Latents(bp)
        self.mapping = Mapping(self.latents.out_features, bp.latent_dim, layers)
        self.constant = nn.Parameter(torch.empty(1, channels[0], bottom, bottom))
        self.convolutions = nn.ModuleList(bp.g_up(a, b, True) for a, b in itertools.pairwise(channels))
        self.activations = nn.ModuleList(hidden(None, bp.g_activation, bp.g_after, b) for b in channels[1:])
        self.last = nn.Conv2d(channels[-1], bp.channels, 1)
        self.last_norm = bp.g_last_norm(bp.channels, 2) if bp.g_last_norm else nn.Identity()
        self.output = bp.g_output()

    def reset_parameters(self) -> None:
        """The constant from N(0, 1), as in the authors' code."""
        nn.init.normal_(self.constant)

    def styles(self, z: Tensor, labels: Tensor | None) -> list[Tensor]:
        """w (N, latent_dim) of each convolution."""
        w = self.mapping(self.latents(z, labels))
        if not (self.training and self.mixing):
            return [w] * len(self.convolutions)
        other = self.mapping(self.latents(torch.randn_like(z), labels))
        mixed, place = torch.rand(2, len(z), 1, device=z.device)
        crossover = 1 + (place * (len(self.convolutions) - 1)).floor()  # (N, 1) in 1..L-1
        return [torch.where((mixed < self.mixing) & (crossover <= k), other, w) for k in range(len(self.convolutions))]

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        x = self.constant.expand(len(z), -1, -1, -1)
        for k, (convolution, activation, w) in enumerate(
            zip(self.convolutions, self.activations, self.styles(z, labels), strict=True)
        ):
            x = activation(convolution(F.interpolate(x, scale_factor=2.0) if k else x, w), labels)
        return self.output(self.last_norm(self.last(x)))


MAPPING_RATE = 0.01  # of the learning rate (Karras et al. 2019, appendix C)


def draw_styles(network: nn.Module, bp: Blueprint) -> None:
    """Mapping and styles of the papers' scale, in place of that of the convolutions' initial weights.

    With N(0, 0.02) no image would depend on z at first. The mapping's weights are kept 1 / MAPPING_RATE times as large
    and scaled at runtime, so that Adam moves them by so much less. Weights under a runtime scale already keep theirs.
    """
    for name, layer in network.named_modules():
        if not isinstance(layer, nn.Linear):
            continue
        mapping, scaled = name.startswith("mapping"), parametrize.is_parametrized(layer)
        if not scaled:
            nn.init.normal_(layer.weight, 0.0, (math.sqrt(2) if mapping else 1.0) / math.sqrt(layer.in_features))
        if mapping:
            slow_down(layer, MAPPING_RATE)
