"""D on the features of a fixed, pretrained network (Sauer et al. 2021, Projected GANs, and the authors' code).

The network's four stages are mixed by fixed random convolutions: each stage's channels (CCM), then the stages from the
coarsest to the finest (CSM). Each of the four mixtures has a head of its own, which halves it down to a few answers.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_ablate.blueprint import Blueprint
from gan_ablate.nets import Critique
from gan_ablate.nets.layers import Stack, hidden
from gan_ablate.nets.pretrained import Stages


class FixedMixing(nn.Module):
    """A 1x1 convolution whose weights are drawn once, by torch's rule, and never trained: (N, a, ..) -> (N, b, ..)."""

    weight: Tensor
    bias: Tensor

    def __init__(self, channels: int, out: int) -> None:
        super().__init__()
        drawn = nn.Conv2d(channels, out, 1)
        self.register_buffer("weight", drawn.weight.detach())
        self.register_buffer("bias", drawn.bias.detach())  # type: ignore[union-attr]

    def forward(self, x: Tensor) -> Tensor:
        return F.conv2d(x, self.weight, self.bias)


class Head(nn.Module):
    """Maps (N, channels, H, W) -> logits (N, P) and the map that they are read from; each stage halves the map."""

    def __init__(self, bp: Blueprint, channels: list[int]) -> None:
        super().__init__()
        self.down = nn.ModuleList(
            Stack(bp.down(a, b, bp.d_norm is None), hidden(bp.d_norm, bp.d_activation, bp.d_after, b))
            for a, b in itertools.pairwise(channels)
        )
        self.last = nn.Conv2d(channels[-1], 1, 4, bias=False)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        for down in self.down:
            x = down(x, None)
        return self.last(x).flatten(1).float(), x


class Discriminator(nn.Module):
    """Images (N, C, H, W) -> Critique of all heads: logits (N P,), each sample's one after another.

    side: pixels that images are resized to before the network sees them. The network is no module of this one: it is
    not trained, not drawn anew, in no checkpoint, and no trick on D's weights reaches it.
    """

    stages: Stages

    def __init__(self, bp: Blueprint, *, network: str, side: int) -> None:
        super().__init__()
        object.__setattr__(self, "stages", Stages(network))
        self.side, c = side, bp.d_width
        mixed, joined = [c, 2 * c, 4 * c, 8 * c], [c, c, 2 * c, 4 * c]  # channels, the finest maps first
        self.across_channels = nn.ModuleList(map(FixedMixing, self.stages.channels, mixed))
        self.across_scales = nn.ModuleList(map(FixedMixing, mixed, joined))
        self.heads = nn.ModuleList(Head(bp, [seen, *mixed[k:]]) for k, seen in enumerate(joined))

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Any:
        self.stages._apply(fn)
        return super()._apply(fn, recurse)

    def project(self, images: Tensor) -> list[Tensor]:
        """What each head sees, the finest maps first: the stages, twice as large, mixed."""
        with torch.autocast(images.device.type, enabled=False):  # in the precision that it was trained in
            x = images.to(self.stages.mean.dtype)
            seen = self.stages(F.interpolate(x, self.side, mode="bilinear", align_corners=False))
        found: list[Tensor] = []
        layers = zip(seen, self.across_channels, self.across_scales, strict=True)
        for maps, across_channels, across_scales in reversed(list(layers)):
            y = across_channels(maps)
            y = found[-1] + y if found else y
            found.append(across_scales(F.interpolate(y, scale_factor=2, mode="bilinear", align_corners=True)))
        return found[::-1]

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Critique:
        answers = [head(maps) for head, maps in zip(self.heads, self.project(x), strict=True)]
        return Critique(
            torch.cat([logits for logits, _ in answers], 1).flatten(),
            torch.cat([maps.mean((2, 3)) for _, maps in answers], 1).float(),
            hidden=tuple(maps for _, maps in answers),
        )
