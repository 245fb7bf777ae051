"""The files of a run's folder, read as plain data and refused where they are not that run's own.

One reader per format, for all who ask: sweeps, `status`, reports, claims and uploads agree on what is done.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from gan_ablate.outcomes import METRICS, SIGNS
from gan_ablate.recipe import SCHEMA, run_id_of
from gan_ablate.untrusted import LARGEST, LONGEST_LOG, read_regular

RESULT, FAILURE = "result.json", "failed.json"
PAGE_PICTURE = "samples/page.webp"  # a run's samples as pages show them: what an archive has in place of the grids
NEEDED = {RESULT: "outcome", FAILURE: "error"}  # the field without which each says nothing
STABILITY = ("volatility", "largest_d_gradient", "largest_g_gradient", "early_g_gradient")
PARTS = {"metrics": METRICS, "best": ("fid", "step"), "stability": STABILITY, "signs": SIGNS, "labels": ()}
MEASURES = (
    "steps", "seconds", "train_seconds", "evaluation_seconds", "images_seen", "peak_memory_bytes", "resumed",
    "diverged_at",
)  # fmt: skip
UNREADABLE = (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)


class Refused(ValueError):
    """A file that is no record of the run in whose folder it lies. The text says why."""


class FoundRecord(NamedTuple):
    """What a run's folder says of how the run ended.

    name: the file that counts, `result.json` before `failed.json`; empty where neither does. problems: file name ->
    why it does not count though it is there.
    """

    name: str = ""
    record: Mapping[str, Any] = {}
    problems: Mapping[str, str] = {}


def find_record(folder: Path, run_id: str) -> FoundRecord:
    """The record of the run `run_id` in its folder."""
    problems: dict[str, str] = {}
    for name in NEEDED:
        try:
            return FoundRecord(name, read_record(folder / name, run_id), problems)
        except FileNotFoundError:
            continue
        except Refused as error:
            problems[name] = f"is refused ({error})"
        except UNREADABLE as error:
            why = f" ({error.strerror})" if isinstance(error, OSError) else ""
            problems[name] = f"cannot be read{why}"
    return FoundRecord(problems=problems)


def read_record(path: Path, run_id: str) -> dict[str, Any]:
    """A result.json or failed.json of the run `run_id`; figures that are not finite (NaN, 1e999) become `None`.

    Raises `OSError` where there is no regular file, and `ValueError` or `RecursionError` for what is no JSON. Raises
    `Refused` for another run's or schema's record, for one with a part of another kind (a text for a curve) and for one
    in a folder that is a link.
    """
    text = read_regular(path)
    if path.parent.is_symlink():
        raise Refused("the folder is a link, which may lead out of the root")
    found = json.loads(text, parse_constant=lambda _: None, parse_float=_finite)
    if (why := foreign(found, run_id, NEEDED[path.name])) is not None:
        raise Refused(why)
    try:
        _read_figures(found)
    except UNREADABLE:
        raise Refused("a part of another kind than results have") from None
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


def _read_figures(record: Mapping[str, Any]) -> None:
    """Reads all that a report reads of a record. Raises one of `UNREADABLE` where a part is of another kind."""
    protocol(record)
    for part, names in PARTS.items():
        held = {**(record.get(part) or {})}
        for name in names:
            as_number(held.get(name))
    for point in record.get("curve") or ():
        for name in ("seconds", *METRICS):
            as_number(point.get(name))
        int(point["step"])
    facts = {**record, "steps": record["recipe"].get("steps")}
    for name in MEASURES:
        as_number(facts.get(name))


def protocol(record: Mapping[str, Any]) -> str:
    """What a run's figures were measured with. Empty where nothing was measured."""
    e = record.get("evaluation")
    if not e:
        return ""
    digest, real = str(e["extractor_digest"])[:12], e["real_fingerprint"]
    data = f"{e['dataset']} {e['split']} split ({e['real_images']} real images, content {real})"
    space, rule = e.get("prdc_space"), e.get("modes_by")  # results of before these two were said have neither
    rest = (f", PRDC by {space}" if space else "") + (f", modes by {rule}" if rule else "")
    return f"{record['labels']['fid']}, {data}, extractor {digest}{rest}"


def read_recipe(folder: Path) -> dict[str, Any]:
    """The recipe in a folder's recipe.json, as plain data. Raises `OSError`, `ValueError` or `RecursionError`."""
    found = json.loads(read_regular(folder / "recipe.json"))
    recipe = found.get("recipe") if isinstance(found, dict) else None
    if not isinstance(recipe, dict):
        raise ValueError("no recipe in it")
    return recipe


def read_measured(folder: Path) -> dict[str, Any]:
    """measured.json: what `gan-ablate measure` found of a run's checkpoint. Empty where there is none to be read."""
    try:
        found = json.loads(read_regular(folder / "measured.json"))
        return found if isinstance(found, dict) and isinstance(found.get("metrics"), dict) else {}
    except (OSError, ValueError, RecursionError):
        return {}


def read_log(folder: Path) -> Iterator[dict[str, Any]]:
    """The records of metrics.jsonl that have a step: training health, and evaluations under `evaluation`."""
    return (row for row in json_lines(folder / "metrics.jsonl", LONGEST_LOG) if number(row.get("step")) is not None)


def json_lines(path: Path, most: int = LARGEST) -> list[dict[str, Any]]:
    """The records of a file of JSON lines; those cut short when their writer died are left out. No file: none.

    most: bytes; a longer file counts as none.
    """
    try:
        return parse_lines(read_regular(path, most))
    except OSError:
        return []


def parse_lines(text: bytes) -> list[dict[str, Any]]:
    """As `json_lines`, of a file's bytes. At once where all lines are whole: that is several times as fast."""
    lines = text.splitlines()
    try:
        found = json.loads(b"[" + b",".join(lines) + b"]")
    except (ValueError, RecursionError):
        found = [_line(line) for line in lines]
    return [record for record in found if isinstance(record, dict)]


def _line(text: bytes) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def number(value: object) -> float | None:
    """A finite number, or `None`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def as_number(value: object) -> float:
    """NaN for what is not there or not finite: an infinite FID is no score. Raises `TypeError` or `ValueError`."""
    x = math.nan if value is None or isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    return x if math.isfinite(x) else math.nan


def _short(value: object) -> str:
    return repr(value)[:40] if isinstance(value, str | int | float | None) else type(value).__name__


def _finite(text: str) -> float | None:
    value = float(text)
    return value if math.isfinite(value) else None
