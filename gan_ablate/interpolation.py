"""Latents other than the draw: half way between two, of a truncated normal, or moved to where D answers more."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor


def lerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """(N, D), (N, D) -> (N, D) on the straight line, `share` of the way from a to b."""
    return a.lerp(b, share)


def slerp(a: Tensor, b: Tensor, share: float) -> Tensor:
    """(N, D), (N, D) -> (N, D) along the great circle (Shoemake 1985; White 2016, section 2.1)."""
    unit_a, unit_b = (x / x.norm(dim=1, keepdim=True) for x in (a, b))
    angle = (unit_a * unit_b).sum(1, keepdim=True).clamp(-1 + 1e-6, 1 - 1e-6).arccos()
    return (((1 - share) * angle).sin() * a + (share * angle).sin() * b) / angle.sin()


def midpoints(z: Tensor, noise: torch.Generator, *, path: str) -> Tensor:
    """z (N, D) from N(0, 1) -> (N, D) half way to another draw."""
    other = torch.randn(z.shape, generator=noise, device=z.device)
    return {"lerp": lerp, "slerp": slerp}[path](z, other, 0.5)


def truncated(z: Tensor, noise: torch.Generator, *, threshold: float) -> Tensor:
    """z (N, D) from N(0, 1) -> (N, D) from N(0, 1) given that each number lies within +-threshold.

    Brock et al. 2019, section 3.1, draw again what lies beyond. This is that distribution, as a function of the draw:
    Phi^-1(1/2 + (Phi(z) - 1/2) * (2 Phi(threshold) - 1)), so that arms share it.
    """
    most = math.erf(threshold / math.sqrt(2))
    inside = math.sqrt(2) * ((z.double() / math.sqrt(2)).erf() * most).erfinv()  # float32's erf is 1 from 4 on
    return inside.clamp(-threshold, threshold).to(z.dtype)


def towards_d(
    z: Tensor, logits: Callable[[Tensor], Tensor], *, differentiably: bool, rate: float, damping: float
) -> Tensor:
    """z (N, D) -> z + rate * g / (damping + ||g||^2), g the gradient of D's logits (N,) by z.

    Wu et al. 2019, equation 12: one step of the natural gradient, with an approximate Fisher matrix.
    differentiably: with g's dependence on the weights.
    """
    with torch.enable_grad():
        start = z.detach().requires_grad_()
        (g,) = torch.autograd.grad(logits(start).sum(), start, create_graph=differentiably)
    return z + rate * g / (damping + g.square().sum(1, keepdim=True))
