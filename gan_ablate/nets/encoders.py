"""Encoders of systems that have one: images (N, C, H, W) in [-1, 1] -> codes (N, latent_dim)."""

from __future__ import annotations

import itertools

from torch import Tensor, nn

from gan_ablate.blueprint import Blueprint, stages
from gan_ablate.nets.conv import widths
from gan_ablate.nets.mlp import HIDDEN_PER_WIDTH


class Encoder(nn.Module):
    """Hidden layers, then a linear one; deterministic (Donahue et al. 2017, section 3; Makhzani et al. 2015, 2.1)."""

    def __init__(self, body: nn.Module, features: int, codes: int) -> None:
        super().__init__()
        self.body, self.last = body, nn.Linear(features, codes)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(self.body(x)).float()


def convolutional(bp: Blueprint) -> Encoder:
    """G's layers turned round (Donahue et al. 2017, appendix C): strided 4x4 convolutions, batch norm, LeakyReLU."""
    channels = [bp.channels, *widths(bp.g_width, bp.size)]
    layers: list[nn.Module] = []
    for a, b in itertools.pairwise(channels):
        layers += [nn.Conv2d(a, b, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(b), nn.LeakyReLU(0.2)]
    return Encoder(nn.Sequential(*layers, nn.Flatten()), channels[-1] * stages(bp.size)[1] ** 2, bp.latent_dim)


def fully_connected(bp: Blueprint) -> Encoder:
    """Two hidden layers (Makhzani et al. 2015, appendix A), with batch norm and as many units as a G of the kind."""
    units = bp.g_width * HIDDEN_PER_WIDTH
    layers: list[nn.Module] = [nn.Flatten()]
    for a in (bp.channels * bp.size**2, units):
        layers += [nn.Linear(a, units, bias=False), nn.BatchNorm1d(units), nn.ReLU()]
    return Encoder(nn.Sequential(*layers), units, bp.latent_dim)
