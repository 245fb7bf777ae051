"""Blueprint: what a recipe builds, as comparable data. No torch here: factories import it when called."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from pkgutil import resolve_name
from types import MappingProxyType
from typing import Any

__all__ = [
    "STEP_HOOKS",
    "Blueprint",
    "Build",
    "Change",
    "Factory",
    "claims",
    "diff",
    "levels",
    "noise_pixels",
    "replace",
    "stages",
]

# The points of a training step that a trick may change (see gan_ablate.trick)
STEP_HOOKS = (
    "latents",
    "reals",
    "fakes",
    "inputs",
    "targets",
    "d_loss",
    "g_loss",
    "project",
    "settle",
    "averaged",
)
COARSEST = 8  # pixels of a pyramid's last level, at most (Denton et al. 2015, section 4.1)
# Objectives whose D answers with a probability: only these have targets to soften, flip or smooth
PROBABILITIES = ("NonSaturating", "Saturating", "BoundarySeeking", "FlippedLabels", "InvertedGenerator")


def stages(size: int) -> tuple[int, int]:
    """How often an image is halved, and the height that remains: of sizes that are a multiple of 4, 8 or more.

    >>> stages(8), stages(12), stages(16), stages(20), stages(28), stages(128)
    ((1, 4), (2, 3), (2, 4), (2, 5), (2, 7), (5, 4))
    """
    count = 0
    while size % 2 == 0 and size > 4:
        size, count = size // 2, count + 1
    return count, size


def levels(size: int) -> tuple[int, ...]:
    """Heights of a Laplacian pyramid's levels, from the image's own to one that is at most 8 or cannot be halved.

    >>> levels(16), levels(28), levels(32), levels(20)
    ((16, 8), (28, 14, 7), (32, 16, 8), (20, 10, 5))
    """
    found = [size]
    while found[-1] > COARSEST and found[-1] % 2 == 0:
        found.append(found[-1] // 2)
    return tuple(found)


def noise_pixels(size: int) -> int:
    """Numbers of z that are noise planes: one plane for each level but the coarsest."""
    return sum(s * s for s in levels(size)[:-1])


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

    def __reduce__(self) -> Any:  # a mapping proxy can be neither pickled nor copied
        return Factory, (self.target, dict(self.options))

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

    model: str  # a name of `recipe.MODELS`, or an import path
    size: int  # pixels, height = width (= depth)
    channels: int  # of the images: 1 or 3
    latent_dim: int
    classes: int | None  # of the dataset; 0: it has none, None: not known before it is loaded
    batch_size: int
    steps: int  # G steps
    g_width: int  # channels of G's widest-resolution feature map
    d_width: int  # channels of D's widest-resolution feature map
    generator: Build  # (blueprint) -> Module: (z (N, latent_dim), labels) -> images (N, C, H, W) in [-1, 1]
    discriminator: Build  # (blueprint) -> Module: (images, labels) -> Critique
    objective: Build  # () -> an objective of gan_ablate.losses
    g_optimizer: Build  # (parameters) -> Optimizer
    d_optimizer: Build
    init: Build  # (module) -> None, in place, for one module at a time
    g_norm: Build | None  # (channels, spatial dimensions) -> Module
    d_norm: Build | None
    g_activation: Build  # () -> Module
    d_activation: Build
    g_up: Build  # (in, out, bias) -> Module that doubles height and width; for volumes with dims=3 besides
    d_down: Build  # (in, out, bias) -> Module that halves height and width; for volumes with dims=3 besides
    g_output: Build  # () -> Module, G's output activation
    d_head: Build | None  # (features) -> Module: (N, features) -> (N, 1); None: from the class logits
    dims: int = 2  # spatial dimensions: 2, or 3 for volumes
    g_input: Build | None = None  # () -> Module before G's first layer: another distribution of z
    # (blueprint) -> Module, trained with G: images -> codes (N, latent_dim), or what a trick's own wants
    encoder: Build | None = None
    rules: Build = Factory("gan_ablate.rules:Plain")  # () -> rules of `gan_ablate.rules`: what D sees
    sees: str = "images"  # what that is: images | pairs (image, code) | codes | pyramids
    d_terms: tuple[Build, ...] = ()  # (game, step) -> scalar added to D's loss: of the game itself, not of a trick
    g_terms: tuple[Build, ...] = ()  # the same for G's
    measures: tuple[Build, ...] = ()  # (module, against) -> figures by name (`evaluate.systems`)
    pictures: tuple[Build, ...] = ()  # (module, images) -> pictures by name, at the end
    d_depth: int = 1  # convolutions of D per resolution
    dense: int = 0  # units of a hidden dense layer behind z in G and before D's head; 0: none
    g_after: Build | None = None  # () -> Module behind each hidden activation of G: dropout, noise
    d_after: Build | None = None  # the same in D
    g_last_norm: Build | None = None  # a norm at G's output layer
    d_first_norm: Build | None = None  # a norm at D's input layer
    d_input: Build | None = None  # () -> Module before D's first layer: another range of pixels
    d_statistics: Build | None = None  # (features) -> Module with `out_features`, before D's head
    g_condition: Build | None = None  # (classes) -> Module with `out_features`: labels -> (N, E), beside z
    d_condition: Build | None = None  # (classes, size) -> Module: labels -> (N, 1, H, W), beside the image
    d_projection: Build | None = None  # (features, classes) -> Module: (features, labels) -> (N,), added to the logit
    d_classes: Build | None = None  # (features, classes) -> Module: (N, features) -> class logits (N, K)
    d_joint: Build | None = None  # (features, latent_dim) -> Module with `out_features`: (features, codes) -> (N, J)
    g_attention: Build | None = None  # (channels, side) -> Module behind a hidden map of that side, or None
    d_attention: Build | None = None  # the same in D
    d_map_statistics: Build | None = None  # () -> Module that adds `extra` channels, before D's last hidden stage
    d_codebook: Build | None = None  # (channels) -> Module that quantises maps, before D's last hidden stage
    d_local: Build | None = None  # (channels) -> Module: maps before D's last hidden stage -> (N, ..): `heads["local"]`
    g_finish: tuple[Build, ...] = ()  # (network, blueprint) -> None, in place, once the weights are drawn
    d_finish: tuple[Build, ...] = ()
    d_heads: tuple[Build, ...] = ()  # (features, classes) -> Module: (N, features) -> (N, ..): further answers of D
    d_packed: int = 1  # images that D is shown as one, their channels on top of each other
    penalties: tuple[Build, ...] = ()  # (critic, real, fake, step) -> scalar added to D's loss
    penalty_every: int = 1  # D steps from one with penalties to the next; over 1 they have an update of their own
    joint: bool = False  # real and fake in one batch of D, in both players' steps
    fresh_latents: bool = True  # new z for G's step; False: those of D's last step
    n_critic: int = 1  # D steps per round
    critic_schedule: Build | None = None  # (G steps done) -> D steps of the next round, in place of n_critic
    n_generator: int = 1  # G steps per round
    d_gate: Build | None = None  # (loss, step) -> () bool, whether D's update counts
    g_gate: Build | None = None
    # how the two gradients of a round are taken: each player's after the other's update (alternating), both before
    # either update (simultaneous), or both at the point where such an update leads (extrapolated)
    updates: str = "alternating"
    consensus: float = 0.0  # weight of half the square of both gradients' norms, in both players' losses
    unrolled: int = 0  # D's updates that G's loss looks ahead by
    sharpness: float | None = None  # how far uphill each player's gradient is taken, as a 2-norm of all its weights
    gradient_clip: float | None = None  # greatest 2-norm of each player's gradient
    lr_schedule: Build | None = None  # (() share of training done) -> () factor of both learning rates
    beta2_schedule: Build | None = None  # (() share of training done) -> () factor of 1 - beta2 of `GameAdam`
    latent_step: Build | None = None  # (z, z -> D's logits (N,), whether differentiably) -> z, in training
    sample_mode: str = "eval"  # eval | train: of G at sampling
    sample_latents: Build | None = None  # (z, noise) -> z at sampling only
    sample_choice: Build | None = None  # (D's logits (N,), their greatest, noise) -> (N,) bool: kept at sampling

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one image: (channels, size, size), or (channels, size, size, size)."""
        return (self.channels, *[self.size] * self.dims)

    def up(self, channels: int, out: int, bias: bool) -> Any:
        """G's module that doubles each side."""
        return self.g_up(channels, out, bias, **self._spatial)

    def down(self, channels: int, out: int, bias: bool) -> Any:
        """D's module that halves each side."""
        return self.d_down(channels, out, bias, **self._spatial)

    @property
    def _spatial(self) -> dict[str, int]:
        # factories of one's own for images need not know of dimensions
        return {} if self.dims == 2 else {"dims": self.dims}

    def critic_steps(self, g_steps: int) -> int:
        """D steps of the round that begins after `g_steps` G steps."""
        return self.n_critic if self.critic_schedule is None else self.critic_schedule(g_steps)

    @property
    def d_steps(self) -> int:
        """D steps of the whole training."""
        return sum(self.critic_steps(g_steps) for g_steps in range(0, self.steps, self.n_generator))

    def g_steps_in(self, batches: int) -> int:
        """G steps for which a number of batches is enough, a batch for each D step."""
        g_steps = 0
        while batches >= (needed := self.critic_steps(g_steps)):
            batches -= needed
            g_steps += self.n_generator
        return g_steps

    @property
    def consulted(self) -> frozenset[str]:
        """The step-time hooks that this game consults: an objective without probabilities has no targets."""
        target = getattr(self.objective, "target", "")
        package, _, name = target.partition(":")
        silent = package == "gan_ablate.losses" and name not in PROBABILITIES
        return frozenset(STEP_HOOKS) - ({"targets"} if silent else set())

    @property
    def conditional(self) -> bool:
        """Whether G or D is given labels."""
        return any((self.g_condition, self.d_condition, self.d_projection))

    @property
    def probabilities(self) -> bool:
        """Whether D's answer is the logit of a probability."""
        return "targets" in self.consulted


@dataclass(frozen=True)
class Change:
    """One field of a blueprint that differs: what stood there and what stands there now."""

    name: str
    before: Any
    after: Any

    def __str__(self) -> str:
        return f"{self.name}: {_show(self.before)} -> {_show(self.after)}"


def _show(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def diff(a: Blueprint, b: Blueprint) -> tuple[Change, ...]:
    """What differs between two blueprints, in the order of the fields."""
    pairs = ((f.name, getattr(a, f.name), getattr(b, f.name)) for f in fields(Blueprint))
    return tuple(Change(name, before, after) for name, before, after in pairs if before != after)


def claims(a: Blueprint, b: Blueprint) -> frozenset[str]:
    """What an edit from `a` to `b` lays claim to: a field, one option of its factory, or one entry of a tuple.

    Two edits are in conflict where one's claim is the other's, or a field of which the other claims an option.
    """
    found: set[str] = set()
    for change in diff(a, b):
        before, after = change.before, change.after
        if isinstance(before, tuple):
            found |= {f"{change.name}.{getattr(e, 'target', e)}" for e in {*before, *after} - ({*before} & {*after})}
        elif isinstance(before, Factory) and isinstance(after, Factory) and before.target == after.target:
            names = {*before.options, *after.options}
            found |= {f"{change.name}.{k}" for k in names if before.options.get(k) != after.options.get(k)}
        else:
            found.add(change.name)
    return frozenset(found)
