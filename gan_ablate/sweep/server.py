"""The warm server of a pool: it imports torch and the run function once, then forks one process per run.

It talks over one socket pair with the sweeper, listens nowhere, and starts no thread and no CUDA context of its
own, so its forks are safe. Once a run has given a result, it reads what such runs read before they train, so that later
forks have it in memory. When the sweeper is gone (end of file), it kills its workers and leaves.
"""

from __future__ import annotations

import ctypes
import faulthandler
import gc
import os
import pickle
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from gan_ablate.errors import InputError, in_one_line
from gan_ablate.publishing import trouble
from gan_ablate.recipe import Recipe
from gan_ablate.store.claim import LockLost, RunClaim
from gan_ablate.store.commit import commit
from gan_ablate.store.store import Store
from gan_ablate.trust import trust

MAX_MESSAGE = 150_000  # bytes; a packet of a Linux socket pair holds about 200,000
NO_RESULT = 3  # exit code of a worker that has said why it gives none
STOP_SIGNAL = signal.SIGUSR2  # SIGTERM is Lightning's too: it would tear the trainer down before its checkpoint


class Setup(NamedTuple):
    """What all runs of a pool share."""

    root: str
    run: str  # module:function
    options: dict[str, Any]
    threads: int
    path: list[str]  # the sweeper's sys.path
    trusted: tuple[str, ...] = ()  # modules that the sweeper may import by name, and so may its runs


class Task(NamedTuple):
    """One attempt at one run."""

    recipe: Recipe
    run_id: str
    gpu: str | None = None
    last_attempt: bool = False
    attempt: int = 1
    retry_failed: bool = False


class Order(NamedTuple):
    """To one run, or without `run_id` to all: `stop` (write a checkpoint and leave) or `kill`."""

    what: str
    run_id: str = ""


class Message(NamedTuple):
    """From the server or a worker to the sweeper.

    `event`: ready | broken (the server could not start) | said (a worker's outcome) | exit (a worker is gone) |
    unborn (no process could be forked for a run).
    `outcome`: ok | already | held | stopped | refused (bad input) | crashed.
    """

    event: str
    run_id: str = ""
    outcome: str = ""
    error: str = ""
    traceback: str = ""
    status: int = 0  # exit code, or minus the signal
    facts: dict[str, Any] = {}


def send(sock: socket.socket, message: object) -> None:
    sock.send(pickle.dumps(message))


def receive(sock: socket.socket) -> Any:
    """The next message, or None when the other side is gone."""
    try:
        data = sock.recv(2 * MAX_MESSAGE)
    except ConnectionResetError:
        return None
    return pickle.loads(data) if data else None


def serve(descriptor: int) -> None:
    """Runs the server until the sweeper is gone. `descriptor`: the server's end of the socket pair."""
    # stays so in a fork until it can answer: no order is lost, and a signal to all processes of a job kills none
    signal.pthread_sigmask(signal.SIG_BLOCK, {STOP_SIGNAL, signal.SIGTERM})
    sock = socket.socket(fileno=descriptor)
    setup: Setup = receive(sock)
    sys.path[:] = setup.path
    trust(*setup.trusted)
    gc.disable()  # imports make a million objects and hardly any garbage: looking for it takes a fifth of their time
    try:
        module, _, name = setup.run.partition(":")
        loaded = import_module(module)
        function, hold = getattr(loaded, name), getattr(loaded, "hold", None)
    except BaseException as error:
        send(sock, Message("broken", error=in_one_line(error), traceback=traceback.format_exc()[-20_000:]))
        return
    commit()  # of the code that is loaded now: somebody may commit before the last run begins
    gc.collect()
    gc.freeze()  # keeps the collector from touching, and so copying, the pages shared with the workers
    gc.enable()
    workers = _Workers(sock, setup, function, hold)
    send(sock, Message("ready"))
    while True:
        told = workers.wait(1.0)
        workers.reap()
        if not told:
            continue
        order = receive(sock)
        if isinstance(order, Task):
            workers.start(order)
            continue
        workers.stop(order)
        if order is None:  # the sweeper is gone
            return


class _Workers:
    """The forked processes, one per run. SIGCHLD writes to a pipe, which wakes the server when one of them ends."""

    def __init__(
        self, sock: socket.socket, setup: Setup, function: Callable[..., Any], hold: Callable[..., object] | None
    ) -> None:
        self.sock, self.setup, self.function, self.hold = sock, setup, function, hold
        self.tasks: dict[int, Task] = {}  # by process id
        self.held: set[tuple[object, ...]] = set()  # what runs read, of which the server has read, or cannot
        self.alarm, self.wake = os.pipe()
        os.set_blocking(self.wake, False)
        os.set_blocking(self.alarm, False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        signal.set_wakeup_fd(self.wake, warn_on_full_buffer=False)

    def wait(self, seconds: float) -> bool:
        """Waits until the sweeper sends an order, a worker ends, or time is up. Returns whether there is an order."""
        watched: list[Any] = [self.sock, self.alarm]
        ready, _, _ = select.select(watched, [], [], seconds)
        if self.alarm in ready:
            with suppress(BlockingIOError):
                os.read(self.alarm, 4096)
        return self.sock in ready

    def reap(self) -> None:
        """Reports to the sweeper which workers have ended."""
        for pid, task in list(self.tasks.items()):
            done, status = os.waitpid(pid, os.WNOHANG)
            if done:
                del self.tasks[pid]
                _signal_group(pid, signal.SIGKILL)  # whatever the run itself had started
                send(self.sock, Message("exit", task.run_id, status=os.waitstatus_to_exitcode(status)))
                if status == 0:
                    self._hold(task.recipe)

    def _hold(self, recipe: Recipe) -> None:
        """Reads what the runs after this one find in memory then: its data, extractor and statistics."""
        plan = recipe.evaluation
        read = (recipe.dataset, recipe.size, recipe.channels, plan.extractor, plan.split)
        if self.hold is None or read in self.held:
            return
        self.held.add(read)
        with suppress(Exception):  # a run that needs it says what is wrong
            self.hold(recipe, **self.setup.options)
        gc.freeze()

    def start(self, task: Task) -> None:
        """Forks the process of one run."""
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        try:
            pid = os.fork()
        except OSError as error:  # no memory, or too many processes: nothing of this run's doing
            send(self.sock, Message("unborn", task.run_id, error=error.strerror or str(error)))
            return
        if pid == 0:
            os.close(self.alarm)
            os.close(self.wake)
            _worker(self.sock, self.setup, task, self.function, parent)
        with suppress(OSError):
            os.setpgid(pid, pid)  # the worker does the same: whoever is first
        self.tasks[pid] = task

    def stop(self, order: Order | None) -> None:
        """Asks one run, or all, to write a checkpoint and leave, or kills them. Kills all if the sweeper is gone."""
        for pid, task in self.tasks.items():
            if order is None or (order.what == "kill" and order.run_id in ("", task.run_id)):
                _signal_group(pid, signal.SIGKILL)
            elif order.run_id in ("", task.run_id):
                with suppress(ProcessLookupError):
                    os.kill(pid, STOP_SIGNAL)


def _signal_group(pid: int, number: int) -> None:
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _worker(sock: socket.socket, setup: Setup, task: Task, function: Callable[..., Any], parent: int) -> None:
    """The forked process of one run. Never returns."""
    code = 1
    try:
        stop = _Stop()
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the sweeper's to handle
        signal.signal(STOP_SIGNAL, stop)
        # Lightning answers SIGTERM by leaving without a checkpoint: it stays blocked, and `should_stop` sees it
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {STOP_SIGNAL})
        with suppress(OSError):  # where memory runs out, this process goes first and not the server or the sweeper
            Path("/proc/self/oom_score_adj").write_text("500")
        with suppress(OSError):
            os.setpgid(0, 0)
        _die_with(parent)
        if task.gpu is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = task.gpu
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(setup.threads)
        try:
            message = _attempt(setup, task, function, stop)
        except LockLost as error:
            print(in_one_line(error), file=sys.stderr)
            message = Message("said", task.run_id, "held")  # by another, perhaps: the sweeper looks again
        except InputError as error:  # the disk refuses the claim or the record
            message = Message("said", task.run_id, "refused", error=in_one_line(error))
        send(sock, message)
        code = 0 if message.outcome == "ok" else NO_RESULT
    except BaseException:
        traceback.print_exc()
    finally:
        with suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)  # the server's atexit handlers are not this process's


class _Stop:
    """Whether the run should stop: after `STOP_SIGNAL`, or when a SIGTERM is pending. The run asks between steps."""

    def __init__(self) -> None:
        self.asked = False

    def __call__(self, *_: object) -> None:
        self.asked = True

    def should_stop(self) -> bool:
        self.asked = self.asked or signal.SIGTERM in signal.sigpending()
        return self.asked


def _attempt(setup: Setup, task: Task, function: Callable[..., Any], stop: _Stop) -> Message:
    """Claims, runs and publishes, all in this process: the kernel frees the lock if it is killed."""
    with Store(Path(setup.root)).claim(task.run_id) as claim:
        if claim is None:
            return Message("said", task.run_id, "held")
        if task.retry_failed:
            claim.forget_failure()
        if (record := claim.finished()) is not None:
            return Message("said", task.run_id, "already", facts=facts_of(record))
        try:
            folder = claim.prepare(task.recipe)
            _write_output_to(folder / "log.txt")
            result = function(task.recipe, folder, should_stop=lambda: _asked(claim, stop), **setup.options)
            claim.publish_result(result)
        except LockLost:
            raise
        except BaseException as error:
            return _unfinished(task, claim, error, stop)
        return Message("said", task.run_id, "ok", facts=facts_of(result))


def _unfinished(task: Task, claim: RunClaim, error: BaseException, stop: _Stop) -> Message:
    """Records how an attempt ended that gave no result: refused, stopped or crashed. Raises `LockLost`."""
    refused = in_one_line(error) if isinstance(error, InputError) else None
    if refused is None and (_is_stop(error) or stop.should_stop()):
        claim.ended("stopped")
        return Message("said", task.run_id, "stopped", error=in_one_line(error))
    if refused is None:
        claim.check()  # an error that came of another's removing the run's files is not the run's
        refused = trouble(error, claim.folder)  # a full disk is not this run's failure
    if refused is not None:
        claim.ended("refused", error=refused)
        return Message("said", task.run_id, "refused", error=refused)
    lines = "".join(traceback.format_exception(error))
    text = f"{type(error).__name__}: {in_one_line(error)}"
    sys.stderr.write(lines)
    if task.last_attempt:
        claim.publish_failed(task.recipe, text, lines, task.attempt)
    else:
        claim.ended("crashed", error=text, traceback=lines)
    return Message("said", task.run_id, "crashed", error=text[-2000:], traceback=lines[-20_000:])


def _asked(claim: RunClaim, stop: _Stop) -> bool:
    """Asked by the run after each step, before it writes a checkpoint. Raises `LockLost`."""
    claim.check()
    return stop.should_stop()


def _is_stop(error: BaseException) -> bool:
    """Whether the run raised `Stopped`. Known by its name: to import its module would import torch."""
    return any(c.__name__ == "Stopped" for c in type(error).__mro__)


def facts_of(record: dict[str, Any]) -> dict[str, Any]:
    """What a progress line says about a finished run."""
    metrics, labels = record.get("metrics") or {}, record.get("labels") or {}
    return {
        "outcome": record.get("outcome", "crashed"),
        "fid": metrics.get("fid"),
        "label": labels.get("fid", "FID"),
        "seconds": record.get("seconds"),
        "error": record.get("error", ""),
    }


def _write_output_to(path: Path) -> None:
    """From here on, everything this process prints goes to the run's log."""
    sys.stdout.flush()
    sys.stderr.flush()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
    os.dup2(file, 1)
    os.dup2(file, 2)
    os.close(file)
    faulthandler.enable(2)


def _die_with(parent: int) -> None:
    """Asks the kernel (Linux) to kill this process when its parent dies, however that happens."""
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL, 0, 0, 0)  # PR_SET_PDEATHSIG
    except (OSError, AttributeError):  # elsewhere the server's end of file has to do
        return
    if os.getppid() != parent:  # it died before the call
        os._exit(1)
