"""Every dataset of the suite is one tensor of images. Here are its type, its scaling and its conversion."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

MNIST_SIDE = 28  # the one width that is padded, not resampled: 28 -> 32, as is the custom for MNIST


@dataclass(frozen=True)
class ImageSet:
    """A dataset in memory (or mapped from a cache file: treat `images` as read-only).

    images: uint8 (N, C, H, W), volumes (N, C, D, H, W), or float32 in [-1, 1] for points in the plane, (N, 2, 1, 1);
    labels: int64 (N,), or None where there are no classes; classes: the name of each label;
    fingerprint: first 16 hex digits of the SHA-256 of the images' and labels' bytes;
    drawn_from: the one-channel set whose images are the channels of this one's, where it is stacked of them.
    """

    images: Tensor
    labels: Tensor | None
    classes: tuple[str, ...]
    name: str
    fingerprint: str
    drawn_from: ImageSet | None = None

    @classmethod
    def of(cls, images: Tensor, labels: Tensor | None, classes: tuple[str, ...], name: str) -> ImageSet:
        """An image set with its fingerprint computed from its content."""
        return cls(images, labels, classes, name, fingerprint(images, labels))

    def rows(self, rows: Tensor) -> ImageSet:
        """The set that has only those rows, (n,) int64."""
        labels = None if self.labels is None else self.labels[rows]
        return replace(ImageSet.of(self.images[rows], labels, self.classes, self.name), drawn_from=self.drawn_from)

    def __len__(self) -> int:
        return len(self.images)


def fingerprint(images: Tensor, labels: Tensor | None) -> str:
    """First 16 hex digits of the SHA-256 over the bytes of `images`, then of `labels`; the same on every device."""
    digest = hashlib.sha256()
    for tensor in (images, labels):
        if tensor is not None:
            digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return digest.hexdigest()[:16]


def to_uint8(x: Tensor) -> Tensor:
    """From [-1, 1] to 0..255: `round((x + 1) * 127.5)`, clamped (values outside saturate; NaN becomes 0)."""
    return x.float().add(1).mul(127.5).round().clamp(0, 255).nan_to_num(0).to(torch.uint8)


def to_float(images: Tensor) -> Tensor:
    """From 0..255 to float32 in [-1, 1]: `u8 / 127.5 - 1`, which `to_uint8` takes back exactly. Floats stay."""
    return images if images.is_floating_point() else images.to(torch.float32).div(127.5).sub(1)


def convert(images: Tensor, size: int, channels: int, *, chunk: int = 4096) -> Tensor:
    """uint8 (N, C, H, W) with H = W as uint8 (N, channels, size, size).

    28 -> 32 pads with zeros (MNIST's custom); every other change of size is an anti-aliased bilinear resize.
    RGB -> grey by the luma weights of ITU-R BT.601 (those of PIL); grey -> RGB by repetition.
    """
    n, c, h, w = images.shape
    if (c, h, w) == (channels, size, size):
        return images
    out = torch.empty(n, channels, size, size, dtype=torch.uint8)
    for start in range(0, n, chunk):  # in pieces: the float copy of a whole set would take gigabytes
        part = images[start : start + chunk]
        if c == 3 and channels == 1:
            part = _round(part.float().mul(torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)).sum(1, keepdim=True))
        if h == MNIST_SIDE and size == 32:
            part = F.pad(part, (2, 2, 2, 2))
        elif h != size:
            part = _round(F.interpolate(part.float(), (size, size), mode="bilinear", antialias=True))
        out[start : start + chunk] = part.expand(-1, channels, -1, -1)
    return out


def _round(x: Tensor) -> Tensor:
    return x.round().clamp(0, 255).to(torch.uint8)
