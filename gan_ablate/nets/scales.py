"""Ds of one kind that look at the images at several scales (Wang et al. 2018, pix2pixHD, section 3.2)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_ablate.blueprint import Blueprint, replace
from gan_ablate.nets import Critique


class Discriminator(nn.Module):
    """Images (N, C, H, W) and labels (N,) -> Critique of all scales: logits (N K,), each sample's K after another.

    of: builds D for a blueprint. Each scale is half the one before, by 3x3 average pooling as in the authors' code.
    """

    def __init__(self, bp: Blueprint, *, of: Any, scales: int) -> None:
        super().__init__()
        self.at = nn.ModuleList(of(replace(bp, size=bp.size // 2**k)) for k in range(scales))

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Critique:
        answers: list[Critique] = []
        for network in self.at:
            answers.append(network(x, labels))
            x = F.avg_pool2d(x, 3, stride=2, padding=1, count_include_pad=False)
        classes = [answer.classes for answer in answers if answer.classes is not None]
        return Critique(
            torch.cat([answer.logits.view(len(x), -1) for answer in answers], 1).flatten(),
            torch.cat([answer.features for answer in answers], 1),
            torch.stack(classes).mean(0) if classes else None,
            tuple(stage for answer in answers for stage in answer.hidden),
        )
