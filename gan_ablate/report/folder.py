"""The folder of a report: its files come whole, and an earlier report's go. Whatever else lies there stays."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from gan_ablate.untrusted import read_regular

LIST = "tables/report-files.csv"  # tables and figures of the report that lies here
OURS = re.compile(r"tables/[\w-]+\.(csv|tex)|figures/[\w-]+\.svg", re.ASCII)
UTF8: Any = {"encoding": "utf-8", "errors": "backslashreplace"}  # whatever the locale, and for lone surrogates too


def put(path: Path, text: str) -> None:
    """Writes a whole file or nothing. Raises `OSError`."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(text, **UTF8)
        temporary.replace(path)
    except OSError:
        with suppress(OSError):
            temporary.unlink()
        raise


def replace(folder: Path, texts: Mapping[str, str]) -> None:
    """Writes a report's files, by path in the folder; takes away the tables and figures of the report that was here.

    A model that is gone must not look reported. Only what that report listed goes. Raises `OSError`.
    """
    for sub in ("tables", "figures"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    before = _listed(folder)
    for name, text in texts.items():
        put(folder / name, text)
    for name in sorted(before - texts.keys()):
        (folder / name).unlink(missing_ok=True)
    put(folder / LIST, "\n".join(["file", *_own(texts), ""]))


def _listed(folder: Path) -> set[str]:
    """What the list of an earlier report names; nothing where there is no list, or one that cannot be read."""
    try:
        return set(_own(read_regular(folder / LIST).decode().splitlines()))
    except (OSError, ValueError):
        return set()


def _own(names: Iterable[str]) -> list[str]:
    """Those that can be a report's tables and figures: a list may come from anyone."""
    return sorted(n for n in names if OURS.fullmatch(n))
