"""study.yaml, a root's study: how it is read and what its bytes are. Only the store writes it.

It is YAML, with one JSON object per cell, so that 10,000 cells are read at once.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import yaml

from gan_ablate import __version__
from gan_ablate.errors import InputError
from gan_ablate.publishing import plain
from gan_ablate.recipe import SCHEMA, Recipe
from gan_ablate.study.cells import NotApplicable
from gan_ablate.untrusted import is_tree, load_yaml, read_regular

NAME = "study.yaml"
SINGLE_RUNS = "train"  # the study's name in a root of `gan-ablate train`: runs of many settings share it
CELLS = "cells:\n"  # the line that the cells follow, each a JSON object on a line of its own
LONGEST_NAME = 255  # bytes of a folder's name
KINDS = {"seed": int, "shares_weights": bool, "own_setting": bool}  # of fields of a cell; all others are text
ONLY_WHERE_SAID = (
    "same_as_base",
    "shares_weights",
    "tuning",
    "own_setting",
    "budget",
)  # fields of a cell that may be left out
AGAIN = (
    "sweep the study again with this root, and it is written anew while finished runs are kept (of single runs: move "
    "it away, and the next train collects what is there)"
)


class DamagedStudy(InputError):
    """A study.yaml that is empty or broken."""


@dataclass(frozen=True)
class Cell:
    """One run that the study asks for."""

    run_id: str
    model: str
    dataset: str
    arm: str
    seed: int
    same_as_base: str = ""  # why it trains and samples exactly as base by construction; empty where it does not
    shares_weights: bool = False  # it trains exactly as base: its seeds and base's are pairs
    tuning: str = ""  # the setting that it tries, of a tuning run; empty of the runs that are judged
    own_setting: bool = False  # of a tuning run: its arm's own setting
    budget: str = ""  # `4x`: trained that often the study's steps; empty at the first budget

    @classmethod
    def of(cls, recipe: Recipe, **facts: Any) -> Cell:
        """The cell of a recipe; facts: what the study says of it beyond the recipe."""
        return cls(recipe.run_id, recipe.model, recipe.dataset, recipe.arm, recipe.seed, **facts)


@dataclass(frozen=True)
class StudyFile:
    """A study as expanded. source: as its author wrote it. design: what the design says of itself (its name, options,
    alias table). factors: arm -> {factor: level}. A run that is listed twice is one cell."""

    name: str
    version: str = field(default="", compare=False)  # of gan_ablate, which wrote it
    cells: tuple[Cell, ...] = ()
    not_applicable: tuple[NotApplicable, ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict, hash=False)
    design: Mapping[str, Any] = field(default_factory=dict, hash=False)
    factors: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, hash=False)


def read_study(root: Path) -> StudyFile:
    """The study of a root. Raises `InputError` if there is none, one of another schema, or one whose run ids lead out
    of the root, and `DamagedStudy` where the file is empty or broken."""
    path = root / NAME
    data = _load(root, path)
    schema = data.get("schema") if isinstance(data, Mapping) else None
    if schema != SCHEMA:
        raise InputError(_other_schema(path, schema, data))
    try:
        cells = {cell.run_id: cell for cell in (_checked(Cell, entry) for entry in data["cells"])}
        skipped = tuple(_checked(NotApplicable, entry) for entry in data.get("not_applicable") or ())
        kept = {key: dict(data.get(key) or {}) for key in ("source", "design", "factors")}
        name = str(data["name"])
    except (KeyError, TypeError, ValueError) as error:
        raise DamagedStudy(f"{path}: not a study's file: {error}; {AGAIN}") from None
    for run_id in cells:
        if not run_id or "/" in run_id or run_id.startswith("."):
            raise InputError(f"{path}: run id {run_id!r} leads out of the root")
        if not run_id.isprintable() or len(os.fsencode(run_id)) > LONGEST_NAME:
            raise InputError(f"{path}: run id {run_id[:80]!r} is no name of a folder")
    return StudyFile(name, str(data.get("version") or "?"), tuple(cells.values()), skipped, **kept)


def _load(root: Path, path: Path) -> Any:
    if root.is_file():
        raise InputError(
            f"{root}: is a file, where a root is a folder; of an archive: gan-ablate unpack {root} --out ROOT"
        )
    if not root.is_dir():
        raise InputError(f"{root}: no such folder: give the root of a sweep, such as runs/ablation")
    try:
        data = parse(read_regular(path))
    except FileNotFoundError:
        raise InputError(f"{root}: no study here (no {NAME}): give the root of a sweep") from None
    except (OSError, yaml.YAMLError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else str(error)
        raise DamagedStudy(f"{path}: cannot be read: {' '.join(str(why).split())}; {AGAIN}") from None
    if data is None:
        raise DamagedStudy(f"{path}: cannot be read: is empty; {AGAIN}")
    if not is_tree(data):
        raise InputError(f"{path}: cannot be read: aliases (*) are not allowed")
    return data


def parse(text: bytes) -> Any:
    """The file as plain data: its cells by a JSON parser where each stands on a line of its own, else all as YAML."""
    head, found, cells = text.decode().partition("\n" + CELLS)
    lines = cells.splitlines()
    if found and all(line.startswith('- {"') for line in lines):
        try:
            parsed = json.loads("[" + ",".join([line[2:] for line in lines]) + "]")  # at once: twice as fast
        except ValueError:
            parsed = []
        if len(parsed) == len(lines):
            data = load_yaml(head)
            return {**data, "cells": parsed} if isinstance(data, Mapping) else data
    return load_yaml(text)


def _checked(kind: Any, entry: Mapping[str, Any]) -> Any:
    """A cell, or one that is not applicable. Raises `TypeError` or `ValueError` where it is none."""
    made = kind(**entry)
    values = vars(made)
    for key, value in values.items():  # a loop: `any` takes twice as long, and there may be 100,000 cells
        if not isinstance(value, KINDS.get(key, str)):
            raise TypeError(f"{kind.__name__} {str(entry)[:200]}: a field of another kind")
    " ".join(map(str, values.values())).encode()  # half a surrogate pair is no text, nor a number of 5000 digits
    return made


def _other_schema(path: Path, schema: object, data: Any) -> str:
    """What to do with a root of another recipe schema."""
    by = f" (by gan_ablate {data['version']})" if isinstance(data, Mapping) and data.get("version") else ""
    if isinstance(schema, int) and not isinstance(schema, bool):
        which = "an older" if schema < SCHEMA else "a newer"
        return (
            f"{path}: schema {schema}, written by {which} version of gan_ablate{by}; this one writes {SCHEMA} and "
            "cannot go on with its runs: give another root, or use that version here (nothing was changed)"
        )
    return f"{path}: schema {schema!r}, this version of gan_ablate writes {SCHEMA}: use another root"


_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


def study_bytes(study: StudyFile) -> bytes:
    """The file's bytes. The version written is this one's."""
    head: dict[str, Any] = {"schema": SCHEMA, "name": study.name, "version": __version__, "source": plain(study.source)}
    head |= {key: plain(value) for key in ("design", "factors") if (value := getattr(study, key))}
    head["not_applicable"] = [asdict(n) for n in study.not_applicable]
    text = yaml.dump(head, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=200, allow_unicode=True)
    lines = "".join(f"- {json.dumps(_told(cell), ensure_ascii=False)}\n" for cell in study.cells)
    return (text + CELLS + (lines or "  []\n")).encode(errors="backslashreplace")


def _told(cell: Cell) -> dict[str, Any]:
    return {k: v for k, v in vars(cell).items() if v or k not in ONLY_WHERE_SAID}
