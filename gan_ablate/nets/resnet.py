"""Residual networks in SNGAN's style (Miyato et al. 2018, appendix B.4; Gulrajani et al. 2017, appendix F)."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from gan_ablate.blueprint import Blueprint, stages
from gan_ablate.nets import Critique
from gan_ablate.nets.conv import Images, Latents, widths
from gan_ablate.nets.heads import Critic
from gan_ablate.nets.layers import Conditioned, Stack, behind, hidden


class UpBlock(Conditioned):
    """(N, channels, H, W) -> (N, out, 2H, 2W): norm, activation, up-sampling, norm, activation, 3x3, beside 1x1."""

    def __init__(self, bp: Blueprint, channels: int, out: int) -> None:
        super().__init__()
        bias = bp.g_norm is None
        self.body = Stack(
            hidden(bp.g_norm, bp.g_activation, bp.g_after, channels),
            bp.up(channels, out, bias),
            hidden(bp.g_norm, bp.g_activation, bp.g_after, out),
            nn.Conv2d(out, out, 3, padding=1),
        )
        self.shortcut = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(channels, out, 1))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.body(x, labels) + self.shortcut(x)


class DownBlock(Conditioned):
    """(N, channels, H, W) -> (N, out, H/2, W/2): activation, 3x3, activation, down-sampling, beside 1x1 and pooling.

    The first block of D starts on the image itself, without norm and activation. `extra`: of the channels, those that
    batch statistics added.
    """

    def __init__(self, bp: Blueprint, channels: int, out: int, first: bool, extra: int = 0) -> None:
        super().__init__()
        middle = out if first else channels - extra
        before = [] if first else [hidden(bp.d_norm, bp.d_activation, bp.d_after, channels)]
        norm = bp.d_first_norm if first else bp.d_norm
        self.body = Stack(
            *before,
            nn.Conv2d(channels, middle, 3, padding=1),
            hidden(norm, bp.d_activation, bp.d_after, middle),
            bp.down(middle, out, True),
        )
        self.shortcut = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(channels, out, 1))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.body(x, labels) + self.shortcut(x)


class FlatBlock(Conditioned):
    """(N, channels, H, W) -> the same: activation, 3x3, activation, 3x3, beside the identity."""

    def __init__(self, bp: Blueprint, channels: int) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for _ in range(2):
            layers += [
                hidden(bp.d_norm, bp.d_activation, bp.d_after, channels),
                nn.Conv2d(channels, channels, 3, padding=1),
            ]
        self.body = Stack(*layers)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        return x + self.body(x, labels)


class Generator(nn.Module):
    """z (N, latent_dim) and labels (N,), where it is conditional -> images (N, C, H, W) in [-1, 1]."""

    def __init__(self, bp: Blueprint) -> None:
        super().__init__()
        self.bottom = stages(bp.size)[1]
        channels = widths(bp.g_width, bp.size)[::-1]
        channels = [channels[0], *channels]
        self.latents = Latents(bp)
        self.project = nn.Linear(self.latents.out_features, channels[0] * self.bottom**2)
        self.up = nn.ModuleList(UpBlock(bp, a, b) for a, b in itertools.pairwise(channels))
        self.attention = nn.ModuleList(
            Stack(*behind(bp.g_attention, b, self.bottom * 2 ** (i + 1))) for i, b in enumerate(channels[1:])
        )
        self.final = hidden(bp.g_norm, bp.g_activation, bp.g_after, channels[-1])
        self.last = nn.Conv2d(channels[-1], bp.channels, 3, padding=1)
        self.last_norm = bp.g_last_norm(bp.channels, 2) if bp.g_last_norm else nn.Identity()
        self.output = bp.g_output()

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        x = self.project(self.latents(z, labels)).unflatten(1, (-1, self.bottom, self.bottom))
        for up, attention in zip(self.up, self.attention, strict=True):
            x = attention(up(x, labels))
        return self.output(self.last_norm(self.last(self.final(x, labels))))


class Discriminator(Critic):
    """Images (N, C, H, W) and labels (N,), where it is conditional -> Critique, with features summed over pixels."""

    def __init__(self, bp: Blueprint) -> None:
        super().__init__()
        self.images = Images(bp)
        channels = [self.images.channels, *widths(bp.d_width, bp.size)]
        added = [0] * (len(channels) - 2) + [self.build_map_statistics(bp, channels[-2])]
        self.down = nn.ModuleList(
            DownBlock(bp, a + extra, b, first=i == 0, extra=extra)
            for i, (a, b, extra) in enumerate(zip(channels, channels[1:], added))
        )
        # a D k times as deep has k times the convolutions: k - 1 blocks behind each that halves, and k in place of one
        self.deep = nn.ModuleList(Stack(*(FlatBlock(bp, c) for _ in range(bp.d_depth - 1))) for c in channels[1:])
        self.attention = nn.ModuleList(
            Stack(*behind(bp.d_attention, c, bp.size // 2 ** (i + 1))) for i, c in enumerate(channels[1:])
        )
        self.flat = nn.ModuleList(FlatBlock(bp, channels[-1]) for _ in range(bp.d_depth))
        self.final = hidden(None, bp.d_activation, bp.d_after, channels[-1])
        self.build_heads(bp, channels[-1])

    def forward(self, x: Tensor, labels: Tensor | None = None, beside: Tensor | None = None) -> Critique:
        x, seen = self.images(x, labels), []
        for down, deep, attention in zip(self.down, self.deep, self.attention, strict=True):
            x = attention(deep(down(self.before_last(x) if down is self.down[-1] else x, labels), labels))
            seen.append(x)
        for flat in self.flat:
            x = flat(x, labels)
            seen.append(x)
        return self.answer(self.final(x).sum((2, 3)), labels, tuple(seen), beside)
