"""A study as a W&B sweep: the file that `wandb sweep` reads, and the cell that an agent's parameters mean.

The file is written without importing wandb. Its grid has one nested parameter, `cell`, with the values `run`
(`model/arm`, or `model@dataset/arm` where a study has several; only those that mean something) and `seed`. The agent
hands them over as one JSON argument (`${args_json}`), the only form of its that keeps nested values and types whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import yaml

from gan_ablate.errors import InputError, unknown
from gan_ablate.publishing import put, refusing
from gan_ablate.recipe import Recipe
from gan_ablate.study.cells import Expansion, dataset_names
from gan_ablate.study.study import Study

FOLDER = "sweeps/wandb"
KEYS = ("run", "seed")


@dataclass(frozen=True)
class Trial:
    """The cell that one trial trains."""

    run: str  # model/arm or model@dataset/arm
    seed: int

    def __str__(self) -> str:
        return f"{self.run}/{self.seed}"


def sweep_file(study: Study, expansion: Expansion, *, path: str, root: str = "", options: Sequence[str] = ()) -> str:
    """The YAML of a W&B sweep over a study's cells.

    Args:
        path: of the study's file, as an agent finds it from the folder that it is started in.
        root: of the runs (default: `runs/<name of the study>`).
        options: more arguments of `gan-ablate trial`.

    Raises:
        InputError: a study without cells.
    """
    cells = named(expansion)
    if not cells:
        raise InputError(f"{study.path}: no cells to train")
    parameters = {key: {"values": list(dict.fromkeys(getattr(c, key) for c in cells))} for key in KEYS}
    content = {
        "name": study.name,
        "project": study.name,
        "program": "gan-ablate",  # the server asks for one; `command` is what runs
        "method": "grid",
        "metric": {"name": "eval/fid", "goal": "minimize"},
        "parameters": {"cell": {"parameters": parameters}},
        "command": [
            "${env}",
            "gan-ablate",
            "trial",
            path,
            "--root",
            root or f"runs/{study.name}",
            *options,
            "${args_json}",
        ],
    }
    said = f"# Written by: gan-ablate export-wandb {path} (docs/wandb.md)\n"
    return said + yaml.safe_dump(content, sort_keys=False, width=120)


def named(expansion: Expansion) -> dict[Trial, Recipe]:
    """The study's recipes, by the trials that train them."""
    short = _short(expansion)
    return {Trial(_run(r.model, r.dataset, r.arm, short), r.seed): r for r in expansion.recipes}


def _short(expansion: Expansion) -> dict[str, str]:
    every = [r.dataset for r in expansion.recipes] + [n.dataset for n in expansion.not_applicable]
    return dict(dataset_names(list(dict.fromkeys(every))))


def _run(model: str, dataset: str, arm: str, short: Mapping[str, str]) -> str:
    return f"{model}@{short[dataset]}/{arm}" if len(short) > 1 else f"{model}/{arm}"


def read_trial(text: str) -> Trial:
    """From an agent's `${args_json}`: `{"cell": {"run": "dcgan/base", "seed": 0}}`. Raises `InputError`."""
    example = '\'{"cell": {"run": "dcgan/base", "seed": 0}}\''
    try:
        data = json.loads(text)
    except ValueError:
        raise InputError(f"cell {text!r}: not JSON; as in {example}") from None
    cell = data.get("cell") if isinstance(data, dict) else None
    if not isinstance(cell, dict):
        raise InputError(f"cell {text!r}: needs a mapping `cell`, as in {example}")
    for key in cell:
        if key not in KEYS:
            raise unknown("key", key, KEYS, "cell")
    if not isinstance(cell.get("run"), str) or "/" not in cell["run"]:
        raise InputError(f"cell: run={cell.get('run')!r}: needs model/arm, as in {example}")
    seed = cell.get("seed")
    if isinstance(seed, float) and seed.is_integer():  # JSON does not tell 1 from 1.0, and W&B stores numbers
        seed = int(seed)
    if not isinstance(seed, int) or isinstance(seed, bool):
        raise InputError(f"cell: seed={cell.get('seed')!r}: needs a whole number, as in {example}")
    return Trial(cell["run"], seed)


def recipe_of(cell: Trial, study: Study, expansion: Expansion) -> Recipe | str:
    """The recipe of a cell, or the reason why it is not trained. Raises `InputError` if the study has no such cell."""
    known = named(expansion)
    if cell in known:
        return known[cell]
    short = _short(expansion)
    for skipped in expansion.not_applicable:
        if _run(skipped.model, skipped.dataset, skipped.arm, short) == cell.run:
            return skipped.reason
    where = f"{study.path} (is the sweep file older? gan-ablate export-wandb writes it again)"
    if cell.run not in (runs := {c.run for c in known}):
        raise unknown("cell run", cell.run, runs, where)
    plan = study.seed_plan
    if plan is not None and plan.looks[-1] <= cell.seed < plan.base:
        return f"an arm has at most {plan.looks[-1]} seeds, base {plan.base}"
    raise InputError(f"{where}: cell {cell}: seeds are {', '.join(map(str, sorted({c.seed for c in known})))}")


def write_file(text: str, path: Path) -> None:
    """Writes the file, unless it is there with the same text. Raises `InputError`."""
    with refusing(path, any_error=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_text() != text:
            put(path, text.encode())
