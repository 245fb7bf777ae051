"""`study.yaml`: what a root's study asks for. YAML, with one JSON object per cell, so that 10,000 are read at once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from gan_ablate import __version__
from gan_ablate.recipe import SCHEMA
from gan_ablate.store.publishing import plain
from gan_ablate.study.study import NotApplicable
from gan_ablate.untrusted import load_yaml

CELLS = "cells:\n"
_Dumper: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)


@dataclass(frozen=True)
class Cell:
    """One run that the study asks for."""

    run_id: str
    model: str
    dataset: str
    arm: str
    seed: int
    same_as_base: str = ""  # why its arm is base by construction; see `ties.Tie`
    shares_weights: bool = False


def write(name: str, cells: Sequence[Cell], skipped: Sequence[NotApplicable], more: Mapping[str, Any]) -> bytes:
    """The file's text. `more`: further keys with plain data (the study as written, its design)."""
    head: dict[str, Any] = {"schema": SCHEMA, "name": name, "version": __version__}
    head |= {key: plain(value) for key, value in more.items()}
    head["not_applicable"] = [asdict(n) for n in skipped]
    text = yaml.dump(head, Dumper=_Dumper, sort_keys=False, default_flow_style=None, width=200, allow_unicode=True)
    lines = "".join(f"- {json.dumps(_told(cell), ensure_ascii=False)}\n" for cell in cells)
    return (text + CELLS + (lines or "  []\n")).encode(errors="backslashreplace")


def _told(cell: Cell) -> dict[str, Any]:
    return {k: v for k, v in vars(cell).items() if v or k not in ("same_as_base", "shares_weights")}


def read(text: bytes) -> Any:
    """A `study.yaml`: its cells by a JSON parser where they are written as `Store` writes them, else all as YAML."""
    head, found, cells = text.decode().partition("\n" + CELLS)
    lines = cells.splitlines()
    if found and all(line.startswith('- {"') for line in lines):
        try:
            parsed = [json.loads(line[2:]) for line in lines]
        except ValueError:
            parsed = None
        if parsed is not None:
            data = load_yaml(head)
            return {**data, "cells": parsed} if isinstance(data, Mapping) else data
    return load_yaml(text)


def other_schema(path: Path, schema: object, data: Any) -> str:
    """What to do with a root of another recipe schema."""
    by = f" (by gan_ablate {data['version']})" if isinstance(data, Mapping) and data.get("version") else ""
    if isinstance(schema, int) and not isinstance(schema, bool):
        which = "an older" if schema < SCHEMA else "a newer"
        return (
            f"{path}: schema {schema}, written by {which} version of gan_ablate{by}; this one writes {SCHEMA} and "
            "cannot go on with its runs: give another root, or use that version here (nothing was changed)"
        )
    return f"{path}: schema {schema!r}, this version of gan_ablate writes {SCHEMA}: use another root"
