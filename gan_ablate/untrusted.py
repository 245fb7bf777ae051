"""Files that anyone may have written: read within limits, written to only where they are the root's own."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import yaml

from gan_ablate.errors import InputError

LARGEST = 64_000_000  # bytes of a study or a result; ours have a few thousand, and a million for 10,000 cells
LONGEST_LOG = 1_000_000_000  # bytes of a metrics.jsonl
LARGEST_ARCHIVE = 256_000_000  # bytes of an archive of results; that of 2,000 runs has a few million
MOST_UNPACKED = 1_000_000_000  # bytes of all files in one
MOST_RATIO = 1000  # how many times its packed size a part of one may have; results have 10 to 30 times
DEEPEST = 50  # levels of a YAML file
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def read_regular(path: Path, most: int = LARGEST) -> bytes:
    """A regular file's bytes. Raises `OSError` for a link (it may lead out of the root), a device or a pipe (they may
    never end) and for more than `most` bytes."""
    _regular(path, path.lstat())
    with open(_open(path, os.O_RDONLY), "rb") as file:
        size = _regular(path, os.fstat(file.fileno())).st_size
        held = file.read(most + 1) if size <= most else b""
        if max(size, len(held)) > most:
            raise OSError(errno.EFBIG, f"over {most:,} bytes", str(path))
        return held


def open_lock(path: Path, *, create: bool) -> IO[bytes]:
    """A lock file, open but not locked; with `create` it is made where it is missing. Raises `OSError` for what is no
    regular file: a link may lead out of the root, and opening a pipe may never end."""
    file = open(_open(path, os.O_RDWR | os.O_CREAT if create else os.O_RDONLY), "rb")  # noqa: SIM115 - the caller's
    try:
        _regular(path, os.fstat(file.fileno()))
    except OSError:
        file.close()
        raise
    return file


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Holds the lock of `path`, a file that is made where it is missing; waits for whoever holds it.

    The file is never emptied: in a shared folder anyone may have put it there. Raises `InputError` for a link or a
    pipe, `OSError` where it cannot be opened.
    """
    try:
        file = open_lock(path, create=True)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        raise InputError(f"{path}: is a link where a lock file should be: remove it") from error
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _open(path: Path, how: int) -> int:
    try:
        return os.open(os.fspath(path), how | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError as error:
        if error.errno in (errno.ELOOP, errno.ENXIO) and path.lstat():
            raise OSError(errno.EINVAL, "not a regular file", str(path)) from None
        raise


def _regular(path: Path, found: os.stat_result) -> os.stat_result:
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    return found


def not_its_own(folder: Path) -> Iterator[Path]:
    """Links in a folder that lead out of it, where all that is written or removed is somebody's, pipes and devices."""
    home = folder.resolve()
    for place, folders, files in os.walk(folder):  # does not go into links
        for path in (Path(place, name) for name in (*folders, *files)):
            mode = path.lstat().st_mode
            if stat.S_ISLNK(mode):
                if not _target(path).is_relative_to(home):
                    yield path
            elif not stat.S_ISREG(mode) and not stat.S_ISDIR(mode):
                yield path


def _target(link: Path) -> Path:
    try:
        return link.resolve()
    except (OSError, RuntimeError):  # it leads in circles
        return Path("/")


def load_yaml(text: str | bytes) -> Any:
    """Plain data. Raises `yaml.YAMLError` and `ValueError` for broken YAML, merge keys and deep nests."""
    depth = 0
    for event in yaml.parse(text, Loader=_Base):  # first: to build a nest of 100,000 lists ends the process
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise yaml.YAMLError(f"nested over {DEEPEST} levels deep")
    return yaml.load(text, Loader=_YamlLoader)


class _YamlLoader(_Base):
    """The safe loader without merge keys: ten lines of them, each nine times the one before, would take for ever."""

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        if any(key.tag == "tag:yaml.org,2002:merge" for key, _ in node.value):
            raise yaml.constructor.ConstructorError(None, None, "merge keys (<<) are not allowed", node.start_mark)
        super().flatten_mapping(node)


def is_tree(data: Any) -> bool:
    """Whether no list or mapping stands in plain data twice: ten YAML aliases of nine aliases would print for ever."""
    seen: set[int] = set()
    open_: list[Any] = [[data]]
    while open_:
        each = open_.pop()
        for held in each.values() if isinstance(each, dict) else each:
            if isinstance(held, (dict, list)):
                if id(held) in seen:
                    return False
                seen.add(id(held))
                open_.append(held)
    return True


def printable(text: str) -> str:
    """Text as a terminal may have it: lines, with what would move its cursor or turn its letters as an escape.

    >>> printable("done\\x1b[2J")
    'done\\\\x1b[2J'
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text)
