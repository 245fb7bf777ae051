"""Differentiable augmentations of images (N, C, H, W) in [-1, 1]; each sample has random numbers of its own."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

SHIFT = 1 / 8  # greatest translation, as a share of the image (Zhao et al. 2020, appendix B)
CUT = 1 / 2  # side of the square cut out, as a share of the image


class Noise(Protocol):
    """A source of random numbers; `gan_ablate.trick.Step` is one."""

    def uniform_like(self, x: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor: ...
    def normal_like(self, x: Tensor) -> Tensor: ...


def _draw(x: Tensor, noise: Noise) -> Tensor:
    return noise.uniform_like(x[:, :1, :1, :1].float())  # (N, 1, 1, 1) from U(0, 1)


def flip(x: Tensor, noise: Noise) -> Tensor:
    """Left to right, each image with probability 1/2."""
    return torch.where(_draw(x, noise) < 0.5, x.flip(3), x)


def color(x: Tensor, noise: Noise) -> Tensor:
    """Brightness +-0.5, saturation times U(0, 2), contrast times U(0.5, 1.5)."""
    x = x + _draw(x, noise) - 0.5
    grey = x.mean(1, keepdim=True)
    x = (x - grey) * (2 * _draw(x, noise)) + grey
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) * (_draw(x, noise) + 0.5) + mean


def translation(x: Tensor, noise: Noise) -> Tensor:
    """By whole pixels, up to an eighth of the image each way; what comes in is 0."""
    return shift(x, noise, int(x.shape[2] * SHIFT + 0.5), "constant")


def shift(x: Tensor, noise: Noise, most: int, padding: str) -> Tensor:
    """By whole pixels, up to `most` each way. padding: what comes in, by `pad`'s word: constant (0), reflect."""
    n, _, h, w = x.shape
    down, right = (((_draw(x, noise) * (2 * most + 1)).long().view(n, 1) - most) for _ in range(2))
    padded = F.pad(x, (most, most, most, most), padding).permute(0, 2, 3, 1)  # (N, H + 2m, W + 2m, C)
    rows = torch.arange(h, device=x.device)[None] + down + most  # (N, H)
    columns = torch.arange(w, device=x.device)[None] + right + most  # (N, W)
    sample = torch.arange(n, device=x.device).view(n, 1, 1)
    return padded[sample, rows[:, :, None], columns[:, None, :]].permute(0, 3, 1, 2)


def cutout(x: Tensor, noise: Noise) -> Tensor:
    """A square of half the side is set to 0; its centre lies anywhere in the image."""
    h, w = x.shape[2:]
    side = int(h * CUT + 0.5)
    top, left = ((_draw(x, noise) * (h + 1 - side % 2)).long() - side // 2 for _ in range(2))
    rows, columns = torch.arange(h, device=x.device).view(1, 1, h, 1), torch.arange(w, device=x.device)
    hit = (rows >= top) & (rows < top + side) & (columns >= left) & (columns < left + side)
    return x.masked_fill(hit, 0.0)


def cutmix_mask(x: Tensor, noise: Noise) -> Tensor:
    """(N, 1, H, W) of 1 and 0 for images (N, C, H, W): a box of an even share of the area, or all but it, each by half.

    As in the code of Schoenfeld et al. 2020: the box's centre lies anywhere, and what hangs over the edge is lost.
    """
    h, w = x.shape[2:]
    share, down, right, inside = (_draw(x, noise) for _ in range(4))
    half_h, half_w = ((share.sqrt() * n).floor() // 2 for n in (h, w))
    top, left = (down * h).floor(), (right * w).floor()
    rows, columns = torch.arange(h, device=x.device).view(1, 1, h, 1), torch.arange(w, device=x.device)
    box = (rows >= top - half_h) & (rows < top + half_h) & (columns >= left - half_w) & (columns < left + half_w)
    return (box == (inside < 0.5)).float()


# -- Karras et al. 2020 --------------------------------------------------------------------------------------------


def adaptive(x: Tensor, noise: Noise, p: Tensor) -> Tensor:
    """Pixel blitting, geometry and colour of appendix B, each transformation with probability p () per image."""
    dtype = x.dtype
    return _colours(_warp(x.float(), noise, p), noise, p).to(dtype)


def _gated(value: Tensor, neutral: float, noise: Noise, p: Tensor) -> Tensor:
    """`value` (N,) where a draw is under p, else the number that changes nothing."""
    return torch.where(noise.uniform_like(value) < p, value, torch.full_like(value, neutral))


def _both(draw: Callable[[], Tensor], noise: Noise, p: Tensor) -> Tensor:
    """A shift (N, 2, 1), each way a draw (N,); one gate for both ways."""
    x, y = draw(), draw()
    on = _gated(torch.ones_like(x), 0.0, noise, p)
    return torch.stack((x * on, y * on), -1)[:, :, None]


def _rotation(angle: Tensor) -> Tensor:
    return _matrix(angle.cos(), -angle.sin(), angle.sin(), angle.cos())


def _matrix(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    return torch.stack((torch.stack((a, b), -1), torch.stack((c, d), -1)), -2)  # (N, 2, 2)


def _warp(x: Tensor, noise: Noise, p: Tensor) -> Tensor:
    """Flip, quarter turn, shift, scale, rotation, stretch: one affine map per image, bilinear, mirrored at the edge.

    The map leads from the new image to the old one, hence from the last transformation (right) to the first (left).
    """
    uniform = lambda: noise.uniform_like(x[:, 0, 0, 0])  # noqa: E731
    normal = lambda: noise.normal_like(x[:, 0, 0, 0])  # noqa: E731
    zero = torch.zeros_like(x[:, 0, 0, 0])
    mirrored = _gated(torch.where(uniform() < 0.5, -1.0, 1.0), 1.0, noise, p)
    turned = _gated((uniform() * 4).floor() * (math.pi / 2), 0.0, noise, p)
    scale = _gated(2 ** (0.2 * normal()), 1.0, noise, p)
    stretch = _gated(2 ** (0.2 * normal()), 1.0, noise, p)
    # before and after the stretch, each with a probability that makes p of the two
    before, after = (_gated((uniform() * 2 - 1) * math.pi, 0.0, noise, 1 - (1 - p).sqrt()) for _ in range(2))
    exact = _matrix(mirrored, zero, zero, zero + 1) @ _rotation(turned)
    linear = exact @ _rotation(before) @ _matrix(scale * stretch, zero, zero, scale / stretch) @ _rotation(after)
    # in units of half an image: whole pixels up to an eighth of it, then a fraction of any size
    pixel = 2 / x.shape[-1]
    blit = _both(lambda: ((uniform() * 2 - 1) / (4 * pixel)).round() * pixel, noise, p)
    offset = exact @ blit + linear @ _both(lambda: 0.25 * normal(), noise, p)
    theta = torch.cat((linear, offset), 2)  # (N, 2, 3)
    grid = F.affine_grid(theta, list(x.shape), align_corners=False)
    return F.grid_sample(x, grid, padding_mode="reflection", align_corners=False)


def _colours(x: Tensor, noise: Noise, p: Tensor) -> Tensor:
    """Brightness, contrast, luma flip and, with three channels, hue and saturation: one affine map per image."""
    n, c = x.shape[:2]
    uniform = lambda: noise.uniform_like(x[:, 0, 0, 0])  # noqa: E731
    normal = lambda: noise.normal_like(x[:, 0, 0, 0])  # noqa: E731
    brightness = _gated(0.2 * normal(), 0.0, noise, p).view(n, 1, 1, 1)
    contrast = _gated(2 ** (0.5 * normal()), 1.0, noise, p).view(n, 1, 1, 1)
    x = (x + brightness) * contrast
    flipped = _gated(torch.where(uniform() < 0.5, -1.0, 1.0), 1.0, noise, p)
    if c == 1:
        return x * flipped.view(n, 1, 1, 1)
    hue = _gated((uniform() * 2 - 1) * math.pi, 0.0, noise, p)
    saturation = _gated(2 ** normal(), 1.0, noise, p)
    eye = torch.eye(3, device=x.device)
    along = torch.full((3, 3), 1 / 3, device=x.device)  # projection on the grey axis
    # Rodrigues' formula: cross is the cross product with the grey axis
    cross = (eye.roll(-1, 1) - eye.roll(1, 1)) / math.sqrt(3)  # not from a list: a graph cannot copy from the host
    around = hue.cos().view(n, 1, 1) * (eye - along) + hue.sin().view(n, 1, 1) * cross
    matrix = flipped.view(n, 1, 1) * along + saturation.view(n, 1, 1) * around  # (N, 3, 3)
    return torch.einsum("nij,njhw->nihw", matrix, x)
