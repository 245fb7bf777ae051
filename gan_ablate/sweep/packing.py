"""How many runs share a GPU: chosen by a short trial of the study's first run (`--per-gpu auto`). No torch here."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from gan_ablate import trust
from gan_ablate.recipe import Recipe

COUNTS = (1, 2, 4, 8, 16)  # runs at a time that are tried
SECONDS = 2.0  # that each number is timed over
NEAR = 0.95  # of the greatest rate: fewer runs that come so near are taken, since each ends sooner
FULL = 0.9  # share of the GPU's memory that they may use
LIMIT = 600.0  # seconds of the whole trial


class Trial(NamedTuple):
    """So many runs at a time on one device."""

    runs: int
    rate: float  # rounds a second, all together
    used: float  # share of the device's memory


def choose(trials: Sequence[Trial]) -> int:
    """The fewest runs that are nearly as fast together as any number that leaves memory free; 1 where nothing is known.

    >>> choose([Trial(1, 663, 0.05), Trial(2, 1105, 0.1), Trial(4, 1679, 0.2), Trial(8, 2119, 0.4)])
    8
    >>> choose([Trial(1, 522, 0.05), Trial(2, 797, 0.1), Trial(4, 798, 0.2)])
    2
    >>> choose([Trial(1, 100, 0.5), Trial(2, 190, 0.95)])
    1
    """
    fit = [trial for trial in trials if trial.used <= FULL]
    fastest = max((trial.rate for trial in fit), default=0.0)
    return min((trial.runs for trial in fit if trial.rate >= NEAR * fastest), default=1)


def runs_per_gpu(recipe: Recipe, gpu: str, options: Mapping[str, Any]) -> int:
    """How many runs like `recipe` one GPU carries at a time; says on stderr what was tried.

    gpu: its name in CUDA_VISIBLE_DEVICES. options: of the runs (`data_root`, `step`).
    """
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": gpu, "PYTORCH_NVML_BASED_CUDA_CHECK": "1"}
    trials = measure(recipe, "cuda", options, environment=environment)
    chosen = choose(trials)
    told = ", ".join(f"{t.runs}: {t.rate:.0f} rounds/s, {t.used:.0%} of memory" for t in trials)
    print(f"--per-gpu auto: {chosen} runs on each GPU ({told or 'the trial failed'})", file=sys.stderr, flush=True)
    return chosen


def measure(  # noqa: PLR0917
    recipe: Recipe,
    device: str,
    options: Mapping[str, Any],
    counts: Sequence[int] = COUNTS,
    seconds: float = SECONDS,
    environment: Mapping[str, str] | None = None,
) -> list[Trial]:
    """The trials of `gan_ablate.run.packing` in a process of its own; those that it finished, where it fails."""
    ask = {
        "recipe": recipe.to_dict(),
        "counts": list(counts),
        "device": device,
        "seconds": seconds,
        "full": FULL,
        "step": options.get("step", "auto"),
        "data_root": options.get("data_root"),
        "trusted": list(trust.trusted()),
    }
    command = [sys.executable, "-m", "gan_ablate.run.packing"]
    environment = {**(os.environ if environment is None else environment), "PYTHONPATH": os.pathsep.join(sys.path)}
    try:
        done = subprocess.run(
            command, input=json.dumps(ask), env=environment, capture_output=True, text=True, timeout=LIMIT, check=False
        )
        output = done.stdout
        if done.returncode:
            print("--per-gpu auto:", (done.stderr.strip().splitlines() or ["failed"])[-1], file=sys.stderr)
    except subprocess.TimeoutExpired as late:
        output = late.stdout.decode() if isinstance(late.stdout, bytes) else late.stdout or ""
    return [Trial(**json.loads(line)) for line in output.splitlines() if line.startswith("{")]
