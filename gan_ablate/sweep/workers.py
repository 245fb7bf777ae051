"""Workers of this machine: their slots (one per core, or several per GPU), and the sweeper's end of the warm server."""

from __future__ import annotations

import math
import os
import re
import select
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from gan_ablate.errors import InputError
from gan_ablate.sweep.mps import mps_runs
from gan_ablate.sweep.server import Message, Order, Setup, Task, receive, send


class Slot(NamedTuple):
    """A place for one run at a time. `gpu` becomes its `CUDA_VISIBLE_DEVICES`; None leaves that variable alone."""

    number: int
    gpu: str | None = None


def cores() -> int:
    """CPU cores this process may use: the least of its affinity, its control group's quota and its Slurm job's share.

    Slurm without cgroups leaves the affinity at the whole node, which other jobs use too.
    """
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        quota, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        count = min(count, max(1, math.ceil(int(quota) / int(period))))
    except (OSError, ValueError):  # no quota ("max"), or no such file
        pass
    share = os.environ.get("SLURM_CPUS_PER_TASK") or os.environ.get("SLURM_CPUS_ON_NODE", "")
    return min(count, max(1, int(share))) if share.isdecimal() else count


def gpus() -> tuple[str, ...]:
    """The GPUs as `CUDA_VISIBLE_DEVICES` names them: what that variable allows, else what nvidia-smi lists.

    Where MPS runs, by UUID: its daemon may have renumbered the GPUs it serves (NVIDIA's MPS manual, appendix on the
    environment). Runs connect to MPS by themselves. `CUDA_MPS_ACTIVE_THREAD_PERCENTAGE` is left to the user: it
    reserves nothing, it only caps, and small GANs seldom fill their part of a GPU.
    """
    allowed = os.environ.get("CUDA_VISIBLE_DEVICES")
    if allowed is not None:
        return tuple(name.strip() for name in allowed.split(",") if name.strip() and name.strip() != "-1")
    try:
        listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return ()
    # a GPU that is cut into MIG slices is used by its slices' UUIDs
    names = re.findall(r"UUID: (MIG-[^)\s]+)", listed)
    plain = r"UUID: (GPU-[^)\s]+)" if mps_runs() else r"^GPU (\d+):"
    return tuple(names or re.findall(plain, listed, re.MULTILINE))


def slots(
    workers: int | None = None, threads: int = 1, per_gpu: int = 1, devices: Sequence[str] | None = None
) -> tuple[Slot, ...]:
    """`workers` slots, by default `per_gpu` on each GPU or, without GPUs, one per `threads` cores.

    Neighbouring slots lie on different GPUs, so few runs spread over all of them.
    """
    devices = gpus() if devices is None else tuple(devices)
    if workers is None:
        workers = len(devices) * per_gpu if devices else max(1, cores() // threads)
    return tuple(Slot(k, devices[k % len(devices)] if devices else None) for k in range(workers))


def threads_each(places: Sequence[Slot]) -> int:
    """Threads of one run: on a GPU its share of the cores, otherwise one (see docs/architecture.md)."""
    return max(1, cores() // len(places)) if any(p.gpu is not None for p in places) else 1


# Slurm signals every process of a job: these two are for the runs, and must not kill a server that still imports
BLOCK = "import signal as s; s.pthread_sigmask(s.SIG_BLOCK, {s.SIGUSR2, s.SIGTERM})"
DEATHS = 3  # of the server, with no run finished between them, that a sweep bears


class Server:
    """The sweeper's side of the warm server: starts and ends it as a context, sends orders, receives messages."""

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
        # and the server finds this package, and the run function, where the sweeper did
        path = os.pathsep.join(filter(None, self.setup.path))
        environment = {**os.environ, **threads, "PYTORCH_NVML_BASED_CUDA_CHECK": "1", "PYTHONPATH": path}
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
        """Starts the server again. Raises `InputError` once it has died too often in a row."""
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
