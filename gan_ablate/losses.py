"""The adversarial objectives. Each reads like its paper's equation, on logits, with log D = -softplus(-logit)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import softplus

from gan_ablate.trick import Step, Targets


def cross_entropy(logits: Tensor, target: Tensor) -> Tensor:
    """-t log D - (1 - t) log(1 - D), averaged over the batch; t may lie outside [0, 1]."""
    return (target * softplus(-logits) + (1 - target) * softplus(logits)).mean()


@dataclass(frozen=True)
class NonSaturating:
    """Goodfellow et al. 2014, equation 1, with G maximising log D(G(z)) (section 3)."""

    def discriminator(self, real: Tensor, fake: Tensor, targets: Targets) -> Tensor:
        """Logits (N,) of real and fake images -> scalar."""
        return cross_entropy(real, targets.real) + cross_entropy(fake, targets.fake)

    def generator(self, fake: Tensor) -> Tensor:
        """-log D(G(z)), from logits (N,) -> scalar."""
        return softplus(-fake).mean()


@dataclass(frozen=True)
class Wasserstein:
    """Arjovsky et al. 2017, equation 2; the critic's answers are not probabilities."""

    def discriminator(self, real: Tensor, fake: Tensor, targets: Targets) -> Tensor:
        """Critic values (N,) of real and fake images -> scalar."""
        return fake.mean() - real.mean()

    def generator(self, fake: Tensor) -> Tensor:
        """Critic values (N,) of fake images -> scalar."""
        return -fake.mean()


def gradient_penalty(
    critic: Callable[[Tensor], Tensor], real: Tensor, fake: Tensor, step: Step, *, weight: float, target: float
) -> Tensor:
    """Gulrajani et al. 2017, equation 3: weight * E[(||grad D(x)||_2 - target)^2] at x between real and fake.

    One uniform epsilon per pair of images; the norm is per sample over all of C, H, W; in fp32 throughout.
    """
    with torch.autocast(real.device.type, enabled=False):
        real, fake = real.float(), fake.float()
        epsilon = step.uniform_like(real[:, :1, :1, :1])  # (N, 1, 1, 1)
        x = (fake + epsilon * (real - fake)).requires_grad_()
        (gradient,) = torch.autograd.grad(critic(x).sum(), x, create_graph=True)
        return weight * (gradient.flatten(1).norm(dim=1) - target).square().mean()
