"""A dictionary of features in D (Zhao et al. 2020, feature quantisation)."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class Codes(nn.Module):
    """Maps (N, C, ..) -> the nearest of `size` vectors (C,) at each place; gradients pass as if nothing were done.

    The dictionary is no parameter: each vector is the running mean of the features that it was nearest to, and moves
    on at every pass in training mode, as in the authors' code, but not before the pass that reads it is over.
    """

    distance: Tensor  # (N,) mean squared distance of the last pass's features to their vectors
    vectors: Tensor  # (size, C)
    counts: Tensor  # (size,) running mean of how many features each is nearest to
    sums: Tensor  # (size, C) of those features

    def __init__(self, channels: int, *, size: int, decay: float) -> None:
        super().__init__()
        self.decay = decay
        for name, shape in (("vectors", (size, channels)), ("counts", (size,)), ("sums", (size, channels))):
            self.register_buffer(name, torch.zeros(shape))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """As in the authors' code: N(0, 1), and nothing counted."""
        nn.init.normal_(self.vectors)
        self.sums.copy_(self.vectors)
        nn.init.zeros_(self.counts)

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            features = x.float().movedim(1, -1)  # (N, .., C)
            flat = features.detach().flatten(0, -2)  # (M, C)
            places = torch.arange(len(self.vectors), device=x.device)
            chosen = torch.cdist(flat, self.vectors).argmin(1)  # (M,)
            nearest = self.vectors[chosen].view(features.shape)
            self.distance = (nearest - features).square().flatten(1).mean(1)
            if self.training:
                self._follow(flat, (chosen[:, None] == places).float())
            quantised = features + (nearest - features).detach()
        return quantised.movedim(-1, 1).to(x.dtype)

    @torch.no_grad()
    def _follow(self, flat: Tensor, taken: Tensor) -> None:
        """The dictionary after features (M, C), of which `taken` (M, size) says where each belongs."""
        self.counts.lerp_(taken.sum(0), 1 - self.decay)
        self.sums.lerp_(taken.T @ flat, 1 - self.decay)
        total = self.counts.sum()
        smoothed = (self.counts + 1e-5) / (total + len(self.counts) * 1e-5) * total  # none is 0 (Laplace)
        self.vectors.copy_(self.sums / smoothed[:, None])

    def extra_repr(self) -> str:
        return "size={}, channels={}".format(*self.vectors.shape)
