"""Measures of a trained generator's images that need no extractor."""

from __future__ import annotations

import torch
from torch import Tensor


def checkerboard_energy(images: Tensor) -> float:
    """Share of the images' spectral energy at the period of two pixels, which stride-2 up-sampling leaves behind.

    images: uint8 or float (N, C, H, W), H and W even. The power of each image less its mean, at horizontal or vertical
    frequency 1/2 per pixel, over all of it: 1 for a pure checkerboard or stripes, 0 for a smooth image, about
    2 / min(H, W) for white noise (Odena et al. 2016 show the artefact; the measure is ours). NaN for constant images.
    """
    x = images.double()
    height, width = x.shape[-2:]
    power = torch.fft.fft2(x - x.mean((2, 3), keepdim=True)).abs().square().mean((0, 1))  # (H, W)
    at = torch.zeros_like(power, dtype=torch.bool)
    at[height // 2, :] = True
    at[:, width // 2] = True
    return float(power[at].sum() / power.sum())
