"""Locks on files, which the kernel frees when their holder dies."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gan_ablate.errors import InputError


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Holds the lock of `path`, a file that is made where it is missing; waits for whoever holds it.

    The file is never followed where it is a link, and never emptied: in a shared folder anyone may have put it there.
    Raises `InputError` for a link, `OSError` where it cannot be opened.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK, 0o644)
    except OSError as error:
        if error.errno != errno.ELOOP:
            raise
        raise InputError(f"{path}: is a link where a lock file should be: remove it") from error
    try:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
    finally:
        os.close(file)
