"""Two budgets of training: everything at the first, and at the second what the first has found worth it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

from gan_ablate.errors import InputError, unknown

KEYS = ("factors", "also")
EXAMPLE = "[1x, 4x]"
MOST = 10_000  # times the steps


class Budgets(NamedTuple):
    """factor: of the steps, at the second budget. also: arms that it has whatever their verdict at the first."""

    factor: float
    also: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """`4x`: what cells, tables and run names call the second budget. The first has no name."""
        return f"{self.factor:g}x"

    def steps(self, steps: int) -> int:
        """The second budget's steps for so many at the first."""
        return round(steps * self.factor)


def read_budgets(given: object, where: str) -> Budgets | None:
    """A study's `budgets:`, a list of factors or `{factors: .., also: [arm, ..]}`. Raises `InputError`."""
    if given is None:
        return None
    entry = given if isinstance(given, Mapping) else {"factors": given}
    where = f"{where}: budgets"
    for key in entry:
        if key not in KEYS:
            raise unknown("key", key, KEYS, where)
    factors, also = entry.get("factors"), entry.get("also", [])
    if not isinstance(factors, list) or len(factors) != 2:
        raise InputError(f"{where}: {str(factors)[:80]!r}: needs two factors of the steps, as {EXAMPLE}")
    first, second = (_factor(x, where) for x in factors)
    if first != 1:
        raise InputError(f"{where}: the first is {first:g}: it must be 1, the study's own steps, as {EXAMPLE}")
    if second <= first:
        raise InputError(f"{where}: {second:g} after {first:g}: the second must be larger than the first, as {EXAMPLE}")
    if not isinstance(also, list) or not all(isinstance(arm, str) for arm in also):
        raise InputError(f"{where}: also={str(also)[:80]!r}: needs a list of arms, by their labels")
    return Budgets(second, tuple(dict.fromkeys(also)))


def _factor(given: object, where: str) -> float:
    """4, 1.5 or `4x`."""
    try:
        if isinstance(given, bool) or not isinstance(given, int | float | str):
            raise ValueError
        factor = float(given.removesuffix("x") if isinstance(given, str) else given)
        if not 0 < factor <= MOST or not math.isfinite(factor):
            raise ValueError
    except (ValueError, OverflowError):
        raise InputError(f"{where}: {str(given)[:80]!r}: needs a number up to {MOST:,}, as in {EXAMPLE}") from None
    return factor


def budgets_of(source: Any) -> Budgets | None:
    """The budgets in the source of a root's study; `None` where it has none, or some that cannot be used."""
    try:
        return read_budgets(source.get("budgets"), "study.yaml") if isinstance(source, Mapping) else None
    except InputError:
        return None


def at(budget: str) -> str:
    """` at 4x the steps`; empty for the first budget."""
    return f" at {budget} the steps" if budget else ""
