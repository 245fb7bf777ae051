"""Makes a factor design on one model: which factors mean something there, its cells, and what is confounded."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from gan_ablate.errors import InputError
from gan_ablate.recipe import BASE, seed_for
from gan_ablate.study.designs import BALANCED
from gan_ablate.study.factors import Factor, Level
from gan_ablate.study.two_level import MAX_CELLS, alias_chains, fraction, overlap, plackett_burman

# levels put on top of the base -> (identity of the recipe, why it means nothing or None); raises for tricks in conflict
Probe = Callable[[Sequence[Level]], tuple[str, str | None]]


class DesignPoint(NamedTuple):
    """One arm of a factor design: its label, and the level of every factor of the study."""

    label: str
    levels: Mapping[str, Level]


class Plan(NamedTuple):
    """A factor design on one model and dataset."""

    cells: tuple[DesignPoint, ...]
    skipped: tuple[tuple[str, str], ...]  # factors and levels that are left out here, each with the reason
    facts: Mapping[str, Any]  # plain data for the store: factors, runs, aliases, ..


def plan(name: str, options: Mapping[str, Any], factors: Sequence[Factor], probe: Probe) -> Plan:
    """The cells of a factor design on one model. `probe` tries levels on that model.

    Raises `InputError` for factors that cannot stand together, and where no factor is left.
    """
    if name == "random":
        _refuse_conflicts(name, factors, probe)
        points = tuple(_points(options, factors))
        return Plan(points, (), {"factors": [f.name for f in factors], "runs": len(points)})
    kept, held, skipped = _applicable(factors, probe)
    if not kept:
        raise InputError(f"no factor can be varied here ({skipped[0][0]}: {skipped[0][1]}): take this model out")
    if name not in BALANCED:
        _refuse_too_many(name, kept)
    _refuse_conflicts(name, kept, probe)
    names = [f.name for f in kept]
    facts: dict[str, Any] = {"factors": names}
    if name in BALANCED:
        matrix, found = _two_level(name, options, names)
        facts |= found
        rows = [[f.levels[int(x > 0)] for f, x in zip(kept, row)] for row in matrix]
    else:
        rows = [list(row) for row in itertools.product(*(f.levels for f in kept))]
    facts["runs"] = len(rows)
    cells = []
    for row in rows:
        levels = {**held, **dict(zip(names, row))}
        ordered = {f.name: levels[f.name] for f in factors}
        label = "+".join(ordered[f.name].label for f in factors if ordered[f.name] != f.levels[0])
        cells.append(DesignPoint(label or BASE, ordered))
    return Plan(tuple(cells), tuple(skipped), facts)


def _applicable(
    factors: Sequence[Factor], probe: Probe
) -> tuple[list[Factor], dict[str, Level], list[tuple[str, str]]]:
    """The factors with the levels that mean something here; the level at which each other factor is held; why."""
    kept, held, skipped = [], {}, []
    for factor in factors:
        usable: dict[str, Level] = {}
        reasons: dict[str, str] = {}  # label of a level -> why it is none here
        for level in factor.levels:
            identity, reason = probe([level])
            twin = usable.get(identity)
            if reason is None and twin is not None:
                reason = f"the same here as {_called(factor, twin)}"
            if reason is None:
                usable[identity] = level
            else:
                reasons[_called(factor, level)] = reason
        left = list(usable.values())
        if not left:
            raise InputError(f"no level of factor {factor.name} can be used: {next(iter(reasons.values()))}")
        if len(left) == 1:
            held[factor.name] = left[0]
            why = "; ".join(reasons.values())
            skipped.append((factor.name, f"no factor of this model's design: {why}"))
        else:
            kept.append(Factor(factor.name, tuple(left)))
            skipped += [(label, f"no level of this model's design: {why}") for label, why in reasons.items()]
    return kept, held, skipped


def _called(factor: Factor, level: Level) -> str:
    return f"{factor.name}={level.value}" if level.label == BASE else level.label


def _refuse_conflicts(name: str, factors: Sequence[Factor], probe: Probe) -> None:
    """Raises `InputError` for two factors of which some levels can never stand together.

    In a balanced design that includes levels which only mean nothing together: it cannot spare a cell.
    """
    for one, other in itertools.combinations(factors, 2):
        for a, b in itertools.product(*(f.levels or (f.at(0.5),) for f in (one, other))):
            if not (a.tricks or a.overrides) or not (b.tricks or b.overrides):
                continue
            try:
                reason = probe([a, b])[1]
            except InputError as error:
                raise InputError(f"factors {one.name!r} and {other.name!r} cannot be combined: {error}") from None
            if reason is not None and name in BALANCED and probe([a])[1] is None and probe([b])[1] is None:
                raise InputError(f"factors {one.name!r} and {other.name!r} cannot be combined: {reason}")


def _two_level(name: str, options: Mapping[str, Any], names: Sequence[str]) -> tuple[np.ndarray, dict[str, Any]]:
    """The matrix of -1 and 1 over these factors and the facts about it: resolution, generators, aliases."""
    facts: dict[str, Any]
    if len(names) == 1:
        return np.array([[-1], [1]]), {"resolution": None, "generators": [], "aliases": [[names[0]]]}
    if name == "fractional":
        runs = options["runs"]
        if runs is not None:  # where factors fell away on this model, all combinations may be fewer
            runs = min(runs, 1 << len(names))
        chosen = fraction(len(names), options["resolution"], runs)
        matrix = chosen.matrix()
        basic = [names[i] for i, word in enumerate(chosen.words) if len(word) == 1]
        made = [(names[i], word) for i, word in enumerate(chosen.words) if len(word) > 1]
        generators = [f"{n} = {'-' * (len(w) % 2 == 0)}{' * '.join(basic[b] for b in w)}" for n, w in made]
        facts = {"resolution": chosen.resolution, "generators": generators}
    else:
        matrix = plackett_burman(len(names), options["runs"], options["fold_over"])
        facts = {"resolution": 4 if options["fold_over"] else 3, "generators": []}
    mains, pairs = overlap(matrix)
    facts |= {"overlap": {"main effects": round(mains, 4), "two-way interactions": round(pairs, 4)}}
    return matrix, facts | {"aliases": alias_chains(matrix, names)}


def _refuse_too_many(name: str, factors: Sequence[Factor]) -> None:
    cells = math.prod(len(f.levels) for f in factors)
    if cells > MAX_CELLS:
        raise InputError(f"design {name} has {cells:,} cells, at most {MAX_CELLS:,} are made: use fractional or random")


def _points(options: Mapping[str, Any], factors: Sequence[Factor]) -> list[DesignPoint]:
    """The random points. Each factor has its own generator, so more points or factors do not change the others."""
    seed, points = options["seed"], options["points"]
    shares = [np.random.default_rng(seed_for(seed, "design", f.name)).random(points) for f in factors]
    drawn = [{f.name: f.at(float(s[i])) for f, s in zip(factors, shares)} for i in range(points)]
    return [DesignPoint(f"point-{i + 1}", levels) for i, levels in enumerate(drawn)]


def summary(design: str, facts: Mapping[str, Mapping[str, Any]], factors: Sequence[Factor]) -> dict[str, Any]:
    """What the store keeps of a factor design, as plain data. `facts`: of each model (and dataset) by its name.

    Keys: name; factors (levels by name, of a range its two ends); aliases (of the model with the most factors);
    models (facts of each: factors, runs, resolution, generators, aliases).
    """
    widest = max(facts.values(), key=lambda found: len(found["factors"]))
    return {
        "name": design,
        "factors": {f.name: f.values for f in factors},
        "aliases": widest.get("aliases", []),
        "models": {name: dict(found) for name, found in facts.items()},
    }


LETTERS = "ABCDEFGHJKLMNOPQRSTUVWXYZabcdefghjklmnopqrstuvwxyz"  # without I, which is the mean, as in the books


def describe_design(design: Mapping[str, Any]) -> list[str]:
    """Describes a stored design in lines: its generators, its resolution, and what it cannot tell apart."""
    groups: dict[str, list[str]] = {}
    for model, found in design.get("models", {}).items():
        groups.setdefault("\n".join(_about(design["name"], found)), []).append(model)
    return [line for text, models in groups.items() for line in f"{', '.join(models)}: {text}".split("\n")]


def _about(name: str, found: Mapping[str, Any]) -> list[str]:
    names, runs = found["factors"], found["runs"]
    if "resolution" not in found:
        return [f"{name}, {runs} cells over {', '.join(names)}"]
    resolution = found["resolution"]
    if resolution is None:
        return [f"all {runs} combinations of {', '.join(names)}: nothing is confounded"]
    letters = dict(zip(names, LETTERS))
    named = {3: "III", 4: "IV", 5: "V", 6: "VI", 7: "VII"}.get(resolution, str(resolution))
    lines = [
        f"{name}, {runs} of {1 << len(names):,} combinations of {len(names)} factors, resolution {named}",
        "  " + ", ".join(f"{letter} {factor}" for factor, letter in letters.items()),
    ]
    if found["generators"]:
        lines.append("  generators: " + ", ".join(_lettered(g, letters) for g in found["generators"]))
    for kind, others in (("main effects", "two-way interactions"), ("two-way interactions", "each other")):
        share = found["overlap"][kind]
        if share < 1:
            part = f"share up to {share:g} of their column with" if share else "are clear of"
            lines.append(f"  {kind} {part} {others}")
    chains = [chain for chain in found["aliases"] if len(chain) > 1]
    if chains:
        lines.append("  cannot be told apart:")
    return lines + ["    " + " = ".join(_lettered(term, letters) for term in chain) for chain in chains]


def _lettered(text: str, letters: Mapping[str, str]) -> str:
    """`lecam = -r1 * ttur` as `C = -AB`."""
    sides = []
    for side in text.split(" = "):
        terms = side.removeprefix("-").split(" * ")
        sides.append("-" * side.startswith("-") + "".join(letters[term] for term in terms))
    return " = ".join(sides)
