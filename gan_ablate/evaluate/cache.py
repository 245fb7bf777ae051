"""Files that are computed once and kept: where they lie, how they are written, and who computes them."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from gan_ablate.errors import InputError

T = TypeVar("T")


def cache_folder(kind: str) -> Path:
    """`kind` ("statistics", "classifiers") under $GAN_ABLATE_CACHE, else ~/.cache/gan_ablate; made if missing.

    Raises `InputError` where it cannot be made.
    """
    root = os.environ.get("GAN_ABLATE_CACHE")
    folder = (Path(root) if root else Path.home() / ".cache" / "gan_ablate").expanduser() / kind
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or error
        raise InputError(
            f"{folder}: no cache can be kept there ({reason}); set GAN_ABLATE_CACHE to a folder"
        ) from error
    return folder


def write_atomically(path: Path, write: Callable[[Path], object]) -> None:
    """Call `write` with a temporary path beside `path`, then move it there: readers see all of the file or none."""
    descriptor, name = tempfile.mkstemp(prefix=f".{path.stem}-", suffix=path.suffix, dir=path.parent)
    os.close(descriptor)
    temporary = Path(name)
    try:
        write(temporary)
        temporary.chmod(0o644)  # mkstemp gives 0600: others may share the cache
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold an exclusive lock for `path` (on a file beside it): workers wait here instead of doing the work twice.

    The lock is the kernel's, so a killed worker leaves none behind.
    """
    with path.with_name(path.name + ".lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def read_or_make(
    path: Path, read: Callable[[Path], T | None], make: Callable[[], T], write: Callable[[T, Path], object]
) -> T:
    """What `read` finds at `path`; where that is None (missing or damaged), `make` it once among all workers.

    Those who wait for the lock read what its holder wrote.
    """
    known = read(path)
    if known is not None:
        return known
    with locked(path):
        known = read(path)
        if known is not None:
            return known
        made = make()
        write_atomically(path, lambda temporary: write(made, temporary))
        return made
