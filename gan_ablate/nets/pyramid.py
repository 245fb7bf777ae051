"""LAPGAN's networks (Denton et al. 2015): a G and a D per level of a Laplacian pyramid, each side as one module."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_ablate.blueprint import Blueprint, levels, noise_pixels, replace
from gan_ablate.nets import Critique, conv, mlp
from gan_ablate.nets.layers import Stack, hidden


def down(x: Tensor) -> Tensor:
    """d: (N, C, H, W) -> (N, C, H/2, W/2)."""
    return F.avg_pool2d(x, 2)


def up(x: Tensor) -> Tensor:
    """u: (N, C, H, W) -> (N, C, 2H, 2W)."""
    return F.interpolate(x, scale_factor=2, mode="bilinear")


class Detail(nn.Module):
    """G_k: a blurred image l (N, C, S, S) and a plane of noise -> the detail h that it lacks, of the same shape.

    Three convolutions at full resolution, of 7, 7 and 5 pixels, as in the authors' code.
    """

    def __init__(self, bp: Blueprint) -> None:
        super().__init__()
        bias = bp.g_norm is None
        pairs = itertools.pairwise((bp.channels + 1, bp.g_width, bp.g_width))
        self.body = Stack(
            *(
                Stack(nn.Conv2d(a, b, 7, padding=3, bias=bias), hidden(bp.g_norm, bp.g_activation, bp.g_after, b))
                for a, b in pairs
            )
        )
        self.last = nn.Conv2d(bp.g_width, bp.channels, 5, padding=2)

    def forward(self, noise: Tensor, blurred: Tensor) -> Tensor:
        return self.last(self.body(torch.cat((noise, blurred), dim=1)))


class Generator(nn.Module):
    """z (N, latent_dim) -> images (N, C, H, W), coarse to fine (section 3.2).

    z has the coarsest level's latents first, then a plane of noise per finer level, the finest first.
    """

    def __init__(self, bp: Blueprint) -> None:
        super().__init__()
        self.sizes = levels(bp.size)
        self.latent_dim = bp.latent_dim - noise_pixels(bp.size)  # of the coarsest level
        self.coarsest = mlp.Generator(replace(bp, size=self.sizes[-1], latent_dim=self.latent_dim))
        self.details = nn.ModuleList(Detail(bp) for _ in self.sizes[:-1])

    def _noise(self, z: Tensor) -> tuple[Tensor, list[Tensor]]:
        """The coarsest level's latents, and a plane (N, 1, S, S) for each finer one."""
        coarse, *planes = z.split([self.latent_dim, *(s * s for s in self.sizes[:-1])], dim=1)
        return coarse, [p.unflatten(1, (1, s, s)) for p, s in zip(planes, self.sizes, strict=False)]

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        return self.steps(z)[-1]

    def steps(self, z: Tensor) -> list[Tensor]:
        """What sampling passes through: the coarsest image, then each level's blur and what its G made of it."""
        coarse, planes = self._noise(z)
        found = [self.coarsest(coarse)]
        for detail, plane in zip(reversed(self.details), reversed(planes), strict=True):
            blurred = up(found[-1])
            found += [blurred, blurred + detail(plane, blurred)]
        return found

    def levels(self, images: Tensor) -> list[Tensor]:
        """Images (N, C, H, W) at each level's size, the finest first: the Gaussian pyramid."""
        found = [images]
        for _ in self.details:
            found.append(down(found[-1]))
        return found

    def blurred(self, images: Tensor) -> list[Tensor]:
        """l_k of real images at each level but the coarsest: the next one's image, doubled."""
        return [up(x) for x in self.levels(images)[1:]]

    def refined_levels(self, z: Tensor, images: Tensor) -> list[Tensor]:
        """What each level's G makes of the real level below it, and of z alone at the coarsest; the finest first."""
        coarse, planes = self._noise(z)
        blurs = self.blurred(images)
        made = [x + detail(plane, x) for detail, plane, x in zip(self.details, planes, blurs, strict=True)]
        return [*made, self.coarsest(coarse)]

    def packed(self, images: Tensor) -> Tensor:
        """The real levels side by side: (N, M, 1, 1)."""
        return _packed(self.levels(images))

    def refined(self, z: Tensor, images: Tensor) -> Tensor:
        """The generated levels, likewise."""
        return _packed(self.refined_levels(z, images))


def _packed(levels: list[Tensor]) -> Tensor:
    return torch.cat([x.flatten(1) for x in levels], dim=1)[:, :, None, None]


class Discriminator(nn.Module):
    """Levels side by side (N, M, 1, 1) -> Critique with an answer per sample and level, (N * levels,).

    Each level has a D of its own, so neither it nor its G gets a gradient from another one. Their losses are averaged.
    """

    def __init__(self, bp: Blueprint) -> None:
        super().__init__()
        self.shapes = [(bp.channels, s, s) for s in levels(bp.size)]
        *fine, coarsest = [replace(bp, size=s) for s in levels(bp.size)]
        self.details = nn.ModuleList(conv.Discriminator(each) for each in fine)
        self.coarsest = mlp.Discriminator(coarsest)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Critique:
        parts = x.flatten(1).split([c * h * w for c, h, w in self.shapes], dim=1)
        networks = (*self.details, self.coarsest)
        answers = [d(p.unflatten(1, shape)) for d, p, shape in zip(networks, parts, self.shapes, strict=True)]
        logits = torch.stack([a.logits for a in answers], dim=1).flatten()
        return Critique(logits, torch.cat([a.features for a in answers], dim=1))
