"""Networks built from a blueprint. G maps z to images; D maps images to a `Critique`."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import NamedTuple

from torch import Tensor


class Critique(NamedTuple):
    """D's answer to a batch of images."""

    logits: Tensor  # (N,) before any sigmoid
    features: Tensor  # (N, F) what D's head reads, before minibatch statistics
    classes: Tensor | None = None  # (N, K) class logits, where D has such a head
    hidden: tuple[Tensor, ...] = ()  # what each stage of D puts out, first to last
    heads: Mapping[str, Tensor] = MappingProxyType({})  # (N, ..) of further heads, by name

    def split(self, n: int) -> "tuple[Critique, Critique]":
        """The answers to the first `n` images and to the rest."""
        halves = [
            Critique(
                self.logits[rows],
                self.features[rows],
                None if self.classes is None else self.classes[rows],
                tuple(h[rows] for h in self.hidden),
                {name: value[rows] for name, value in self.heads.items()},
            )
            for rows in (slice(None, n), slice(n, None))
        ]
        return halves[0], halves[1]

    def detach(self) -> "Critique":
        """The same answers without their graph; the hidden maps are let go."""
        classes = None if self.classes is None else self.classes.detach()
        heads = {name: value.detach() for name, value in self.heads.items()}
        return Critique(self.logits.detach(), self.features.detach(), classes, heads=heads)
