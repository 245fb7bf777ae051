"""Penalties on D's gradient: (critic, real, fake, step) -> scalar; norms per sample over C, H, W, in fp32.

Batch norm in D makes each answer depend on the whole batch, and a sample's gradient then also holds how its pixels move
the other samples' answers: what is penalised is no longer D's slope at one image (Gulrajani et al. 2017, section 4).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from gan_ablate.optim import cosine
from gan_ablate.trick import Step

Critic = Callable[[Tensor], Tensor]  # images (N, C, H, W) -> logits (N,)


def sides_of(penalty: Any) -> frozenset[str]:
    """Images that D answers in the game too and whose slope a penalty takes: `real`, `fake`, or none of the two."""
    at = {f"{__name__}:r1": {"real"}, f"{__name__}:r2": {"fake"}}
    return frozenset(at.get(getattr(penalty, "target", ""), set()))


def gradients(critic: Critic, x: Tensor) -> Tensor:
    """(N, C H W) the gradient of the logits' sum by each sample's pixels, itself differentiable.

    That is each sample's own logit by its own pixels, unless D mixes samples, as batch norm does.
    """
    with torch.autocast(x.device.type, enabled=False):
        if not (x.is_leaf and x.requires_grad):  # one that is given so has D's answer already
            x = x.detach().float().requires_grad_()
        (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
        return gradient.flatten(1)


def gradient_penalty(  # noqa: PLR0917
    critic: Critic, real: Tensor, fake: Tensor, step: Step, weight: float, target: float, points: str = "line"
) -> Tensor:
    """Gulrajani et al. 2017, equation 3: weight * E[(||grad D(x)||_2 - target)^2].

    points: x on the line between each real and fake image (one uniform epsilon per pair), or at `real` or `fake`.
    """
    x = real if points == "real" else fake
    if points == "line":
        first = real.flatten(1)[:, :1].view(-1, *[1] * (real.ndim - 1))  # (N, 1, 1, 1)
        epsilon = step.uniform_like(first.float())
        x = fake + epsilon * (real - fake)
    return weight * (gradients(critic, x).norm(dim=1) - target).square().mean()


def dragan(critic: Critic, real: Tensor, fake: Tensor, step: Step, *, weight: float, noise: float) -> Tensor:
    """Kodali et al. 2017, equation 2: norm 1 around the real images, at x + N(0, (noise * std(x))^2).

    The authors' code draws noise * std(x) * U(0, 1) instead, which makes every image brighter.
    """
    x = real.float()
    near = x + noise * x.std() * step.normal_like(x)
    return weight * (gradients(critic, near).norm(dim=1) - 1).square().mean()


def r1(
    critic: Critic, real: Tensor, fake: Tensor, step: Step, *, gamma: float, final: float = 1.0, until: float = 1.0
) -> Tensor:
    """Mescheder et al. 2018, equation 9: gamma / 2 * E[||grad D(x)||^2] at real images.

    gamma falls along a cosine to `final` times itself over the first `until` of training (Huang et al. 2024).
    """
    return _annealed(gamma, final, until, step) / 2 * gradients(critic, real).square().sum(1).mean()


def r2(
    critic: Critic, real: Tensor, fake: Tensor, step: Step, *, gamma: float, final: float = 1.0, until: float = 1.0
) -> Tensor:
    """Mescheder et al. 2018, section 4.1: the same at generated images."""
    return _annealed(gamma, final, until, step) / 2 * gradients(critic, fake).square().sum(1).mean()


def _annealed(gamma: float, final: float, until: float, step: Step) -> Tensor:
    """() gamma at the step's share of training."""
    return gamma * cosine(step.t, final=final, until=until)
