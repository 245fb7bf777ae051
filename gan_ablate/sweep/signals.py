"""Signals that ask a sweep to stop: collected, so that it stops where it can."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def catching(came: list[int], numbers: Sequence[int] = STOP_SIGNALS) -> Iterator[None]:
    """Collects signals instead of dying of them. Only in the main thread: Python allows it nowhere else."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {n: signal.signal(n, lambda number, _: came.append(number)) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
