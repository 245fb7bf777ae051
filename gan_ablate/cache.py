"""Files that are computed once and kept: where they lie, how they are written, verified, and who computes them.

What is kept ends with a seal, one line of JSON: the whole key that it was computed for and the SHA-256 of all before.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import IO, Any, TypeVar

from gan_ablate.errors import InputError
from gan_ablate.publishing import put
from gan_ablate.untrusted import exclusive

T = TypeVar("T")

_HELD: dict[tuple[str, str], Any] = {}  # by kind and key
_holding = False


class NotKept(LookupError):
    """What was looked for is not in the cache, and may not be made now."""


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


def locked(path: Path) -> AbstractContextManager[None]:
    """Holds an exclusive lock for `path` (on a file beside it): workers wait here instead of doing the work twice.

    The lock is the kernel's, so a killed worker leaves none behind.
    """
    return exclusive(path.with_name(path.name + ".lock"))


def seal(content: bytes, key: str) -> bytes:
    """The content followed by its seal."""
    line = {"key": key, "sha256": hashlib.sha256(content).hexdigest()}
    return content + b"\n" + json.dumps(line).encode()


def unseal(path: Path, key: str) -> bytes | None:
    """The content of a sealed file; None where it is missing, changed since, or was computed for another key."""
    try:
        content, _, line = path.read_bytes().rpartition(b"\n")
        found = json.loads(line)
    except (OSError, ValueError, RecursionError):
        return None
    return content if found == {"key": key, "sha256": hashlib.sha256(content).hexdigest()} else None


@contextmanager
def holding() -> Iterator[None]:
    """What `read_or_make` reads in here stays in memory, and forks of this process find it there: do not change it.

    Nothing is made in here: what is not kept on the disk yet is `NotKept`.
    """
    global _holding
    before, _holding = _holding, True
    try:
        yield
    finally:
        _holding = before


def read_or_make(
    kind: str,
    key: str,
    *,
    suffix: str,
    read: Callable[[IO[bytes]], T | None],
    make: Callable[[], T] | None,
    write: Callable[[T, IO[bytes]], object],
) -> T:
    """What is kept for `key` in `cache_folder(kind)`; where it is missing, does not verify, or `read` finds it damaged
    (None), `make` it once among all workers; without `make`, `NotKept` is raised.

    key: everything that the result depends on. The file's name is its hash, and the file holds it whole.
    Those who wait for the lock read what its holder wrote.
    """
    if (kind, key) in _HELD:
        return _HELD[kind, key]
    path = cache_folder(kind) / f"{hashlib.sha256(key.encode()).hexdigest()[:16]}{suffix}"

    def known() -> T | None:
        content = unseal(path, key)
        return None if content is None else read(io.BytesIO(content))

    found = known()
    if found is None:
        if make is None or _holding:
            raise NotKept(path)
        with locked(path):
            found = known()
            if found is not None:
                return found
            made = make()
            content = io.BytesIO()
            write(made, content)
            put(path, seal(content.getvalue(), key))
            return made
    if _holding:
        _HELD[kind, key] = found
    return found
