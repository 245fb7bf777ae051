"""Layers that blueprints name: normalisation, up- and down-sampling, heads, initialisation."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def batch_norm(channels: int, dims: int) -> nn.Module:
    """Ioffe & Szegedy 2015, over (N, C, H, W) where `dims` is 2 and over (N, C) where it is 0."""
    return nn.BatchNorm2d(channels) if dims == 2 else nn.BatchNorm1d(channels)


def transposed_convolution(channels: int, out: int, bias: bool, *, kernel: int) -> nn.Module:
    """(N, channels, H, W) -> (N, out, 2H, 2W); a kernel that stride 2 divides leaves no checkerboard."""
    return nn.ConvTranspose2d(channels, out, kernel, stride=2, padding=(kernel - 2) // 2, bias=bias)


def strided_convolution(channels: int, out: int, bias: bool, *, kernel: int) -> nn.Module:
    """(N, channels, H, W) -> (N, out, H/2, W/2)."""
    return nn.Conv2d(channels, out, kernel, stride=2, padding=(kernel - 2) // 2, bias=bias)


def linear_head(features: int) -> nn.Module:
    """(N, features) -> (N, 1)."""
    return nn.Linear(features, 1)


def default_init(module: nn.Module) -> None:
    """The framework's own initialisation."""
    reset = getattr(module, "reset_parameters", None)
    if reset is not None:
        reset()


def dcgan_init(module: nn.Module) -> None:
    """Radford et al. 2015, section 4: weights from N(0, 0.02), batch norm's gain from N(1, 0.02), biases 0."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
        # no draw but the weight's own: a layer with a bias and one without get the same weights from one seed
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
    else:
        default_init(module)
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)


class AlwaysDropout(nn.Module):
    """Dropout that stays on at sampling too (Isola et al. 2017, section 3.2.1: noise in G through dropout)."""

    def __init__(self, p: float) -> None:
        super().__init__()
        self.p = p

    def forward(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.p, training=True)

    def extra_repr(self) -> str:
        return f"p={self.p}"


class MinibatchDiscrimination(nn.Module):
    """Salimans et al. 2016, section 3.2: features that tell how close each sample is to the rest of its batch.

    f (N, F) -> [f, o] (N, F + kernels) with M = f T, c_b(i, j) = exp(-||M_ib - M_jb||_1), o_b(i) = sum_j c_b(i, j).
    The sum leaves out j = i, whose term is the constant 1.
    """

    def __init__(self, features: int, kernels: int, dims: int) -> None:
        super().__init__()
        self.kernels, self.dims = kernels, dims
        self.out_features = features + kernels
        self.T = nn.Parameter(torch.empty(features, kernels * dims))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """N(0, 1/F), so that M has unit variance for unit features and the exponential does not underflow."""
        nn.init.normal_(self.T, 0.0, self.T.shape[0] ** -0.5)

    def forward(self, f: Tensor) -> Tensor:
        with torch.autocast(f.device.type, enabled=False):
            m = (f.float() @ self.T).view(-1, self.kernels, self.dims)  # (N, B, C)
            distance = (m[:, None] - m[None]).abs().sum(-1)  # (N, N, B)
            o = (-distance).exp().sum(1) - 1  # (N, B)
        return torch.cat((f, o.to(f.dtype)), dim=1)

    def extra_repr(self) -> str:
        return f"kernels={self.kernels}, dims={self.dims}"
