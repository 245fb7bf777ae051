"""The sweeper's end of the warm server: starts it, orders runs, hears of them, starts it again when it dies."""

from __future__ import annotations

import os
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress

from gan_ablate.errors import InputError
from gan_ablate.sweep.server import Message, Order, Setup, Task, receive, send

# Slurm signals every process of a job: these two are for the runs, and must not kill a server that still imports
BLOCK = "import signal as s; s.pthread_sigmask(s.SIG_BLOCK, {s.SIGUSR2, s.SIGTERM})"
DEATHS = 3  # of the server, with no run finished between them, that a sweep bears


class Server:
    """The warm server as its sweeper sees it: a context in which it lives, orders to it, messages from it."""

    def __init__(self, setup: Setup) -> None:
        self.setup = setup
        self.ready = False
        self.deaths = 0

    def __enter__(self) -> Server:
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
        environment.pop("SLURM_NTASKS", None)  # else Lightning takes each run for a task of one distributed job
        self.output = tempfile.TemporaryFile()  # noqa: SIM115 - closed in __exit__
        code = f"{BLOCK}; from gan_ablate.sweep.server import serve; serve({theirs.fileno()})"
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
        """Starts it again. Raises `InputError` where it only ever dies."""
        self.deaths += 1
        if self.deaths > DEATHS:
            words = self.tail().strip().splitlines() or ["none"]
            raise InputError(
                f"the process that starts the runs died {self.deaths} times in a row (is memory short?); "
                f"no run was recorded as failed for it; its last words: {words[-1]}"
            )
        self.socket.close()
        self.process.kill()
        self.process.wait()
        self.output.close()
        self._launch()

    def order(self, what: Task | Order) -> None:
        with suppress(BrokenPipeError, ConnectionResetError):  # its death is seen by `messages`
            send(self.socket, what)

    def messages(self, seconds: float) -> Iterator[Message | None]:
        """Waits up to `seconds`, then yields all that has come; None when the server is gone."""
        while select.select([self.socket], [], [], seconds)[0]:
            message = receive(self.socket)
            if isinstance(message, Message) and message.event == "ready":
                self.ready = True
            else:
                if message is not None and message.outcome == "ok":
                    self.deaths = 0
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
