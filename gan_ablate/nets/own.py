"""Networks of a user's own as players: what they take and return, brought to what the step asks for."""

from __future__ import annotations

import inspect
from typing import Any

from torch import Tensor, nn

from gan_ablate import trust
from gan_ablate.blueprint import Blueprint
from gan_ablate.errors import InputError
from gan_ablate.nets import Critique


def generator(bp: Blueprint, *, network: str) -> OwnGenerator:
    """The G at an import path."""
    return OwnGenerator(bp, network)


def discriminator(bp: Blueprint, *, network: str) -> OwnDiscriminator:
    """The D at an import path."""
    return OwnDiscriminator(bp, network)


class _Own(nn.Module):
    """A network made with the blueprint; `call` hands on labels where it takes them."""

    def __init__(self, bp: Blueprint, path: str, player: str, conditional: bool) -> None:
        super().__init__()
        module, _, attribute = path.rpartition(".")
        self.says = f"{player} {path!r}"
        made = trust.load(f"{module}:{attribute}", self.says)
        try:
            inspect.signature(made).bind(bp)
        except TypeError:
            raise InputError(
                f"{self.says}: is made with one argument, the blueprint: needs __init__(self, bp)"
            ) from None
        self.network: nn.Module = made(bp)
        if not any(p.requires_grad for p in self.network.parameters()):
            raise InputError(f"{self.says}: has no parameters to train")
        try:
            inspect.signature(self.network.forward).bind(None, None)
            self.takes_labels = True
        except TypeError:
            self.takes_labels = False
        if conditional and not self.takes_labels:
            raise InputError(f"{self.says}: a conditional game needs forward(x, labels); this one takes no labels")

    def call(self, x: Tensor, labels: Tensor | None) -> Any:
        return self.network(x, labels) if self.takes_labels else self.network(x)


class OwnGenerator(_Own):
    """z (N, latent_dim) and labels (N,) -> images (N, C, H, W)."""

    def __init__(self, bp: Blueprint, path: str) -> None:
        super().__init__(bp, path, "generator", conditional=bp.g_condition is not None)
        self.shape = bp.shape

    def forward(self, z: Tensor, labels: Tensor | None = None) -> Tensor:
        images = self.call(z, labels)
        if not isinstance(images, Tensor) or images.shape != (len(z), *self.shape):
            raise InputError(f"{self.says}: returns {_kind(images)}, needs images {(len(z), *self.shape)}")
        return images


class OwnDiscriminator(_Own):
    """Images (N, C, H, W) and labels (N,) -> Critique. Logits alone are their own features."""

    def __init__(self, bp: Blueprint, path: str) -> None:
        asked = any((bp.d_condition, bp.d_projection, bp.d_classes))
        super().__init__(bp, path, "discriminator", conditional=asked)

    def forward(self, x: Tensor, labels: Tensor | None = None) -> Critique:
        answer = self.call(x, labels)
        if isinstance(answer, Critique):
            return answer
        if not isinstance(answer, Tensor) or answer.numel() != len(x):
            raise InputError(f"{self.says}: returns {_kind(answer)}, needs logits ({len(x)},) or a Critique")
        return Critique(answer.reshape(-1), answer.reshape(-1, 1))


def _kind(value: object) -> str:
    return f"a tensor {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
