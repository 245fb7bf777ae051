"""Which of a trained G's images are kept, by D's answers (Azadi et al. 2019, discriminator rejection sampling)."""

from __future__ import annotations

import torch
from torch import Tensor

EPSILON = 1e-8  # as in the paper, for the best image of all


def log_odds(logits: Tensor, most: Tensor) -> Tensor:
    """D's logits (N,) and the greatest () -> (N,) float64 F with sigmoid(F) = exp(D - M), up to the epsilon.

    For an optimal D that is p(x) / (q(x) max p/q), so what is kept has the data's distribution.
    """
    below = (logits - most).double().clamp(max=0.0)
    return below - torch.log1p(-torch.exp(below - EPSILON))


def accepted(logits: Tensor, most: Tensor, noise: torch.Generator, *, percentile: float) -> Tensor:
    """D's logits (N,) and the greatest seen so far () -> (N,) bool: each image is kept with probability sigmoid(F).

    F = D - M - log(1 - exp(D - M - eps)) - gamma, with M the greatest logit and gamma the percentile of the rest of F
    over these images.
    """
    f = log_odds(logits, most)
    gamma = f.quantile(percentile / 100)
    drawn = torch.rand(len(f), generator=noise, device=f.device, dtype=f.dtype)
    return drawn < (f - gamma).sigmoid()
