"""What a run reads before it trains: by itself, and where a sweep's server holds it.

    python benchmarks/holding.py [--data-root DATA] [--rounds 9]

Data, extractor, statistics of the real images and the neighbours of memorisation, on the CPU, in a forked process each
time. Inception has random weights and its real images random features, of the sizes that 50,000 images and the weights
of 2015 have: what is timed is reading, not what is in it. With --data-root MNIST from there, too.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from unittest.mock import patch

import torch
from evaluation import random_inception

from gan_ablate.data import ImageSet, load
from gan_ablate.evaluate import inception, memorisation, real_statistics
from gan_ablate.evaluate.extractors import Extractor, Features
from gan_ablate.recipe import Evaluation, Recipe
from gan_ablate.run import carry_out


def random_features(extractor: Extractor, images: torch.Tensor) -> Features:
    return Features(torch.rand(len(images), extractor.dim), None)


def any_weights(name: str, *, dataset: ImageSet, device: str, weights: str) -> Extractor:
    """Inception from a file of any SHA-256."""
    return inception.inception_for(weights, channels=dataset.images.shape[1], device=device, sha256=None)


def keep(recipe: Recipe, data_root: str | None = None, weights: str | None = None) -> None:
    """What the first run of a sweep leaves in the cache."""
    where = {"size": recipe.size, "channels": recipe.channels, "data_root": data_root}
    images = load(recipe.dataset, **where)  # type: ignore[arg-type]
    extractor = carry_out.load_extractor(recipe.evaluation.extractor, dataset=images, device="cpu", weights=weights)
    real_statistics.real_statistics(images, extractor)
    memorisation.neighbours_of(images, memorisation.held_out_of(recipe.dataset, **where), extractor)  # type: ignore[arg-type]


def seconds_in_a_fork(read: Callable[[], object]) -> float:
    end, theirs = os.pipe()
    pid = os.fork()
    if pid == 0:
        started = time.perf_counter()
        try:
            read()
            os.write(theirs, str(time.perf_counter() - started).encode())
        finally:
            os._exit(0)
    os.close(theirs)
    os.waitpid(pid, 0)
    with os.fdopen(end) as file:
        return float(file.read())


def row(name: str, recipe: Recipe, rounds: int, **options: str) -> str:
    """A line of the table."""
    seconds_in_a_fork(partial(keep, recipe, **options))
    hold = partial(carry_out.hold, recipe, **options)
    alone = [seconds_in_a_fork(hold) for _ in range(rounds)]
    hold()
    held = [seconds_in_a_fork(hold) for _ in range(rounds)]
    return f"| {name} | {statistics.median(alone):.3f} | {statistics.median(held):.4f} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-root")
    parser.add_argument("--rounds", type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(1)
    digits = Recipe(dataset="digits", size=16, channels=1, evaluation=Evaluation(extractor="classifier"))
    shapes = Recipe(dataset="shapes", size=32, channels=3, evaluation=Evaluation(extractor="inception"))
    print("| data, extractor | by itself, s | held, s |\n|---|---|---|")
    with tempfile.TemporaryDirectory() as folder, patch.dict(os.environ, {"GAN_ABLATE_CACHE": folder}):
        print(row("digits of 16 px, classifier", digits, args.rounds), flush=True)
        if args.data_root:
            mnist = replace(digits, dataset="mnist", size=28)
            print(row("MNIST of 28 px, classifier", mnist, args.rounds, data_root=args.data_root), flush=True)
        weights = Path(folder) / "inception.pth"
        random_inception(weights)
        with (
            patch.object(real_statistics, "extract", random_features),
            patch.object(memorisation, "extract", random_features),
            patch.object(carry_out, "load_extractor", any_weights),
        ):
            print(row("shapes of 32 px, Inception", shapes, args.rounds, weights=str(weights)))


if __name__ == "__main__":
    main()
