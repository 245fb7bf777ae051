"""NVIDIA's Multi-Process Service, without which processes on one GPU take turns (measured in docs/speed.md)."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CONTROL = "nvidia-cuda-mps-control"
PIPES, LOGS = "CUDA_MPS_PIPE_DIRECTORY", "CUDA_MPS_LOG_DIRECTORY"
SECONDS = 20  # for the daemon to start or to leave


def mps_runs() -> bool:
    """Whether the service's daemon runs, where this process would look for it."""
    folder = Path(os.environ.get(PIPES, "/tmp/nvidia-mps"))
    try:
        daemon = int((folder / f"{CONTROL}.pid").read_text())
    except (OSError, ValueError):
        return False
    return (folder / "control").exists() and Path(f"/proc/{daemon}").exists()


@contextmanager
def multi_process_service(wanted: bool) -> Iterator[bool]:
    """Within it processes share a GPU by the service, where `wanted` and it is installed.

    A daemon of this user's own, in a folder of its own, which leaves with the block; one that runs already is used and
    stays. Where it cannot be started a line says so, and processes take turns. Yields whether it was started.
    """
    if not wanted or mps_runs() or not shutil.which(CONTROL):
        yield False
        return
    before, reason = {name: os.environ.get(name) for name in (PIPES, LOGS)}, "never asked"
    with tempfile.TemporaryDirectory(prefix="gan_ablate-mps-", ignore_cleanup_errors=True) as folder:
        os.environ |= {PIPES: folder, LOGS: folder}  # what is started in the block inherits them
        try:
            reason = _control("-d")
            if reason:
                print(f"runs share a GPU by turns: {CONTROL} does not start: {reason}", file=sys.stderr, flush=True)
                _restore(before)
            yield not reason
        finally:
            if not reason:
                _control(order="quit\n")
            _restore(before)


def _control(*options: str, order: str = "") -> str:
    """Calls the daemon's control program; returns why it failed, empty where it did not."""
    try:
        done = subprocess.run(
            [CONTROL, *options], input=order, capture_output=True, text=True, timeout=SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return str(error)
    return "" if done.returncode == 0 else (done.stderr or done.stdout).strip() or f"exit code {done.returncode}"


def _restore(before: dict[str, str | None]) -> None:
    for name, value in before.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
