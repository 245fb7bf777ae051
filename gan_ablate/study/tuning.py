"""Equal care: each arm, base too, is tried at every setting of a grid on seeds of its own, and judged at its best.

The model is DomainBed (Gulrajani & Lopez-Paz 2021, section 4): each algorithm picks its own hyperparameters, by a rule
and on data that have no part in the comparison. The data are seeds here, since a GAN is measured by what it samples.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from gan_ablate import tricks
from gan_ablate.blueprint import claims
from gan_ablate.errors import InputError, unknown
from gan_ablate.presets import preset
from gan_ablate.recipe import BY_FACTORS, BY_VALUES, Recipe, TrickSpec
from gan_ablate.study.cells import Trial
from gan_ablate.study.entries import RECIPE_FIELDS, Arm, kind
from gan_ablate.trick import build

FIRST_SEED = 20_000  # of tuning; judged seeds lie under it, and a replication's too: `entries.MOST_SEEDS` each
MOST_SEEDS, MOST_SETTINGS = 1000, 100
USUAL_SEEDS = 3
TUNABLE = (*BY_FACTORS, *BY_VALUES)
EXAMPLE = "tune: {lr: [0.5, 1, 2], seeds: 3}"
Point = Mapping[str, float]  # recipe field -> its number in one setting of the grid


@dataclass(frozen=True)
class Tune:
    """What each arm is tried at. grid: recipe field -> numbers, ascending. seeds: how many each setting has."""

    grid: Mapping[str, tuple[float, ...]]
    seeds: int = USUAL_SEEDS

    def points(self) -> Iterator[dict[str, float]]:
        """Every setting: the product of the lists."""
        return (dict(zip(self.grid, values, strict=True)) for values in itertools.product(*self.grid.values()))

    def by_label(self) -> dict[str, dict[str, float]]:
        """The settings by what they are called."""
        return {label(point): point for point in self.points()}

    def written(self) -> str:
        """`{lr: [0.5, 1, 2], seeds: 3}`."""
        lists = (f"{name}: [{', '.join(f'{x:g}' for x in numbers)}]" for name, numbers in self.grid.items())
        return f"{{{', '.join(lists)}, seeds: {self.seeds}}}"

    def own(self, recipe: Recipe) -> dict[str, float]:
        """The setting that a recipe of the study has already. Raises `InputError` where it is none of the grid."""
        point: dict[str, float] = {}
        for name, numbers in self.grid.items():
            held = 1.0 if name in BY_FACTORS else float(getattr(recipe, name))
            if held not in numbers:
                listed = f"[{', '.join(f'{x:g}' for x in numbers)}]"
                raise InputError(f"its own {name}={held:g} is none of {listed}: add it, since ties go to it")
            point[name] = held
        return point


def label(point: Point) -> str:
    """`lr x0.5, beta1 0`."""
    return ", ".join(f"{name} x{x:.10g}" if name in BY_FACTORS else f"{name} {x:.10g}" for name, x in point.items())


def read_tune(given: object, where: str) -> Tune:
    """The grid in a study's `tune:`. Raises `InputError`."""
    where = f"{where}: tune"
    if not isinstance(given, Mapping):
        raise InputError(f"{where}: expected recipe fields with lists of numbers, as in {EXAMPLE}; got {kind(given)}")
    seeds = given.get("seeds", USUAL_SEEDS)
    if not isinstance(seeds, int) or isinstance(seeds, bool) or not 1 <= seeds <= MOST_SEEDS:
        raise InputError(f"{where}: seeds={str(seeds)[:40]}: needs a whole number of 1 to {MOST_SEEDS:,} tuning seeds")
    grid = {str(name): _numbers(name, listed, where) for name, listed in given.items() if name != "seeds"}
    settings = math.prod(map(len, grid.values()))
    if settings < 2:
        raise InputError(f"{where}: leaves nothing to choose: give a field several numbers, as in {EXAMPLE}")
    if settings > MOST_SETTINGS:
        raise InputError(f"{where}: {settings:,} settings, at most {MOST_SETTINGS} are tried: leave numbers out")
    return Tune({name: grid[name] for name in TUNABLE if name in grid}, seeds)


def _numbers(name: object, listed: object, where: str) -> tuple[float, ...]:
    if name not in TUNABLE:
        if name in RECIPE_FIELDS:
            rest = "of all settings what is trained on, for how long and how it is measured must be the same"
            raise InputError(f"{where}: {name} cannot be tuned, only {', '.join(TUNABLE)}: {rest}")
        raise unknown("field to tune", name, (*TUNABLE, "seeds"), where)
    good = isinstance(listed, Sequence) and not isinstance(listed, str) and len(listed) > 0
    for x in listed if good else ():  # type: ignore[attr-defined]
        good = good and isinstance(x, int | float) and not isinstance(x, bool) and abs(x) <= 1e9
    if not good:
        raise InputError(f"{where}: {name}={str(listed)[:80]}: needs a list of numbers, as in {EXAMPLE}")
    assert isinstance(listed, Sequence)
    numbers = sorted(map(float, listed))
    if len({f"{x:.10g}" for x in numbers}) < len(numbers):
        raise InputError(f"{where}: {name}={str(listed)[:80]}: a number is given twice")
    if name in BY_FACTORS:
        if numbers[0] <= 0:
            raise InputError(f"{where}: {name}={str(listed)[:80]}: factors of the arm's own {name} are over 0")
        if 1.0 not in numbers:
            raise InputError(
                f"{where}: {name}={str(listed)[:80]}: are factors of the arm's own {name}: 1 must be among them"
            )
    return tuple(numbers)


def tune_of(source: Any) -> Tune | None:
    """The grid in the source of a root's study; `None` where it has none, or one that cannot be used."""
    given = source.get("tune") if isinstance(source, Mapping) else None
    try:
        return None if given is None else read_tune(given, "study.yaml")
    except InputError:
        return None


def refuse_fixed(arms: Sequence[Arm], tune: Tune) -> None:
    """Raises `InputError` for an arm that sets a tuned field: the study would vary it twice."""
    for arm in arms:
        for name in tune.grid:
            if name in arm.overrides:
                raise InputError(f"tune: {name}: arm {arm.label!r} sets it itself: take one of the two out")


def settings(recipe: Recipe, tune: Tune) -> dict[str, Recipe]:
    """An arm's recipe at each setting that trains something of its own there, by the setting's label.

    Its own setting is always among them. Raises `InputError` for a setting that cannot be trained.
    """
    own = tune.own(recipe)
    known, found = [_built(recipe)], {label(own): recipe}
    # of settings that train the same, the one that has most of the arm's own numbers stays
    for point in sorted(tune.points(), key=lambda p: sum(p[name] != own[name] for name in own)):
        if point == own:
            continue
        try:
            made = _at(recipe, point)
        except InputError as error:
            raise InputError(f"at {label(point)}: {error}") from None
        # a trick that is so already there, or one that fixes the field, leaves nothing to try
        if tricks.not_applicable(made) is None and (built := _built(made)) not in known:
            known.append(built)
            found[label(point)] = made
    return {name: found[name] for name in tune.by_label() if name in found}


def trials(cells: Sequence[Recipe], tune: Tune) -> tuple[list[Recipe], dict[str, Trial]]:
    """The tuning runs of arms, and what each tries by run id; none of an arm that has one setting only.

    cells: a recipe per model, dataset and arm. Raises `InputError`.
    """
    places = list(dict.fromkeys((c.model, c.dataset) for c in cells))
    runs: list[Recipe] = []
    tried: dict[str, Trial] = {}
    for place in places:
        grids = []
        for cell in (c for c in cells if (c.model, c.dataset) == place):
            try:
                grids.append((cell, settings(cell, tune)))
            except InputError as error:
                raise InputError(f"tune: {cell.model}/{cell.arm}: {error}") from None
        for k in range(tune.seeds):
            for cell, found in grids:
                own = label(tune.own(cell))
                for name, made in found.items() if len(found) > 1 else ():
                    run = replace(made, seed=FIRST_SEED + k)
                    runs.append(run)
                    tried[run.run_id] = Trial(name, name == own)
    return runs, tried


def refuse_seeds(seeds: Sequence[int]) -> None:
    """Raises `InputError` for judged seeds that may be tuning seeds."""
    if max(seeds) >= FIRST_SEED:
        raise InputError(f"seeds={max(seeds)}: a study with tune has judged seeds under {FIRST_SEED:,} only")


def _at(recipe: Recipe, point: Point) -> Recipe:
    """The recipe at a setting; factors reach the tricks' own parameters of that name too."""
    changed: dict[str, Any] = {}
    for name, x in point.items():
        held = getattr(recipe, name)
        changed[name] = held * x if name in BY_FACTORS else type(held)(x) if float(x).is_integer() else x
    held = tuple(_scaled(spec, point, recipe) for spec in recipe.tricks)
    return tricks.complete(replace(recipe, **changed, tricks=held))


def _scaled(spec: TrickSpec, point: Point, recipe: Recipe) -> TrickSpec:
    """A trick with its own learning rate at a multiple of it; one that is nothing but this number stays as it is."""
    params = dict(spec.params)
    for name in BY_FACTORS:
        if name in point and name in params and not _only_sets(spec, name, recipe):
            params[name] *= point[name]
    return TrickSpec(spec.name, params)


def _only_sets(spec: TrickSpec, name: str, recipe: Recipe) -> bool:
    """Whether all that a trick changes are options of this name."""
    before = preset(recipe)
    return all(claim.rpartition(".")[2] == name for claim in claims(before, build(spec).edit(before)))


def _built(recipe: Recipe) -> tuple[Any, ...]:
    """What a recipe trains, to be compared."""
    _, blueprint, chain = tricks.assemble(recipe)
    return blueprint, chain.tricks
