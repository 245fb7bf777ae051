"""What happens between a gradient and the weights: schedules and gates."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def linear_to_zero(share: float, *, start: float) -> float:
    """The factor of the learning rate: 1 up to `start` (share of training), then linearly to 0 at the end."""
    return 1.0 if share <= start else max(0.0, (1 - share) / (1 - start))


def bursts(g_steps: int, *, usual: int, burst: int, first: int, every: int) -> int:
    """D steps of a round: `burst` in the first `first` rounds and in each `every`-th, else `usual`."""
    return burst if g_steps < first or g_steps % every == 0 else usual


def over(loss: Tensor, *, threshold: float) -> Tensor:
    """() bool, whether a loss is over its threshold."""
    return loss.detach() > threshold


@torch.no_grad()
def gated_step(optimizer: Any, gate: Tensor) -> None:
    """An optimiser's step that leaves weights and moments as they were where `gate` () is false; no value is read."""
    inner = getattr(optimizer, "optimizer", optimizer)  # Lightning wraps optimisers
    for group in inner.param_groups:
        if "capturable" in group and gate.is_cuda:
            group["capturable"] = True  # Adam then counts its steps on the GPU, where they can be taken back
    parameters = [p for group in inner.param_groups for p in group["params"]]
    before = [p.clone() for p in parameters]
    moments = {p: {k: v.clone() for k, v in inner.state[p].items() if torch.is_tensor(v)} for p in parameters}
    optimizer.step()
    for p, old in zip(parameters, before, strict=True):
        p.copy_(torch.where(gate, p, old))
        for key, value in inner.state[p].items():
            if torch.is_tensor(value):
                value.copy_(torch.where(gate, value, moments[p].get(key, torch.zeros_like(value))))
