"""Cost of each trick: seconds per generator step relative to base, per model, as a Markdown table.

    python benchmarks/tricks.py [--rounds 3] [--steps 20] [--only PATTERN] [--models dcgan,wgan_gp] [--device cuda]

Base and four tricks run in turn within each round, so that a machine whose speed drifts slows all; a cell is the median
of the rounds' ratios. Settings are those of sweeps/ablation.yaml: 16 px, grey, width 16, batch 16, fp32, one thread.
A G step counts with its D steps (five on wgan_gp), so n_critic costs what it costs. On a GPU the step is captured as a
graph.
"""

from __future__ import annotations

import argparse
import logging
import platform
import statistics
import sys
import time
import warnings
from fnmatch import fnmatchcase
from itertools import islice

import lightning
import torch

from gan_ablate import GANDataModule
from gan_ablate.data.images import ImageSet
from gan_ablate.errors import InputError
from gan_ablate.models import BY_NAME, GANModule
from gan_ablate.recipe import CATALOGUED, Recipe
from gan_ablate.tricks import not_applicable, trick_names

WARMUP = {"cpu": 3, "cuda": 52}  # G steps before the clock starts; on a GPU all graphs are captured by then
STUDY = {"size": 16, "channels": 1, "width": 16, "batch_size": 16, "precision": "fp32"}
BESIDE = 4  # tricks that share a run of base in each round
# a parameter that is the model's own changes nothing: time another one, the cost is the same
LEVELS = {"adam_beta1": "adam_beta1:beta1=0.3", "adam_lr": "adam_lr:lr=0.002", "batch_size": "batch_size:size=8"}


def images() -> ImageSet:
    """2,048 images of noise in ten classes: a step's cost does not depend on what is on them."""
    pixels = torch.randint(0, 256, (2048, 1, 16, 16), dtype=torch.uint8)
    return ImageSet(pixels, torch.arange(2048) % 10, tuple("0123456789"), "noise", "")


def seconds(model: str, tricks: tuple[str, ...], steps: int, data: ImageSet, device: str) -> float:
    """Seconds per G step under a Trainer."""
    times: dict[int, float] = {}
    warm_up = WARMUP[device]

    class Clock(lightning.Callback):
        def on_train_batch_end(self, trainer: object, pl_module: GANModule, *_: object) -> None:
            if pl_module.g_steps >= warm_up and (not times or pl_module.g_steps >= warm_up + steps):
                if device == "cuda":
                    torch.cuda.synchronize()
                times.setdefault(pl_module.g_steps, time.perf_counter())

    module = BY_NAME[model](steps=steps + warm_up, tricks=tricks, classes=10, **STUDY)
    module.limit = steps + warm_up  # a trick that trains fewer or more steps is timed per step like the others
    module.step, module.pauses = "auto", frozenset([warm_up])
    trainer = lightning.Trainer(
        accelerator={"cpu": "cpu", "cuda": "gpu"}[device], devices=1, max_epochs=1, logger=False,
        enable_checkpointing=False, enable_progress_bar=False, enable_model_summary=False, callbacks=[Clock()],
    )  # fmt: skip
    trainer.fit(module, GANDataModule(data, batch_size=module.blueprint.batch_size, batches=10**6))
    first, last = min(times), max(times)
    return (times[last] - times[first]) / (last - first)


def can_be_timed(model: str, level: str) -> bool:
    """Whether a trick means something on a model, and its weights file is there if it needs one; else says so."""
    recipe = Recipe(model=model, tricks=(level,), **STUDY)
    if not_applicable(recipe):
        return False
    try:
        GANModule.from_recipe(recipe)
    except InputError as problem:
        print(f"left out: {problem}", file=sys.stderr)
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--only", default="*", help="tricks whose name fits the pattern")
    parser.add_argument("--models", default=",".join(CATALOGUED))
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    for name in ("lightning.pytorch", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    models = args.models.split(",")
    data, bases = images(), {model: [] for model in models}
    print(f"| trick | {' | '.join(models)} |\n|---|{'---|' * len(models)}", flush=True)
    levels = [LEVELS.get(name, name) for name in trick_names() if fnmatchcase(name, args.only)]
    waiting = iter(levels)
    while group := list(islice(waiting, BESIDE)):
        cells = {level: [""] * len(models) for level in group}
        for place, model in enumerate(models):
            own = [level for level in group if can_be_timed(model, level)]
            ratios: dict[str, list[float]] = {level: [] for level in own}
            for _ in range(args.rounds if own else 0):
                base = seconds(model, (), args.steps, data, args.device)
                bases[model].append(base)
                for level in own:
                    ratios[level].append(seconds(model, (level,), args.steps, data, args.device) / base)
            for level, found in ratios.items():
                cells[level][place] = f"{statistics.median(found):.2f}"
        for level, row in cells.items():
            print(f"| `{level}` | {' | '.join(row)} |", flush=True)
    name = torch.cuda.get_device_name() if args.device == "cuda" else platform.machine()
    for model, times in bases.items():
        if times:
            print(f"\n{model}: base {1000 * statistics.median(times):.1f} ms per G step (median of {len(times)})")
    print(f"\ntorch {torch.__version__}, {name}, one thread, {args.rounds} rounds of {args.steps} G steps")


if __name__ == "__main__":
    main()
