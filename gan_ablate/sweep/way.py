"""How runs are carried out: how many at a time, on which places of this machine, within which time and budget."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gan_ablate import trust
from gan_ablate.errors import InputError
from gan_ablate.recipe import Recipe
from gan_ablate.sweep.mps import multi_process_service
from gan_ablate.sweep.packing import runs_per_gpu
from gan_ablate.sweep.server import Setup
from gan_ablate.sweep.workers import Slot, slots, threads_each

GRACE = 20.0  # seconds that runs get to checkpoint and leave when they are told to


@dataclass(frozen=True)
class Way:
    """Options of carrying out runs, on this machine or in a job of a cluster. Raises `InputError` for numbers under 1.

    workers: runs at a time (None: `per_gpu` on each GPU or, without GPUs, one per `threads` cores).
    threads: of each run (None: its part of the cores beside a GPU, else 1).
    time_limit: seconds of one attempt; a run over it writes a checkpoint and leaves, or is killed `grace` s later.
    run: names a function `(recipe, folder, *, should_stop, **options) -> result`. Where its module has a function
        `hold(recipe, **options)`, the runs' server calls it to read once what all of them read.
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
