"""Recipe: everything that defines one training run, as plain data. No torch here.

A run is the hash of its arguments (DomainBed's rule): `run_id` is a digest of the canonical JSON of
all semantic fields with the defaults filled in, so the same work is never done twice.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

from gan_ablate.errors import InputError, unknown

SCHEMA = 2  # raise it when the meaning of a field changes: old roots are then refused by name
LARGEST_WHOLE = 2**63 - 1  # a seed has 63 bits
LONGEST_TRICK = 200  # characters of its name
SMALLEST, LARGEST, EACH = 8, 1024, 4  # pixels: sizes that G and D halve at least once, and what they are multiples of
PRECISIONS = ("fp32", "bf16")
LIGHTNINGS = {"32": "fp32", "32-true": "fp32", "bf16-mixed": "bf16"}  # Lightning's words for them
AUTO = "auto"  # the classifier where the data have classes, else rotation
EXTRACTORS = ("classifier", "rotation", "inception", "inception_clean", "dinov2", "clip", AUTO)

# What `None` in a recipe stands for, per model. Sources: Radford et al. 2015, section 4 (dcgan);
# Goodfellow et al. 2014 with Adam at its default betas (nsgan); Gulrajani et al. 2017, algorithm 1 (wgan_gp);
# the authors' train.py for FFHQ (r3gan) and their configuration for CIFAR-10 (sngan); Wu et al. 2016, section 3.2
# (gan3d; not its rates, see docs/modern.md).
MODEL_DEFAULTS: dict[str, dict[str, Any]] = {
    "dcgan": {"architecture": "conv", "lr": 2e-4, "beta1": 0.5, "beta2": 0.999, "batch_size": 128},
    "nsgan": {"architecture": "conv", "lr": 2e-4, "beta1": 0.9, "beta2": 0.999, "batch_size": 128},
    "wgan_gp": {"architecture": "conv", "lr": 1e-4, "beta1": 0.0, "beta2": 0.9, "batch_size": 64},
    # systems of the survey: Chen et al. 2016, code; Donahue et al. 2017, appendix C; the others name no Adam
    "infogan": {"architecture": "conv", "lr": 2e-4, "beta1": 0.5, "beta2": 0.999, "batch_size": 128},
    "bigan": {"architecture": "conv", "lr": 2e-4, "beta1": 0.5, "beta2": 0.999, "batch_size": 128},
    "aae": {"architecture": "conv", "lr": 2e-4, "beta1": 0.5, "beta2": 0.999, "batch_size": 128},
    "lapgan": {"architecture": "conv", "lr": 2e-4, "beta1": 0.5, "beta2": 0.999, "batch_size": 128},
    "r3gan": {"architecture": "resnext", "lr": 2e-4, "beta1": 0.0, "beta2": 0.9, "batch_size": 256},
    "sngan": {"architecture": "resnet", "lr": 2e-4, "beta1": 0.0, "beta2": 0.9, "batch_size": 64},
    "gan3d": {"architecture": "conv", "lr": 1e-3, "beta1": 0.5, "beta2": 0.999, "batch_size": 100},
}
MODELS = tuple(MODEL_DEFAULTS)
OWN_MODEL = "dcgan"  # whose numbers stand for `None` in a recipe for a model of one's own
ARCHITECTURES = ("conv", "mlp", "resnet", "resnext")
BASE = "base"  # the arm without tricks, which all others are compared with
MODEL_OF = {"D": "dcgan", "N": "nsgan", "W": "wgan_gp"}  # the letters that tables call the models by
CATALOGUED = tuple(MODEL_OF.values())  # the models of the catalogue's rows, and of studies that name none
USUAL: dict[str, dict[str, Any]] = {  # model -> recipe fields where none are given
    "infogan": {"dataset": "digits"},
    "bigan": {"dataset": "digits", "latent_dim": 16},  # 50 in Donahue et al. 2017 on three times as many pixels
    "aae": {"dataset": "digits", "latent_dim": 8},  # Makhzani et al. 2015, section 2.2 (MNIST)
    "lapgan": {"dataset": "digits"},
    "gan3d": {"dataset": "voxels"},
}
USUAL_SHAPES = {  # dataset -> pixels (height = width) and channels where none are given
    "digits": (16, 1),
    "shapes": (16, 3),
    "mnist": (28, 1),
    "fashion_mnist": (28, 1),
    "stacked_mnist": (28, 3),
    "voxels": (16, 1),
    "ring": (1, 2),
    "grid": (1, 2),
}
OTHER_SHAPE = (32, 3)
CLASSES = {  # of datasets, known before loading
    "digits": {1: 10, 3: 1000},
    "shapes": {1: 8, 3: 64},
    "mnist": 10,
    "fashion_mnist": 10,
    "cifar10": 10,
    "stacked_mnist": 1000,
    "voxels": 10,
    "ring": 8,
    "grid": 25,
}
# fields that a study may tune, by factors of a model's own number or by values; others would change what is measured
BY_FACTORS = ("lr",)
BY_VALUES = ("beta1", "beta2", "batch_size", "latent_dim", "width")
VOLUMES = ("voxels",)  # sets of volumes (channels, size, size, size)
TOYS = ("ring", "grid")  # sets of points in the plane: two channels of one pixel, through fully connected networks


def usual_fields(model: object) -> dict[str, Any]:
    """Dataset and size of z of a model where none are given, as recipe fields; empty for most."""
    return dict(USUAL.get(str(model), {}))


def with_usual_fields(given: Mapping[str, Any], model: object) -> dict[str, Any]:
    """Recipe fields, with dataset, size of z, size and channels as usual for the model and dataset where not given."""
    filled = {"dataset": Recipe.dataset, **usual_fields(model), **given}
    size, channels = USUAL_SHAPES.get(str(filled["dataset"]), OTHER_SHAPE)
    return {"size": size, "channels": channels, **filled}


def is_own_model(name: str) -> bool:
    """Whether a model is one's own, named by its import path, as in `mymodels.MyGAN`."""
    return "." in name and all(part.isidentifier() for part in name.split("."))


def seed_for(seed: int, *purpose: object) -> int:
    """A 63-bit seed for one named purpose of one run, independent of every other purpose."""
    digest = hashlib.sha256("/".join(map(str, (seed, *purpose))).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1


@dataclass(frozen=True)
class TrickSpec:
    """A trick by its registered name, with the parameters that differ from its defaults."""

    name: str
    params: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        if not self.params:
            return self.name
        return self.name + ":" + ",".join(f"{k}={v}" for k, v in sorted(self.params.items()))

    def __hash__(self) -> int:
        return hash(str(self))

    @classmethod
    def parse(cls, text: str | Mapping[str, Any]) -> TrickSpec:
        """From `name`, `name:key=value,key=value`, `{name: {key: value}}` or `{name: .., params: ..}`.

        Raises `InputError` for another form, and for names and values that no trick has.
        """
        if isinstance(text, Mapping):
            named = set(text) <= {"name", "params"} and "name" in text
            pairs = [(text["name"], text.get("params"))] if named else list(text.items())
            if len(pairs) == 1 and (pairs[0][1] is None or isinstance(pairs[0][1], Mapping)):
                return cls(str(pairs[0][0]), dict(pairs[0][1] or {}))._checked()
            raise InputError(
                f"trick {str(dict(text))[:LONGEST_TRICK]}: write name, name:key=value or {{name: {{key: value}}}}"
            )
        name, _, rest = str(text).partition(":")
        params = {}
        for item in filter(None, rest.split(",")):
            key, equals, value = item.partition("=")
            if not equals:
                raise InputError(f"trick {text!r}: parameter {item!r} needs a value, as in {name}:{key}=0.1")
            params[key.strip()] = _scalar(value.strip())
        return cls(name.strip(), params)._checked()

    def _checked(self) -> TrickSpec:
        if len(self.name) > LONGEST_TRICK or not self.name.isprintable():
            raise InputError(f"trick {self.name[:80]!r}..: no trick has such a name")
        for key, value in self.params.items():
            if isinstance(value, int) and abs(value) > LARGEST_WHOLE:
                raise InputError(f"trick {self.name}: {str(key)[:80]}: the number is too large")
        return self


def _scalar(text: str) -> Any:
    """A JSON scalar (number, true, false, null) where the text is one, else the text itself."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


@dataclass(frozen=True)
class Evaluation:
    """When and how a run is measured."""

    extractor: str = "classifier"  # one of `EXTRACTORS`, or module:attribute
    samples: int = 2048  # generated images per evaluation, part of the metric's name: FID@2048
    points: int = 4  # evaluations spread evenly over training; the last is at the final step
    split: str = "train"  # the real images that the statistics come from

    def steps(self, total: int) -> tuple[int, ...]:
        """G steps after which to evaluate, increasing; the last is `total`.

        >>> Evaluation(points=4).steps(1000)
        (250, 500, 750, 1000)
        """
        points = min(self.points, total)
        return tuple(round(total * (k + 1) / points) for k in range(points))


@dataclass(frozen=True)
class Recipe:
    """Everything that defines one training run. `None` means the model's own default (`resolved` fills it in)."""

    model: str = "dcgan"  # one of `MODELS`, or the import path of one's own (`presets.preset`)
    dataset: str = (
        "shapes"  # digits | shapes | mnist | fashion_mnist | cifar10 | stacked_mnist | voxels | ring | grid | a path
    )
    tricks: tuple[TrickSpec, ...] = ()
    architecture: str | None = None  # one of `ARCHITECTURES`; ring and grid: mlp
    size: int = 16  # pixels, height = width: a multiple of 4 from 8 on; ring and grid: 1
    channels: int = 3  # 1 or 3; images are converted; ring and grid: 2
    latent_dim: int = 64
    width: int = 16  # channels of the widest-resolution feature map; each halving doubles it
    steps: int = 1000  # generator steps
    batch_size: int | None = None
    lr: float | None = None
    beta1: float | None = None
    beta2: float | None = None
    precision: str = "bf16"  # fp32 | bf16
    evaluation: Evaluation = Evaluation()
    seed: int = 0
    arm: str = ""  # a label for tables; not part of the identity
    classes: int | None = (
        None  # of the dataset; `None`: its own, known by name or once loaded; not part of the identity
    )

    NOT_SEMANTIC = ("arm", "classes")

    def __post_init__(self) -> None:
        object.__setattr__(
            self, "tricks", tuple(t if isinstance(t, TrickSpec) else TrickSpec.parse(t) for t in self.tricks)
        )
        if isinstance(self.precision, str):
            object.__setattr__(self, "precision", LIGHTNINGS.get(self.precision, self.precision))
        if not self.arm:
            object.__setattr__(self, "arm", "+".join(map(str, self.tricks)) or BASE)

    def resolved(self) -> Recipe:
        """The same recipe with the model's defaults in place of `None`. Raises `InputError` for an unknown model, and
        for names that are no text."""
        for name in ("model", "dataset", "arm"):
            _text(name, getattr(self, name))
        if self.model not in MODEL_DEFAULTS and not is_own_model(self.model):
            raise unknown("model", self.model, MODEL_DEFAULTS)
        own = MODEL_DEFAULTS.get(self.model, MODEL_DEFAULTS[OWN_MODEL])
        known = CLASSES.get(self.dataset)
        if isinstance(known, dict):
            known = known.get(self.channels) if isinstance(self.channels, int) else None
        own = {**own, "classes": known}
        if self.dataset in TOYS:
            own["architecture"] = "mlp"
        if self.evaluation.extractor == AUTO and self.dataset in CLASSES:  # all named sets have classes
            return replace(self, evaluation=replace(self.evaluation, extractor="classifier")).resolved()
        return replace(self, **{k: v for k, v in own.items() if getattr(self, k) is None})

    def validate(self) -> Recipe:
        """The resolved recipe. Raises `InputError` naming the first field that cannot be used."""
        full = self.resolved()
        _choice("architecture", full.architecture, ARCHITECTURES)
        _choice("precision", full.precision, PRECISIONS)
        _text("evaluation.extractor", full.evaluation.extractor)
        if ":" not in full.evaluation.extractor:
            _choice("evaluation.extractor", full.evaluation.extractor, EXTRACTORS)
        _choice("evaluation.split", full.evaluation.split, ("train", "test"))
        full._validate_shape()
        for name, low in (("latent_dim", 1), ("width", 1), ("steps", 1), ("batch_size", 2), ("seed", 0)):
            _whole(name, getattr(full, name), low)
        _whole("evaluation.samples", full.evaluation.samples, 2)
        _whole("evaluation.points", full.evaluation.points, 1)
        if not _is_number(full.lr) or full.lr <= 0:  # type: ignore[operator]
            raise InputError(f"lr={full.lr!r}: needs a number over 0")
        for name in ("beta1", "beta2"):
            value = getattr(full, name)
            if not _is_number(value) or not 0 <= value < 1:
                raise InputError(f"{name}={value!r}: needs a number of at least 0 and under 1")
        return full

    def _validate_shape(self) -> None:
        """That size, channels, architecture and extractor suit the dataset."""
        if self.dataset in TOYS:
            if (self.size, self.channels) != (1, 2):
                shape = f"size={self.size!r}, channels={self.channels!r}"
                raise InputError(f"{shape}: {self.dataset} has points in the plane, which need size=1, channels=2")
            extractor = "evaluation.extractor", self.evaluation.extractor, "classifier"
            for field_, given, only in (("architecture", self.architecture, "mlp"), extractor):
                if given != only:
                    raise InputError(f"{field_}={given!r}: {self.dataset} has points, not images, which need {only}")
            return
        if self.dataset in VOLUMES:
            self._validate_volumes()
        only = f" ({', '.join(TOYS)}: size 1, channels 2)" if (self.size, self.channels) == (1, 2) else ""
        if not _is_size(self.size):
            nearest = " or ".join(map(str, _nearest_sizes(self.size)))
            needed = f"needs a multiple of {EACH} from {SMALLEST} to {LARGEST}"
            raise InputError(f"size={self.size!r}: {needed}" + (f", such as {nearest}" if nearest else "") + only)
        channels = {"stacked_mnist": (3,), "voxels": (1,)}.get(self.dataset, (1, 3))
        if self.channels not in channels or isinstance(self.channels, bool):
            allowed = f"choose one of {', '.join(map(str, channels))}" if len(channels) > 1 else f"needs {channels[0]}"
            raise InputError(f"channels={self.channels!r}: {allowed}{only}")

    def _validate_volumes(self) -> None:
        """That architecture and extractor are made for three spatial dimensions."""
        planes = ("resnet", "resnext"), ("rotation", "inception", "inception_clean", "dinov2", "clip")
        allowed = "conv or mlp", "classifier, or module:attribute of your own"
        given = ("architecture", self.architecture), ("evaluation.extractor", self.evaluation.extractor)
        for (name, value), flat, needed in zip(given, planes, allowed, strict=True):
            if value in flat:
                raise InputError(f"{name}={value!r}: {self.dataset} has volumes, not images, which need {needed}")

    def to_dict(self) -> dict[str, Any]:
        """Plain data, defaults filled in: what `recipe.json` holds."""
        full = asdict(self.resolved())
        full["tricks"] = [{"name": t.name, "params": dict(t.params)} for t in self.tricks]
        return full

    def canonical_json(self) -> str:
        """The semantic fields as JSON with sorted keys: equal recipes give equal bytes."""
        return _canonical(self.to_dict())

    @property
    def dims(self) -> int:
        """Spatial dimensions of what G makes: 2, or 3 for volumes."""
        return 3 if self.dataset in VOLUMES else 2

    @property
    def run_id(self) -> str:
        """16 hex digits that name the run's folder in the store."""
        return run_id_of(self.to_dict())

    @classmethod
    def from_dict(cls, data: Mapping[str, Any], where: str = "recipe") -> Recipe:
        """From plain data (a YAML or JSON mapping). Raises `InputError` on unknown fields, with near names."""
        if not isinstance(data, Mapping):
            raise InputError(f"{where}: expected a mapping of fields, got {type(data).__name__}")
        data = dict(data)
        _known_fields(data, cls, where)
        evaluation = data.get("evaluation", {})
        if isinstance(evaluation, Mapping):
            _known_fields(evaluation, Evaluation, f"{where}.evaluation")
            data["evaluation"] = Evaluation(**evaluation)
        elif not isinstance(evaluation, Evaluation):
            raise InputError(f"{where}.evaluation: expected a mapping of fields, got {type(evaluation).__name__}")
        tricks = data.get("tricks") or ()
        if isinstance(tricks, str | Mapping | TrickSpec):
            tricks = [tricks]
        if not isinstance(tricks, Sequence):
            raise InputError(f"{where}.tricks: expected a list, got {type(tricks).__name__}")
        data["tricks"] = tuple(t if isinstance(t, TrickSpec) else TrickSpec.parse(t) for t in tricks)
        return cls(**data)


def run_id_of(data: Mapping[str, Any]) -> str:
    """The run id of a recipe as plain data with all defaults filled in, as `Recipe.to_dict` gives and results hold it.

    Raises `KeyError`, `TypeError` or `ValueError` for what is no whole recipe.
    """
    return hashlib.sha256(_canonical(data).encode()).hexdigest()[:16]


def _canonical(data: Mapping[str, Any]) -> str:
    semantic = {k: v for k, v in data.items() if k not in Recipe.NOT_SEMANTIC}
    # 1 and 1.0 mean the same learning rate, so numbers of float fields are written as floats
    for name in ("lr", "beta1", "beta2"):
        semantic[name] = float(semantic[name])
    return json.dumps({"schema": SCHEMA, **semantic}, sort_keys=True, separators=(",", ":"), allow_nan=False)


def _known_fields(data: Mapping[str, Any], cls: type, where: str) -> None:
    names = [f.name for f in fields(cls)]
    for key in data:
        if key not in names:
            raise unknown("field", key, names, where)


def _is_size(value: object) -> bool:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return whole and SMALLEST <= value <= LARGEST and value % EACH == 0  # type: ignore[operator]


def _nearest_sizes(value: object) -> list[int]:
    """The sizes below and above a number; one of them where it is out of bounds, none for what is no number."""
    if not _is_number(value):
        return []
    low = math.floor(value / EACH) * EACH  # type: ignore[operator]
    return sorted({min(max(near, SMALLEST), LARGEST) for near in (low, low + EACH)})


def _is_number(value: object) -> bool:
    if isinstance(value, int) and not isinstance(value, bool):
        return abs(value) <= LARGEST_WHOLE
    return isinstance(value, float) and math.isfinite(value)


def _text(name: str, value: object) -> None:
    """Raises `InputError` for what is no text, or one that can be neither shown nor a path."""
    if not isinstance(value, str):
        raise InputError(f"{name}={str(value)[:80]!r}: needs a text, got {type(value).__name__}")
    if name == "arm":
        return  # a label: studies check theirs, and who prints it escapes it
    parts = value.encode(errors="replace").split(b"/") if name == "dataset" else []
    if not value.isprintable() or any(len(part) > 255 for part in parts):
        raise InputError(f"{name}={value[:80]!r}: needs printable text, and each part of a path at most 255 bytes")


def _choice(name: str, value: object, options: tuple[str, ...]) -> None:
    if value not in options:
        raise unknown(name, value, options)


def _whole(name: str, value: object, low: int) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= LARGEST_WHOLE:
        shown = repr(value) if not isinstance(value, int) or value < low else "too large"
        raise InputError(f"{name}={shown}: needs a whole number of at least {low}")
