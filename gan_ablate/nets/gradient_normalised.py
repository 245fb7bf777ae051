"""Gradient normalisation of D (Wu et al. 2021)."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gan_ablate.blueprint import Blueprint
from gan_ablate.nets import Critique


class GradientNormalised(nn.Module):
    """Wu et al. 2021: D(x) / (||grad D(x)||_2 + |D(x)|), per sample, in fp32.

    It stands before a network's own class, which answers D(x). All else of the answer stays as it is.
    """

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Critique:
        follows = torch.is_grad_enabled()
        with torch.enable_grad(), torch.autocast(x.device.type, enabled=False):
            x = x.float() if x.requires_grad else x.detach().float().requires_grad_()
            answer: Critique = super().forward(x, labels)  # type: ignore[misc]
            (slope,) = torch.autograd.grad(answer.logits.sum(), x, create_graph=follows, retain_graph=True)
            norm = slope.flatten(1).norm(dim=1)  # (N,)
            answer = answer._replace(logits=answer.logits / (norm + answer.logits.abs()))
        return answer if follows else answer.detach()


def gradient_normalised(network: Any, bp: Blueprint) -> None:
    """D with gradient normalisation: its class is changed, as torch's parametrisations do, so that no name moves."""
    plain = type(network)
    network.__class__ = type(f"GradientNormalised{plain.__name__}", (GradientNormalised, plain), {})
