"""DCGAN's networks (Radford et al. 2015, section 3): strided and transposed convolutions, no hidden dense layers."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from gan_ablate.blueprint import Blueprint
from gan_ablate.nets import Critique


def stages(size: int) -> tuple[int, int]:
    """How often an image is halved, and the height that remains.

    >>> stages(16), stages(28), stages(32), stages(64)
    ((2, 4), (2, 7), (3, 4), (4, 4))
    """
    count = 0
    while size % 2 == 0 and size > 4:
        size, count = size // 2, count + 1
    return count, size


class Generator(nn.Module):
    """z (N, latent_dim) -> images (N, C, H, W) in [-1, 1]."""

    def __init__(self, bp: Blueprint) -> None:
        super().__init__()
        count, self.bottom = stages(bp.size)
        widths = [bp.g_width * 2 ** (count - 1 - i) for i in range(count)]
        bias = bp.g_norm is None  # a normalisation subtracts what a bias adds
        self.project = nn.Linear(bp.latent_dim, widths[0] * self.bottom**2, bias=bias)
        self.first = hidden(bp.g_norm, bp.g_activation, bp.g_after, widths[0])
        self.up = nn.ModuleList(
            nn.Sequential(bp.g_up(a, b, bias), hidden(bp.g_norm, bp.g_activation, bp.g_after, b))
            for a, b in itertools.pairwise(widths)
        )
        self.last = bp.g_up(widths[-1], bp.channels, True)
        self.output = bp.g_output()

    def forward(self, z: Tensor) -> Tensor:
        x = self.first(self.project(z).unflatten(1, (-1, self.bottom, self.bottom)))
        for up in self.up:
            x = up(x)
        return self.output(self.last(x))


class Discriminator(nn.Module):
    """Images (N, C, H, W) -> Critique; no normalisation at the input layer."""

    def __init__(self, bp: Blueprint) -> None:
        super().__init__()
        count, bottom = stages(bp.size)
        widths = [bp.channels, *(bp.d_width * 2**i for i in range(count))]
        self.down = nn.ModuleList(
            nn.Sequential(
                bp.d_down(a, b, bp.d_norm is None or i == 0),
                hidden(bp.d_norm if i else None, bp.d_activation, bp.d_after, b),
            )
            for i, (a, b) in enumerate(itertools.pairwise(widths))
        )
        features = widths[-1] * bottom**2
        self.statistics = bp.d_statistics(features) if bp.d_statistics else nn.Identity()
        self.head = bp.d_head(getattr(self.statistics, "out_features", features))

    def forward(self, x: Tensor) -> Critique:
        for down in self.down:
            x = down(x)
        features = x.flatten(1)  # (N, F)
        return Critique(self.head(self.statistics(features)).squeeze(1).float(), features)


def hidden(norm, activation, after, channels: int, dims: int = 2) -> nn.Sequential:
    """Normalisation, activation and what follows it, as the blueprint has them."""
    layers = [norm(channels, dims)] if norm else []
    return nn.Sequential(*layers, activation(), *([after()] if after else []))
