"""Self-attention between the pixels of a map (Zhang et al. 2019)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class SelfAttention(nn.Module):
    """x (N, C, H, W) -> gamma * o + x, with gamma 0 at first (Zhang et al. 2019, section 3, equations 1 to 3).

    Of the maps f, g and h, of C / 8 channels each: beta_ji = softmax over i of f(x_i)^T g(x_j),
    o_j = W_v sum_i beta_ji h(x_i). The authors' code has C / 2 channels in h, and pools f and h over 2x2 pixels.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        inner = max(1, channels // 8)
        self.f, self.g, self.h = (nn.Conv2d(channels, inner, 1, bias=False) for _ in range(3))
        self.v = nn.Conv2d(inner, channels, 1, bias=False)
        self.gamma = nn.Parameter(torch.zeros(()))

    def reset_parameters(self) -> None:
        """gamma 0: the network is at first what it is without attention."""
        nn.init.zeros_(self.gamma)

    def forward(self, x: Tensor) -> Tensor:
        f, g, h = (layer(x).flatten(2) for layer in (self.f, self.g, self.h))  # (N, C / 8, H W)
        beta = (g.transpose(1, 2) @ f).float().softmax(2)  # (N, j, i)
        o = (h.float() @ beta.transpose(1, 2)).unflatten(2, x.shape[2:])  # (N, C / 8, H, W)
        return x + self.gamma.to(x.dtype) * self.v(o.to(x.dtype))


def self_attention(channels: int, side: int, *, at: int) -> nn.Module | None:
    """Attention behind the maps of `at` pixels; none behind others."""
    return SelfAttention(channels) if side == at else None
