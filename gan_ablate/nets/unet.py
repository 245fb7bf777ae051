"""DCGAN's D with a decoder behind it, that answers for each pixel (Schoenfeld et al. 2020)."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gan_ablate.blueprint import Blueprint
from gan_ablate.nets import Critique, conv
from gan_ablate.nets.conv import widths
from gan_ablate.nets.layers import hidden, resize_convolution


class Discriminator(conv.Discriminator):
    """Images (N, C, H, W) and labels (N,), where it is conditional -> Critique, with logits per pixel beside its own.

    `heads["pixels"]` (N, H W) comes from an up-sampling path that sees what each stage of the way down put out. What D
    says of the whole image is DCGAN's.
    """

    def __init__(self, bp: Blueprint) -> None:
        super().__init__(bp)
        channels = widths(bp.d_width, bp.size)[::-1]
        self.up, self.joined = nn.ModuleList(), nn.ModuleList()
        seen = channels[0]
        for out in channels[1:]:
            self.up.append(resize_convolution(seen, out, bp.d_norm is None, kernel=3))
            self.joined.append(hidden(bp.d_norm, bp.d_activation, bp.d_after, out))
            seen = 2 * out  # what comes up, and what the stage of that size put out on the way down
        self.pixels = nn.Sequential(nn.Upsample(scale_factor=2), nn.Conv2d(seen, 1, 3, padding=1))

    def forward(self, x: Tensor, labels: Tensor | None = None, beside: Tensor | None = None) -> Critique:
        answer = super().forward(x, labels, beside)
        *skips, y = answer.hidden
        for up, joined, skip in zip(self.up, self.joined, reversed(skips), strict=True):
            y = torch.cat((joined(up(y), labels), skip), 1)
        return answer._replace(heads={**answer.heads, "pixels": self.pixels(y).flatten(1).float()})
