"""Normalisation layers: factories of (channels, dims): 2 for (N, C, H, W), 3 for (N, C, D, H, W), 0 for (N, C)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gan_ablate.blueprint import Blueprint
from gan_ablate.nets.layers import Conditioned


class Bias(nn.Module):
    """A number per channel: networks leave out the bias of a layer before a norm, and some norms have none."""

    def __init__(self, channels: int, dims: int) -> None:
        super().__init__()
        self.bias = nn.Parameter(torch.zeros(1, channels, *[1] * dims))

    def reset_parameters(self) -> None:
        """0."""
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.bias.to(x.dtype)


BATCH = {0: nn.BatchNorm1d, 2: nn.BatchNorm2d, 3: nn.BatchNorm3d}  # by dims
INSTANCE = {2: nn.InstanceNorm2d, 3: nn.InstanceNorm3d}


def batch_norm(channels: int, dims: int) -> nn.Module:
    """Ioffe & Szegedy 2015, over all but the channels."""
    return BATCH[dims](channels)


def instance_norm(channels: int, dims: int) -> nn.Module:
    """Ulyanov et al. 2016: each channel of each sample by itself. (N, C) has nothing to average: it gets its bias."""
    return INSTANCE[dims](channels, affine=True) if dims else Bias(channels, dims)


def layer_norm(channels: int, dims: int) -> nn.Module:
    """Ba et al. 2016: each sample over all of its channels and pixels, with a gain per channel."""
    return nn.GroupNorm(1, channels)


def group_norm(channels: int, dims: int, *, groups: int) -> nn.Module:
    """Wu & He 2018: each sample over groups of channels; the greatest number that divides them, at most `groups`."""
    # a group of one number, without pixels, would come out as 0 whatever it is
    most = min(groups, channels if dims else max(channels // 2, 1))
    return nn.GroupNorm(max(g for g in range(1, most + 1) if channels % g == 0), channels)


class PixelNorm(nn.Module):
    """Karras et al. 2018, section 4.2: each pixel's feature vector divided by its root mean square."""

    def forward(self, x: Tensor) -> Tensor:
        return x * (x.float().square().mean(1, keepdim=True) + 1e-8).rsqrt().to(x.dtype)


def pixel_norm(channels: int, dims: int) -> nn.Module:
    """See `PixelNorm`; it has no parameters of its own, so the bias that the layer before leaves out comes here."""
    return nn.Sequential(PixelNorm(), Bias(channels, dims))


class ConditionalBatchNorm(Conditioned):
    """Batch norm with a gain and a bias per class (Dumoulin et al. 2017; de Vries et al. 2017, section 3)."""

    def __init__(self, channels: int, dims: int, *, classes: int) -> None:
        super().__init__()
        self.norm = BATCH[dims](channels, affine=False)
        self.gain = nn.Parameter(torch.empty(classes, channels))
        self.bias = nn.Parameter(torch.empty(classes, channels))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """The same for each class: gain 1, bias 0."""
        nn.init.ones_(self.gain)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Tensor:
        assert labels is not None
        shape = (len(x), -1, *[1] * (x.ndim - 2))
        return self.norm(x) * self.gain[labels].view(shape) + self.bias[labels].view(shape)


class VirtualBatchNorm(nn.Module):
    """Salimans et al. 2016, section 3.5: each sample with the statistics of a fixed reference batch and its own.

    The reference batch goes through the network first (`with_reference` sees to that) and leaves its mean and mean
    square here; a sample then weighs 1 / (n + 1) beside the n of the reference, so no other sample matters to it.
    """

    def __init__(self, channels: int, dims: int) -> None:
        super().__init__()
        self.over = tuple(range(2, 2 + dims))
        self.weight = nn.Parameter(torch.ones(1, channels, *[1] * dims))
        self.bias = nn.Parameter(torch.zeros(1, channels, *[1] * dims))
        self.collecting = False
        self.reference: tuple[Tensor, Tensor, int] | None = None  # mean, mean square, n

    def reset_parameters(self) -> None:
        """Gain 1, bias 0."""
        nn.init.ones_(self.weight)
        nn.init.zeros_(self.bias)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            return self._normalise(x.float()).to(x.dtype)

    def _normalise(self, x: Tensor) -> Tensor:
        if self.collecting:
            over = (0, *self.over)
            mean, square = x.mean(over, keepdim=True), x.square().mean(over, keepdim=True)
            self.reference = (mean, square, len(x))
        else:
            assert self.reference is not None
            mean, square, n = self.reference
            own = x.mean(self.over, keepdim=True) if self.over else x
            own_square = x.square().mean(self.over, keepdim=True) if self.over else x.square()
            mean, square = (own + n * mean) / (n + 1), (own_square + n * square) / (n + 1)
        variance = (square - mean.square()).clamp(min=0.0)
        return (x - mean) * (variance + 1e-5).rsqrt() * self.weight + self.bias


def with_reference(network: nn.Module, bp: Blueprint) -> None:
    """Give G a fixed reference batch of z, which goes through it before every batch."""
    network.register_buffer("reference", torch.randn(bp.batch_size, bp.latent_dim))
    network.register_buffer("reference_labels", torch.arange(bp.batch_size) % max(bp.classes or 1, 1))
    network.register_forward_pre_hook(_collect)
    network.register_forward_hook(_forget)


def _layers(network: nn.Module) -> list[VirtualBatchNorm]:
    return [m for m in network.modules() if isinstance(m, VirtualBatchNorm)]


def _collect(network: nn.Module, args: tuple) -> None:
    layers = _layers(network)
    if any(layer.collecting for layer in layers):
        return
    for layer in layers:
        layer.collecting = True
    try:
        network(network.reference, network.reference_labels)
    finally:
        for layer in layers:
            layer.collecting = False


def _forget(network: nn.Module, args: tuple, output: Tensor) -> None:
    layers = _layers(network)
    if not any(layer.collecting for layer in layers):
        for layer in layers:
            layer.reference = None  # its graph belongs to this step
