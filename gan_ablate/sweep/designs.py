"""Designs: which arms a study trains, given what its author wrote."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from gan_ablate.errors import InputError, unknown
from gan_ablate.recipe import TrickSpec

BASE = "base"


@dataclass(frozen=True)
class Arm:
    """One level of the study: tricks and recipe fields that are put on top of the base, or a trick taken away."""

    label: str
    tricks: tuple[TrickSpec, ...] = ()
    overrides: Mapping[str, Any] = field(default_factory=dict)
    without: str = ""  # a trick of the base that this arm does not have


def one_at_a_time(arms: Sequence[Arm], base: Sequence[str]) -> tuple[Arm, ...]:
    """Base, then each arm alone against it."""
    return (Arm(BASE), *(arm for arm in arms if arm != Arm(BASE)))


def leave_one_out(arms: Sequence[Arm], base: Sequence[str]) -> tuple[Arm, ...]:
    """Base with all of its tricks, then each of them taken away; `arms` may name the ones to take."""
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
