"""The runs that a sweep has still to carry out: those in line, and those in the hands of other sweepers of its root.

A thousand sweepers may share a root. So none of them forks a process for a run that another has, all of them leave the
study's order once they meet, and each looks at what others hold at a rate that does not grow with their number.
"""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from gan_ablate.recipe import Recipe
from gan_ablate.store.store import Store

TAIL = 3  # runs in line for each place, from which on the longest goes first
LOOK_AGAIN = 1.0  # seconds between two looks at a run that another sweeper holds, and
LOOKS = 20  # looks per second at all of these


@dataclass
class Job:
    """A run that is not done yet: how often it was tried, and when the current attempt began."""

    recipe: Recipe
    run_id: str
    attempt: int = 0
    since: float = 0.0
    said: Any = None  # the server's message of how it ended
    look_again: float = 0.0
    cut: float | None = None  # when it was told that its time is over
    killed: bool = False


@dataclass
class RunQueue:
    """Runs in line (`waiting`) and with others (`held`), and how many of the study's were finished by others.

    places: runs at a time. seconds_of: how long a run will take, 0 where that is not known.
    """

    store: Store
    places: int
    retry_failed: bool = False
    seconds_of: Callable[[Job], float] = lambda job: 0.0
    waiting: deque[Job] = field(default_factory=deque)
    held: deque[Job] = field(default_factory=deque)
    skipped: int = 0  # runs that were finished before, or by others
    failed_before: int = 0  # of these, the crashed ones
    met_others: bool = False

    def __len__(self) -> int:
        return len(self.waiting) + len(self.held)

    def add(self, job: Job, record: Mapping[str, Any] | None) -> bool:
        """Put a run in line, unless its record says that nothing is left to do; whether it is in line."""
        if self._skips(record):
            return False
        self.waiting.append(job)
        return True

    def _skips(self, record: Mapping[str, Any] | None) -> bool:
        if record is None or (self.retry_failed and "error" in record):
            return False
        self.skipped += 1
        self.failed_before += "error" in record
        return True

    def next(self, allows: Callable[[Job], bool]) -> Job | None:
        """The next allowed run that no other sweeper has; those that others hold or finished leave the line."""
        while (job := self._first(allows)) is not None:
            self.waiting.remove(job)
            if self.store.is_running(job.run_id):
                self.hold(job)
            elif not self._skips(self.store.finished(job.run_id, warn=False)):
                return job
            self.met_others = True
        return None

    def hold(self, job: Job) -> None:
        """Another sweeper has it: look again later."""
        job.look_again = time.monotonic() + max(LOOK_AGAIN, (len(self.held) + 1) / LOOKS)
        self.held.append(job)

    def look_at_held(self) -> None:
        """Look again at runs that others held: they may be finished, or free because their sweeper died."""
        now = time.monotonic()
        for _ in range(len(self.held)):
            if self.held[0].look_again > now:
                break
            job = self.held.popleft()
            if self.store.is_running(job.run_id):
                self.hold(job)
            else:
                self.add(job, self.store.finished(job.run_id, warn=False))

    def _first(self, allows: Callable[[Job], bool]) -> Job | None:
        """The first in line; near the end the longest, so that a look or the sweep does not wait long for its last.

        Beside others any: all of them in one order would try the same runs one after another.
        """
        allowed = (job for job in self.waiting if allows(job))
        near = list(islice(allowed, TAIL * self.places + 1))
        if len(near) > TAIL * self.places:
            return random.choice([*near, *allowed]) if self.met_others else near[0]
        return max(near, key=self.seconds_of, default=None)
