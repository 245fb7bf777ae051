"""Designs: which arms a study trains, given what its author wrote.

Two kinds. Some take the study's `arms` (`DESIGNS`), the same on every model. The others make arms from its `factors`
(`FACTOR_DESIGNS`), on each model from those that mean something there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from gan_ablate.errors import InputError, unknown
from gan_ablate.recipe import BASE
from gan_ablate.study.entries import Arm
from gan_ablate.study.factors import Factor
from gan_ablate.study.two_level import MAX_CELLS


def one_at_a_time(arms: Sequence[Arm], base: Sequence[str]) -> tuple[Arm, ...]:
    """Base, then each arm alone against it."""
    return (Arm(BASE), *(arm for arm in arms if arm != Arm(BASE)))


def leave_one_out(arms: Sequence[Arm], base: Sequence[str]) -> tuple[Arm, ...]:
    """Base with all of its tricks, then base without each of them; `arms` may name which ones to leave out."""
    if not base:
        raise InputError("design leave_one_out needs tricks in the base: base: {tricks: [label_smoothing, ..]}")
    wanted = [arm.label for arm in arms if arm != Arm(BASE)] or list(base)
    for name in wanted:
        if name not in base:
            raise unknown("trick to leave out", name, base)
    return (Arm(BASE), *(Arm(f"without {name}", without=name) for name in wanted))


# name in the YAML -> (the arms as written, the names of the base's tricks) -> the arms as run
DESIGNS: dict[str, Callable[[Sequence[Arm], Sequence[str]], tuple[Arm, ...]]] = {
    "one_at_a_time": one_at_a_time,
    "leave_one_out": leave_one_out,
}
# name in the YAML -> its options with their defaults; `None`: the smallest design there is
FACTOR_DESIGNS: dict[str, dict[str, Any]] = {
    "factorial": {},
    "grid": {},
    "fractional": {"resolution": 4, "runs": None},
    "plackett_burman": {"runs": None, "fold_over": False},
    "random": {"points": 0, "seed": 0},
}
BALANCED = ("fractional", "plackett_burman")  # two levels each, and every cell is needed


def read_design(given: object, where: str) -> tuple[str, dict[str, Any]]:
    """A design's name and its options, from a name or `{name: .., option: ..}`. Raises `InputError`."""
    entry = dict(given) if isinstance(given, Mapping) else {"name": given}
    name = entry.pop("name", None)
    if not isinstance(name, str) or name not in {*DESIGNS, *FACTOR_DESIGNS}:
        raise unknown("design", name, [*DESIGNS, *FACTOR_DESIGNS], where)
    defaults = FACTOR_DESIGNS.get(name, {})
    where = f"{where}: design {name}"
    for key in entry:
        if not defaults:
            raise InputError(f"{where}: takes no options, so {key!r} means nothing to it")
        if key not in defaults:
            raise unknown("option", key, defaults, where)
    options = {**defaults, **entry}
    for key, low, high in (("runs", 1, MAX_CELLS), ("points", 1, MAX_CELLS), ("seed", 0, 2**63)):
        value = options.get(key, low)
        if value is None and key == "runs":
            continue
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            raise InputError(f"{where}: {key}={value!r}: needs a whole number from {low} to {high}")
    if not isinstance(options.get("fold_over", False), bool):
        raise InputError(f"{where}: fold_over={options['fold_over']!r}: needs true or false")
    if options.get("resolution", 4) not in (4, 5) or isinstance(options.get("resolution"), bool):
        advice = "4 or 5 (3 is what plackett_burman gives)"
        raise InputError(f"{where}: resolution={options['resolution']!r}: choose {advice}")
    return name, options


def check_factors(name: str, options: Mapping[str, Any], factors: Sequence[Factor]) -> None:
    """Raises `InputError` if no design of this name can be made of these factors, whatever the model."""
    if not factors:
        raise InputError(f"design {name} needs factors: [label_smoothing, {{lr: [0.0002, 0.001]}}, ..]")
    for factor in factors:
        if factor.range is not None and name != "random":
            raise InputError(f"design {name} needs levels, and {factor.name} has a range: that is for random")
        if len(factor.levels) > 2 and name in BALANCED:
            raise InputError(
                f"design {name} has two levels of each factor, and {factor.name} has {len(factor.levels)}: "
                "use factorial, or leave some out"
            )
    if name != "random" and len(factors) < 2:
        raise InputError(f"design {name} needs at least two factors, got {factors[0].name} alone: use one_at_a_time")
    runs = options.get("runs")
    if runs is not None and name == "fractional" and (runs & (runs - 1) or not 4 <= runs <= 1 << len(factors)):
        raise InputError(
            f"design fractional: runs={runs}: needs a power of two from 4 to {1 << len(factors)}, "
            f"all combinations of {len(factors)} factors"
        )
