"""How many runs a second share one device, by a short trial of each number. A process of its own: `sweep.packing`.

    python -m gan_ablate.run.packing < ask.json > one line of JSON for each number of runs

Each run of a trial is a process, as in a sweep: it trains the recipe through Lightning, past its first steps and the
capture of its graphs, and all of them are timed over the same seconds.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from multiprocessing.synchronize import Barrier
from typing import Any

import lightning
import torch

from gan_ablate.data import ImageSet, load
from gan_ablate.data.module import GANDataModule
from gan_ablate.models import module_class
from gan_ablate.recipe import Recipe
from gan_ablate.run.trainer import quiet_lightning, run_trainer
from gan_ablate.trust import trust

WARM = 20  # G steps before the clock starts
STEPS = 200_000  # more than a trial ever gets to
PATIENCE = 180.0  # seconds that a run waits for the others to be warm
GAIN = 1.05  # twice the runs that are not so many times as fast end the trial


def trials(  # noqa: PLR0917
    recipe: Recipe, images: ImageSet, counts: Sequence[int], device: str, seconds: float, full: float, step: str
) -> Iterator[dict[str, float]]:
    """For each number of runs in turn {"runs", "rate" (rounds a second, all together), "used" (share of memory)}.

    Ends after the first that is hardly faster than the one before, or that uses more than `full` of the memory; what
    cannot be carried out at all is left out.
    """
    fastest = 0.0
    for count in counts:
        found = trial(recipe, images, count, device, seconds, step)
        if found is None:
            return
        yield found
        if found["rate"] < GAIN * fastest or found["used"] > full:
            return
        fastest = found["rate"]


def trial(  # noqa: PLR0917
    recipe: Recipe, images: ImageSet, count: int, device: str, seconds: float, step: str
) -> dict[str, float] | None:
    """The trial of `count` runs at a time; None where one of them ends before its time."""
    fork = multiprocessing.get_context("fork")  # before CUDA is begun: each run begins it for itself
    together, told = fork.Barrier(count), fork.SimpleQueue()
    threads = max(1, len(os.sched_getaffinity(0)) // count)
    work = (recipe, images, device, seconds, step, threads, together, told)
    runs = [fork.Process(target=_run, args=work, daemon=True) for _ in range(count)]
    for run in runs:
        run.start()
    found = [told.get() for _ in runs]
    for run in runs:
        run.join()
    if not all(found):
        return None
    rates, used = zip(*found, strict=True)
    return {"runs": count, "rate": sum(rates), "used": max(used)}


class Clock(lightning.Callback):
    """Rounds a second over some seconds, from a moment at which all runs are warm."""

    def __init__(self, seconds: float, together: Barrier) -> None:
        self.seconds, self.together = seconds, together
        self.began = self.rate = self.used = 0.0
        self.first = 0

    def on_train_batch_end(self, trainer: lightning.Trainer, pl_module: Any, *_: Any) -> None:
        if pl_module.g_steps < WARM:
            return
        on_gpu = pl_module.device.type == "cuda"
        if on_gpu:
            torch.cuda.synchronize()
        if not self.began:
            self.together.wait(PATIENCE)
            self.began, self.first = time.perf_counter(), pl_module.g_steps
        elif (passed := time.perf_counter() - self.began) >= self.seconds:
            self.rate = (pl_module.g_steps - self.first) / passed
            if on_gpu:
                free, total = torch.cuda.mem_get_info()
                self.used = 1 - free / total
            self.together.wait(PATIENCE)  # until all have looked: who leaves gives memory back
            trainer.should_stop = True


def _run(  # noqa: PLR0917
    recipe: Recipe,
    images: ImageSet,
    device: str,
    seconds: float,
    step: str,
    threads: int,
    together: Barrier,
    told: Any,
) -> None:
    """One run of a trial, a process."""
    try:
        torch.set_num_threads(threads)
        clock = Clock(seconds, together)
        module = module_class(recipe.model).from_recipe(replace(recipe, steps=STEPS, classes=len(images.classes)))
        module.step = step
        trainer = run_trainer(device, callbacks=[clock])
        batch = module.blueprint.batch_size
        trainer.fit(module, GANDataModule(images, batch_size=batch, seed=recipe.seed, batches=module.blueprint.d_steps))
        told.put((clock.rate, clock.used))
    except BaseException as error:  # out of memory, mostly: the others need not wait for this one
        together.abort()
        print(f"{type(error).__name__}: {error}", file=sys.stderr)
        told.put(None)


def main() -> None:
    """Reads {"recipe", "counts", "device", "seconds", "full", "step", "data_root", "trusted"}.

    Prints what `trials` finds.
    """
    ask = json.load(sys.stdin)
    torch.set_num_threads(1)  # a pool of threads, once begun here, would be dead in the forked runs
    quiet_lightning()
    trust(*ask["trusted"])
    recipe = Recipe.from_dict(ask["recipe"]).resolved()
    images = load(recipe.dataset, size=recipe.size, channels=recipe.channels, data_root=ask["data_root"])
    for found in trials(recipe, images, ask["counts"], ask["device"], ask["seconds"], ask["full"], ask["step"]):
        print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
