"""The `classifier` extractor: a small CNN trained on the dataset itself. Its features make FIDs for small images.

Its figures are labelled with its name, "FID (mnist classifier)": they compare arms on one dataset, and cannot be
compared with published FIDs. Those for `digits` and `shapes` at 16 px and MNIST ship with the package, made by
benchmarks/train_shipped_classifiers.py; any other is trained once with a fixed seed and kept in the cache, under
a name that hashes what it was trained on.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import IO, Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from gan_ablate.data import GENERATED, ImageSet, load
from gan_ablate.data.images import to_float
from gan_ablate.errors import InputError
from gan_ablate.evaluate.cache import read_or_make
from gan_ablate.evaluate.extractors import Extractor, Features, digest_of

RECIPE = "cnn-1"  # raise it when network or training change: cached classifiers are then trained anew
SEED = 20240607
BUDGET = 200_000  # images seen in training: half a minute to two minutes on one core
HELD_OUT = 0.05  # share of the images that measure the accuracy instead of training
WEIGHTS = Path(__file__).parent / "weights"
SHIPPED = ("digits", "shapes", "mnist")  # at 16 px, the shapes in colour, and at 28 px


class SmallCNN(nn.Module):
    """Four 3x3 convolutions with batch norm and a linear head: 124,000 weights for 64 classes, 128 features.

    Strides are chosen by the image size so that the last map is about 4 x 4, whatever the size.
    """

    WIDTHS = (32, 48, 64, 128)
    dim = WIDTHS[-1]

    def __init__(self, size: int, channels: int, classes: int) -> None:
        super().__init__()
        strides = (1, 2, 2, 1) if size < 24 else (2, 2, 2, 1) if size < 48 else (2, 2, 2, 2)
        layers: list[nn.Module] = []
        for before, after, stride in zip((channels, *self.WIDTHS[:-1]), self.WIDTHS, strides, strict=True):
            layers += [nn.Conv2d(before, after, 3, stride, 1, bias=False), nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(self.dim, classes)

    def forward(self, x: Tensor) -> Features:
        """x: float (N, C, H, W) in [-1, 1]."""
        features = self.body(x.contiguous(memory_format=torch.channels_last)).mean((2, 3))  # (N, 128), >= 0
        return Features(features, self.head(features))


class ClassifierExtractor(Extractor):
    """A trained `SmallCNN` as an extractor. Its features are the activations before the linear head, d = 128."""

    random_prdc = True

    def __init__(self, checkpoint: dict[str, Any]) -> None:
        super().__init__()
        meta = checkpoint["meta"]
        self.name = f"{meta['dataset']} classifier"
        self.classes = tuple(meta["classes"])
        self.size, self.channels = int(meta["size"]), int(meta["channels"])
        self.accuracy = float(meta["accuracy"])  # on images held out of its training
        self.dim = SmallCNN.dim
        self.digest = digest_of(checkpoint["state"])
        with torch.random.fork_rng(devices=[]):  # the layers' initial weights are drawn, and thrown away
            self.network = SmallCNN(self.size, self.channels, len(self.classes))
        self.network.load_state_dict(checkpoint["state"])
        self.network.to(memory_format=torch.channels_last)
        self.freeze()

    def forward(self, images: Tensor) -> Features:
        """uint8 (N, C, H, W) of the size and channels that it was trained on; `InputError` for others."""
        if images.shape[1:] != (self.channels, self.size, self.size):
            wanted = f"{self.channels} x {self.size} x {self.size}"
            raise InputError(f"{self.name}: trained on images {wanted}, got {' x '.join(map(str, images.shape[1:]))}")
        return self.network(to_float(images))


def classifier_for(dataset: ImageSet, device: torch.device | str = "cpu") -> ClassifierExtractor:
    """The classifier of `dataset`: shipped, cached, or trained now (about a minute on one core, said on stderr).

    Raises `InputError` where the dataset has no labels, or fewer than two classes.
    """
    size, channels = dataset.images.shape[-1], dataset.images.shape[1]
    shipped = WEIGHTS / f"{dataset.name}-{size}x{size}x{channels}.pt"
    if dataset.name in SHIPPED and shipped.exists():
        checkpoint = read(shipped)
        if checkpoint is None:
            raise InputError(f"{shipped}: damaged; python benchmarks/train_shipped_classifiers.py makes it anew")
        # of files on this machine it has to be seen that they are those that it was trained on
        generated = dataset.name in GENERATED and tuple(checkpoint["meta"]["classes"]) == dataset.classes
        if generated or _of(dataset, checkpoint) is not None:
            return ClassifierExtractor(checkpoint).to(device)
    elif dataset.name in GENERATED and dataset.classes:
        # its training split can always be made: one classifier whatever part is measured
        dataset = load(dataset.name, size=size, channels=channels, split="train")
    if dataset.labels is None or len(dataset.classes) < 2:
        has = "one class only" if dataset.labels is not None else "no labels"
        raise InputError(
            f"{dataset.name}: {has} to train a classifier on; use --extractor inception (or class folders)"
        )
    key = f"{RECIPE}/{SEED}/{BUDGET}/{dataset.fingerprint}/{size}/{channels}/{'/'.join(dataset.classes)}"
    checkpoint = read_or_make(
        "classifiers",
        key,
        suffix=".pt",
        read=lambda file: _of(dataset, read(file)),
        make=lambda: train(dataset, device, budget=BUDGET),
        write=torch.save,
    )
    return ClassifierExtractor(checkpoint).to(device)


def read(file: Path | IO[bytes]) -> dict[str, Any] | None:
    """The checkpoint {"state", "meta"} in `file` (weights only, no code), or None where it is missing or damaged."""
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except Exception:  # a truncated zip raises one of many types
        return None
    return checkpoint if isinstance(checkpoint, dict) and {"state", "meta"} <= set(checkpoint) else None


def _of(dataset: ImageSet, checkpoint: dict[str, Any] | None) -> dict[str, Any] | None:
    """The checkpoint where it is of `dataset` and its weights are finite, else None."""
    if checkpoint is None:
        return None
    meta, weights = checkpoint["meta"], checkpoint["state"].values()
    wanted = {"recipe": RECIPE, "fingerprint": dataset.fingerprint, "classes": list(dataset.classes)}
    own = all(meta.get(name) == value for name, value in wanted.items())
    return checkpoint if own and all(bool(torch.isfinite(w).all()) for w in weights) else None


def train(dataset: ImageSet, device: torch.device | str = "cpu", *, budget: int = BUDGET) -> dict[str, Any]:
    """Train a `SmallCNN` on `dataset` with a fixed seed, the caller's random state left alone.

    AdamW under a one-cycle schedule (Smith 2018) for `budget` images in batches of 128, small shifts as augmentation.
    Returns {"state": weights, "meta": plain data}; `meta["accuracy"]` is on 5 % of the images (at least one, 5,000 at
    most) that were held out of the training.
    """
    assert dataset.labels is not None
    started, count = time.perf_counter(), len(dataset)
    size, channels = dataset.images.shape[-1], dataset.images.shape[1]
    generator = torch.Generator().manual_seed(SEED)
    order = torch.randperm(count, generator=generator)
    held_out = order[: min(5000, max(1, round(HELD_OUT * count)))]
    order = order[len(held_out) :] if count > 1 else order
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = SmallCNN(size, channels, len(dataset.classes)).to(device).to(memory_format=torch.channels_last)
    batch = min(128, len(order))
    steps = max(50, budget // 128)
    text = f"training the {dataset.name} classifier once ({size} px, {len(dataset.classes)} classes, {steps} steps)"
    print(text, end=" ... ", file=sys.stderr, flush=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=8e-3, total_steps=steps, pct_start=0.2)
    at = len(order)
    for _ in range(steps):
        if at + batch > len(order):  # the next epoch
            order, at = order[torch.randperm(len(order), generator=generator)], 0
        rows = order[at : at + batch]
        at += batch
        x = _shifted(to_float(dataset.images[rows].to(device)), generator)
        loss = F.cross_entropy(network(x).logits, dataset.labels[rows].to(device))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    accuracy = accuracy_of(network.eval(), dataset.images[held_out], dataset.labels[held_out])
    print(f"accuracy {accuracy:.1%}, {time.perf_counter() - started:.0f} s", file=sys.stderr, flush=True)
    meta = {
        "recipe": RECIPE,
        "dataset": dataset.name,
        "fingerprint": dataset.fingerprint,
        "classes": list(dataset.classes),
        "size": size,
        "channels": channels,
        "accuracy": accuracy,
    }
    return {"state": {k: v.cpu().contiguous() for k, v in network.state_dict().items()}, "meta": meta}


def accuracy_of(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of uint8 images (N, C, H, W) whose largest logit is that of their label."""
    device = next(network.parameters()).device
    with torch.no_grad():
        right = [
            (network(to_float(x.to(device))).logits.argmax(1).cpu() == y).sum()
            for x, y in zip(images.split(256), labels.split(256), strict=True)
        ]
    return int(sum(right)) / len(images)


def _shifted(x: Tensor, generator: torch.Generator) -> Tensor:
    """The batch (N, C, H, W) moved by up to one pixel either way, at random; edges are repeated."""
    across, down = torch.randint(0, 3, (2,), generator=generator).tolist()
    h, w = x.shape[-2:]
    return F.pad(x, (1, 1, 1, 1), mode="replicate")[..., down : down + h, across : across + w]
