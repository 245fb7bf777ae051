"""How many seeds an adaptive study trains: base many, arms at looks fixed beforehand, until they are decided."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gan_ablate.errors import InputError, unknown

KEYS = ("base", "looks", "weights", "until")
LEAST_BASE = 5  # seeds: base's own spread weighs in every verdict
EXAMPLE = "{base: 40, looks: [5, 10, 20], until: decided}"


class SeedPlan(NamedTuple):
    """base: seeds of base, from the first look on. Arms have `looks[k]` seeds at look k, and stop once decided.

    weights: what each look may spend of the error; they sum to one, so that the verdicts hold whatever is decided when
    (a union bound).
    listed: the seeds in their order, where they are not 0, 1, 2, ..
    """

    base: int
    looks: tuple[int, ...]
    weights: tuple[float, ...]
    listed: tuple[int, ...] = ()

    def first(self, n: int) -> Sequence[int]:
        """The first n seeds."""
        return self.listed[:n] if self.listed else range(n)

    @classmethod
    def plain(cls, seeds: Sequence[int]) -> SeedPlan:
        """A study that is not adaptive: one look, once base and every arm have all of these seeds."""
        return cls(len(seeds), (len(seeds),), (1.0,), tuple(seeds))


RECOMMENDED = SeedPlan(40, (5, 10, 20), (1 / 3, 1 / 3, 1 / 3))  # chosen by simulation: docs/statistics.md


def read_seed_plan(given: Mapping[str, Any], where: str) -> SeedPlan:
    """The plan in a study's `seeds:`. Raises `InputError` for looks that fall, weights that do not sum to one, .."""
    for key in given:
        if key not in KEYS:
            raise unknown("key", key, KEYS, f"{where}: seeds")
    if (until := given.get("until", "decided")) != "decided":
        raise InputError(f"{where}: seeds: until={until!r}: only `decided` is known; write {EXAMPLE}")
    base, looks = given.get("base", RECOMMENDED.base), given.get("looks", list(RECOMMENDED.looks))
    if not isinstance(base, int) or isinstance(base, bool) or base < LEAST_BASE:
        raise InputError(f"{where}: seeds: base={base!r}: needs a whole number of at least {LEAST_BASE} seeds of base")
    if not isinstance(looks, list) or not looks or not all(_is_count(n) and n >= 2 for n in looks):
        raise InputError(
            f"{where}: seeds: looks={looks!r}: needs a list of whole numbers of at least 2, as [5, 10, 20]"
        )
    if any(b <= a for a, b in itertools.pairwise(looks)):
        raise InputError(f"{where}: seeds: looks={looks}: each look needs more seeds than the one before")
    weights = given.get("weights", [1 / len(looks)] * len(looks))
    if not isinstance(weights, list) or len(weights) != len(looks):
        raise InputError(f"{where}: seeds: weights={weights!r}: needs one weight for each of the {len(looks)} looks")
    if not all(isinstance(w, int | float) and not isinstance(w, bool) and w > 0 for w in weights):
        raise InputError(f"{where}: seeds: weights={weights}: needs numbers over 0")
    if not math.isclose(sum(weights), 1, abs_tol=1e-9):
        raise InputError(f"{where}: seeds: weights={weights}: they sum to {sum(weights):g}, and must sum to 1")
    return SeedPlan(base, tuple(looks), tuple(float(w) for w in weights))


def plan_of(source: Any) -> SeedPlan | None:
    """The plan in the source of a root's study; `None` where it has none, or one that cannot be used."""
    seeds = source.get("seeds") if isinstance(source, Mapping) else None
    try:
        return read_seed_plan(seeds, "study.yaml") if isinstance(seeds, Mapping) else None
    except InputError:
        return None


def _is_count(x: object) -> bool:
    return isinstance(x, int) and not isinstance(x, bool)
