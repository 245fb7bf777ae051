"""Run functions for the pool's tests: no torch, a counter for every start, a checkpoint that resumes."""

from __future__ import annotations

import math
import os
import random
import signal
import time
from pathlib import Path
from typing import Any

from gan_ablate.errors import InputError
from gan_ablate.publishing import publish
from gan_ablate.recipe import Recipe
from gan_ablate.sources import identity


class Stopped(Exception):
    """As `gan_ablate.run.Stopped`: the pool knows it by its name."""


def count(folder: Path, what: str) -> int:
    """Adds a line to the run's own tally and returns how many there are: survives kill -9."""
    with open(folder / what, "a") as file:
        file.write(f"{os.getpid()}\n")
    return len((folder / what).read_text().splitlines())


def carry_out(recipe: Recipe, folder: Path, *, should_stop: Any, seconds: float = 0.0, **_: Any) -> dict[str, Any]:
    """`recipe.steps` steps of sleep with a checkpoint after each; ends with a result in the store's schema."""
    count(folder, "starts")
    checkpoint = folder / "checkpoint"
    first = int(checkpoint.read_text()) if checkpoint.exists() else 0
    for step in range(first, recipe.steps):
        if should_stop():
            raise Stopped
        time.sleep(seconds / recipe.steps)
        publish(checkpoint, str(step + 1).encode())  # whole, whoever is killed when
    count(folder, "ends")
    print("trained", recipe.arm)
    return {
        "recipe": recipe.to_dict(),
        "outcome": "ok",
        "metrics": {"fid": float("nan") if recipe.seed == 99 else 10.0 + recipe.seed},
        "labels": {"fid": "FID@2 (fake)"},
        "seconds": seconds,
        "resumed": first,
        "omp": os.environ.get("OMP_NUM_THREADS"),
        "cuda": os.environ.get("CUDA_VISIBLE_DEVICES"),
    }


def killed_once(recipe: Recipe, folder: Path, **options: Any) -> dict[str, Any]:
    """The first attempt of seed 0 dies of kill -9 after a checkpoint."""
    if count(folder, "attempts") == 1 and recipe.seed == 0:
        (folder / "checkpoint").write_text("1")
        os.kill(os.getpid(), signal.SIGKILL)
    return carry_out(recipe, folder, **options)


def always_killed(recipe: Recipe, folder: Path, **options: Any) -> dict[str, Any]:
    if recipe.seed == 0:
        print("last words", flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return carry_out(recipe, folder, **options)


def raises(recipe: Recipe, folder: Path, **options: Any) -> dict[str, Any]:
    if recipe.seed == 0:
        count(folder, "attempts")
        raise ZeroDivisionError("a bug\nin two lines")
    return carry_out(recipe, folder, **options)


def refuses(recipe: Recipe, folder: Path, **options: Any) -> dict[str, Any]:
    raise InputError("no weights at /nowhere: give --weights")


def deaf(recipe: Recipe, folder: Path, **_: Any) -> dict[str, Any]:
    """Never asks whether to stop."""
    count(folder, "starts")
    time.sleep(60)
    return {}


def kills_the_server(recipe: Recipe, folder: Path, **options: Any) -> dict[str, Any]:
    """Seed 0 takes the server, and all who run beside, along; twice, or always."""
    if recipe.seed == 0 and count(folder, "attempts") <= int(os.environ.get("KILLS", "2")):
        time.sleep(0.1)
        os.kill(os.getppid(), signal.SIGKILL)
        time.sleep(60)
    return carry_out(recipe, folder, **options)


def loses_its_lock(recipe: Recipe, folder: Path, *, should_stop: Any, **options: Any) -> dict[str, Any]:
    """The first time its lock is removed: seed 0 asks whether to stop and hears of it, seed 1 never asks."""
    if count(folder, "attempts") == 1 and recipe.seed < 2:
        (folder / "lock").unlink()
        if recipe.seed == 0:
            should_stop()
            count(folder, "deaf")
    return carry_out(recipe, folder, should_stop=should_stop, **options)


def of_a_path(recipe: Recipe, folder: Path, **options: Any) -> dict[str, Any]:
    return {**carry_out(recipe, folder, **options), "data": {"source": identity(Path(recipe.dataset))}}


def imports_by_name(recipe: Recipe, folder: Path, **options: Any) -> dict[str, Any]:
    """A run whose recipe names a module of somebody's."""
    from gan_ablate import trust

    trust.load("strangers_module:Louder", "trick 'strangers_module.Louder'")
    return carry_out(recipe, folder, **options)


PLANTED = {"base": 0.0, "better": -0.5, "worse": 0.5, "equal": 0.0, "unclear": 0.07, "fails": 0.0}  # of log FID
LONGER = {**PLANTED, "better": 0.5, "worse": -0.5, "fails": 0.5}  # the same for runs of over `SHORT` steps
SHORT = 2


def planted(recipe: Recipe, folder: Path, **options: Any) -> dict[str, Any]:
    """A FID of its arm's effect and some noise; `fails` collapses in short runs."""
    longer = recipe.steps > SHORT
    noise = random.Random(f"{recipe.model} {recipe.arm} {recipe.seed}{' longer' * longer}").gauss(0, 0.08)
    fid = 30 * math.exp((LONGER if longer else PLANTED)[recipe.arm] + noise)
    outcome = "collapsed" if recipe.arm == "fails" and not longer else "ok"
    return {**carry_out(recipe, folder, **options), "outcome": outcome, "metrics": {"fid": fid}, "seconds": 6.0}


# of tuned studies: arm -> the factor of base's learning rate at which it is best
BEST_FACTOR = {"base": 1.0, "spectral_norm": 2.0, "label_smoothing": 1.0, "lsgan": 2.0, "adam_lr:lr=0.0007": 1.0}


def tuned(recipe: Recipe, folder: Path, **options: Any) -> dict[str, Any]:
    """All arms are equal at their own best learning rate. `hinge` has one FID at all; `lsgan` fails once at its best."""
    base = {"dcgan": 0.001, "nsgan": 0.004}[recipe.model]
    octaves = math.log2(recipe.lr / base)
    noise = random.Random(f"{recipe.model} {recipe.arm} {recipe.lr} {recipe.seed}").gauss(0, 0.05)
    away = 0.5 * abs(octaves - math.log2(BEST_FACTOR.get(recipe.arm, 1.0)))
    fid = 30.0 if recipe.arm == "hinge" else 30 * math.exp(away + noise)
    fails = recipe.arm == "lsgan" and octaves == 1 and recipe.seed == 20_000
    found = {"outcome": "collapsed" if fails else "ok", "metrics": {"fid": fid}, "seconds": 6.0, "schema": 2}
    return {**carry_out(recipe, folder, **options), **found}
