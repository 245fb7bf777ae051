"""When a sweep's runs have to leave: told by a signal, at the end of the budget, or of a run's own time."""

from __future__ import annotations

import math
import time
from collections.abc import Collection
from dataclasses import dataclass, field

from gan_ablate.sweep.display import Display
from gan_ablate.sweep.run_queue import Job
from gan_ablate.sweep.server import Order
from gan_ablate.sweep.way import Way
from gan_ablate.sweep.workers import Server


@dataclass
class Limits:
    """The limits of one sweep, from its start on, and how far they are reached.

    own: of the study's own sweeper, which heeds a second Ctrl-C.
    """

    way: Way
    display: Display
    own: bool = True
    signals: list[int] = field(default_factory=list)  # that came
    begun: set[str] = field(default_factory=set)  # ids of the runs that this sweep started
    started: float = field(default_factory=time.monotonic)
    stop_since: float | None = None  # when all runs were told to leave
    killed: bool = False

    @property
    def is_stopping(self) -> bool:
        """Whether all runs were told to leave."""
        return self.stop_since is not None

    @property
    def is_spent(self) -> bool:
        """Whether the budget allows no further run."""
        most = self.way.budget_runs
        return self._is_over or (most is not None and len(self.begun) >= most)

    @property
    def _is_over(self) -> bool:
        """Whether the budget's time is over."""
        limit = self.way.budget_seconds
        return limit is not None and time.monotonic() - self.started > limit

    def allows(self, job: Job) -> bool:
        """Whether the budget allows a run: one that was begun costs no more of it."""
        return not self.is_spent or job.run_id in self.begun

    def heed(self, server: Server, running: Collection[Job], *, refused: bool) -> None:
        """Tells runs to leave where it is time. refused: bad input ends the sweep."""
        if (self.signals or refused) and not self.is_stopping:
            if not refused and running:
                again = " (again: kill them)" if self.own else ""
                self.display.note(f"stopping: runs write a checkpoint and leave{again}")
            self._stop(server)
        late = self.stop_since is not None and time.monotonic() - self.stop_since > self.way.grace
        if not self.killed and (late or (self.own and len(self.signals) > 1)):
            self.killed = True
            server.order(Order("kill"))
        self._heed_time(server, running)
        if self._is_over and not self.is_stopping:
            self.display.note("the budget is spent: runs write a checkpoint and leave")
            self._stop(server)

    def _stop(self, server: Server) -> None:
        self.stop_since = time.monotonic()
        server.order(Order("stop"))

    def _heed_time(self, server: Server, running: Collection[Job]) -> None:
        """Stops runs over the time limit: asks first, and kills those that have not left after `grace` seconds."""
        limit, now = self.way.time_limit or math.inf, time.monotonic()
        for job in running:
            if job.cut is None and now - job.since > limit:
                job.cut = now
                server.order(Order("stop", job.run_id))
            elif job.cut is not None and not job.killed and now - job.cut > self.way.grace:
                job.killed = True
                server.order(Order("kill", job.run_id))
