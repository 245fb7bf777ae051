"""What an arm's page says beside its figures: recipe, difference from base, runs, and the commands that repeat them."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gan_ablate.errors import InputError
from gan_ablate.findings.summaries import BASE, ModelTable
from gan_ablate.formatting import one_line
from gan_ablate.recipe import Recipe
from gan_ablate.report import again
from gan_ablate.report.samples import Grid
from gan_ablate.results.files import UNREADABLE
from gan_ablate.results.frames import Results

LEFT_OUT = ("seed", "arm", "classes", "model", "dataset")


@dataclass(frozen=True)
class Run:
    """One run of an arm."""

    seed: int
    run_id: str
    outcome: str
    fid: float
    best_fid: float
    seconds: float


@dataclass(frozen=True)
class ArmPage:
    """All about one arm on one model."""

    arm: str
    anchor: str
    recipe: tuple[tuple[str, str], ...]  # (field, value) of the recipe, without the seed
    changes: tuple[str, ...]  # against the model's own defaults: fields of the blueprint and hooks
    against_base: tuple[str, ...]  # recipe fields that differ from base's: "lr: 0.0002 -> 0.001"
    command: str  # trains every run of the arm again
    runs: tuple[Run, ...]
    grids: tuple[Grid, ...]


class Pages:
    """Builds the pages of one root, each recipe read once."""

    def __init__(self, loaded: Results) -> None:
        self.loaded = loaded
        self.explained: dict[str, tuple[str, ...]] = {}

    def page(self, table: ModelTable, arm: str, anchor: str, grids: Sequence[Grid]) -> ArmPage:
        rows = table.groups[arm]
        recipe = self._recipe(rows["run_id"])
        base = self._recipe(table.groups[BASE]["run_id"]) if BASE in table.groups else {}
        wanted = ("seed", "run_id", "outcome", "fid", "best_fid", "seconds")
        return ArmPage(
            arm=arm,
            anchor=anchor,
            recipe=tuple(_fields(recipe)),
            changes=self._changes(recipe),
            against_base=tuple(_differences(recipe, base)) if arm != BASE and recipe and base else (),
            command=_command(self.loaded, table, arm, recipe, [int(s) for s in rows["seed"]]),
            runs=tuple(Run(*values) for values in zip(*(rows[k].tolist() for k in wanted), strict=True)),
            grids=tuple(grids),
        )

    def _recipe(self, run_ids: Any) -> dict[str, Any]:
        """Of the arm's first run that has one."""
        for run_id in run_ids:
            if found := (self.loaded.records.get(run_id) or {}).get("recipe"):
                return dict(found)
        return {}

    def _changes(self, recipe: Mapping[str, Any]) -> tuple[str, ...]:
        """What its tricks do to the blueprint; empty where that cannot be said from here."""
        if not recipe.get("tricks"):
            return ()
        key = json.dumps({k: v for k, v in recipe.items() if k not in ("seed", "arm")}, sort_keys=True, default=str)
        if key not in self.explained:
            self.explained[key] = _explain(recipe)
        return self.explained[key]


def _explain(recipe: Mapping[str, Any]) -> tuple[str, ...]:
    from gan_ablate.store.show import against_base
    from gan_ablate.tricks import trick_names

    known = set(trick_names())
    try:
        read = Recipe.from_dict(recipe)
        if any(t.name not in known for t in read.tricks):  # a report never imports what a result file names
            return ("a trick of the user's own",)
        return tuple(against_base(read))
    except (InputError, *UNREADABLE):
        return ()


def _fields(recipe: Mapping[str, Any]) -> list[tuple[str, str]]:
    found = []
    for name, value in recipe.items():
        if name in LEFT_OUT:
            continue
        if name == "tricks":
            found.append(("tricks", _tricks(value)))
        elif isinstance(value, dict):
            found += [(f"{name}.{k}", one_line(v)[:200]) for k, v in value.items()]
        else:
            found.append((str(name), one_line(value)[:200]))
    return found


def _tricks(value: Any) -> str:
    try:
        specs = [f"{t['name']}" + "".join(f", {k}={v}" for k, v in (t.get("params") or {}).items()) for t in value]
    except UNREADABLE:
        return one_line(value)[:200]
    return "; ".join(map(one_line, specs)) or "none"


def _differences(recipe: Mapping[str, Any], base: Mapping[str, Any]) -> list[str]:
    ours, theirs = dict(_fields(recipe)), dict(_fields(base))
    return [f"{k}: {theirs.get(k, 'none')} → {v}" for k, v in ours.items() if v != theirs.get(k, "none")]


def _command(loaded: Results, table: ModelTable, arm: str, recipe: Mapping[str, Any], seeds: Sequence[int]) -> str:
    """One line that trains each seed again: `train` where its options can say the recipe, else the study's cells."""
    line = again.train(recipe)
    if line and len(seeds) > 1:
        loop = line.rpartition("--seed ")
        rest = loop[2].partition(" ")[2]
        return f"for seed in {' '.join(map(str, sorted(seeds)))}; do {loop[0]}--seed $seed {rest}; done"
    if line:
        return line
    if loaded.name == again.TRAIN:
        return again.NO_COMMAND
    model = f"{table.model}@{table.dataset}" if table.title != table.model else table.model
    return again.sweep(loaded, only=f"{model}/{arm}/*")
