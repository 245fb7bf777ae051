"""Trick: one small change to a blueprint or to one point of the training step. A chain of tricks is a trick.

No torch at import time: listing, validating and expanding tricks must stay instant.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, dataclass_transform

from gan_ablate import trust
from gan_ablate.blueprint import STEP_HOOKS, Blueprint
from gan_ablate.errors import InputError, unknown
from gan_ablate.recipe import MODEL_OF, TrickSpec

if TYPE_CHECKING:
    from torch import Generator, Tensor

    from gan_ablate.nets import Critique

State = Mapping[str, Any]  # name -> Tensor that a trick carries between steps; they become buffers
States = tuple[State, ...]  # of each trick of a chain, in the chain's order
OVER_0 = 1e-6  # the least value of a parameter that must be over 0


class Targets(NamedTuple):
    """What D should answer, as probabilities of `real`. The `targets` hook is given tensors and returns tensors."""

    real: Any = 1.0  # (N,) for the real images; a number where no trick changes it
    fake: Any = 0.0  # (N,) for the generated images; likewise


class FakeBatch(NamedTuple):
    """Generated images that D answers in one forward pass, so that they share batch statistics with no others."""

    images: Tensor  # (N, C, H, W) in [-1, 1]
    weight: float  # of this batch's loss; the weights of a step add up to 1


@dataclass(frozen=True, eq=False)
class Step:
    """What a hook may read. It must change nothing of it in place."""

    t: Tensor  # () share of training done, in [0, 1)
    real: Tensor  # (N, C, H, W) in [-1, 1]
    labels: Tensor | None  # (N,) int64 of the real images, where there are classes; G's fakes are given the same
    fake: Tensor | None  # (N, C, H, W) in [-1, 1], what D sees as fake; None before it is made
    critique: Callable[[Tensor], Critique]  # D behind the `inputs` hooks
    noise: Generator  # the tricks' own random numbers
    g_parameters: Mapping[str, Tensor]  # by name, live: a loss on them moves G
    d_parameters: Mapping[str, Tensor]
    # z (N, latent_dim) -> images, with gradients to G; in `d_loss` and `g_loss` it leaves G's running statistics alone
    generate: Callable[[Tensor], Tensor] | None = None
    encode: Callable[[Tensor], Tensor] | None = None  # images -> (N, 2, latent_dim), where the blueprint has an encoder
    real_critique: Critique | None = None  # D's answer to `real` in D's step; detached after the update
    fake_critique: Critique | None = None  # D's answer to `fake`, in the step whose loss is computed; detached likewise
    d_fake_critique: Critique | None = None  # D's answer to G's newest fakes in its own step, detached
    z: Tensor | None = None  # (N, latent_dim) from N(0, 1) that `fake` was made of; None before
    drawn: Tensor | None = None  # (N, latent_dim) that z behind the `latents` hooks
    latents: Tensor | None = None  # (N, latent_dim) that as G saw it: moved, where the blueprint has a `latent_step`
    d_steps: float = 1.0  # D's steps per G step, a batch of real images each
    latent_dim: int = 0  # numbers in z
    objective: Any = None  # of gan_ablate.losses: what the game is played for
    # () -> each weight of G, or of D, as a matrix (outputs, rest), live
    g_matrices: Callable[[], list[Tensor]] | None = None
    d_matrices: Callable[[], list[Tensor]] | None = None

    def detached(self) -> Step:
        """The step as it is after an update: images and answers without their graphs."""
        return replace(
            self,
            fake=None if self.fake is None else self.fake.detach(),
            latents=None if self.latents is None else self.latents.detach(),
            real_critique=self.real_critique and self.real_critique.detach(),
            fake_critique=self.fake_critique and self.fake_critique.detach(),
        )

    def normal_like(self, x: Tensor) -> Tensor:
        """N(0, 1) of the shape of `x`, from the tricks' generator."""
        return x.new_empty(x.shape).normal_(generator=self.noise)

    def uniform_like(self, x: Tensor, low: float = 0.0, high: float = 1.0) -> Tensor:
        """U(low, high) of the shape of `x`, from the tricks' generator."""
        return x.new_empty(x.shape).uniform_(low, high, generator=self.noise)

    def permutation(self, n: int) -> Tensor:
        """(n,) a random permutation of 0..n-1, from the tricks' generator."""
        return self.t.new_empty(n).uniform_(generator=self.noise).argsort()


@dataclass(frozen=True)
class Need:
    """What the blueprint of an arm, with all its tricks, must have so that a trick means anything."""

    what: str  # "batch norm in D"
    met: Callable[[Blueprint], bool]


@dataclass(frozen=True)
class Trick:
    """Base of all tricks: every hook returns its value unchanged.

    Subclass it as a frozen dataclass. Its fields are the trick's parameters, with the paper's numbers as defaults.
    Override `edit` (build time) or hooks of the training step. Hooks run inside a CUDA graph: no `.item()`, no `if` on
    a tensor, no shape that changes.
    """

    paper: ClassVar[str] = ""  # source: authors, year, section
    recommended_by: ClassVar[str] = ""  # sources of the catalogue: S0..S4 with section, P for published peers
    advised_against_by: ClassVar[str] = ""
    models: ClassVar[str] = "DNW"  # the models that the catalogue tests it on
    needs: ClassVar[tuple[Need, ...]] = ()
    conflicts: ClassVar[tuple[str, ...]] = ()  # tricks that it cannot stand beside, by name
    # what it does about batch norm in D, and why: for tricks that change D's batches or differentiate D by its input
    batch_norm: ClassVar[str] = ""
    same_as_base: ClassVar[Mapping[str, str]] = {}  # model -> why it trains and samples there exactly as base does
    shares_weights: ClassVar[bool] = False  # it trains exactly as base does: only what is sampled differs
    replaces: ClassVar[str] = ""  # the hook whose value it replaces: there it runs before the tricks that add to it
    bounds: ClassVar[Mapping[str, tuple[float, float]]] = {}  # parameter -> least and greatest allowed value
    choices: ClassVar[Mapping[str, tuple[str, ...]]] = {}  # parameter -> the words it may be
    # parameters that came when runs without them were kept: a spec names them where they are not at their defaults,
    # so that those runs keep their ids
    later: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            if f.name in self.choices and value not in self.choices[f.name]:
                raise unknown(f.name, value, self.choices[f.name], name_of(self))
            if isinstance(f.default, bool) and not isinstance(value, bool):
                raise InputError(f"{name_of(self)}: {f.name}={value!r}: needs true or false")
            if isinstance(f.default, bool) or not isinstance(f.default, int | float):
                continue
            wanted = int if isinstance(f.default, int) else (int, float)
            low, high = self.bounds.get(f.name, (-math.inf, math.inf))
            kind = "a whole number" if wanted is int else "a number"
            if not isinstance(value, wanted) or isinstance(value, bool) or not math.isfinite(value):
                raise InputError(f"{name_of(self)}: {f.name}={value!r} is not {kind}")
            if not low <= value <= high:
                span = f"of at least {low:g}" if math.isinf(high) else f"from {low:g} to {high:g}"
                if 0 < low <= OVER_0:
                    span = f"over 0, up to {high:g}"
                raise InputError(f"{name_of(self)}: {f.name}={value!r} is out of range: give {kind} {span}")
            if isinstance(f.default, float):
                object.__setattr__(self, f.name, float(value))  # 10 and 10.0 are one recipe, with one run id

    def edit(self, blueprint: Blueprint) -> Blueprint:
        """Build time: return `replace(blueprint, ...)`."""
        return blueprint

    def missing(self, blueprint: Blueprint) -> str | None:
        """What this trick needs and the blueprint of an arm, with all its tricks, lacks; `None` if it lacks nothing."""
        return next((need.what for need in self.needs if not need.met(blueprint)), None)

    def init(self, step: Step) -> State:
        """The tensors that this trick carries between steps, as they are before the first. `step.fake` is None here."""
        return {}

    def advance(self, state: State, step: Step) -> State:
        """The tensors after one G step."""
        return state

    def latents(self, z: Tensor, step: Step, state: State) -> Tensor:
        """z (N, latent_dim) as drawn from N(0, 1) -> z as G sees it, at training and at sampling."""
        return z

    def reals(self, images: Tensor, step: Step, state: State) -> Tensor:
        """What D trains on as real (N, C, H, W): at first the real images."""
        return images

    def fakes(self, batches: tuple[FakeBatch, ...], step: Step, state: State) -> tuple[FakeBatch, ...]:
        """What D trains on as fake: at first G's newest images alone, with weight 1. They stay first."""
        return batches

    def inputs(self, images: Tensor, step: Step, state: State) -> Tensor:
        """Images (N, C, H, W), real or fake, just before D."""
        return images

    def targets(self, targets: Targets, step: Step, state: State) -> Targets:
        """The targets of D's loss; G's loss never sees them."""
        return targets

    def d_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        """D's loss () -> D's loss with a term added."""
        return loss

    def g_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        """G's loss () -> G's loss with a term added, or another objective in its place."""
        return loss

    def project(self, parameters: list[Tensor], step: Step, state: State) -> None:
        """After D's update: D's parameters, changed in place under no_grad (clipping)."""

    def settle(self, parameters: Mapping[str, Tensor], step: Step, state: State) -> None:
        """After G's update: both players' parameters as `players` names them, changed in place under no_grad."""

    def averaged(self, parameters: Mapping[str, Tensor], step: Step | None, state: State) -> Mapping[str, Tensor]:
        """G's live parameters by name -> the parameters that sampling and evaluation see."""
        return parameters

    @property
    def parts(self) -> tuple[Trick, ...]:
        """The tricks that this one is made of."""
        return (self,)

    @property
    def overridden(self) -> frozenset[str]:
        """The step-time hooks that this trick changes."""
        return frozenset(h for h in STEP_HOOKS if getattr(type(self), h) is not getattr(Trick, h))


@dataclass(frozen=True)
class Chain(Trick):
    """Tricks applied one after another. The state of a chain is a tuple, `States`: each trick has its own."""

    tricks: tuple[Trick, ...] = ()
    _users: dict[str, tuple[int, ...]] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        flat = tuple(part for trick in self.tricks for part in trick.parts)
        object.__setattr__(self, "tricks", flat)
        for hook in STEP_HOOKS:
            users = [i for i, t in enumerate(flat) if hook in t.overridden]
            self._users[hook] = tuple(sorted(users, key=lambda i: flat[i].replaces != hook))

    @property
    def parts(self) -> tuple[Trick, ...]:
        return self.tricks

    @property
    def overridden(self) -> frozenset[str]:
        return frozenset(h for h, users in self._users.items() if users)

    def edit(self, blueprint: Blueprint) -> Blueprint:
        for trick in self.tricks:
            blueprint = trick.edit(blueprint)
        return blueprint

    # `state` is `States` from here on; a type checker would have it be what a single trick's is
    def init(self, step: Step) -> Any:
        return tuple(trick.init(step) for trick in self.tricks)

    def advance(self, state: Any, step: Step) -> Any:
        return tuple(trick.advance(own, step) for trick, own in zip(self.tricks, state, strict=True))

    def _fold(self, hook: str, value: Any, step: Step | None, state: Any) -> Any:
        for i in self._users[hook]:
            value = getattr(self.tricks[i], hook)(value, step, state[i])
        return value

    def latents(self, z: Tensor, step: Step, state: Any) -> Tensor:
        return self._fold("latents", z, step, state)

    def reals(self, images: Tensor, step: Step, state: Any) -> Tensor:
        return self._fold("reals", images, step, state)

    def fakes(self, batches: tuple[FakeBatch, ...], step: Step, state: Any) -> tuple[FakeBatch, ...]:
        return self._fold("fakes", batches, step, state)

    def inputs(self, images: Tensor, step: Step, state: Any) -> Tensor:
        return self._fold("inputs", images, step, state)

    def targets(self, targets: Targets, step: Step, state: Any) -> Targets:
        return self._fold("targets", targets, step, state)

    def d_loss(self, loss: Tensor, step: Step, state: Any) -> Tensor:
        return self._fold("d_loss", loss, step, state)

    def g_loss(self, loss: Tensor, step: Step, state: Any) -> Tensor:
        return self._fold("g_loss", loss, step, state)

    def project(self, parameters: list[Tensor], step: Step, state: Any) -> None:
        for i in self._users["project"]:
            self.tricks[i].project(parameters, step, state[i])

    def settle(self, parameters: Mapping[str, Tensor], step: Step, state: Any) -> None:
        for i in self._users["settle"]:
            self.tricks[i].settle(parameters, step, state[i])

    def averaged(self, parameters: Mapping[str, Tensor], step: Step | None, state: Any) -> Mapping[str, Tensor]:
        return self._fold("averaged", parameters, step, state)


def players(step: Step) -> dict[str, Tensor]:
    """Both players' parameters, under names that a trick's state can have."""
    both = {"g": step.g_parameters, "d": step.d_parameters}
    return {state_name(f"{player}.{n}"): p for player, parameters in both.items() for n, p in parameters.items()}


def state_name(parameter: str) -> str:
    """A parameter's name as that of a tensor of a trick's state, which holds no dots."""
    return parameter.replace(".", "|")


REGISTRY: dict[str, type[Trick]] = {}


@dataclass_transform(frozen_default=True)
def register(name: str) -> Callable[[type[Trick]], type[Trick]]:
    """Class decorator: make a frozen dataclass, a trick that studies and the command line reach by name."""

    def add(cls: type[Trick]) -> type[Trick]:
        cls = dataclass(frozen=True)(cls)
        if REGISTRY.setdefault(name, cls) is not cls:
            raise ValueError(f"two tricks are called {name!r}")
        return cls

    return add


def name_of(trick: Trick | type[Trick]) -> str:
    """The registered name of a trick, or its import path."""
    cls = trick if isinstance(trick, type) else type(trick)
    return next((n for n, c in REGISTRY.items() if c is cls), f"{cls.__module__}.{cls.__qualname__}")


def _find(name: str) -> type[Trick]:
    if name in REGISTRY:
        return REGISTRY[name]
    if "." not in name:
        raise unknown("trick", name, REGISTRY)
    module, _, attribute = name.rpartition(".")
    found = trust.load(f"{module}:{attribute}", f"trick {name!r}")
    if not (isinstance(found, type) and issubclass(found, Trick)):
        raise InputError(f"trick {name!r}: {module}.{attribute} is not a subclass of gan_ablate.trick.Trick")
    return found


def build(spec: TrickSpec) -> Trick:
    """The trick that a spec names. Raises `InputError` for unknown names and parameters, and bad values."""
    cls = _find(spec.name)
    known = [f.name for f in fields(cls)]
    for key in spec.params:
        if key not in known:
            if not known:
                raise InputError(f"{spec.name}: takes no parameters, so {key!r} means nothing to it")
            raise unknown("parameter", key, known, spec.name)
    return cls(**spec.params)


def spec_of(trick: Trick, name: str) -> TrickSpec:
    """The spec that names a trick, with all its parameters; of those that came later, the ones that were changed."""
    values = {f.name: getattr(trick, f.name) for f in fields(trick)}
    unchanged = {f.name for f in fields(trick) if f.name in trick.later and values[f.name] == f.default}
    return TrickSpec(name, {k: v for k, v in values.items() if k not in unchanged})


def parameters_of(cls: type[Trick]) -> Iterator[tuple[str, Any]]:
    """Each parameter of a trick with its default."""
    for f in fields(cls):
        yield f.name, None if f.default is MISSING else f.default


def catalogue_models(cls: type[Trick]) -> tuple[str, ...]:
    """The models that the catalogue tests a trick on."""
    return tuple(MODEL_OF[letter] for letter in cls.models)
