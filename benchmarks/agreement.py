"""Does a FID that needs no labels rank a study's arms as the classifier's does? A table of docs/evaluation.md.

    OMP_NUM_THREADS=1 python benchmarks/agreement.py runs/ablation --model dcgan --arms 30 --seeds 2

Reads a root whose runs have their checkpoints. The classifier's FID is the one that each run recorded; its samples are
drawn again from the checkpoint, by the same z, and measured in other feature spaces: each layer of the rotation
extractor's network, and the random CNN of PRDC. Arms are chosen by a fixed seed, base always among them.

Per space: Spearman's rank correlation over arms of mean log FID (its 95 % interval by bootstrap over arms), and over
the better half of the arms by the classifier, where telling them apart is hard. Above it how well the classifier's FID
agrees with itself from one seed to the others: a space that agrees more than that agrees on the same samples. At the
end where it disagrees most.
"""

from __future__ import annotations

import argparse
import math
import random
from collections import defaultdict
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from scipy.stats import spearmanr
from torch import Tensor

from gan_ablate.data import load
from gan_ablate.data.images import to_float
from gan_ablate.evaluate.frechet import frechet_distance
from gan_ablate.evaluate.prdc import RandomCNN
from gan_ablate.evaluate.real_statistics import RealStatistics
from gan_ablate.evaluate.rotation import LAYERS, TURNS, checkpoint_for
from gan_ablate.evaluate.small_cnn import BATCH, SmallCNN
from gan_ablate.recipe import seed_for
from gan_ablate.results.frames import load as load_results
from gan_ablate.results.runs import Run
from gan_ablate.run.measure import open_checkpoint

REAL = 20_000  # images of the statistics, as the classifier's have
Spaces = Mapping[str, Callable[[Tensor], Tensor]]


def chosen(root: Path, model: str, arms: int, seeds: int) -> dict[str, list[Run]]:
    """Arm -> its first runs that have a FID and a checkpoint; arms with fewer such runs are left out."""
    found: dict[str, list[Run]] = defaultdict(list)
    for run in sorted(load_results(root).each, key=lambda run: run.seed):
        if (
            run.model == model
            and math.isfinite(run.fid)
            and run.record["evaluation"]["extractor"].endswith("classifier")
        ):
            found[run.arm].append(run)
    whole = {arm: runs[:seeds] for arm, runs in sorted(found.items()) if len(runs) >= seeds}
    others = [arm for arm in whole if arm != "base"]
    picked = random.Random(0).sample(others, min(arms - 1, len(others)))
    return {arm: whole[arm] for arm in ("base", *sorted(picked)) if arm in whole}


def spaces(dataset: str, size: int, channels: int, data_root: str | None) -> tuple[Spaces, Tensor, float]:
    """The feature spaces, real images, and the rotation network's accuracy."""
    images = load(dataset, size=size, channels=channels, data_root=data_root)
    checkpoint = checkpoint_for(images)
    network = SmallCNN(size, channels, TURNS).eval().requires_grad_(False)
    network.load_state_dict(checkpoint["state"])
    rows = torch.randperm(len(images), generator=torch.Generator().manual_seed(0))[:REAL]
    real = images.images[rows]
    found: dict[str, Callable[[Tensor], Tensor]] = {}
    for count in range(1, len(SmallCNN.WIDTHS) + 1):
        found[f"rotation, layer {count}"] = lambda x, body=network.layers(count): torch.cat(
            [body(to_float(part)).mean((2, 3)) for part in x.split(BATCH)]
        )
    found["random CNN"] = RandomCNN.fitted(real)
    return found, real, checkpoint["meta"]["accuracy"]


def measured(arms: Mapping[str, list[Run]], root: Path, by: Spaces, real: Tensor) -> dict[str, dict[str, list[float]]]:
    """Space -> arm -> log FID of each run, the classifier's among them."""
    statistics = {name: RealStatistics.of(space(real)) for name, space in by.items()}
    found: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in ("classifier", *by)}
    for arm, runs in arms.items():
        for run in runs:
            module = open_checkpoint(root / "runs" / run.run_id / "checkpoints" / "last.ckpt")
            samples = run.record["recipe"]["evaluation"]["samples"]
            images = module.generate(samples, seed=seed_for(run.seed, "evaluation"))
            found["classifier"][arm].append(math.log(run.fid))
            for name, space in by.items():
                found[name][arm].append(math.log(frechet_distance(space(images), statistics[name])))
    return found


def agreement(one: np.ndarray, other: np.ndarray, rounds: int = 2000) -> str:
    """Spearman's correlation with its 95 % percentile interval over resampled arms."""
    generator, n = np.random.default_rng(0), len(one)
    draws = [generator.integers(0, n, n) for _ in range(rounds)]
    low, high = np.nanpercentile([spearmanr(one[rows], other[rows])[0] for rows in draws], [2.5, 97.5])
    return f"{spearmanr(one, other)[0]:.2f} ({low:.2f} to {high:.2f})"


def tell(found: Mapping[str, Mapping[str, list[float]]]) -> None:
    names, seeds = list(found["classifier"]), len(next(iter(found["classifier"].values())))
    means = {space: np.array([np.mean(values[arm]) for arm in names]) for space, values in found.items()}
    classifier = means["classifier"]
    if seeds > 1:
        first = np.array([found["classifier"][arm][0] for arm in names])
        rest = np.array([np.mean(found["classifier"][arm][1:]) for arm in names])
        print(f"classifier, first seed against the others: {agreement(first, rest)}")
    better = np.argsort(classifier)[: len(names) // 2]
    print("| space | all arms | better half by the classifier |\n| --- | --- | --- |")
    for space in list(found)[1:]:
        whole, half = agreement(classifier, means[space]), agreement(classifier[better], means[space][better])
        print(f"| {space} | {whole} | {half} |")
    kept = f"rotation, layer {LAYERS}"
    ranks = {space: means[space].argsort().argsort() + 1 for space in ("classifier", kept)}
    moved = ranks[kept] - ranks["classifier"]
    print(f"where {kept} disagrees most (rank by the classifier -> by it, of {len(names)}):")
    for k in np.argsort(-np.abs(moved))[:6]:
        print(f"  {names[k]}: {ranks['classifier'][k]} -> {ranks[kept][k]}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("root", type=Path)
    parser.add_argument("--model", default="dcgan")
    parser.add_argument("--arms", type=int, default=30)
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--data-root", help="where torchvision's files lie")
    args = parser.parse_args()
    torch.set_num_threads(1)
    arms = chosen(args.root, args.model, args.arms, args.seeds)
    recipe = next(iter(arms.values()))[0].record["recipe"]
    by, real, accuracy = spaces(recipe["dataset"], recipe["size"], recipe["channels"], args.data_root)
    print(
        f"{recipe['dataset']}: quarter turns told at {accuracy:.1%}; {args.model}, {len(arms)} arms, {args.seeds} seeds"
    )
    tell(measured(arms, args.root, by, real))


if __name__ == "__main__":
    main()
