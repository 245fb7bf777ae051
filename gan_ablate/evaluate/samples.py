"""Sample images as PNG: grids, and scatter plots of points in the plane."""

from __future__ import annotations

import math
from pathlib import Path

import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from gan_ablate.evaluate.views import views
from gan_ablate.publishing import whole

CELL = 48  # pixels: smaller images are enlarged by a whole factor to at least this
GAP = 2  # pixels of white between cells
SIDE = 400  # pixels of a scatter plot
INK = 0.4  # what one point takes of the white of its 3 x 3 pixels
FAKE, REAL = (20, 70, 160), (90, 90, 90)  # RGB of generated and of real points


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
    """Write `grid(images)` to `path` (PNG), all of it or nothing; its folder is made if missing.

    Points in the plane, float (N, 2, 1, 1), are written as `save_points` does; of volumes, their `views`.
    """
    if images.ndim == 5:
        images = views(images)
    if images.is_floating_point():
        save_points(images, path)
    else:
        _save(grid(images.cpu(), columns=columns), path)


def scatter(points: Tensor, colour: tuple[int, int, int] = FAKE, *, side: int = SIDE) -> Tensor:
    """Points (N, 2, 1, 1) in [-1, 1] on white in a grey frame, y upwards, darker where many lie: uint8 (3, side, side).

    Points that are not finite are left out, those outside drawn at the edge.
    """
    x, y = points.detach().float().cpu().flatten(1).T
    known = torch.isfinite(x) & torch.isfinite(y)
    column, row = ((v[known].clamp(-1, 1) + 1) / 2 * (side - 1) for v in (x, -y))
    places = row.round().long() * side + column.round().long()
    count = torch.bincount(places, minlength=side * side).view(1, 1, side, side).float()
    ink = 1 - (1 - INK) ** (9 * F.avg_pool2d(count, 3, stride=1, padding=1)[0])  # (1, side, side)
    sheet = 255 - ink * (255 - torch.tensor(colour).view(3, 1, 1))
    sheet[:, [0, -1], :] = sheet[:, :, [0, -1]] = 200
    return sheet.round().to(torch.uint8)


def save_points(points: Tensor, path: Path, real: Tensor | None = None) -> None:
    """Write points (N, 2, 1, 1) as a scatter plot to `path` (PNG), and where `real` ones are given these below it."""
    sheets = [scatter(points)] + ([] if real is None else [scatter(real, REAL)])
    _save(torch.cat(sheets, 1), path)


def _save(sheet: Tensor, path: Path) -> None:
    """Write uint8 (1 or 3, H, W) to `path`."""
    picture = Image.fromarray(sheet[0].numpy() if len(sheet) == 1 else sheet.permute(1, 2, 0).contiguous().numpy())
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path, sync=False) as file:
        picture.save(file, format="PNG")
