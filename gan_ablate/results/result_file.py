"""result.json and failed.json, read as plain data and refused where they are not their own run's.

One check for all who read them, so that sweeps, `status`, reports and claims agree on what is done.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gan_ablate.recipe import SCHEMA, run_id_of
from gan_ablate.untrusted import read_regular

NEEDED = {"result.json": "outcome", "failed.json": "error"}  # the field without which each says nothing


class Refused(ValueError):
    """A file that is no record of the run in whose folder it lies. The text says why."""


def read(path: Path, run_id: str) -> dict[str, Any]:
    """The record at `path` of the run `run_id`; figures that are not finite (NaN, Infinity, 1e999) become `None`.

    Raises `OSError` where there is no regular file, `Refused` for another run's or schema's record, and `ValueError` or
    `RecursionError` for what is no JSON.
    """
    found = json.loads(read_regular(path), parse_constant=lambda _: None, parse_float=_finite)
    if (why := foreign(found, run_id, NEEDED[path.name])) is not None:
        raise Refused(why)
    return found  # type: ignore[no-any-return]


def foreign(record: object, run_id: str, needed: str = "") -> str | None:
    """Why `record` is not one of the run `run_id`: its schema, its id, its recipe's hash. `None` where it is."""
    if not isinstance(record, Mapping):
        return "not a result"
    if record.get("schema") != SCHEMA:
        return f"schema {_short(record.get('schema'))} instead of {SCHEMA}"
    if record.get("run_id") != run_id:
        return f"run {_short(record.get('run_id'))}'s record"
    if needed and needed not in record:
        return f"no {needed} in it"
    recipe = record.get("recipe")
    try:
        own = run_id_of(recipe) if isinstance(recipe, Mapping) else None
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        own = None
    if own is None:
        return "no whole recipe in it"
    return None if own == run_id else f"its recipe is run {own}'s"


def _short(value: object) -> str:
    return repr(value)[:40] if isinstance(value, str | int | float | None) else type(value).__name__


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None
