"""Files that are whole or not there: atomic publish, appended lines, and what to say of a disk that refuses."""

from __future__ import annotations

import errno
import json
import math
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from gan_ablate.errors import InputError

# What no second attempt mends, with the way out. A run that meets one is not recorded as crashed.
TROUBLES = {
    errno.ENOSPC: "the disk is full: free some space (gan-ablate gc ROOT says what can go)",
    errno.EDQUOT: "your disk quota is used up: free some space (gan-ablate gc ROOT says what can go)",
    errno.EROFS: "the file system is read-only: make it writable, or give another --root",
    errno.EACCES: "permission denied: make it writable for you, or give another --root",
    errno.EPERM: "operation not permitted: make it writable for you, or give another --root",
    errno.EFBIG: "larger than a file may be: raise the limit (ulimit -f), or give a --root that takes larger files",
    errno.EMFILE: "too many open files in this process: raise the limit (ulimit -n)",
    errno.ENFILE: "too many open files on this machine: close some programs, or have the limit raised",
    errno.EIO: "input/output error: the disk may be failing",
    errno.ESTALE: "the network file system was taken away: mount it again",
}
NO_INODES = "the disk takes no more files (no inodes are left): remove some (gan-ablate gc ROOT says what can go)"


def to_json(data: object) -> bytes:
    """Indented UTF-8 JSON; numbers that are not finite become null, paths and numpy scalars plain values."""
    return (json.dumps(plain(data), indent=1, allow_nan=False) + "\n").encode()


def plain(value: Any) -> Any:
    """Strings, numbers, lists and dictionaries only, as JSON and YAML take them."""
    if isinstance(value, Mapping):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    if isinstance(value, bool | int | str) or value is None:
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if hasattr(value, "item"):  # a numpy or torch scalar, seen without importing either
        return plain(value.item())
    return str(value)


def publish(path: Path, data: bytes) -> None:
    """Writes a whole file or nothing: temporary file, fsync, rename, fsync of the folder. Raises `OSError`."""
    with whole(path) as file:
        file.write(data)
    sync_folder(path.parent)


def put(path: Path, data: bytes) -> None:
    """As `publish` without a sync, for what can be made again: a power cut may undo it. Raises `OSError`."""
    with whole(path, sync=False) as file:
        file.write(data)


def copy(source: Path, target: Path) -> None:
    """A whole copy of a file, or nothing; streams, so size does not matter. Raises `OSError`."""
    with open(source, "rb") as held, whole(target) as file:
        shutil.copyfileobj(held, file, 1 << 20)


@contextmanager
def whole(path: Path, keep: Path | None = None, *, sync: bool = True) -> Iterator[IO[bytes]]:
    """A temporary file that takes the place of `path`, synced, once it is written; it is removed where that fails.

    keep: where the file that was there goes. Both names then change, one after the other: a reader tries both.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as file:
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
        if keep is not None and path.exists():
            os.replace(path, keep)
        os.rename(temporary, path)
    except BaseException:
        with suppress(OSError):
            temporary.unlink()
        raise


def append(path: Path, record: Mapping[str, Any]) -> None:
    """Adds one line of JSON and syncs it. A last line that a killed writer cut short stays a line of its own."""
    line = json.dumps(plain(record), allow_nan=False).encode() + b"\n"
    with open(path, "ab+") as file:
        if file.tell():
            file.seek(-1, os.SEEK_END)
            line = line if file.read(1) == b"\n" else b"\n" + line
        file.write(line)
        file.flush()
        os.fsync(file.fileno())


def discard(path: Path) -> None:
    """Removes a file, or a folder with all that is in it; nothing there: nothing to do."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def sync_folder(path: Path) -> None:
    """Makes the names in a folder survive a power cut."""
    folder = os.open(path, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def trouble(error: BaseException, where: str | Path = "") -> str | None:
    """One line for an error of the disk that no second attempt mends, else None.

    Also for one that a library raised `from` such an error. where: the place, if the error does not name one.
    """
    found: BaseException | None = error
    while found is not None and not (isinstance(found, OSError) and found.errno in TROUBLES):
        found = found.__cause__
    if found is None:
        return None
    assert isinstance(found, OSError)
    place = Path(os.fsdecode(found.filename)) if isinstance(found.filename, str | bytes) else Path(where)
    full = found.errno == errno.ENOSPC and _no_inodes(place)
    return f"{place}: {NO_INODES if full else TROUBLES[found.errno or 0]}"


def _no_inodes(place: Path) -> bool:
    """Whether the disk of `place` has room but takes no more files: the kernel calls both 'no space left'."""
    for folder in (place, *place.parents):
        with suppress(OSError):
            disk = os.statvfs(folder)
            return disk.f_files > 0 and not disk.f_favail and disk.f_bavail > 0
    return False


@contextmanager
def refusing(where: str | Path, *, any_error: bool = False) -> Iterator[None]:
    """Turns such an error into an `InputError` of one line; other errors of the disk pass, or with `any_error` are
    turned into one too, which names `where`."""
    try:
        yield
    except OSError as error:
        cannot = f"{where}: cannot be written: {error.strerror or error}"
        if (line := cannot if any_error else trouble(error, where)) is None:
            raise
        raise InputError(line) from error
