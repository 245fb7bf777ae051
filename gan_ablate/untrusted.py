"""Files that anyone may have written."""

from __future__ import annotations

import errno
import stat
from pathlib import Path

LARGEST = 64_000_000  # bytes of a study or a result; ours have a few thousand, and a million for 10,000 cells
LONGEST_LOG = 1_000_000_000  # bytes of a metrics.jsonl


def read_regular(path: Path, most: int = LARGEST) -> bytes:
    """A regular file's bytes. Raises `OSError` for a link (it may lead out of the root), a device or a pipe (they may
    never end) and for more than `most` bytes."""
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise OSError(errno.EINVAL, "not a regular file", str(path))
    if found.st_size > most:
        raise OSError(errno.EFBIG, f"over {most:,} bytes", str(path))
    return path.read_bytes()
