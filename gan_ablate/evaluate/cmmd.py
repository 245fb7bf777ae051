"""CMMD (Jayasumana et al. 2023, Rethinking FID, arXiv 2401.09603): squared MMD of CLIP's image embeddings.

MMD^2 = mean k(x, x') + mean k(y, y') - 2 mean k(x, y), with k(x, y) = exp(-|x - y|^2 / (2 sigma^2)), sigma = 10, times
1000 so that it reads well. All pairs count, those of an image with itself too, as in the authors' code
(google-research/cmmd, distance.py): the biased estimator, which is never below 0. Among N images the bias is
1000 (1 - mean k) / N, so at most 20 / N for embeddings of length 1.
"""

from __future__ import annotations

import torch
from torch import Tensor

SIGMA = 10
SCALE = 1000
ROWS = 1024  # of the kernel's matrix at a time


@torch.no_grad()
def clip_mmd(x: Tensor, y: Tensor) -> float:
    """CMMD of embeddings (N, d) and (M, d), in float64 on the device of the first; both have length 1 in the paper."""
    x, y = x.double(), y.to(x.device).double()
    found = SCALE * (_mean_kernel(x, x) + _mean_kernel(y, y) - 2 * _mean_kernel(x, y))
    return float(found.clamp(min=0))  # equal sets come out as +-1e-13


def _mean_kernel(x: Tensor, y: Tensor) -> Tensor:
    """Mean of k over all pairs of rows."""
    squares = y.square().sum(1)
    total = x.new_zeros(())
    for part in x.split(ROWS):
        distance = part.square().sum(1, keepdim=True) + squares - 2 * part @ y.T
        total += torch.exp(-distance / (2 * SIGMA**2)).sum()
    return total / (len(x) * len(y))
