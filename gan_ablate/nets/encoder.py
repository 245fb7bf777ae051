"""The encoder of a VAE-GAN (Larsen et al. 2016, section 3)."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from gan_ablate.blueprint import Blueprint
from gan_ablate.nets.conv import stages, widths


class Encoder(nn.Module):
    """Images (N, C, H, W) in [-1, 1] -> (N, 2, latent_dim): mean and log variance of q(z | x)."""

    def __init__(self, bp: Blueprint) -> None:
        super().__init__()
        channels = [bp.channels, *widths(bp.g_width, bp.size)]
        layers: list[nn.Module] = []
        for a, b in itertools.pairwise(channels):
            layers += [nn.Conv2d(a, b, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.last = nn.Linear(channels[-1] * stages(bp.size)[1] ** 2, 2 * bp.latent_dim)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.body(x)).unflatten(1, (2, -1)).float()
