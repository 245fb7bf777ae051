"""A sweep's runs from the first to the last: started in free places, tried again, told to stop, counted.

The sweeper (this process) imports no torch. A warm server forks one process per run; that process claims, trains
and publishes by itself, so killing any of them at any moment loses at most the work since the last checkpoint.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gan_ablate.errors import InputError
from gan_ablate.formatting import clock
from gan_ablate.recipe import Recipe
from gan_ablate.sources import Sources
from gan_ablate.store.store import Store, log, seconds_of
from gan_ablate.study.study import run_name
from gan_ablate.sweep.display import Display, Progress, TimeLeft, run_line
from gan_ablate.sweep.limits import Limits
from gan_ablate.sweep.run_queue import Job, RunQueue
from gan_ablate.sweep.server import Message, Setup, Task
from gan_ablate.sweep.signals import STOP_SIGNALS, catching
from gan_ablate.sweep.summary import Summary
from gan_ablate.sweep.way import Way
from gan_ablate.sweep.workers import Server, Slot

ATTEMPTS = 2  # a run that crashes is tried once more, then recorded as crashed
FORKS = 10  # failed forks in a row, and no run at work, after which a sweep gives up
PAUSE = 1.0  # seconds between them
POLL = 0.2  # seconds between redraws and looks at runs that others hold


@dataclass
class Sweeper:
    """What is left of a sweep, what is being trained, and what became of the rest."""

    store: Store
    recipes: Sequence[Recipe]
    places: Sequence[Slot]
    setup: Setup
    display: Display
    way: Way
    retry_failed: bool = False
    numbers: Sequence[int] = STOP_SIGNALS
    own: bool = True  # the study's own sweeper: waits for runs that others hold, and heeds a second Ctrl-C
    queue: RunQueue = field(init=False)
    limits: Limits = field(init=False)
    running: dict[Slot, Job] = field(default_factory=dict)
    done: int = 0
    failed: int = 0
    refusal: str = ""  # the line of bad input that ends the sweep
    unborn: int = 0  # forks that failed since the last run that said something
    start_again: float = 0.0  # when the next run may be started
    estimate: TimeLeft = field(default_factory=TimeLeft)
    more: Callable[[], Sequence[Recipe]] = lambda: ()  # all runs that are wanted by now, known ones too
    asked_at: int = -1  # runs finished when `more` was last asked

    def __post_init__(self) -> None:
        self.queue = RunQueue(self.store, len(self.places), self.retry_failed, self._seconds_of)
        self.limits = Limits(self.way, self.display, self.own)

    def run(self) -> Summary:
        spent: list[tuple[str, str, float, int]] = []  # not the records: 10,000 of them are 100 MB
        sources, begun = Sources(), self.store.begun()
        for recipe in self.recipes:
            run_id = recipe.run_id
            record = self.store.finished(run_id) if run_id in begun else None
            if not self.queue.add(Job(recipe, run_id), record):
                assert record is not None
                sources.look(record, self.store.folder(run_id))
                spent += seconds_of([record])
        sources.check()
        self.estimate = TimeLeft(spent)
        if not self.queue.waiting:
            self.display.note(f"nothing to do: all {self.queue.skipped} runs are finished")
            return self._summary()
        with catching(self.limits.signals, self.numbers), Server(self.setup) as server:
            self._loop(server)
        if self.refusal:
            raise InputError(self.refusal)
        return self._summary()

    def _loop(self, server: Server) -> None:
        while self.running or (not self.limits.is_stopping and self._is_left):
            self.limits.heed(server, self.running.values(), refused=bool(self.refusal))
            if not self.limits.is_stopping:
                self.queue.look_at_held()
                self._start(server)
            for message in server.messages(POLL):
                if message is None:  # the server died, and its workers with it: no fault of theirs
                    self._orphaned()
                    server.restart()
                elif message.event == "broken":
                    raise RuntimeError(f"{self.setup.run} cannot be imported: {message.error}\n{message.traceback}")
                else:
                    self._handle(message)
            if not self.limits.is_stopping:
                self._release()
            self.display.update(self._progress())

    @property
    def _is_left(self) -> bool:
        """Whether runs may start: now, or once others have left them."""
        return any(map(self.limits.allows, self.queue.waiting)) or bool(self.queue.held and self.own)

    def _seconds_of(self, job: Job) -> float:
        """How long it will take; 0 where no run has ended yet."""
        recipe = job.recipe
        return self.estimate.expect(recipe.model, recipe.arm, recipe.steps) or 0.0

    def _start(self, server: Server) -> None:
        if not server.ready or time.monotonic() < self.start_again:
            return
        for place in self.places:
            if place not in self.running and (job := self.queue.next(self.limits.allows)) is not None:
                self.limits.begun.add(job.run_id)
                job.attempt += 1
                job.since, job.said, job.cut, job.killed = time.monotonic(), None, None, False
                self.running[place] = job
                last = job.attempt >= ATTEMPTS
                retry = self.retry_failed and job.attempt == 1
                server.order(Task(job.recipe, job.run_id, place.gpu, last, job.attempt, retry))

    def _release(self) -> None:
        """Queues what the study asks for once nothing waits: a look may be complete, or the first budget."""
        finished = self.done + self.failed + self.queue.skipped
        if self.queue.waiting or self.limits.is_spent or finished == self.asked_at:
            return
        self.asked_at, known = finished, {r.run_id for r in self.recipes}
        new = [r for r in self.more() if r.run_id not in known]
        self.recipes = (*self.recipes, *new)
        self.queue.waiting.extend(Job(r, r.run_id) for r in new)

    def _handle(self, message: Message) -> None:
        found = [(place, job) for place, job in self.running.items() if job.run_id == message.run_id]
        if not found:
            return
        ((place, job),) = found
        if message.event == "said":
            job.said, self.unborn = message, 0
            return
        del self.running[place]
        if message.event == "unborn":
            self._unborn(job, message.error)
            return
        said = job.said or Message("said", outcome="crashed", error=_death(message.status))
        seconds = time.monotonic() - job.since
        if said.outcome == "ok":
            self.done += 1
            whole = said.facts.get("seconds") or seconds  # those of earlier attempts too, whose steps it did not repeat
            self.estimate.add(job.recipe.model, job.recipe.arm, whole, job.recipe.steps)
            self._tell(job, {**said.facts, "seconds": seconds})
        elif said.outcome == "already":
            self.queue.skipped += 1
            self.queue.failed_before += said.facts.get("outcome") == "crashed"
        elif said.outcome == "held":
            job.attempt -= 1
            self.queue.hold(job)
        elif said.outcome == "refused":
            self.refusal = self.refusal or f"{run_name(job.recipe)}: {said.error}"
            self.queue.waiting.append(job)
        elif self.limits.is_stopping:  # told to leave, or killed because it did not
            self.queue.waiting.append(job)
        elif job.cut is not None and self.way.time_limit is not None:
            self._crashed(job, f"over the time limit of {clock(self.way.time_limit)}", said.traceback)
        elif said.outcome == "stopped":  # by a signal from outside: it has its checkpoint and goes on from there
            job.attempt -= 1
            self.queue.waiting.append(job)
        else:
            self._crashed(job, said.error, said.traceback, recorded=bool(job.said))

    def _orphaned(self) -> None:
        """After the server died: runs that had reported their end are done, the others wait again at no cost."""
        for place, job in list(self.running.items()):
            if job.said is not None:
                self._handle(Message("exit", job.run_id))
            else:
                del self.running[place]
                job.attempt -= 1
                self.queue.waiting.append(job)

    def _unborn(self, job: Job, error: str) -> None:
        """No process could be forked for a run: it waits, and after too many failures the sweep gives up."""
        job.attempt -= 1
        self.queue.waiting.appendleft(job)
        self.unborn += 1
        self.start_again = time.monotonic() + PAUSE
        if self.unborn >= FORKS and not self.running:
            self.refusal = self.refusal or f"no process can be started for a run ({error}): free memory or processes"

    def _crashed(self, job: Job, error: str, traceback: str, *, recorded: bool = False) -> None:
        """Queues another attempt, or records the failure."""
        if job.attempt < ATTEMPTS:
            self.display.note(f"{run_name(job.recipe)}: {error}; trying again")
            self.queue.waiting.append(job)
            return
        self.failed += 1
        if not recorded:
            self._record_failure(job, error, traceback)
        self._tell(job, {"outcome": "crashed", "error": error})

    def _record_failure(self, job: Job, error: str, traceback: str) -> None:
        try:
            with self.store.claim(job.run_id) as claim:
                if claim is not None and claim.finished() is None:
                    said = traceback or _tail(claim.folder / "log.txt")
                    claim.publish_failed(job.recipe, error, said, job.attempt)
        except InputError as problem:  # the disk is full, read-only ..: the next run would fare no better
            self.refusal = self.refusal or str(problem)
        except OSError as problem:
            log.warning("%s: the failure cannot be recorded: %s", run_name(job.recipe), problem)

    def _tell(self, job: Job, facts: Mapping[str, Any]) -> None:
        self.display.finished(self._progress(), run_line(job.recipe, facts))

    def _progress(self) -> Progress:
        now = time.monotonic()
        ahead = [job.recipe for job in (*self.queue.waiting, *self.queue.held)]
        active = [(job.recipe, now - job.since) for job in self.running.values()]
        return Progress(
            total=len(self.recipes),
            finished=self.done + self.queue.skipped - self.queue.failed_before,
            failed=self.failed + self.queue.failed_before,
            running=tuple(run_name(recipe) for recipe, _ in active),
            seconds_left=self.estimate.left(ahead, active, len(self.places)),
        )

    def _summary(self) -> Summary:
        left = len(self.queue)
        stopped = self.limits.signals[0] if self.limits.signals and left else 0
        return Summary(
            self.done, self.failed, self.queue.skipped, left, stopped, spent=self.limits.is_spent and not stopped
        )


def _death(status: int) -> str:
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"left with exit code {status} and no result"


def _tail(path: Path) -> str:
    try:
        return path.read_bytes()[-8000:].decode(errors="replace")
    except OSError:
        return ""
