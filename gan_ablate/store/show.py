"""One run from its folder: recipe, what sets it apart from base, figures, health, curve, attempts, how to repeat it."""

from __future__ import annotations

import glob
import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import fields
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from gan_ablate.errors import InputError, in_one_line, unknown
from gan_ablate.recipe import Evaluation, Recipe, TrickSpec
from gan_ablate.results.files import read_recipe
from gan_ablate.results.study_file import Cell
from gan_ablate.store import attempts
from gan_ablate.store.store import Store

LOOK = "runs/*"  # roots that are searched where none is given
FIGURES = 8  # columns of the curve
SAID_APART = ("model", "dataset", "tricks", "evaluation")  # fields of a recipe that a command has other words for


class FoundRun(NamedTuple):
    """A run's folder in its store, with its cell where the study has one."""

    store: Store
    run_id: str
    cell: Cell | None

    @property
    def folder(self) -> Path:
        return self.store.folder(self.run_id)


def find_run(run: str, root: str | PathLike[str] | None = None) -> FoundRun:
    """The run that a text names: a folder, a run id or the beginning of one, or `[dataset/]model/arm/seed`, where
    `dcgan@4x` is the model at a second budget.

    Without a root, ids are looked for in all roots under `runs/`. Raises `InputError` for none and for several.
    """
    folder = Path(run)
    if root is None and (folder / "recipe.json").exists():
        store = _store(folder.resolve().parent.parent)
        return FoundRun(store, folder.resolve().name, _cell(store, folder.resolve().name))
    roots = [Path(root)] if root is not None else sorted(p.parent for p in Path().glob(f"{LOOK}/runs"))
    hits: dict[Path, FoundRun] = {}
    for place in roots:
        store = _store(place)
        for cell in store.cells:
            model = f"{cell.model}@{cell.budget}" if cell.budget else cell.model
            names = (f"{model}/{cell.arm}/{cell.seed}", f"{cell.dataset}/{model}/{cell.arm}/{cell.seed}")
            if run in names or cell.run_id.startswith(run):
                hits[store.folder(cell.run_id)] = FoundRun(store, cell.run_id, cell)
        for path in store.folder("").glob(f"{glob.escape(run)}*") if "/" not in run else ():
            if path.is_dir() and not path.name.startswith("."):
                hits.setdefault(path, FoundRun(store, path.name, None))
    if len(hits) > 1:
        some = ", ".join(str(path) for path in list(hits)[:4])
        raise InputError(f"run {run!r} could be any of {len(hits)}: {some}{', ..' if len(hits) > 4 else ''}")
    if not hits:
        if root is None:
            raise InputError(f"no run {run!r} under {LOOK}: give --root, or the path of the run's folder")
        known = [text for c in _store(Path(root)).cells for text in (f"{c.model}/{c.arm}/{c.seed}", c.run_id)]
        if not known:
            raise InputError(f"{root}: no run {run!r} here")
        error = unknown("run", run, known, str(root))
        head, listed, _ = str(error).partition("known:")
        if listed and len(known) >= 20:
            error = InputError(f"{head}it has {len(known) // 2} runs; name one as model/arm/seed")
        raise error
    return next(iter(hits.values()))


def _store(root: Path) -> Store:
    return Store.open(root) if (root / "study.yaml").exists() else Store(root)


def _cell(store: Store, run_id: str) -> Cell | None:
    return next((cell for cell in store.cells if cell.run_id == run_id), None)


def describe_run(found: FoundRun) -> str:
    """All there is to know of a run, as text. Raises `InputError` where its recipe cannot be read."""
    state, _ = found.store.glance(found.run_id)
    record = found.store.finished(found.run_id) or {}
    recipe = _recipe(found)
    label = found.cell.arm if found.cell else recipe.arm
    outcome = record.get("outcome") or state
    lines = [f"{recipe.model}/{label}/seed {recipe.seed} on {recipe.dataset}: {outcome}"]
    lines += [f"  {record['note']}"] if record.get("note") else []
    lines += [f"  {found.folder}", "", "recipe"]
    lines += [f"  {name} = {text}" for name, text in _fields(recipe)]
    lines += ["", "against base", *(f"  {line}" for line in against_base(recipe))]
    for title, told in (
        ("figures", lambda: _figures(record)),
        ("health", lambda: _health(record)),
        ("curve", lambda: _curve(record)),
        ("attempts", lambda: list(_attempts(found, state))),
        ("again", lambda: [command(recipe, found)]),
        ("error", lambda: str(record.get("traceback") or record.get("error") or "").rstrip().splitlines()),
    ):
        try:
            body = told()
        except (AttributeError, TypeError, ValueError) as error:
            body = [f"cannot be shown: {error}"]
        lines += ["", title, *(f"  {line}" for line in body)] if body else []
    return "\n".join(lines)


def _recipe(found: FoundRun) -> Recipe:
    path = found.folder / "recipe.json"
    try:
        return Recipe.from_dict(read_recipe(found.folder), str(path)).validate()
    except FileNotFoundError:
        raise InputError(f"{path}: not there: the run has not begun yet") from None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read: {in_one_line(error)}") from None


def _fields(recipe: Recipe) -> Iterator[tuple[str, str]]:
    full = recipe.to_dict()
    for name, value in full.items():
        if name == "evaluation":
            yield from ((f"evaluation.{k}", str(v)) for k, v in value.items())
        elif name == "tricks":
            yield name, ", ".join(map(str, recipe.tricks)) or "none"
        elif name not in Recipe.NOT_SEMANTIC:
            yield name, str(value)


def against_base(recipe: Recipe) -> list[str]:
    """What the recipe's tricks change, one line per field of the blueprint and per hook of the training step."""
    from gan_ablate.blueprint import diff
    from gan_ablate.presets import preset
    from gan_ablate.tricks import assemble

    if not recipe.tricks:
        return ["nothing: it has no tricks"]
    try:
        _, blueprint, chain = assemble(recipe)
    except InputError as error:  # a trick of the user's own that is not importable from here
        return [f"cannot be said here: {error}"]
    base = preset(recipe)
    hooks = sorted({hook for trick in chain.tricks for hook in trick.overridden & blueprint.consulted})
    return [*map(str, diff(base, blueprint)), *(f"hook {hook}" for hook in hooks)]


def _figures(record: Mapping[str, Any]) -> list[str]:
    labels = record.get("labels") or {}
    rows = [
        f"{labels.get(k, k)}: {v:.4g}"
        for k, v in (record.get("metrics") or {}).items()
        if isinstance(v, int | float) and k != "step"
    ]
    best = record.get("best") or {}
    if isinstance(best.get("fid"), int | float):
        rows.append(f"best {labels.get('fid', 'fid')}: {best['fid']:.4g} at step {best.get('step')}")
    times = [f"{name.replace('_', ' ')} {record[name]:.0f}" for name in _SECONDS if record.get(name) is not None]
    rows += [", ".join(times)] if times and rows else []
    if record.get("peak_memory_bytes"):
        rows.append(f"peak memory {record['peak_memory_bytes'] / 1e6:.0f} MB")
    return rows


_SECONDS = ("seconds", "train_seconds", "evaluation_seconds")


def _health(record: Mapping[str, Any]) -> list[str]:
    rows = [f"{n}: {'no' if at is None else f'from step {at}'}" for n, at in (record.get("signs") or {}).items()]
    return rows + [f"{n} = {v:.4g}" for n, v in (record.get("stability") or {}).items() if v is not None]


def _curve(record: Mapping[str, Any]) -> list[str]:
    points = [p for p in record.get("curve") or () if isinstance(p, Mapping)]
    names = list(dict.fromkeys(k for p in points for k, v in p.items() if v is not None))[:FIGURES]
    rows = [names, *([_number(p.get(n)) for n in names] for p in points)]
    wide = [max(len(row[k]) for row in rows) for k in range(len(names))]
    return ["  ".join(cell.rjust(w) for cell, w in zip(row, wide, strict=True)) for row in rows] if names else []


def _number(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else "-" if value is None else str(value)


def _attempts(found: FoundRun, state: str) -> Iterator[str]:
    tried = attempts.read_attempts(found.folder)
    for k, a in enumerate(tried):
        going = state == "running" and k == len(tried) - 1
        end = a.get("outcome") or ("running" if going else "killed (it left no word)")
        where = a.get("hardware") or {}
        versions = ", ".join(f"{n} {v}" for n, v in (a.get("versions") or {}).items())
        device = f"{where.get('cpu')}, {where.get('gpu') or 'no GPU'}"
        yield f"{a['attempt']}. {a.get('started')} to {a.get('ended', '?')}: {end}"
        yield f"   {a.get('host')} (pid {a.get('pid')}), {device}; {versions}"
        if a.get("error"):
            yield f"   {a['error']}"


def command(recipe: Recipe, found: FoundRun | None = None) -> str:
    """The command that trains the same run: equal recipe, equal run id. `train` where it can say all of it."""
    if (line := train_command(recipe)) is not None:
        return line
    if found is None or found.cell is None:
        return "no command can say this recipe: put it into a study"
    root = shlex.quote(str(found.store.root))
    only = shlex.quote(f"{found.cell.model}/{found.cell.arm}/{found.cell.seed}")
    return (
        f"gan-ablate sweep STUDY.yaml --root {root} --only {only}   (the study that {root}/study.yaml has as `source`)"
    )


def train_command(recipe: Recipe) -> str | None:
    """`gan-ablate train ...` for a recipe, shortest form; None where its options cannot say it."""
    full = recipe.resolved()
    words = ["gan-ablate", "train", "--model", full.model, "--dataset", full.dataset]
    for trick in full.tricks:
        if (text := _trick(trick)) is None:
            return None
        words += ["--trick", text]
    for name in (f.name for f in fields(Recipe) if f.name not in (*SAID_APART, *Recipe.NOT_SEMANTIC)):
        words += [f"--{name.replace('_', '-')}", str(getattr(full, name))]
    if full.evaluation.split != Evaluation.split:
        return None
    for name in ("extractor", "samples", "points"):
        words += [f"--{name}", str(getattr(full.evaluation, name))]
    return shlex.join(words)


def _trick(spec: TrickSpec) -> str | None:
    """As `TrickSpec.parse` reads it back, or None where it could not."""
    values = {k: v if isinstance(v, str) else json.dumps(v) for k, v in sorted(spec.params.items())}
    text = spec.name + (":" + ",".join(f"{k}={v}" for k, v in values.items()) if values else "")
    try:
        read = TrickSpec.parse(text)
    except InputError:
        return None
    return text if (read.name, dict(read.params)) == (spec.name, dict(spec.params)) else None
