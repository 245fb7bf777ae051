"""Networks that grow while they are trained (Karras et al. 2018, section 2), under shapes that do not change.

Every resolution is there from the first step. How far training is says which of them G's images are made of and D looks
at; a layer that has no part in them has no gradient, so Adam leaves it as it was drawn.
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_ablate.blueprint import Blueprint, stages
from gan_ablate.nets import Critique
from gan_ablate.nets.conv import Images, Latents, widths
from gan_ablate.nets.heads import Critic
from gan_ablate.nets.layers import Stack, hidden


class Growing(nn.Module):
    """What both players share: the share of training done, and the level that it leads to."""

    share: Tensor  # () of training done

    def build_growth(self, levels: int, until: float) -> None:
        """Called once by the network's constructor, with the number of its resolutions."""
        self.levels, self.until = levels, until
        self.register_buffer("share", torch.zeros(()))

    @property
    def level(self) -> Tensor:
        """() from 0, the coarsest resolution, to `levels` - 1; between two whole numbers the finer one is faded in.

        Resolutions and fades take turns, each as long as the other, the coarsest resolution first.
        """
        turns = self.share / self.until * 2 * (self.levels - 1)
        return (turns // 2 + (turns % 2 - 1).clamp(min=0)).clamp(max=self.levels - 1)


def grow(network: nn.Module, share: Tensor) -> None:
    """Tells a network how far training is: to be called before each of its updates."""
    if isinstance(network, Growing):
        network.share.copy_(share)


class Generator(Growing):
    """z (N, latent_dim) and labels (N,), where it is conditional -> images (N, C, H, W) in [-1, 1].

    DCGAN's layers, with a 1x1 convolution to an image at each resolution.
    """

    def __init__(self, bp: Blueprint, *, until: float) -> None:
        super().__init__()
        self.bottom = stages(bp.size)[1]
        channels = widths(bp.g_width, bp.size)[::-1]
        channels = [channels[0], *channels]
        bias = bp.g_norm is None
        self.latents = Latents(bp)
        self.project = nn.Linear(self.latents.out_features, channels[0] * self.bottom**2, bias=bias)
        self.first = hidden(bp.g_norm, bp.g_activation, bp.g_after, channels[0])
        self.up = nn.ModuleList(
            Stack(bp.g_up(a, b, bias), hidden(bp.g_norm, bp.g_activation, bp.g_after, b))
            for a, b in itertools.pairwise(channels)
        )
        self.last = nn.ModuleList(nn.Conv2d(c, bp.channels, 1) for c in channels)
        self.last_norm = bp.g_last_norm(bp.channels, 2) if bp.g_last_norm else nn.Identity()
        self.output = bp.g_output()
        self.build_growth(len(channels), until)

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        level = self.level
        x = self.first(self.project(self.latents(z, labels)).unflatten(1, (-1, self.bottom, self.bottom)), labels)
        image = self.last[0](x)
        for k, (up, last) in enumerate(zip(self.up, self.last[1:], strict=True)):
            x = up(x, labels)
            # the finer image's share, as it is faded in beside the coarser one doubled
            image = torch.lerp(F.interpolate(image, scale_factor=2.0), last(x), (level - k).clamp(0, 1).to(x.dtype))
        return self.output(self.last_norm(image))


class Discriminator(Growing, Critic):
    """Images (N, C, H, W) and labels (N,), where it is conditional -> Critique; a 1x1 convolution at each resolution.

    As in the paper, real images are shown at the resolution that is grown to, halved by averages.
    """

    def __init__(self, bp: Blueprint, *, until: float) -> None:
        super().__init__()
        self.images = Images(bp)
        channels = widths(bp.d_width, bp.size)
        channels = [channels[0], *channels]  # from the finest resolution to the coarsest
        extra, last = self.build_map_statistics(bp, channels[-2]), len(channels) - 2
        self.first = nn.ModuleList(
            Stack(nn.Conv2d(self.images.channels, c, 1), hidden(bp.d_first_norm, bp.d_activation, bp.d_after, c))
            for c in channels
        )
        self.down = nn.ModuleList(
            Stack(
                bp.d_down(a + extra * (i == last), b, bp.d_norm is None),
                hidden(bp.d_norm, bp.d_activation, bp.d_after, b),
            )
            for i, (a, b) in enumerate(itertools.pairwise(channels))
        )
        self.build_heads(bp, channels[-1] * stages(bp.size)[1] ** 2)
        self.build_growth(len(channels), until)

    def forward(self, x: Tensor, labels: Tensor | None = None, beside: Tensor | None = None) -> Critique:
        level, image, seen = self.level, self.images(x, labels), []
        h = self.first[0](image, labels)
        for i, down in enumerate(self.down):
            h = down(self.before_last(h) if down is self.down[-1] else h, labels)
            image = F.avg_pool2d(image, 2)
            share = (level - (self.levels - 2 - i)).clamp(0, 1).to(h.dtype)  # of what the finer resolution says
            h = torch.lerp(self.first[i + 1](image, labels), h, share)
            seen.append(h)
        return self.answer(h.flatten(1), labels, tuple(seen), beside)
