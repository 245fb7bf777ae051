"""Frechet distance of two Gaussians (Heusel et al. 2017) in float64, and its value for endlessly many samples.

FID = |m1 - m2|^2 + tr S1 + tr S2 - 2 tr (S1 S2)^(1/2), and with S1 = L L^T the last trace is the sum of the square
roots of the eigenvalues of L^T S2 L. That matrix is symmetric, so they are real and, but for rounding, not negative: no
general eigenvalue problem, no complex square root. L is lower triangular and computed once per real set.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import numpy as np
import torch
from scipy import linalg
from torch import Tensor

from gan_ablate.errors import InputError

POINTS = 15  # sizes of subset that the line of FID-infinity is fitted to (Chong & Forsyth 2020)
SEED = 0  # of these subsets


class Gaussian(Protocol):
    """Moments of real images' features; `RealStatistics` has them."""

    @property
    def mean(self) -> Tensor: ...  # (d,) float64
    @property
    def factor(self) -> Tensor: ...  # (d, d) float64, lower triangular: factor factor^T is the covariance


class Moments(NamedTuple):
    """Mean (d,) and factor (d, d) of features, float64."""

    mean: Tensor
    factor: Tensor


def moments(features: Tensor) -> Moments:
    """Of features (N, d), N >= 2, on their device."""
    x = features.double()
    mean = x.mean(0)
    x = x - mean
    return Moments(mean, factor(x.T @ x / (len(x) - 1)))


def factor(covariance: Tensor) -> Tensor:
    """Lower triangular L (d, d) with L L^T = `covariance` (d, d), float64, which may be singular.

    By Cholesky; where the matrix is not numerically positive definite (features that never fire, fewer images than
    features), by `eigh`, negative eigenvalues taken as 0, and a QR decomposition of the root.
    """
    cholesky, failed = torch.linalg.cholesky_ex(covariance)
    if not failed:
        return cholesky
    values, vectors = torch.linalg.eigh(covariance)
    root = vectors * values.clamp(min=0).sqrt()  # root root^T = covariance
    return torch.linalg.qr(root.T, mode="r").R.T.contiguous()


def root_trace(lower: Tensor, covariance: Tensor) -> Tensor:
    """tr (L L^T S)^(1/2), a scalar, of L (d, d) as `factor` gives it and the covariance S (d, d)."""
    if covariance.is_cuda:
        return torch.linalg.eigvalsh(lower.T @ covariance @ lower).clamp(min=0).sqrt().sum()
    # on the CPU LAPACK's own L^T S L, at half the operations of two products, and scipy's eigenvalues, a quarter faster
    # than torch's build of the same algorithm on AMD; Fortran's matrices are ours transposed, which is no copy
    product, _ = linalg.lapack.dsygst(covariance.T.numpy(), lower.T.numpy(), itype=2, lower=0)
    values = linalg.eigvalsh(product, lower=False, driver="ev", overwrite_a=True, check_finite=False)
    return torch.from_numpy(values).clamp(min=0).sqrt().sum()


@torch.no_grad()
def frechet_distance(features: Tensor, real: Gaussian) -> float:
    """Squared Frechet distance between the Gaussians with the moments of features (N, d), N >= 2, and of `real`.

    In squared units of the features; >= 0, and NaN where it is not finite. With fewer rows than features the generated
    covariance is never formed: the square roots are the singular values of the centred features times L.
    """
    x = features.double()
    mean, lower = real.mean.to(x.device), real.factor.to(x.device)
    centre = x.mean(0)
    x = x - centre
    rows, dim = x.shape
    spread = x.square().sum() / (rows - 1)
    size = lower.square().sum()
    if not torch.isfinite(size * spread):  # nor would L^T S L be, which LAPACK answers by an error
        return math.nan
    if rows < dim:
        overlap = torch.linalg.svdvals(x @ lower).sum() / (rows - 1) ** 0.5
    else:
        overlap = root_trace(lower, x.T @ x / (rows - 1))
    distance = (centre - mean).square().sum() + size + spread - 2 * overlap
    value = distance.item()
    # equal moments come out as +-1e-10; `max(0.0, nan)` would be 0, the best of all distances
    return max(0.0, value) if math.isfinite(value) else math.nan


def frechet_distance_infinity(features: Tensor, real: Gaussian) -> float:
    """FID-infinity of Chong & Forsyth (2020): the FID that endlessly many samples of the generator would have.

    FID@N is biased by about c/N, with c the generator's own: a line is fitted to the FID over 1/N of 15 seeded subsets
    of features (N, d), their sizes evenly spaced from N/10 (or 2 d, below which the bias is no line) to N, as in the
    paper, and read off at 1/N = 0. The bias of the real side, whose images are finite too, stays. An extrapolation:
    it may fall a little below 0. NaN where one of them is not finite. Raises `InputError` for fewer than 4 d rows.
    """
    rows, dim = features.shape
    if rows < 4 * dim:
        raise InputError(f"fid_infinity: {dim} features need at least {4 * dim:,} images, got {rows:,}")
    sizes = np.linspace(max(rows // 10, 2 * dim), rows, POINTS).round().astype(int)
    generator = torch.Generator().manual_seed(SEED)
    subsets = (torch.randperm(rows, generator=generator)[:size].to(features.device) for size in sizes.tolist())
    values = [frechet_distance(features[chosen], real) for chosen in subsets]
    if not np.isfinite(values).all():
        return math.nan
    return float(np.polyfit(1 / sizes, values, 1)[1])
