"""The `classifier` extractor: a small CNN trained on the dataset itself. Its features make FIDs for small images.

Its figures are labelled with its name, "FID (mnist classifier)": they compare arms on one dataset, and cannot be
compared with published FIDs. Those for `digits` and `shapes` at 16 px and MNIST ship with the package, made by
benchmarks/train_shipped_classifiers.py; any other is trained once with a fixed seed and kept in the cache, under
a name that hashes what it was trained on.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gan_ablate.cache import read_or_make
from gan_ablate.data import GENERATED, ImageSet, load
from gan_ablate.data.images import to_float
from gan_ablate.errors import InputError
from gan_ablate.evaluate.extractors import Extractor, Features, digest_of
from gan_ablate.evaluate.small_cnn import BATCH, BUDGET, SEED, SmallCNN, accuracy_of, as_checkpoint, fit, fits, read

RECIPE = "cnn-1"  # raise it when network or training change: cached classifiers are then trained anew
WEIGHTS = Path(__file__).parent / "weights"
SHIPPED = ("digits", "shapes", "mnist", "voxels")  # at 16 px, the shapes in colour, 28 px, and 16 voxels a side


class ClassifierExtractor(Extractor):
    """A trained `SmallCNN` as an extractor. Its features are the activations before the linear head, d = 128."""

    random_prdc = True

    def __init__(self, checkpoint: dict[str, Any]) -> None:
        super().__init__()
        meta = checkpoint["meta"]
        self.name = f"{meta['dataset']} classifier"
        self.classes = tuple(meta["classes"])
        self.shape = (int(meta["channels"]), *[int(meta["size"])] * int(meta.get("dims", 2)))
        self.accuracy = float(meta["accuracy"])  # on images held out of its training
        self.dim = SmallCNN.dim
        self.digest = digest_of(checkpoint["state"])
        with torch.random.fork_rng(devices=[]):  # the layers' initial weights are drawn, and thrown away
            self.network = SmallCNN(self.shape[-1], self.shape[0], len(self.classes), len(self.shape) - 1)
        self.network.load_state_dict(checkpoint["state"])
        self.network.to(memory_format=self.network.memory)
        self.freeze()

    def forward(self, images: Tensor) -> Features:
        """uint8 (N, C, H, W) of the size and channels that it was trained on; `InputError` for others."""
        if images.shape[1:] != self.shape:
            wanted = " x ".join(map(str, self.shape))
            raise InputError(f"{self.name}: trained on images {wanted}, got {' x '.join(map(str, images.shape[1:]))}")
        return self.network(to_float(images))


def classifier_for(
    dataset: ImageSet, device: torch.device | str = "cpu", *, kept_only: bool = False
) -> ClassifierExtractor:
    """The classifier of `dataset`: shipped, cached, or trained now (about a minute on one core, said on stderr).

    Raises `InputError` where the dataset has no labels, or fewer than two classes, and `NotKept` where it would have to
    be trained but `kept_only` is set.
    """
    size, channels = dataset.images.shape[-1], dataset.images.shape[1]
    shipped = WEIGHTS / f"{dataset.name}-{'x'.join(map(str, dataset.images.shape[2:]))}x{channels}.pt"
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
            f"{dataset.name}: {has} to train a classifier on; use --extractor rotation or --extractor inception "
            "(or class folders)"
        )
    key = f"{RECIPE}/{SEED}/{BUDGET}/{dataset.fingerprint}/{size}/{channels}/{'/'.join(dataset.classes)}"
    checkpoint = read_or_make(
        "classifiers",
        key,
        suffix=".pt",
        read=lambda file: _of(dataset, read(file)),
        make=None if kept_only else lambda: train(dataset, device, budget=BUDGET),
        write=torch.save,
    )
    return ClassifierExtractor(checkpoint).to(device)


def _of(dataset: ImageSet, checkpoint: dict[str, Any] | None) -> dict[str, Any] | None:
    """The checkpoint where it is of `dataset` and its weights are finite, else None."""
    return fits(checkpoint, {"recipe": RECIPE, "fingerprint": dataset.fingerprint, "classes": list(dataset.classes)})


def train(dataset: ImageSet, device: torch.device | str = "cpu", *, budget: int = BUDGET) -> dict[str, Any]:
    """Train a `SmallCNN` on `dataset` by `small_cnn.fit`.

    Returns {"state": weights, "meta": plain data}; `meta["accuracy"]` is on the images held out of the training.
    """
    labels, size = dataset.labels, dataset.images.shape[-1]
    assert labels is not None
    state, accuracy = fit(
        dataset.images,
        len(dataset.classes),
        BATCH,
        lambda x, rows: (x, labels[rows].to(device)),
        lambda network, rows: accuracy_of(network, dataset.images[rows], labels[rows]),
        f"the {dataset.name} classifier once ({size} px, {len(dataset.classes)} classes",
        device,
        budget,
    )
    return as_checkpoint(dataset, state, accuracy, recipe=RECIPE, classes=list(dataset.classes))
