"""Blueprint: what a recipe builds, as comparable data. No torch here: factories import it when called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pkgutil import resolve_name
from types import MappingProxyType
from typing import Any

__all__ = ["STEP_HOOKS", "Blueprint", "Change", "Factory", "diff", "replace"]

# The points of a training step that a trick may change (see gan_ablate.trick)
STEP_HOOKS = ("latents", "fakes", "inputs", "targets", "d_loss", "g_loss", "project", "averaged")


@dataclass(frozen=True)
class Factory:
    """A callable by its import path with keyword options bound: comparable, printable, imported when first called.

    >>> Factory("math:hypot")(3.0, 4.0)
    5.0
    """

    target: str  # "package.module:attribute"
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        object.__setattr__(self, "options", MappingProxyType(dict(self.options)))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return resolve_name(self.target)(*args, **{**self.options, **kwargs})

    def __hash__(self) -> int:
        return hash(str(self))

    def __str__(self) -> str:
        name = self.target.partition(":")[2]
        return f"{name}({', '.join(f'{k}={v}' for k, v in self.options.items())})" if self.options else name

    def but(self, **options: Any) -> Factory:
        """The same callable with some options changed."""
        return replace(self, options={**self.options, **options})


Build = Callable[..., Any]  # a Factory, or any callable of a user's own


@dataclass(frozen=True)
class Blueprint:
    """Everything that a training run is built from. A trick's `edit` returns a changed copy.

    Layer factories take what the networks know (channels, number of spatial dimensions) and return an
    `nn.Module`; `None` means that the layer is left out.
    """

    model: str  # dcgan | nsgan | wgan_gp
    size: int  # pixels, height = width
    channels: int  # of the images: 1 or 3
    latent_dim: int
    batch_size: int
    g_width: int  # channels of G's widest-resolution feature map
    d_width: int  # channels of D's widest-resolution feature map
    generator: Build  # (blueprint) -> Module: z (N, latent_dim) -> images (N, C, H, W) in [-1, 1]
    discriminator: Build  # (blueprint) -> Module: images -> Critique(logits (N,), features (N, F))
    objective: Build  # () -> an objective of gan_ablate.losses
    g_optimizer: Build  # (parameters) -> Optimizer
    d_optimizer: Build
    init: Build  # (module) -> None, in place, for one module at a time
    g_norm: Build | None  # (channels, spatial dimensions) -> Module
    d_norm: Build | None
    g_activation: Build  # () -> Module
    d_activation: Build
    g_up: Build  # (in, out, bias) -> Module that doubles height and width
    d_down: Build  # (in, out, bias) -> Module that halves height and width
    g_output: Build  # () -> Module, G's output activation
    d_head: Build  # (features) -> Module: (N, features) -> (N, 1)
    g_after: Build | None = None  # () -> Module behind each hidden activation of G: dropout, noise
    d_after: Build | None = None  # the same in D
    d_statistics: Build | None = None  # (features) -> Module with `out_features`, before D's head
    penalty: Build | None = None  # (D, real, fake, step) -> scalar added to D's loss
    n_critic: int = 1  # D steps per G step
    hooks: frozenset[str] = frozenset(STEP_HOOKS)  # the step-time hooks that this game consults


@dataclass(frozen=True)
class Change:
    """One field of a blueprint that differs: what stood there and what stands there now."""

    name: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.name}: {_show(self.before)} -> {_show(self.after)}"


def _show(value: Any) -> str:
    return ", ".join(sorted(value)) if isinstance(value, frozenset) else "none" if value is None else str(value)


def diff(a: Blueprint, b: Blueprint) -> tuple[Change, ...]:
    """What differs between two blueprints, in the order of the fields."""
    pairs = ((f.name, getattr(a, f.name), getattr(b, f.name)) for f in fields(Blueprint))
    return tuple(Change(name, before, after) for name, before, after in pairs if before != after)
