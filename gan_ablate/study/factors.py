"""Factors of a design, read from the study's `factors`: what varies, and over which levels or which range."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gan_ablate.errors import InputError, unknown
from gan_ablate.recipe import BASE, TrickSpec
from gan_ablate.study.entries import ELSEWHERE, RECIPE_FIELDS, kind, read_arm, trick_arm

RANGE = ("low", "high", "log", "choices")
REAL = ("lr", "beta1", "beta2")  # recipe fields that are never whole numbers, whatever their range is written in
NOT_FACTORS = {
    "dataset": "list them under the study's key 'datasets'",
    "evaluation": "figures measured in two ways cannot be compared",
    "classes": "it is the dataset's",
    "tricks": "write each trick as a factor of its own",
}


class Level(NamedTuple):
    """One level of a factor: its value as plain data, and what it puts on top of the base."""

    value: Any  # false or true for a trick, the number for a recipe field, the label for a named level
    label: str  # what an arm that has it is called by
    tricks: tuple[TrickSpec, ...] = ()
    overrides: Mapping[str, Any] = {}


class Range(NamedTuple):
    """Where a value is drawn: uniform over [low, high], or uniform in its logarithm."""

    low: float
    high: float
    log: bool = False
    whole: bool = False

    def at(self, share: float) -> float:
        """The value that has this share of the range below it. Four significant digits keep recipes readable."""
        low, high = self.low, self.high + self.whole  # each whole number gets the interval up to the next
        value = low * (high / low) ** share if self.log else low + share * (high - low)
        if self.whole:
            return min(math.floor(value), self.high)
        return min(max(float(f"{value:.4g}"), self.low), self.high)


class Factor(NamedTuple):
    """What a design varies. The first level is the low one; a factor with a range has no levels of its own."""

    name: str
    levels: tuple[Level, ...] = ()
    range: Range | None = None

    def at(self, share: float) -> Level:
        """The level for a random number in [0, 1): all levels are equally likely; of a range, a value in it."""
        if self.range is None:
            return self.levels[int(share * len(self.levels))]
        return _level(self.name, self.range.at(share))

    @property
    def values(self) -> list[Any]:
        """Its levels as plain data; of a range, the two ends."""
        return [self.range.low, self.range.high] if self.range else [level.value for level in self.levels]

    @property
    def fields(self) -> set[str]:
        """The recipe fields that it sets."""
        levels = self.levels or (self.at(0.0),)
        return {name for level in levels for name in level.overrides}


def read_factors(given: object, where: str) -> tuple[Factor, ...]:
    """Factors from the study's list; see `docs/designs.md` for the forms. Raises `InputError`."""
    where = f"{where}: factors"
    if not isinstance(given, Sequence) or isinstance(given, str):
        raise InputError(f"{where}: expected a list, as in [ttur, {{lr: [0.0002, 0.001]}}]; got {kind(given)}")
    found: dict[str, Factor] = {}
    for entry in given:
        factor = _factor(entry, where)
        if factor.name in found:
            raise InputError(f"{where}: {factor.name!r} is given twice")
        for other in found.values():
            both = sorted(factor.fields & other.fields)
            if both:
                raise InputError(f"{where}: {other.name!r} and {factor.name!r} both set {both[0]}: keep one of them")
        found[factor.name] = factor
    return tuple(found.values())


def _factor(entry: object, where: str) -> Factor:
    if isinstance(entry, str):
        _refuse(entry, where)
        if entry in RECIPE_FIELDS:
            raise InputError(f"{where}: {entry} is a recipe field: give it levels or a range, {{{entry}: [a, b]}}")
        return _trick(entry, where)
    if not isinstance(entry, Mapping) or len(entry) != 1:
        raise InputError(f"{where}: {entry!r}: write a trick, {{name: [levels]}} or {{name: {{low: .., high: ..}}}}")
    ((name, spec),) = entry.items()
    name = str(name)
    _refuse(name, where)
    plain = name in RECIPE_FIELDS or ":" in name  # a recipe field, or a trick's parameter as trick:parameter
    if isinstance(spec, Mapping) and (plain or set(spec) & {"choices"}):
        for key in spec:
            if key not in RANGE:
                raise unknown("key", key, RANGE, f"{where}: {name}")
        if "choices" not in spec:
            return Factor(name, range=_range(name, spec, f"{where}: {name}"))
        if len(spec) > 1:
            raise InputError(f"{where}: {name}: choices stand alone, without low, high and log")
        spec = spec["choices"]
    if isinstance(spec, Mapping) or (spec is None and not plain):
        return _trick({name: spec}, where)
    if not isinstance(spec, Sequence) or isinstance(spec, str):
        raise InputError(f"{where}: {name}: expected a list of levels, as in {{{name}: [a, b]}}; got {kind(spec)}")
    return _levels(name, spec, plain, f"{where}: {name}")


def _refuse(name: str, where: str) -> None:
    if name in ELSEWHERE:
        raise InputError(f"{where}: {name!r} is no factor: use the study's key {ELSEWHERE[name]!r}")
    if name in NOT_FACTORS:
        raise InputError(f"{where}: {name!r} is no factor: {NOT_FACTORS[name]}")


def _trick(entry: str | Mapping[str, Any], where: str) -> Factor:
    arm = trick_arm(entry, where)
    return Factor(arm.label, (Level(False, BASE), Level(True, arm.label, arm.tricks)))


def _levels(name: str, given: Sequence[Any], plain: bool, where: str) -> Factor:
    levels = []
    for value in given:
        if plain and not isinstance(value, str | int | float):
            raise InputError(f"{where}: level {value!r}: needs a number, a word, true or false")
        levels.append(_level(name, value) if plain else _named(name, value, where))
    labels = [level.label for level in levels]
    for label in labels:
        if labels.count(label) > 1:
            raise InputError(f"{where}: level {label!r} is given twice")
    if len(levels) < 2:
        raise InputError(f"{where}: has {len(levels)} level{'s' * (len(levels) != 1)}: a factor needs at least two")
    return Factor(name, tuple(levels))


def _level(name: str, value: Any) -> Level:
    trick, _, parameter = name.partition(":")
    label = f"{name}={value}"
    if parameter:
        return Level(value, label, (TrickSpec(trick, {parameter: value}),))
    return Level(value, label, overrides={name: value})


def _named(name: str, entry: object, where: str) -> Level:
    arm = read_arm(entry, where)
    if isinstance(arm, str):
        raise InputError(f"{where}: {entry!r} is no level: name tricks one by one")
    if "evaluation" in arm.overrides:
        raise InputError(f"{where}: evaluation is no factor: {NOT_FACTORS['evaluation']}")
    return Level(arm.label, f"{name}={arm.label}", arm.tricks, arm.overrides)


def _range(name: str, spec: Mapping[str, Any], where: str) -> Range:
    for key in ("low", "high"):
        value = spec.get(key)
        if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
            raise InputError(f"{where}: {key}={value!r}: a range needs two numbers, as in {{low: 0.0001, high: 0.01}}")
    low, high, log = spec["low"], spec["high"], spec.get("log", False)
    if not isinstance(log, bool):
        raise InputError(f"{where}: log={log!r}: needs true or false")
    if low >= high:
        raise InputError(f"{where}: low={low!r} is not under high={high!r}")
    if log and low <= 0:
        raise InputError(f"{where}: low={low!r}: a logarithmic range needs a low over 0")
    return Range(low, high, log, whole=name not in REAL and isinstance(low, int) and isinstance(high, int))
