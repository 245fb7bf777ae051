"""Worker slots of this machine: one per core, or several per GPU. Counts GPUs without importing torch."""

from __future__ import annotations

import math
import os
import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Slot:
    """Where one run at a time is carried out. `gpu` becomes its `CUDA_VISIBLE_DEVICES`; None leaves that alone."""

    number: int
    gpu: str | None = None


def cores() -> int:
    """CPU cores this process may use: its affinity; where smaller, its control group's quota or its Slurm job's part.

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


def mps_runs() -> bool:
    """Whether the control daemon of NVIDIA's Multi-Process Service runs, where this process would look for it."""
    folder = Path(os.environ.get("CUDA_MPS_PIPE_DIRECTORY", "/tmp/nvidia-mps"))
    try:
        daemon = int((folder / "nvidia-cuda-mps-control.pid").read_text())
    except (OSError, ValueError):
        return False
    return (folder / "control").exists() and Path(f"/proc/{daemon}").exists()


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
    """Threads of one run: beside a GPU its part of the cores, without GPUs one (see docs/architecture.md)."""
    return max(1, cores() // len(places)) if any(p.gpu is not None for p in places) else 1
