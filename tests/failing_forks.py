"""A run function for the pool's tests; the server that imports it cannot fork, the first times or ever."""

from __future__ import annotations

import errno
import os

from fake_runs import carry_out

__all__ = ["carry_out"]

real_fork, left = os.fork, int(os.environ.get("FORKS_THAT_FAIL", "0"))


def fork() -> int:
    global left
    if left:
        left -= 1
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
    return real_fork()


os.fork = fork
