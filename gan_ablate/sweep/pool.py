"""The local pool: carries out a study's runs over worker slots until nothing is left, or it is told to stop.

The sweeper (this process) imports no torch. A warm server forks one process per run; that process claims, trains
and publishes by itself, so killing any of them at any moment loses at most the work since the last checkpoint.
"""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gan_ablate.errors import InputError
from gan_ablate.recipe import Recipe
from gan_ablate.sweep.display import Display, Progress, TimeLeft, choose, run_line
from gan_ablate.sweep.server import Message, Setup, Task, receive, send
from gan_ablate.sweep.slots import Slot, slots
from gan_ablate.sweep.store import Store, log, seconds_of
from gan_ablate.sweep.study import Expansion, Study, expand, run_name
from gan_ablate.sweep.study import select as select_runs

ATTEMPTS = 2  # a run that crashes is tried once more, then recorded as failed
GRACE = 20.0  # seconds that runs get to checkpoint and leave after Ctrl-C
POLL = 0.2  # seconds between redraws and looks at runs that others hold


@dataclass(frozen=True)
class Summary:
    """What one call of `sweep` did. `stopped` is the signal that ended it early, 0 if none did."""

    done: int
    failed: int
    skipped: int  # finished before, or by another sweeper meanwhile
    left: int
    stopped: int = 0

    @property
    def exit_code(self) -> int:
        """For the shell: 130 after Ctrl-C (128 + signal), 1 if a run failed, else 0."""
        return 128 + self.stopped if self.stopped else int(self.failed > 0)


def sweep(
    study: Study,
    root: str | Path,
    *,
    workers: int | None = None,
    threads: int = 1,
    per_gpu: int = 1,
    run: str = "gan_ablate.run:carry_out",
    options: Mapping[str, Any] | None = None,
    only: str | Sequence[str] | None = None,
    display: Display | None = None,
    expansion: Expansion | None = None,
    retry_failed: bool = False,
    grace: float = GRACE,
) -> Summary:
    """Carries out what is left of a study in `root`, over `workers` processes of `threads` threads each.

    `run` names a function `(recipe, folder, *, should_stop, **options) -> result`. Runs that another sweeper holds
    are waited for. Ctrl-C (or SIGTERM, SIGHUP) asks the runs to checkpoint and leave, a second one kills them.
    Raises `InputError` for a root of another study, and for bad input that only a run could notice.
    """
    for name, value in (("workers", workers), ("threads", threads), ("per_gpu", per_gpu)):
        if value is not None and value < 1:
            raise InputError(f"{name}={value}: needs a whole number of at least 1")
    expansion = expand(study) if expansion is None else expansion
    chosen = select_runs(expansion.recipes, only)
    store = Store.create(
        root,
        name=study.name,
        source=study.source,
        recipes=expansion.recipes,
        not_applicable=expansion.not_applicable,
    )
    places = slots(workers, threads, per_gpu)
    setup = Setup(str(Path(root).resolve()), run, {"threads": threads, **(options or {})}, threads, list(sys.path))
    display = display or choose()
    try:
        return _Sweep(store, chosen, places, setup, display, retry_failed, grace).run()
    finally:
        display.close()


@dataclass
class _Job:
    """One run on its way: how often it was tried, and since when it runs."""

    recipe: Recipe
    run_id: str
    attempt: int = 0
    since: float = 0.0
    said: Message | None = None
    look_again: float = 0.0


@dataclass
class _Sweep:
    store: Store
    recipes: Sequence[Recipe]
    places: Sequence[Slot]
    setup: Setup
    display: Display
    retry_failed: bool
    grace: float
    waiting: deque[_Job] = field(default_factory=deque)
    held: list[_Job] = field(default_factory=list)
    running: dict[Slot, _Job] = field(default_factory=dict)
    done: int = 0
    failed: int = 0
    skipped: int = 0
    failed_before: int = 0
    signals: list[int] = field(default_factory=list)
    refusal: str = ""  # the line of bad input that ends the sweep
    stop_since: float | None = None
    killed: bool = False
    estimate: TimeLeft = field(default_factory=TimeLeft)

    def run(self) -> Summary:
        records = []
        for recipe in self.recipes:
            run_id = recipe.run_id
            record = self.store.finished(run_id)
            if record is None or (self.retry_failed and "error" in record):
                self.waiting.append(_Job(recipe, run_id))
            else:
                records.append(record)
                self.failed_before += "error" in record
                self.skipped += 1
        self.estimate = TimeLeft.of(seconds_of(records))
        if not self.waiting:
            self.display.note(f"nothing to do: all {self.skipped} runs are finished")
            return self._summary()
        with _signals(self.signals), _Server(self.setup) as server:
            self._loop(server)
        if self.refusal:
            raise InputError(self.refusal)
        return self._summary()

    def _loop(self, server: _Server) -> None:
        while self.running or ((self.waiting or self.held) and self.stop_since is None):
            self._heed_signals(server)
            if self.stop_since is None:
                self._look_at_held()
                self._start(server)
            for message in server.messages(POLL):
                if message is None:  # the server died, and its workers with it
                    lost, words = list(self.running.values()), server.tail()
                    self.running.clear()
                    server.restart()
                    for job in lost:
                        self._crashed(job, "the worker server died", words)
                elif message.event == "broken":
                    raise RuntimeError(f"{self.setup.run} cannot be imported: {message.error}\n{message.traceback}")
                else:
                    self._handle(message)
            self.display.update(self._progress())

    def _start(self, server: _Server) -> None:
        if not server.ready:
            return
        for place in self.places:
            if place not in self.running and self.waiting:
                job = self.waiting.popleft()
                job.attempt += 1
                job.since, job.said = time.monotonic(), None
                self.running[place] = job
                last = job.attempt >= ATTEMPTS
                retry = self.retry_failed and job.attempt == 1
                server.order(Task(job.recipe, job.run_id, place.gpu, last, job.attempt, retry))

    def _handle(self, message: Message) -> None:
        found = [(place, job) for place, job in self.running.items() if job.run_id == message.run_id]
        if not found:
            return
        ((place, job),) = found
        if message.event == "said":
            job.said = message
            return
        del self.running[place]
        said = job.said or Message("said", outcome="crashed", error=_death(message.status))
        seconds = time.monotonic() - job.since
        if said.outcome == "ok":
            self.done += 1
            self.estimate.add(job.recipe.model, job.recipe.arm, seconds)
            self._tell(job, {**said.facts, "seconds": seconds})
        elif said.outcome == "already":
            self.skipped += 1
            self.failed_before += said.facts.get("outcome") == "failed"
        elif said.outcome == "held":
            job.attempt -= 1
            job.look_again = time.monotonic() + 1.0
            self.held.append(job)
        elif said.outcome == "refused":
            self.refusal = self.refusal or f"{run_name(job.recipe)}: {said.error}"
            self.waiting.append(job)
        elif self.stop_since is not None:  # told to leave, or killed because it did not
            self.waiting.append(job)
        elif said.outcome == "stopped":
            self._crashed(job, "told to stop by a signal from outside", "")
        else:
            self._crashed(job, said.error, said.traceback, recorded=bool(job.said))

    def _crashed(self, job: _Job, error: str, traceback: str, *, recorded: bool = False) -> None:
        """Another attempt, or the record of the failure."""
        if job.attempt < ATTEMPTS:
            self.display.note(f"{run_name(job.recipe)}: {error}; trying again")
            self.waiting.append(job)
            return
        self.failed += 1
        if not recorded:
            self._record_failure(job, error, traceback)
        self._tell(job, {"outcome": "failed", "error": error})

    def _record_failure(self, job: _Job, error: str, traceback: str) -> None:
        try:
            with self.store.claim(job.run_id) as claim:
                if claim is not None and claim.finished() is None:
                    said = traceback or _tail(claim.folder / "log.txt")
                    claim.publish_failed(job.recipe, error, said, job.attempt)
        except OSError as problem:
            log.warning("%s: the failure cannot be recorded: %s", run_name(job.recipe), problem)

    def _look_at_held(self) -> None:
        """Runs that another sweeper held: finished by now, or free again because it died."""
        now = time.monotonic()
        for job in [j for j in self.held if j.look_again <= now]:
            job.look_again = now + 1.0
            if self.store.finished(job.run_id, warn=False) is not None:
                self.held.remove(job)
                self.skipped += 1
            elif not self.store.is_running(job.run_id):
                self.held.remove(job)
                self.waiting.append(job)

    def _heed_signals(self, server: _Server) -> None:
        if (self.signals or self.refusal) and self.stop_since is None:
            self.stop_since = time.monotonic()
            if not self.refusal and self.running:
                self.display.note("stopping: runs write a checkpoint and leave (again: kill them)")
            server.order("stop")
        late = self.stop_since is not None and time.monotonic() - self.stop_since > self.grace
        if not self.killed and (late or len(self.signals) > 1):
            self.killed = True
            server.order("kill")

    def _tell(self, job: _Job, facts: Mapping[str, Any]) -> None:
        self.display.finished(self._progress(), run_line(job.recipe, facts))

    def _progress(self) -> Progress:
        now = time.monotonic()
        ahead = [job.recipe for job in (*self.waiting, *self.held)]
        active = [(job.recipe, now - job.since) for job in self.running.values()]
        return Progress(
            total=len(self.recipes),
            finished=self.done + self.skipped - self.failed_before,
            failed=self.failed + self.failed_before,
            running=tuple(run_name(recipe) for recipe, _ in active),
            seconds_left=self.estimate.left(ahead, active, len(self.places)),
        )

    def _summary(self) -> Summary:
        left = len(self.waiting) + len(self.held)
        return Summary(self.done, self.failed, self.skipped, left, self.signals[0] if self.signals and left else 0)


class _Server:
    """The sweeper's end of the warm server."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.ready = False
        self.deaths = 0

    def __enter__(self) -> _Server:
        self._launch()
        return self

    def __exit__(self, *_: object) -> None:
        self.socket.close()  # the server sees the end of file, kills its workers and leaves
        try:
            self.process.wait(5 if self.ready else 0)
        except subprocess.TimeoutExpired:  # still importing: it has no workers yet
            self.process.kill()
            self.process.wait()
        self.output.close()

    def _launch(self) -> None:
        mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        threads = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(self.setup.threads))
        # counting GPUs through NVML makes no CUDA context, which would not survive a fork
        environment = {**os.environ, **threads, "PYTORCH_NVML_BASED_CUDA_CHECK": "1", "PYTHONPATH": _path(self.setup)}
        self.output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        code = f"from gan_ablate.sweep.server import serve; serve({theirs.fileno()})"
        with theirs:
            self.process = subprocess.Popen(
                [sys.executable, "-c", code],
                env=environment,
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=self.output,
                stderr=self.output,
                start_new_session=True,  # Ctrl-C in the terminal reaches the sweeper alone
            )
        self.socket = mine
        self.ready = False
        send(mine, self.setup)

    def restart(self) -> None:
        self.deaths += 1
        if self.deaths > 3:
            raise RuntimeError(f"the worker server died {self.deaths} times; its last words:\n{self.tail()}")
        self.socket.close()
        self.process.kill()
        self.process.wait()
        self.output.close()
        self._launch()

    def order(self, what: Task | str) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # its death is seen by `messages`
            send(self.socket, what)

    def messages(self, seconds: float) -> Iterator[Message | None]:
        """Waits up to `seconds`, then yields all that has come; None when the server is gone."""
        while select.select([self.socket], [], [], seconds)[0]:
            message = receive(self.socket)
            if isinstance(message, Message) and message.event == "ready":
                self.ready = True
            else:
                yield message
            if message is None:
                return
            seconds = 0.0

    def tail(self) -> str:
        self.output.seek(0)
        return self.output.read()[-4000:].decode(errors="replace")


def _path(setup: Setup) -> str:
    """The server finds this package, and the run function, where the sweeper did."""
    return os.pathsep.join(filter(None, setup.path))


@contextmanager
def _signals(came: list[int]) -> Iterator[None]:
    """Collects SIGINT, SIGTERM and SIGHUP instead of dying of them (in the main thread, as Python asks)."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {n: signal.signal(n, lambda number, _: came.append(number)) for n in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _death(status: int) -> str:
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"left with exit code {status} and no result"


def _tail(path: Path) -> str:
    try:
        return path.read_bytes()[-8000:].decode(errors="replace")
    except OSError:
        return ""
