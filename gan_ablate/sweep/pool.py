"""The local pool carries out a study's runs in worker slots, until none is left or it is told to stop.

The sweeper (this process) imports no torch. A warm server forks one process per run; that process claims, trains
and publishes by itself, so killing any of them at any moment loses at most the work since the last checkpoint.
"""

from __future__ import annotations

import math
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gan_ablate import trust
from gan_ablate.errors import InputError
from gan_ablate.formatting import clock
from gan_ablate.recipe import Recipe
from gan_ablate.sources import Sources
from gan_ablate.store.store import Store, log, seconds_of
from gan_ablate.study.seed_plan import SeedPlan
from gan_ablate.study.study import Expansion, Study, expand, run_name, select_runs
from gan_ablate.sweep.display import Display, Progress, TimeLeft, choose, run_line
from gan_ablate.sweep.mps import multi_process_service
from gan_ablate.sweep.packing import runs_per_gpu
from gan_ablate.sweep.releases import Releases, refuse_other_plan
from gan_ablate.sweep.run_queue import Job, RunQueue
from gan_ablate.sweep.server import Message, Order, Setup, Task
from gan_ablate.sweep.tuning import TunedReleases, refuse_other_tune
from gan_ablate.sweep.workers import Server, Slot, slots, threads_each

ATTEMPTS = 2  # a run that crashes is tried once more, then recorded as crashed
GRACE = 20.0  # seconds that runs get to checkpoint and leave when they are told to
FORKS = 10  # failed forks in a row, and no run at work, after which a sweep gives up
PAUSE = 1.0  # seconds between them
POLL = 0.2  # seconds between redraws and looks at runs that others hold
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True)
class Way:
    """Options of carrying out runs, on this machine or in a job of a cluster. Raises `InputError` for numbers under 1.

    workers: runs at a time (None: `per_gpu` on each GPU or, without GPUs, one per `threads` cores).
    threads: of each run (None: its part of the cores beside a GPU, else 1).
    time_limit: seconds of one attempt; a run over it writes a checkpoint and leaves, or is killed `grace` s later.
    run: names a function `(recipe, folder, *, should_stop, **options) -> result`.
    """

    workers: int | None = None
    threads: int | None = None
    per_gpu: int | None = 1  # None: chosen by a trial (`sweep.packing`)
    time_limit: float | None = None
    grace: float = GRACE
    budget_seconds: float | None = None  # after which the sweep ends; its runs write a checkpoint and leave
    budget_runs: int | None = None  # runs that it begins at the most
    run: str = "gan_ablate.run.carry_out:carry_out"
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        for name in ("workers", "threads", "per_gpu", "budget_runs"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise InputError(f"{name}={value}: needs a whole number of at least 1")
        for name in ("time_limit", "budget_seconds"):
            value = getattr(self, name)
            if value is not None and not value > 0:
                raise InputError(f"{name}={value}: needs a time over 0")

    def places(self) -> tuple[Slot, ...]:
        """The worker slots of this machine."""
        wanted = self.options.get("accelerator")
        found = slots(self.workers, self.threads or 1, self.per_gpu or 1, () if wanted == "cpu" else None)
        if wanted == "gpu" and found[0].gpu is None:
            raise InputError("--accelerator gpu: no CUDA device is visible here: take auto or cpu")
        return found

    @contextmanager
    def open_places(self, waiting: Recipe | None) -> Iterator[tuple[Slot, ...]]:
        """The slots, while NVIDIA's service runs for them where several share a GPU. waiting: a run to try them by."""
        places, way = self.places(), self
        on_gpus = [place.gpu for place in places if place.gpu is not None]
        tried = self.per_gpu is None and bool(on_gpus) and waiting is not None
        with multi_process_service(tried or len(set(on_gpus)) < len(on_gpus)) as started:
            if started:
                places = self.places()  # the service's GPUs go by other names
            if tried and waiting is not None and (gpu := places[0].gpu) is not None:
                way = replace(self, per_gpu=runs_per_gpu(waiting, gpu, self.options))
            yield places if way is self else way.places()

    def setup(self, root: Path, places: Sequence[Slot], path: Sequence[str]) -> Setup:
        threads = self.threads or threads_each(places)
        options = {"threads": threads, **self.options}
        return Setup(str(root.resolve()), self.run, options, threads, list(path), trust.trusted())


@dataclass(frozen=True)
class Summary:
    """What one call of `sweep` did. `stopped` is the signal that ended it early, 0 if none did."""

    done: int
    failed: int
    skipped: int  # finished before, or by another sweeper meanwhile
    left: int
    stopped: int = 0
    spent: bool = False  # the budget ended it, as it was asked to

    @property
    def in_words(self) -> str:
        return f"{self.done} done, {self.failed} crashed, {self.skipped} done before, {self.left} left"

    @property
    def exit_code(self) -> int:
        """For the shell: 130 after Ctrl-C (128 + signal), 1 if a run failed, or is left for all the budget, else 0."""
        left = 0 if self.spent else self.left
        return 128 + self.stopped if self.stopped else int(self.failed + left > 0)


def sweep(
    study: Study,
    root: str | Path,
    *,
    only: str | Sequence[str] | None = None,
    display: Display | None = None,
    expansion: Expansion | None = None,
    retry_failed: bool = False,
    **way: Any,
) -> Summary:
    """Carries out what is left of a study in `root` on this machine; `way` are the fields of `Way`.

    Runs that another sweeper holds are waited for. Ctrl-C (or SIGTERM, SIGHUP) asks the runs to checkpoint and leave,
    a second one kills them. Raises `InputError` for a root of another study, and for bad input that only a run notices.
    """
    carried = Way(**way)
    expansion = expand(study) if expansion is None else expansion
    releases = releases_of(study, root, only, expansion)
    released = releases.wanted() if releases else expansion
    store, chosen = prepare(study, root, only, released)
    display = display or choose()

    def more() -> Sequence[Recipe]:
        """What an adaptive study, or one with a second budget, asks for by now."""
        return prepare(study, root, None, releases.wanted())[1] if releases else ()

    try:
        with carried.open_places(_first_left(store, chosen, carried)) as places:
            setup = carried.setup(store.root, places, sys.path)
            return _Sweep(store, chosen, places, setup, display, carried, retry_failed, more=more).run()
    finally:
        display.close()


def _first_left(store: Store, recipes: Sequence[Recipe], way: Way) -> Recipe | None:
    """The first run without a record, if places depend on it."""
    return next((r for r in recipes if way.per_gpu is None and store.finished(r.run_id) is None), None)


def releases_of(
    study: Study, root: str | Path, only: str | Sequence[str] | None, expansion: Expansion
) -> Releases | TunedReleases | None:
    """The releases of a study that is adaptive, tuned or has a second budget, `None` for another. Raises `InputError`
    for other looks, or another grid, than it began with."""
    if study.seed_plan is None and study.tune is None and study.budgets is None:
        return None
    if only is not None:
        what = "the choice of settings of a tuned study" if study.tune else "the second budget"
        what = "a look of an adaptive study" if study.seed_plan and not study.tune else what
        raise InputError(f"--only: {what} needs every arm: choose by --arms and --models")
    if study.seed_plan:
        refuse_other_plan(Path(root), study.seed_plan)
    if study.tune:
        refuse_other_tune(Path(root), study.tune)
        return TunedReleases(Path(root), expansion, study.tune, study.seed_plan)
    plan = study.seed_plan or SeedPlan.plain(study.seeds)
    return Releases(Path(root), expansion, plan, study.budgets)


def prepare(
    study: Study, root: str | Path, only: str | Sequence[str] | None, expansion: Expansion | None
) -> tuple[Store, tuple[Recipe, ...]]:
    """The root with its `study.yaml` up to date, and the runs that `only` chooses."""
    expansion = expand(study) if expansion is None else expansion
    chosen = select_runs(expansion.every, only)
    for extractor in {r.evaluation.extractor for r in chosen if ":" in r.evaluation.extractor}:
        trust.require(extractor, f"{study.path}: extractor {extractor!r}")  # of tricks, `expand` has asked already
    return Store.create(root, name=study.name, source=study.source, **vars(expansion)), chosen


def carry_out_share(
    root: Path, recipes: Sequence[Recipe], way: Way, *, display: Display, path: Sequence[str], numbers: Sequence[int]
) -> Summary:
    """Carries out some runs of a study that another process watches over, in a job of a cluster.

    Runs that others hold are left to them. Each of the signals `numbers` lets runs checkpoint and leave; none of them,
    however often it comes, shortens the `grace` that runs have for it. `path` is the submitter's `sys.path`.
    """
    with way.open_places(_first_left(Store(root), recipes, way)) as places:
        setup = way.setup(root, places, path)
        return _Sweep(Store(root), recipes, places, setup, display, way, numbers=numbers, own=False).run()


@dataclass
class _Sweep:
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
    running: dict[Slot, Job] = field(default_factory=dict)
    done: int = 0
    failed: int = 0
    signals: list[int] = field(default_factory=list)
    refusal: str = ""  # the line of bad input that ends the sweep
    unborn: int = 0  # forks that failed since the last run that said something
    start_again: float = 0.0  # when the next run may be started
    stop_since: float | None = None
    killed: bool = False
    estimate: TimeLeft = field(default_factory=TimeLeft)
    more: Callable[[], Sequence[Recipe]] = lambda: ()  # all runs that are wanted by now, known ones too
    begun: set[str] = field(default_factory=set)  # ids of the runs that this sweep started
    started: float = field(default_factory=time.monotonic)
    asked_at: int = -1  # runs finished when `more` was last asked

    def __post_init__(self) -> None:
        self.queue = RunQueue(self.store, len(self.places), self.retry_failed, self._seconds_of)

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
        with catching(self.signals, self.numbers), Server(self.setup) as server:
            self._loop(server)
        if self.refusal:
            raise InputError(self.refusal)
        return self._summary()

    def _loop(self, server: Server) -> None:
        while self.running or (self.stop_since is None and self._is_left):
            self._heed_signals(server)
            self._heed_time(server)
            self._heed_budget(server)
            if self.stop_since is None:
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
            if self.stop_since is None:
                self._release()
            self.display.update(self._progress())

    @property
    def _is_left(self) -> bool:
        """Whether runs may start: now, or once others have left them."""
        return any(map(self._allows, self.queue.waiting)) or bool(self.queue.held and self.own)

    def _allows(self, job: Job) -> bool:
        """Whether the budget allows a run: one that was begun costs no more of it."""
        return not self._is_spent or job.run_id in self.begun

    def _seconds_of(self, job: Job) -> float:
        """How long it will take; 0 where no run has ended yet."""
        recipe = job.recipe
        return self.estimate.expect(recipe.model, recipe.arm, recipe.steps) or 0.0

    def _start(self, server: Server) -> None:
        if not server.ready or time.monotonic() < self.start_again:
            return
        for place in self.places:
            if place not in self.running and (job := self.queue.next(self._allows)) is not None:
                self.begun.add(job.run_id)
                job.attempt += 1
                job.since, job.said, job.cut, job.killed = time.monotonic(), None, None, False
                self.running[place] = job
                last = job.attempt >= ATTEMPTS
                retry = self.retry_failed and job.attempt == 1
                server.order(Task(job.recipe, job.run_id, place.gpu, last, job.attempt, retry))

    def _release(self) -> None:
        """Queues what the study asks for once nothing waits: a look may be complete, or the first budget."""
        finished = self.done + self.failed + self.queue.skipped
        if self.queue.waiting or self._is_spent or finished == self.asked_at:
            return
        self.asked_at, known = finished, {r.run_id for r in self.recipes}
        new = [r for r in self.more() if r.run_id not in known]
        self.recipes = (*self.recipes, *new)
        self.queue.waiting.extend(Job(r, r.run_id) for r in new)

    @property
    def _is_spent(self) -> bool:
        """Whether the budget allows no further run."""
        way = self.way
        over = way.budget_seconds is not None and time.monotonic() - self.started > way.budget_seconds
        return over or (way.budget_runs is not None and len(self.begun) >= way.budget_runs)

    def _heed_budget(self, server: Server) -> None:
        """Ends the sweep where its time is over: runs write a checkpoint and leave."""
        limit = self.way.budget_seconds
        if self.stop_since is None and limit is not None and time.monotonic() - self.started > limit:
            self.stop_since = time.monotonic()
            self.display.note("the budget is spent: runs write a checkpoint and leave")
            server.order(Order("stop"))

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
            self.estimate.add(job.recipe.model, job.recipe.arm, seconds, job.recipe.steps)
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
        elif self.stop_since is not None:  # told to leave, or killed because it did not
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

    def _heed_signals(self, server: Server) -> None:
        if (self.signals or self.refusal) and self.stop_since is None:
            self.stop_since = time.monotonic()
            if not self.refusal and self.running:
                again = " (again: kill them)" if self.own else ""
                self.display.note(f"stopping: runs write a checkpoint and leave{again}")
            server.order(Order("stop"))
        late = self.stop_since is not None and time.monotonic() - self.stop_since > self.way.grace
        if not self.killed and (late or (self.own and len(self.signals) > 1)):
            self.killed = True
            server.order(Order("kill"))

    def _heed_time(self, server: Server) -> None:
        """Stops runs over the time limit: asks first, and kills those that have not left after `grace` seconds."""
        limit, now = self.way.time_limit or math.inf, time.monotonic()
        for job in self.running.values():
            if job.cut is None and now - job.since > limit:
                job.cut = now
                server.order(Order("stop", job.run_id))
            elif job.cut is not None and not job.killed and now - job.cut > self.way.grace:
                job.killed = True
                server.order(Order("kill", job.run_id))

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
        stopped = self.signals[0] if self.signals and left else 0
        return Summary(self.done, self.failed, self.queue.skipped, left, stopped, spent=self._is_spent and not stopped)


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


def _death(status: int) -> str:
    if status < 0:
        return f"killed by {signal.Signals(-status).name}"
    return f"left with exit code {status} and no result"


def _tail(path: Path) -> str:
    try:
        return path.read_bytes()[-8000:].decode(errors="replace")
    except OSError:
        return ""
