"""Layers that blueprints name: up- and down-sampling, noise, ranges of pixels."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class Conditioned(nn.Module):
    """A layer whose forward takes labels as well: (x, labels) -> y."""


class Stack(nn.Sequential):
    """`nn.Sequential` that hands labels to the layers that take them."""

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        for layer in self:
            x = layer(x, labels) if isinstance(layer, Stack | Conditioned) else layer(x)
        return x


def hidden(norm, activation, after, channels: int, dims: int = 2) -> Stack:
    """Normalisation, activation and what follows it, as the blueprint has them."""
    layers = [norm(channels, dims)] if norm else []
    return Stack(*layers, activation(), *([after()] if after else []))


def behind(build, channels: int, side: int) -> list[nn.Module]:
    """What the blueprint has behind a hidden map of `side` pixels, if anything."""
    module = build(channels, side) if build else None
    return [] if module is None else [module]


class Maxout(nn.Module):
    """(N, pieces * F) -> (N, F): the greatest of each unit's pieces (Goodfellow et al. 2013, section 3)."""

    def __init__(self, pieces: int) -> None:
        super().__init__()
        self.pieces = pieces

    def forward(self, x: Tensor) -> Tensor:
        return x.unflatten(1, (-1, self.pieces)).amax(2)

    def extra_repr(self) -> str:
        return f"pieces={self.pieces}"


def pieces(activation) -> int:
    """How many numbers a blueprint's activation makes one of: 1, but for maxout."""
    return getattr(activation(), "pieces", 1)


CONVOLUTION = {2: nn.Conv2d, 3: nn.Conv3d}  # by spatial dimensions
TRANSPOSED = {2: nn.ConvTranspose2d, 3: nn.ConvTranspose3d}
POOLING: dict[str, dict[int, type[nn.Module]]] = {
    "max": {2: nn.MaxPool2d, 3: nn.MaxPool3d},
    "average": {2: nn.AvgPool2d, 3: nn.AvgPool3d},
}
MEMORY = {2: torch.channels_last, 3: torch.channels_last_3d}  # in which convolutions run fastest


def transposed_convolution(channels: int, out: int, bias: bool, dims: int = 2, *, kernel: int) -> nn.Module:
    """(N, channels, H, W) -> (N, out, 2H, 2W); a kernel that stride 2 divides leaves no checkerboard.

    dims: 3 for volumes (N, channels, D, H, W), here and in the other layers.
    """
    odd = kernel % 2
    return TRANSPOSED[dims](
        channels, out, kernel, stride=2, padding=(kernel - 2 + odd) // 2, output_padding=odd, bias=bias
    )


def resize_convolution(channels: int, out: int, bias: bool, dims: int = 2, *, kernel: int) -> nn.Module:
    """Nearest-neighbour up-sampling and a convolution: (N, channels, H, W) -> (N, out, 2H, 2W) (Odena et al. 2016)."""
    convolution = CONVOLUTION[dims](channels, out, kernel, padding=kernel // 2, bias=bias)
    return nn.Sequential(nn.Upsample(scale_factor=2), convolution)


def pixel_shuffle(channels: int, out: int, bias: bool, *, kernel: int) -> nn.Module:
    """Sub-pixel convolution (Shi et al. 2016, section 3.2): (N, channels, H, W) -> (N, out, 2H, 2W)."""
    return nn.Sequential(nn.Conv2d(channels, 4 * out, kernel, padding=kernel // 2, bias=bias), nn.PixelShuffle(2))


def strided_convolution(channels: int, out: int, bias: bool, dims: int = 2, *, kernel: int) -> nn.Module:
    """(N, channels, H, W) -> (N, out, H/2, W/2)."""
    return CONVOLUTION[dims](channels, out, kernel, stride=2, padding=(kernel - 1) // 2, bias=bias)


def pooled_convolution(channels: int, out: int, bias: bool, dims: int = 2, *, kernel: int, pool: str) -> nn.Module:
    """A convolution at full resolution, then 2x2 pooling: (N, channels, H, W) -> (N, out, H/2, W/2)."""
    convolution = CONVOLUTION[dims](channels, out, kernel, padding=kernel // 2, bias=bias)
    return nn.Sequential(convolution, POOLING[pool][dims](2))


class Bilinear(nn.Module):
    """Twice the height and width, or half, by a fixed filter: bilinear interpolation, with 0 beyond the edge.

    [1, 3, 3, 1] along each axis is [1, 2, 1] over pixels that are doubled or averaged in pairs (Huang et al. 2024,
    Resamplers.py).
    """

    kernel: Tensor  # (1, 1, 4, 4)

    def __init__(self, up: bool) -> None:
        super().__init__()
        self.up = up
        row = torch.tensor([1.0, 3.0, 3.0, 1.0]) / (4 if up else 8)
        self.register_buffer("kernel", torch.outer(row, row)[None, None], persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        channels = x.shape[1]
        kernel = self.kernel.to(x.dtype).expand(channels, 1, 4, 4)
        resample = F.conv_transpose2d if self.up else F.conv2d
        return resample(x, kernel, stride=2, padding=1, groups=channels)

    def extra_repr(self) -> str:
        return f"up={self.up}"


def bilinear_up(channels: int, out: int, bias: bool) -> nn.Module:
    """A 1x1 convolution and bilinear up-sampling: (N, channels, H, W) -> (N, out, 2H, 2W)."""
    return nn.Sequential(nn.Conv2d(channels, out, 1, bias=bias), Bilinear(up=True))


def bilinear_down(channels: int, out: int, bias: bool) -> nn.Module:
    """Bilinear down-sampling and a 1x1 convolution: (N, channels, H, W) -> (N, out, H/2, W/2)."""
    return nn.Sequential(Bilinear(up=False), nn.Conv2d(channels, out, 1, bias=bias))


class AlwaysDropout(nn.Module):
    """Dropout that stays on at sampling too (Isola et al. 2017, section 3.2.1: noise in G through dropout)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, training=True)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class GaussianNoise(nn.Module):
    """x + std * N(0, 1), at training and at sampling (Zhao et al. 2017)."""

    def __init__(self, std: float) -> None:
        super().__init__()
        self.std = std

    def forward(self, x: Tensor) -> Tensor:
        return x + self.std * torch.randn_like(x)

    def extra_repr(self) -> str:
        return f"std={self.std}"


class SigmoidImage(nn.Module):
    """A sigmoid's [0, 1] as the suite's [-1, 1]: 2 sigmoid(x) - 1."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * x.sigmoid() - 1


class UniformLatents(nn.Module):
    """z from N(0, 1) as z from U(-1, 1): twice the normal's distribution function of each number, less 1."""

    def forward(self, z: Tensor) -> Tensor:
        return (z / math.sqrt(2)).erf()


class UnitRange(nn.Module):
    """Images in [-1, 1] -> [0, 1]."""

    def forward(self, x: Tensor) -> Tensor:
        return (x + 1) / 2
