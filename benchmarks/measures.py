"""What modes and PRDC say of images whose worth is known: the tables "Modes and PRDC" of docs/evaluation.md.

    gan-ablate train --root runs/m --model dcgan --lr 5e-4 --width 24 --batch-size 20 --steps 680 --seed 0
    OMP_NUM_THREADS=1 python benchmarks/measures.py --root runs/m
    OMP_NUM_THREADS=1 python benchmarks/measures.py --dataset mnist --data-root ../shared/data --root runs/mnist

Rows: real training images outside the statistics, held-out ones, half of the classes, held-out ones with noise,
blurred, and the mean of two, uniform noise, an untrained generator, and the runs in --root. Columns: FID, modes by the
rule of before (one sample at softmax > 0.9), by samples of any quality and by good ones, the share of good ones; then
precision, recall, density and coverage in the four spaces that were compared. Last, seconds of one CPU core.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional as F

from gan_ablate.data import ImageSet, load
from gan_ablate.data.images import to_float, to_uint8
from gan_ablate.evaluate import load_extractor
from gan_ablate.evaluate.classifier import ClassifierExtractor
from gan_ablate.evaluate.extractors import extract
from gan_ablate.evaluate.metrics import METRICS, evaluate_images
from gan_ablate.evaluate.modes import mode_coverage
from gan_ablate.evaluate.prdc import RandomCNN, precision_recall_density_coverage, squared_radii
from gan_ablate.evaluate.real_statistics import real_statistics
from gan_ablate.models import BY_NAME
from gan_ablate.recipe import Recipe, seed_for
from gan_ablate.run.measure import open_checkpoint

COUNT, KEPT = 2048, 5000  # generated, and real images that PRDC looks at
SHAPES = {"shapes": (16, 3), "mnist": (28, 1)}  # size and channels


def made_of(train: ImageSet, test: ImageSet) -> dict[str, Tensor]:
    """uint8 images (`COUNT`, C, H, W) by name."""
    g = torch.Generator().manual_seed(1)
    order = torch.randperm(len(test), generator=g)
    images, others = test.images[order[:COUNT]], test.images[order[COUNT : 2 * COUNT]]
    rest = torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[20_000 : 20_000 + COUNT]
    assert test.labels is not None
    x = images.float()
    blurred = F.avg_pool2d(F.pad(to_float(images), (1, 1, 1, 1), mode="replicate"), 3, 1)
    untrained = BY_NAME["dcgan"].from_recipe(
        Recipe(dataset=train.name, size=x.shape[-1], channels=x.shape[1], width=24, classes=len(train.classes))
    )
    return {
        "real, training split": train.images[rest],
        "real, held out": images,
        "half of the classes": test.images[order][test.labels[order] < len(test.classes) // 2][:COUNT],
        "held out + noise 8/255": _rounded(x + 8 * torch.randn(x.shape, generator=g)),
        "held out + noise 20/255": _rounded(x + 20 * torch.randn(x.shape, generator=g)),
        "held out, 3 x 3 blur": to_uint8(blurred),
        "mean of two held out": _rounded((x + others.float()) / 2),
        "uniform noise": torch.randint(0, 256, x.shape, generator=g, dtype=torch.uint8),
        "untrained G": untrained.generate(COUNT, seed=0),
    }


def _rounded(x: Tensor) -> Tensor:
    return x.round().clamp(0, 255).to(torch.uint8)


def of_runs(root: Path | None, dataset: str) -> dict[str, Tensor]:
    """Samples of the finished runs on `dataset` in a root."""
    found = {}
    for path in sorted((root or Path("nowhere")).glob("runs/*/result.json")):
        recipe = json.loads(path.read_text())["recipe"]
        if recipe["dataset"] == dataset:
            module = open_checkpoint(path.parent / "checkpoints" / "last.ckpt")
            numbers = f"lr {recipe['lr']:g}, beta1 {recipe['beta1']:g}, seed {recipe['seed']}"
            name = f"{recipe['model']} {recipe['arm']}, {numbers}"
            found[name] = module.generate(COUNT, seed=seed_for(recipe["seed"], "evaluation"))
    return dict(sorted(found.items()))


def spaces(extractor: ClassifierExtractor, real: Tensor) -> dict[str, Callable[[Tensor], Tensor]]:
    """uint8 images (N, C, H, W) -> features (N, d) by name."""
    third = extractor.network.body[:9]  # three times convolution, batch norm, ReLU

    def layer_3(images: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([third(to_float(part)).flatten(1) for part in images.split(256)])

    return {
        "classifier": lambda images: extract(extractor, images).features,
        "its layer 3": layer_3,
        "random CNN": RandomCNN.fitted(real),
        "pixels": lambda images: to_float(images).flatten(1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dataset", choices=list(SHAPES), default="shapes")
    parser.add_argument("--data-root")
    parser.add_argument("--root", type=Path, help="a root with runs of --dataset")
    args = parser.parse_args()
    torch.set_num_threads(1)
    size, channels = SHAPES[args.dataset]
    train, test = (
        load(args.dataset, size=size, channels=channels, split=split, data_root=args.data_root)
        for split in ("train", "test")
    )
    extractor = load_extractor("classifier", dataset=train)
    assert isinstance(extractor, ClassifierExtractor)
    statistics = real_statistics(train, extractor)
    assert statistics.class_counts is not None
    kept = train.images[torch.randperm(len(train), generator=torch.Generator().manual_seed(0))[:KEPT]]
    by_space = spaces(extractor, kept)
    references = {name: (y := see(kept), squared_radii(y)) for name, see in by_space.items()}

    heads = ["images", "FID", "modes before", "assigned", "modes", "good"]
    print(f"| {' | '.join([*heads, *by_space])} |\n|{' --- |' * (len(heads) + len(by_space))}")
    for name, images in {**made_of(train, test), **of_runs(args.root, args.dataset)}.items():
        found = evaluate_images(images, extractor, statistics, only=["fid", "modes"])
        before = mode_coverage(extract(extractor, images).logits, statistics.class_counts)[0]
        cells = [f"{found['fid']:.1f}", f"{before}", f"{found['assigned_modes']}", f"{found['modes']}"]
        cells.append(f"{found['high_quality']:.3f}")
        for space, see in by_space.items():
            four = precision_recall_density_coverage(see(images), *references[space])
            cells.append(" ".join(f"{four[k]:.2f}" for k in METRICS["prdc"]))
        print(f"| {name} | {' | '.join(cells)} |", flush=True)

    print("\nCPU seconds of 2,048 samples, median of 5:")
    images = test.images[:COUNT]
    parts = {
        "features": lambda: extract(extractor, images),
        "random CNN's features": lambda: by_space["random CNN"](images),
    }
    parts |= {k: lambda k=k: evaluate_images(images, extractor, statistics, only=[k]) for k in ("fid", "prdc", "modes")}
    parts["all of an evaluation"] = lambda: evaluate_images(images, extractor, statistics)
    for name, call in parts.items():
        times = []
        for _ in range(5):
            began = time.process_time()
            call()
            times.append(time.process_time() - began)
        print(f"  {name:24} {sorted(times)[2]:.3f}")


if __name__ == "__main__":
    main()
