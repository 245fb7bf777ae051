"""Fully connected networks (Goodfellow et al. 2014, section 5): the plain game without convolutions."""

from __future__ import annotations

from torch import Tensor, nn

from gan_ablate.blueprint import Blueprint
from gan_ablate.nets import Critique
from gan_ablate.nets.conv import hidden

HIDDEN_PER_WIDTH = 16  # hidden units per unit of width: 256 at width 16


class Generator(nn.Module):
    """z (N, latent_dim) -> images (N, C, H, W) in [-1, 1], through two hidden layers."""

    def __init__(self, bp: Blueprint) -> None:
        super().__init__()
        units = bp.g_width * HIDDEN_PER_WIDTH
        self.shape = (bp.channels, bp.size, bp.size)
        bias = bp.g_norm is None
        self.body = nn.Sequential(
            *(
                nn.Sequential(nn.Linear(a, units, bias), hidden(bp.g_norm, bp.g_activation, bp.g_after, units, dims=0))
                for a in (bp.latent_dim, units)
            )
        )
        self.last = nn.Linear(units, bp.channels * bp.size**2)
        self.output = bp.g_output()

    def forward(self, z: Tensor) -> Tensor:
        return self.output(self.last(self.body(z))).unflatten(1, self.shape)


class Discriminator(nn.Module):
    """Images (N, C, H, W) -> Critique, through two hidden layers."""

    def __init__(self, bp: Blueprint) -> None:
        super().__init__()
        units = bp.d_width * HIDDEN_PER_WIDTH
        self.body = nn.Sequential(
            *(
                nn.Sequential(
                    nn.Linear(a, units, bp.d_norm is None or first),
                    hidden(None if first else bp.d_norm, bp.d_activation, bp.d_after, units, dims=0),
                )
                for a, first in ((bp.channels * bp.size**2, True), (units, False))
            )
        )
        self.statistics = bp.d_statistics(units) if bp.d_statistics else nn.Identity()
        self.head = bp.d_head(getattr(self.statistics, "out_features", units))

    def forward(self, x: Tensor) -> Critique:
        features = self.body(x.flatten(1))  # (N, F)
        return Critique(self.head(self.statistics(features)).squeeze(1).float(), features)
