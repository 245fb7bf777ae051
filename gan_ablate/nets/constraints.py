"""Constraints on the weights of a network, put on once the initial weights are drawn."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from gan_ablate.blueprint import Blueprint
from gan_ablate.nets.inits import WEIGHTED

FIRST_ITERATIONS = 15  # so that the first sigma is close


def _layers(network: nn.Module) -> list[nn.Module]:
    return [m for m in network.modules() if isinstance(m, WEIGHTED)]


def _out(layer: nn.Module) -> int:
    """The dimension of a layer's weight that counts its outputs."""
    return 1 if isinstance(layer, nn.ConvTranspose2d) else 0


class SpectralNorm(nn.Module):
    """W / sigma(W), sigma by power iteration (Miyato et al. 2018, algorithm 1).

    torch's own advances the iteration at every forward in training mode, those of penalties and of G's step included.
    Here `advance` does, once per update of the network, as the algorithm has it.
    """

    u: Tensor  # (out,)
    v: Tensor  # (in,)

    def __init__(self, weight: Tensor, out: int) -> None:
        super().__init__()
        self.out = out
        rows, columns = self._matrix(weight).shape
        for name, n in (("u", rows), ("v", columns)):
            self.register_buffer(name, nn.functional.normalize(torch.randn(n), dim=0))
        for _ in range(FIRST_ITERATIONS):  # so that the first sigma is close
            self.advance(weight)

    def _matrix(self, weight: Tensor) -> Tensor:
        return weight.movedim(self.out, 0).flatten(1)

    @torch.no_grad()
    def advance(self, weight: Tensor) -> None:
        """One power iteration."""
        matrix = self._matrix(weight)
        self.v.copy_(nn.functional.normalize(matrix.T @ self.u, dim=0))
        self.u.copy_(nn.functional.normalize(matrix @ self.v, dim=0))

    def forward(self, weight: Tensor) -> Tensor:
        with torch.autocast(weight.device.type, enabled=False):
            return weight / torch.dot(self.u, self._matrix(weight) @ self.v)


def spectral_norm(network: nn.Module, bp: Blueprint) -> None:
    """Spectral norm on every convolution and linear layer."""
    for layer in _layers(network):
        weight = cast(Tensor, layer.weight).detach()
        parametrize.register_parametrization(layer, "weight", SpectralNorm(weight, _out(layer)))


def weight_norm(network: nn.Module, bp: Blueprint) -> None:
    """Salimans & Kingma 2016, equation 2: W = g v / ||v||, on every convolution and linear layer; W is kept."""
    for layer in _layers(network):
        parametrizations.weight_norm(layer, "weight", dim=_out(layer))


def advance(network: nn.Module) -> None:
    """One power iteration of each spectral norm in a network: to be called once before each of its updates."""
    for chain in network.modules():
        for part in chain if isinstance(chain, parametrize.ParametrizationList) else ():
            if isinstance(part, SpectralNorm):
                part.advance(chain.original)  # type: ignore[arg-type]
