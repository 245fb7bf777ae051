"""Networks built from a blueprint. G maps z to images; D maps images to a `Critique`."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

import torch
from torch import Tensor


class Seen(NamedTuple):
    """What D is asked about: images, or what its game shows in their place, and what stands beside each."""

    x: Tensor  # (N, C, H, W)
    beside: Tensor | None = None  # (N, B)

    def joined(self, other: Seen) -> Seen:
        """Both in one batch, this one first."""
        beside = None
        if self.beside is not None and other.beside is not None:
            beside = torch.cat((self.beside, other.beside))
        return Seen(torch.cat((self.x, other.x)), beside)

    def whole(self) -> Tensor:
        """All that D sees as one tensor: x where nothing stands beside it, else (N, C H W + B, 1, 1)."""
        if self.beside is None:
            return self.x
        return torch.cat((self.x.flatten(1), self.beside), dim=1)[:, :, None, None]

    def like(self, whole: Tensor) -> Seen:
        """The parts of another such tensor (M, ..)."""
        if self.beside is None:
            return Seen(whole)
        x, beside = whole.flatten(1).split([self.x[0].numel(), self.beside.shape[1]], dim=1)
        return Seen(x.unflatten(1, self.x.shape[1:]), beside)


class Critique(NamedTuple):
    """D's answer to a batch of images."""

    logits: Tensor  # (N,) before any sigmoid; (N P,) where D judges P parts of each image, a sample's one after another
    features: Tensor  # (N, F) what D's head reads, before minibatch statistics
    classes: Tensor | None = None  # (N, K) class logits, where D has such a head
    hidden: tuple[Tensor, ...] = ()  # what each stage of D puts out, first to last
    heads: Mapping[str, Tensor] = MappingProxyType({})  # (N, ..) of further heads, by name

    @property
    def mean_logits(self) -> Tensor:
        """(N,) the logits; the mean over each image's parts where D judges several."""
        return self.logits if len(self.logits) == len(self.features) else self.parts.mean(1)

    @property
    def parts(self) -> Tensor:
        """(N, P) the logits by image."""
        return self.logits.view(len(self.features), -1)

    def split(self, n: int) -> tuple[Critique, Critique]:
        """The answers to the first `n` images and to the rest."""
        halves = [
            Critique(
                self.parts[rows].flatten(),
                self.features[rows],
                None if self.classes is None else self.classes[rows],
                tuple(h[rows] for h in self.hidden),
                {name: value[rows] for name, value in self.heads.items()},
            )
            for rows in (slice(None, n), slice(n, None))
        ]
        return halves[0], halves[1]

    def detach(self) -> Critique:
        """The same answers without their graph; the hidden maps are let go."""
        classes = None if self.classes is None else self.classes.detach()
        heads = {name: value.detach() for name, value in self.heads.items()}
        return Critique(self.logits.detach(), self.features.detach(), classes, heads=heads)
