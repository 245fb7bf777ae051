"""Pictures of volumes: each seen from above and one corner in parallel projection, near faces brighter than far."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor

PIXELS = 64  # height and width of a picture
OCCUPIED = 128  # a voxel is drawn from here on: G's are in between
FACES = (0.4, 0.65, 1.0)  # brightness of faces across x, y and z: right, left and top
FAR = 0.35  # what is lost of it from the nearest to the farthest voxel
DARK, BRIGHT, BACKGROUND = 30, 215, 245  # grey levels
STEP = 0.1  # of a ray, in voxels
ZOOM = 0.75  # share of the volume's diagonal that is in the picture: the data keep clear of the corners


def views(volumes: Tensor) -> Tensor:
    """uint8 (N, 1, D, H, W), D = H = W, D upwards -> uint8 (N, 1, PIXELS, PIXELS)."""
    voxels, shades = _rays(volumes.shape[-1])
    seen = volumes.cpu().flatten(1) >= OCCUPIED
    seen = torch.cat((seen, seen.new_zeros(len(seen), 1)), 1)  # what lies outside is empty
    pictures = torch.full((len(seen), PIXELS * PIXELS), BACKGROUND, dtype=torch.uint8)
    for picture, volume in zip(pictures, seen, strict=True):
        hit = volume[voxels]  # (pixels, steps)
        first = hit.to(torch.uint8).argmax(1, keepdim=True)
        shade = shades.gather(1, first).squeeze(1)
        picture.copy_(torch.where(hit.any(1), shade, picture))
    return pictures.view(-1, 1, PIXELS, PIXELS)


@lru_cache(maxsize=2)
def _rays(size: int) -> tuple[Tensor, Tensor]:
    """For each pixel's ray, step by step: the voxel that it is in, size^3 outside; and the grey level of its face."""
    right = torch.tensor([1.0, -1.0, 0.0]) / 2**0.5  # x, y, z
    away = torch.tensor([1.0, 1.0, -0.8])
    away = away / away.norm()
    up = torch.linalg.cross(right, away)
    half = ZOOM * size * 3**0.5 / 2
    axis = (torch.arange(PIXELS) + 0.5) * (2 * half / PIXELS) - half
    depth = torch.arange(-size, size, STEP)
    plane = axis[None, :, None, None] * right - axis[:, None, None, None] * up  # rows from the top
    points = (plane + depth[:, None] * away).flatten(0, 1) + size / 2  # (pixels, steps, 3)
    cell = points.floor().long()
    inside = ((cell >= 0) & (cell < size)).all(2)
    x, y, z = cell.unbind(2)
    voxels = torch.where(inside, (z * size + y) * size + x, size**3)
    # the face that a ray came into its voxel by is the one that it crossed last
    since = torch.where(away > 0, points - cell, 1 - (points - cell)) / away.abs()
    face = torch.tensor(FACES)[since.argmin(2)]
    light = face * (1 - FAR * torch.linspace(0, 1, len(depth)))
    return voxels, (DARK + (BRIGHT - DARK) * light).round().to(torch.uint8)
