"""Weights of a network: how they are drawn, and the constraints that are put on them afterwards."""

from __future__ import annotations

import math
from functools import partial
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations, parametrize

from gan_ablate.blueprint import Blueprint

WEIGHTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Conv3d, nn.ConvTranspose3d, nn.Linear)


def default_init(module: nn.Module) -> None:
    """The framework's own initialisation."""
    reset = getattr(module, "reset_parameters", None)
    if reset is not None:
        reset()


def dcgan_init(module: nn.Module) -> None:
    """Radford et al. 2015, section 4: weights from N(0, 0.02), batch norm's gain from N(1, 0.02), biases 0."""
    if isinstance(module, WEIGHTED):
        # no draw but the weight's own: a layer with a bias and one without get the same weights from one seed
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d) and module.affine:
        nn.init.normal_(module.weight, 1.0, 0.02)
    else:
        default_init(module)
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def orthogonal_init(module: nn.Module) -> None:
    """Saxe et al. 2014, section 3 (in GANs: Brock et al. 2019, section 3): orthogonal weights, biases 0."""
    if not isinstance(module, WEIGHTED):
        default_init(module)
        return
    nn.init.orthogonal_(module.weight)
    if module.bias is not None:
        nn.init.zeros_(module.bias)


def msr_init(module: nn.Module) -> None:
    """He et al. 2015, section 2.2: weights from N(0, gain^2 / fan-in), biases 0.

    gain: the layer's own `gain` (`nets.resnext` sets those of its blocks), else 1.
    """
    if not isinstance(module, WEIGHTED):
        default_init(module)
        return
    fan_in = module.weight.movedim(_out(module), 0)[0].numel()
    gain = getattr(module, "gain", 1.0)
    nn.init.normal_(module.weight, 0.0, gain / math.sqrt(fan_in))
    module.starts_at_zero = gain == 0  # type: ignore[assignment]  # which constraints on the weights have to know
    if module.bias is not None:
        nn.init.zeros_(module.bias)


FIRST_ITERATIONS = 15  # so that the first sigma is close
OUTPUTS = ("last", "head", "classes")  # parts that put out G's image and D's answers
OUTPUT_STD = 0.1  # of those, at first: Salimans et al. 2016, code


def _layers(network: nn.Module) -> list[nn.Module]:
    return [m for m in network.modules() if isinstance(m, WEIGHTED)]


def _out(layer: nn.Module) -> int:
    """The dimension of a layer's weight that counts its outputs."""
    return 1 if isinstance(layer, nn.ConvTranspose2d | nn.ConvTranspose3d) else 0


class SpectralNorm(nn.Module):
    """W / sigma(W), sigma by power iteration (Miyato et al. 2018, algorithm 1).

    bound: W / max(1, sigma(W) / bound) in its place (Gouk et al. 2021), which leaves W where its sigma is smaller.
    torch's own advances the iteration at every forward in training mode, those of penalties and of G's step included.
    Here `advance` does, once per update of the network, as the algorithm has it.
    """

    u: Tensor  # (out,)
    v: Tensor  # (in,)

    def __init__(self, weight: Tensor, out: int, bound: float | None = None) -> None:
        super().__init__()
        self.out, self.bound = out, bound
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
            sigma = torch.dot(self.u, self._matrix(weight) @ self.v)
            return weight / (sigma if self.bound is None else (sigma / self.bound).clamp(min=1))


def spectral_norm(network: nn.Module, bp: Blueprint | None, *, bound: float | None = None) -> None:
    """Spectral norm on every convolution and linear layer. bound: only where it is greater, and down to that."""
    for layer in _layers(network):
        _directed(layer)
        weight = cast(Tensor, layer.weight).detach()
        parametrize.register_parametrization(layer, "weight", SpectralNorm(weight, _out(layer), bound))


def matrices(network: nn.Module) -> list[Tensor]:
    """The weights of convolutions and linear layers as (outputs, rest), live; before a constraint divides them."""
    found = []
    for layer in _layers(network):
        inside: Any = getattr(layer, "parametrizations", None)
        weight: Any = layer.weight if inside is None else inside.weight.original
        found.append(weight.movedim(_out(layer), 0).flatten(1))
    return found


def _directed(layer: nn.Module) -> bool:
    """Whether a layer's weight was set to 0, as R3GAN's blocks end; it is then drawn, since 0 has no direction."""
    zero = bool(getattr(layer, "starts_at_zero", False))
    if zero:
        default_init(layer)
    return zero


def weight_norm(network: nn.Module, bp: Blueprint | None, *, start: str = "data", lengths: str = "trained") -> None:
    """Salimans & Kingma 2016, equation 2: W = g v / ||v||, on every convolution and linear layer; W is kept.

    start: `data`: the first batch sets g and b, so that each unit puts out mean 0 and deviation 1 (section 3); 0.1 at
    the network's output, as in the code of Salimans et al. 2016. lengths: that code trains g at the output only.
    """
    for name, layer in network.named_modules():
        if not isinstance(layer, WEIGHTED):
            continue
        zero = _directed(layer)
        parametrizations.weight_norm(layer, "weight", dim=_out(layer))
        if zero:
            nn.init.zeros_(_length(layer))
        output = name.partition(".")[0] in OUTPUTS
        if lengths == "fixed" and not output:
            _length(layer).requires_grad_(False)
        if start == "data":
            layer.first_values = partial(unit_outputs, std=OUTPUT_STD if output else 1.0)  # type: ignore[assignment]


def _length(layer: nn.Module) -> Tensor:
    """g of a layer under weight norm, with dimensions of 1 in every other place."""
    return layer.parametrizations.weight.original0  # type: ignore[union-attr, return-value]


def unit_outputs(layer: nn.Module, x: Tensor, y: Tensor, *, std: float) -> Tensor:
    """g and b of a layer so that its outputs y on x have mean 0 and this deviation over the batch; y with them.

    A layer without a bias, which a norm follows, keeps its mean; a unit that never varies keeps its length.
    """
    over, shape = (0, *range(2, y.ndim)), (1, -1, *[1] * (y.ndim - 2))
    y32, bias = y.float(), cast(Tensor | None, layer.bias)
    mean, deviation = y32.mean(over), y32.var(over, correction=0).sqrt()
    scale = torch.where(deviation > 1e-6, std / deviation, 1.0)
    _length(layer).mul_(scale.view(_length(layer).shape))
    if bias is None:
        return (y32 * scale.view(shape)).to(y.dtype)
    bias.copy_((bias - mean) * scale)
    return ((y32 - mean.view(shape)) * scale.view(shape)).to(y.dtype)


class Scaled(nn.Module):
    """A weight times a constant, at runtime."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale

    def forward(self, weight: Tensor) -> Tensor:
        return weight * self.scale


def _kept(layer: nn.Module, name: str = "weight") -> Tensor:
    """What is kept of a layer's weight or bias: that itself, or what a runtime scale scales."""
    chains: Any = getattr(layer, "parametrizations", {})
    return cast(Tensor, chains[name].original if name in chains else getattr(layer, name))


@torch.no_grad()
def slow_down(layer: nn.Module, rate: float) -> None:
    """Weight and bias stay, and Adam moves them `rate` times as far: they are kept 1 / rate times as large."""
    for name in ("weight", "bias"):
        _kept(layer, name).div_(rate)
        parametrize.register_parametrization(layer, name, Scaled(rate))


@torch.no_grad()
def equalised(network: nn.Module, bp: Blueprint) -> None:
    """Karras et al. 2018, section 4.1: weights drawn from N(0, 1) and scaled at runtime by gain / sqrt(fan in).

    As in the authors' code, the gain is sqrt(2), and 1 at the players' outputs. The fan in counts the numbers that make
    one of a layer's outputs: of a transposed convolution a part of the kernel, since the stride spreads it.
    """
    for name, layer in network.named_modules():
        if not isinstance(layer, WEIGHTED):
            continue
        weight = cast(Tensor, layer.weight)
        fan_in = weight.numel() / weight.shape[_out(layer)]
        if isinstance(layer, nn.ConvTranspose2d | nn.ConvTranspose3d):
            fan_in /= math.prod(layer.stride)
        gain = 1.0 if name.partition(".")[0] in OUTPUTS else math.sqrt(2)
        chain: Any = getattr(layer, "parametrizations", None)
        scales = () if chain is None else chain.weight
        _kept(layer).normal_().div_(math.prod(cast(Scaled, each).scale for each in scales))
        if layer.bias is not None:
            nn.init.zeros_(_kept(layer, "bias"))
        parametrize.register_parametrization(layer, "weight", Scaled(gain / math.sqrt(fan_in)))


def advance(network: nn.Module) -> None:
    """One power iteration of each spectral norm in a network: to be called once before each of its updates."""
    for chain in network.modules():
        for part in chain if isinstance(chain, parametrize.ParametrizationList) else ():
            if isinstance(part, SpectralNorm):
                part.advance(chain.original)  # type: ignore[arg-type]
