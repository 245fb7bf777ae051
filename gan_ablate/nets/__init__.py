"""Networks built from a blueprint. G maps z to images; D maps images to a `Critique`."""

from typing import NamedTuple

from torch import Tensor


class Critique(NamedTuple):
    """D's answer to a batch of images."""

    logits: Tensor  # (N,) before any sigmoid; (N P,) where D judges P parts of each image, a sample's one after another
    features: Tensor  # (N, F) what D's head reads, before minibatch statistics
    classes: Tensor | None = None  # (N, K) class logits, where D has such a head
    hidden: tuple[Tensor, ...] = ()  # what each stage of D puts out, first to last

    @property
    def values(self) -> Tensor:
        """(N,) the logits; the mean over each image's parts where D judges several."""
        return self.logits if len(self.logits) == len(self.features) else self.parts.mean(1)

    @property
    def parts(self) -> Tensor:
        """(N, P) the logits by image."""
        return self.logits.view(len(self.features), -1)

    def split(self, n: int) -> "tuple[Critique, Critique]":
        """The answers to the first `n` images and to the rest."""
        halves = [
            Critique(
                self.parts[rows].flatten(),
                self.features[rows],
                None if self.classes is None else self.classes[rows],
                tuple(h[rows] for h in self.hidden),
            )
            for rows in (slice(None, n), slice(n, None))
        ]
        return halves[0], halves[1]

    def detach(self) -> "Critique":
        """The same answers without their graph; the hidden maps are let go."""
        classes = None if self.classes is None else self.classes.detach()
        return Critique(self.logits.detach(), self.features.detach(), classes)
