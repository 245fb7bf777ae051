"""What a root can do without: checkpoints of finished runs, temporaries of killed writers, runs nobody asks for."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from gan_ablate.errors import InputError
from gan_ablate.publishing import discard, refusing, sync_folder
from gan_ablate.results.files import RESULT
from gan_ablate.store.claim import stale_files
from gan_ablate.store.store import Store

KINDS = {
    "checkpoints": "checkpoints of finished runs (`gan-ablate sample` and `evaluate` need them)",
    "temporaries": "files that killed writers left",
    "strays": "runs that no cell of study.yaml asks for",
}


class Waste(NamedTuple):
    """One thing that can go. `run_id` is empty for what lies outside of the runs."""

    kind: str
    path: Path
    bytes: int
    run_id: str = ""
    finished: bool = False  # a stray with a result


def find_waste(store: Store, kinds: Sequence[str] = tuple(KINDS)) -> Iterator[Waste]:
    """What can go, run by run. Looks only; a locked run is left out. Raises `InputError` where `runs` is a link."""
    asked = {cell.run_id for cell in store.cells}
    runs = store.folder("")
    if runs.is_symlink():  # it may be anybody's folder, and all in it would be strays
        raise InputError(f"{runs}: a link: give the root that the runs lie in")
    if "temporaries" in kinds:
        hidden = [*store.root.glob(".*.tmp"), *runs.glob(".*.tmp")]
        yield from (Waste("temporaries", path, size(path)) for path in sorted(hidden))
    for folder in sorted(runs.iterdir()) if runs.is_dir() else ():
        if folder.name.startswith(".") or folder.is_symlink() or not folder.is_dir():
            continue
        if store.is_running(folder.name):
            continue
        finished = store.record(folder.name, warn=False).name == RESULT
        if folder.name not in asked and "strays" in kinds:
            yield Waste("strays", folder, size(folder), folder.name, finished)
            continue
        if finished and (folder / "checkpoints").is_dir() and "checkpoints" in kinds:
            yield Waste("checkpoints", folder / "checkpoints", size(folder / "checkpoints"), folder.name)
        if "temporaries" in kinds:
            gone = folder / "checkpoints" if finished and "checkpoints" in kinds else None
            left = [path for path in stale_files(folder) if path.parent != gone]
            yield from (Waste("temporaries", path, size(path), folder.name) for path in left)


def remove(store: Store, waste: Waste) -> bool:
    """Removes one thing under its run's lock; False where another process holds that, or the thing changed since.

    Raises `InputError` where the disk refuses.
    """
    with refusing(waste.path):
        if not waste.run_id:
            discard(waste.path)
            return True
        if not store.folder(waste.run_id).is_dir():
            return False
        with store.claim(waste.run_id) as claim:
            if claim is None or (waste.kind == "checkpoints" and store.record(waste.run_id, warn=False).name != RESULT):
                return False
            _remove(waste.path)
    return True


def _remove(path: Path) -> None:
    """A folder goes whole, as others see it: renamed first, so that one killed half way leaves a temporary."""
    if not path.is_dir() or path.is_symlink() or path.name.startswith("."):
        discard(path)
        return
    gone = path.with_name(f".{path.name}.gone.tmp")
    discard(gone)
    os.rename(path, gone)
    sync_folder(path.parent)
    discard(gone)


def size(path: Path) -> int:
    """Bytes of a file, or of all files in a folder."""
    if path.is_dir() and not path.is_symlink():
        return sum(size(child) for child in path.iterdir())
    try:
        return path.lstat().st_size
    except FileNotFoundError:
        return 0


def in_words(count: int) -> str:
    """Bytes as a person reads them.

    >>> in_words(2_076_522)
    '2.1 MB'
    """
    for unit, factor in (("GB", 1e9), ("MB", 1e6), ("kB", 1e3)):
        if count >= factor:
            return f"{count / factor:.1f} {unit}"
    return f"{count} bytes"


def describe_waste(found: Sequence[Waste]) -> list[str]:
    """One line per kind: how many and how much; strays by name, since results may be among them."""
    lines = []
    for kind, text in KINDS.items():
        some = [w for w in found if w.kind == kind]
        if some:
            lines.append(f"{kind:12} {len(some):6}  {in_words(sum(w.bytes for w in some)):>9}  {text}")
        if kind == "strays":
            lines += [f"  {w.path.name}  {in_words(w.bytes)}{'  HAS A RESULT' if w.finished else ''}" for w in some]
    return lines
