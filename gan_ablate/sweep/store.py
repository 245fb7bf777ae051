"""The store: one folder per run, `result.json` written last and atomically is the done marker. No torch here.

Readers never write. Whoever changes a run's folder holds its lock, which the kernel frees when the holder dies.
"""

from __future__ import annotations

import fcntl
import json
import logging
import math
import os
import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gan_ablate import __version__
from gan_ablate.errors import InputError
from gan_ablate.recipe import SCHEMA, Recipe
from gan_ablate.sweep.study import NotApplicable

log = logging.getLogger("gan_ablate.sweep")
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def to_json(data: object) -> bytes:
    """Indented UTF-8 JSON; numbers that are not finite become null, paths and numpy scalars plain values."""
    return (json.dumps(_plain(data), indent=1, allow_nan=False) + "\n").encode()


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "item"):  # a numpy or torch scalar, seen without importing either
        return _plain(value.item())
    return str(value)


def publish(path: Path, data: bytes) -> None:
    """Writes a whole file or nothing: temporary file, fsync, rename, fsync of the folder. Raises `OSError`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.rename(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


@dataclass(frozen=True)
class Cell:
    """One run that the study asks for."""

    run_id: str
    model: str
    dataset: str
    arm: str
    seed: int


@dataclass(frozen=True)
class Status:
    """Counts of one model's arm."""

    model: str
    dataset: str
    arm: str
    done: int = 0
    running: int = 0
    failed: int = 0
    left: int = 0


@dataclass(frozen=True)
class Claim:
    """A run's folder while its lock is held by this process: the only way to write into it."""

    store: Store
    run_id: str

    @property
    def folder(self) -> Path:
        return self.store.folder(self.run_id)

    def finished(self) -> dict[str, Any] | None:
        """The published result or failure, read again under the lock. A damaged one is moved aside to `*.corrupt`."""
        for name in ("result.json", "failed.json"):
            path = self.folder / name
            record = self.store.read(self.run_id, name, warn=False)
            if record is not None:
                return record
            if path.exists():
                log.warning("%s: damaged; moved aside to %s.corrupt, the run is done again", path, name)
                os.replace(path, path.with_name(f"{name}.corrupt"))
        return None

    def prepare(self, recipe: Recipe) -> Path:
        """The run's folder, ready to train in. Raises `InputError` if it belongs to another recipe."""
        path = self.folder / "recipe.json"
        for stale in self.folder.glob(".*.tmp"):  # left by a writer that was killed
            stale.unlink(missing_ok=True)
        try:
            held = json.loads(path.read_bytes())
        except (FileNotFoundError, ValueError):
            held = None  # ours to write: the folder's name is the recipe's hash
        if held is None:
            publish(path, to_json({"schema": SCHEMA, "run_id": self.run_id, "recipe": recipe.to_dict()}))
        elif not _same_recipe(held, recipe):
            raise InputError(f"{path} holds another recipe than this run: move the folder away, or use another root")
        return self.folder

    def publish_result(self, result: Mapping[str, Any]) -> None:
        publish(self.folder / "result.json", to_json({"schema": SCHEMA, "run_id": self.run_id, **result}))
        (self.folder / "failed.json").unlink(missing_ok=True)

    def publish_failed(self, recipe: Recipe, error: str, traceback: str, attempts: int) -> None:
        record = {"recipe": recipe.to_dict(), "error": error, "traceback": traceback, "attempts": attempts}
        publish(self.folder / "failed.json", to_json({"schema": SCHEMA, "run_id": self.run_id, **record}))

    def forget_failure(self) -> None:
        (self.folder / "failed.json").unlink(missing_ok=True)


def _same_recipe(held: object, recipe: Recipe) -> bool:
    try:
        assert isinstance(held, Mapping)
        return Recipe.from_dict(held["recipe"]).canonical_json() == recipe.canonical_json()
    except (AssertionError, KeyError, TypeError, ValueError):
        return False


@dataclass(frozen=True)
class Store:
    """A root folder of runs. `Store(root)` serves single runs; `create` and `open` also know the study's cells."""

    root: Path
    name: str = ""
    cells: tuple[Cell, ...] = ()
    not_applicable: tuple[NotApplicable, ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "root", Path(self.root))

    @classmethod
    def open(cls, root: str | Path) -> Store:
        """The store of a swept study. Raises `InputError` if there is none, or one of another schema."""
        path = Path(root) / "study.yaml"
        try:
            data = yaml.load(path.read_bytes(), Loader=_Loader)
        except FileNotFoundError:
            raise InputError(f"{root}: no study here (no study.yaml): give the root of a sweep") from None
        except (OSError, yaml.YAMLError) as error:
            raise InputError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
        schema = data.get("schema") if isinstance(data, Mapping) else None
        if schema != SCHEMA:
            raise InputError(f"{path}: schema {schema!r}, this version of gan_ablate writes {SCHEMA}: use another root")
        try:
            cells = tuple(Cell(**cell) for cell in data["cells"])
            skipped = tuple(NotApplicable(**cell) for cell in data["not_applicable"])
            return cls(Path(root), str(data["name"]), cells, skipped, data.get("source") or {})
        except (KeyError, TypeError) as error:
            raise InputError(f"{path}: not a study's file: {error}: use another root") from None

    @classmethod
    def create(
        cls,
        root: str | Path,
        *,
        name: str,
        source: Mapping[str, Any],
        recipes: Sequence[Recipe],
        not_applicable: Sequence[NotApplicable] = (),
    ) -> Store:
        """The store with its `study.yaml` brought up to date; nothing done is lost when arms or seeds change.

        Raises `InputError` for a root that holds another study or schema, or cannot be written.
        """
        root = Path(root)
        path = root / "study.yaml"
        if path.exists():
            held = cls.open(root)
            if held.name != name:
                raise InputError(f"{root} belongs to study {held.name!r}, not {name!r}: give another --root")
        cells = tuple(Cell(r.run_id, r.model, r.dataset, r.arm, r.seed) for r in recipes)
        data = {
            "schema": SCHEMA,
            "name": name,
            "version": __version__,
            "source": _plain(source),
            "cells": [asdict(c) for c in cells],
            "not_applicable": [asdict(n) for n in not_applicable],
        }
        text = yaml.dump(data, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=200).encode()
        try:
            (root / "runs").mkdir(parents=True, exist_ok=True)
            if not path.exists() or path.read_bytes() != text:
                publish(path, text)
        except OSError as error:
            raise InputError(f"{root}: cannot be written: {error.strerror or error}") from None
        return cls(root, name, cells, tuple(not_applicable), source)

    def folder(self, run_id: str) -> Path:
        return self.root / "runs" / run_id

    @contextmanager
    def claim(self, run_id: str) -> Iterator[Claim | None]:
        """Holds the run's lock; None if another process holds it. Never waits for a run to end."""
        folder = self.folder(run_id)
        folder.mkdir(parents=True, exist_ok=True)
        # The lock file is never removed: two processes must not hold locks on two files of one name.
        with open(folder / "lock", "a") as file:
            for pause in (0.01, 0.03, None):  # `is_running` of a status command holds it for microseconds
                try:
                    fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    if pause is None:
                        yield None
                        return
                    time.sleep(pause)
                else:
                    break
            yield Claim(self, run_id)

    def is_running(self, run_id: str) -> bool:
        """Whether some living process holds the run's lock."""
        try:
            with open(self.folder(run_id) / "lock") as file:
                fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except FileNotFoundError:
            return False
        except BlockingIOError:
            return True
        return False

    def read(self, run_id: str, name: str = "result.json", *, warn: bool = True) -> dict[str, Any] | None:
        """A published `result.json` or `failed.json`; None if there is none or it is damaged."""
        path = self.folder(run_id) / name
        try:
            record = json.loads(path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValueError) as error:
            record, problem = None, str(error)
        else:
            problem = "not this run's record"
        needed = "outcome" if name == "result.json" else "error"
        if isinstance(record, dict) and record.get("run_id") == run_id and needed in record:
            if record.get("schema") == SCHEMA:
                return record
            problem = f"schema {record.get('schema')!r} instead of {SCHEMA}"
        if warn:
            log.warning("%s: damaged (%s); the run counts as not done", path, problem)
        return None

    def finished(self, run_id: str, *, warn: bool = True) -> dict[str, Any] | None:
        """The result, else the recorded failure, else None."""
        result = self.read(run_id, warn=warn)
        return result if result is not None else self.read(run_id, "failed.json", warn=warn)

    def results(self) -> Iterator[dict[str, Any]]:
        """Every finished cell's `result.json` or `failed.json`, in the study's order, under the study's arm labels."""
        for cell in self.cells:
            record = self.finished(cell.run_id)
            if record is not None:
                yield {**record, "recipe": {**record.get("recipe", {}), "arm": cell.arm}}

    def state(self, run_id: str) -> str:
        """`done`, `failed`, `running` or `left`."""
        if self.read(run_id, warn=False) is not None:
            return "done"
        if self.is_running(run_id):
            return "running"
        return "failed" if self.read(run_id, "failed.json", warn=False) is not None else "left"

    def status(self) -> tuple[Status, ...]:
        """Counts per model, dataset and arm, in the study's order."""
        counts: dict[tuple[str, str, str], dict[str, int]] = {}
        for cell in self.cells:
            row = counts.setdefault((cell.model, cell.dataset, cell.arm), {})
            state = self.state(cell.run_id)
            row[state] = row.get(state, 0) + 1
        return tuple(Status(model, dataset, arm, **row) for (model, dataset, arm), row in counts.items())


def seconds_of(records: Iterable[Mapping[str, Any]]) -> list[tuple[str, str, float]]:
    """(model, arm, seconds) of finished runs, for time estimates."""
    return [
        (r["recipe"]["model"], r["recipe"]["arm"], float(r["seconds"]))
        for r in records
        if isinstance(r.get("seconds"), int | float) and {"model", "arm"} <= set(r["recipe"])
    ]
