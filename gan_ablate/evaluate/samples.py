"""Grids of sample images as PNG."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor

from gan_ablate.evaluate.cache import write_atomically

CELL = 48  # pixels: smaller images are enlarged by a whole factor to at least this
GAP = 2  # pixels of white between cells


def grid(images: Tensor, *, columns: int = 8, cell: int = CELL) -> Tensor:
    """uint8 images (N, C, H, W) row by row on white, enlarged without smoothing: uint8 (C, height, width)."""
    factor = max(1, math.ceil(cell / images.shape[-1]))
    images = images.repeat_interleave(factor, 2).repeat_interleave(factor, 3)
    n, c, h, w = images.shape
    rows = math.ceil(n / columns)
    sheet = torch.full((c, rows * (h + GAP) + GAP, columns * (w + GAP) + GAP), 255, dtype=torch.uint8)
    for index, image in enumerate(images):
        top, left = GAP + (index // columns) * (h + GAP), GAP + (index % columns) * (w + GAP)
        sheet[:, top : top + h, left : left + w] = image
    return sheet


def save_grid(images: Tensor, path: Path, *, columns: int = 8) -> None:
    """Write `grid(images)` to `path` (PNG), all of it or nothing; its folder is made if missing."""
    sheet = grid(images.cpu(), columns=columns)
    picture = Image.fromarray(sheet[0].numpy() if len(sheet) == 1 else sheet.permute(1, 2, 0).contiguous().numpy())
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, lambda temporary: picture.save(temporary, format="PNG"))
