"""Attempts at a run, one after the other in `attempts.jsonl`: who tried, on what, with which versions, how it ended.

An attempt has a line for its start and one for its end. One that was killed has no end: its reader says so.
"""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from gan_ablate import __version__
from gan_ablate.publishing import append
from gan_ablate.results.files import json_lines
from gan_ablate.store.commit import commit

NAME = "attempts.jsonl"
TRACEBACK = 20_000  # characters kept


def begin(folder: Path) -> int:
    """Records that this process starts on the run; returns the attempt's number, from 1. Raises `OSError`."""
    number = max((a["attempt"] for a in read_attempts(folder)), default=0) + 1
    facts = {"host": platform.node(), "pid": os.getpid(), "versions": versions(), "hardware": hardware()}
    append(folder / NAME, {"attempt": number, "started": _now(), **facts})
    return number


def end(folder: Path, number: int, outcome: str, **more: Any) -> None:
    """Records how an attempt ended. Raises `OSError`."""
    if len(text := str(more.get("traceback", ""))) > TRACEBACK:
        more["traceback"] = text[-TRACEBACK:]
    append(folder / NAME, {"attempt": number, "ended": _now(), "outcome": outcome, **more})


def read_attempts(folder: Path) -> list[dict[str, Any]]:
    """The attempts in the order in which they started, each with its end where there is one."""
    attempts: list[dict[str, Any]] = []
    for record in json_lines(folder / NAME):
        if not isinstance(record.get("attempt"), int):
            continue
        if "started" in record:
            attempts.append(record)
        elif (open_ := [a for a in attempts if a["attempt"] == record["attempt"] and "ended" not in a]) != []:
            open_[-1].update(record)
    return attempts


def began(tried: Sequence[Mapping[str, Any]]) -> float | None:
    """When the last of some attempts began, in seconds since 1970; None where there is none or it does not say."""
    try:
        when = datetime.fromisoformat(str(tried[-1].get("started"))) if tried else None
    except ValueError:
        when = None
    return when.replace(tzinfo=when.tzinfo or UTC).timestamp() if when else None


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def versions() -> dict[str, str]:
    """Versions that a run depends on, found without importing any of it; with the code's commit, from a checkout."""
    found = {"gan_ablate": __version__, "python": platform.python_version()}
    if ours := commit():
        found["commit"] = ours
    for name in ("torch", "lightning"):
        loaded = getattr(sys.modules.get(name), "__version__", None)
        try:
            found[name] = str(loaded or version(name))
        except PackageNotFoundError:
            continue
    return found


def hardware() -> Mapping[str, Any]:
    """Processor, cores and the GPU that this process was given (as `CUDA_VISIBLE_DEVICES` names it)."""
    return {"cpu": cpu(), "cores": os.cpu_count(), "gpu": os.environ.get("CUDA_VISIBLE_DEVICES")}


@lru_cache
def cpu() -> str:
    """The processor's name."""
    try:
        with open("/proc/cpuinfo") as file:
            return next(line.partition(":")[2].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
