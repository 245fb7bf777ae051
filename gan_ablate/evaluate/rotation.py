"""The `rotation` extractor: a small CNN that learned to tell how images were turned. It needs no labels, no network.

Gidaris et al. 2018 (Unsupervised representation learning by predicting image rotations): each image is shown in its
four quarter turns, and the network says which is which. To tell them apart it has to know what the images show, so its
features stand in for a classifier's. They are those of the third of its four layers: the last one keeps what tells
turns apart and little else, and agrees less with the classifier's FID (docs/evaluation.md has the measurement). The
network and its training are those of `classifier`. It is trained once per dataset and kept in the cache.

Its accuracy on images held out of the training says how much there was to learn: 25 % is chance, where things have no
upright (textures, satellite images) or look alike when turned (a 0, a disc). Its figures are labelled by its name,
"FID (photos rotation features)", and compare arms on one dataset only.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from gan_ablate.cache import read_or_make
from gan_ablate.data import GENERATED, ImageSet, load
from gan_ablate.data.images import to_float
from gan_ablate.errors import InputError
from gan_ablate.evaluate.extractors import Extractor, Features, digest_of
from gan_ablate.evaluate.small_cnn import BATCH, BUDGET, SEED, SmallCNN, accuracy_of, as_checkpoint, fit, fits, read

RECIPE = "rotation-1"  # raise it when network or training change: cached weights are then trained anew
TURNS = 4  # quarter turns, that of none included
LAYERS = 3  # of the network's four, up to the one whose mean over the map are the features


class RotationExtractor(Extractor):
    """A `SmallCNN` trained to tell quarter turns, as an extractor: 64 features, no logits."""

    random_prdc = True
    has_logits = False

    def __init__(self, checkpoint: dict[str, Any]) -> None:
        super().__init__()
        meta = checkpoint["meta"]
        self.name = f"{meta['dataset']} rotation features"
        self.size, self.channels = int(meta["size"]), int(meta["channels"])
        self.accuracy = float(meta["accuracy"])  # on images held out of its training, in all four turns
        self.note = f"the extractor tells {self.accuracy:.1%} of quarter turns of held-out images (chance: 25 %)"
        self.dim = SmallCNN.WIDTHS[LAYERS - 1]
        self.digest = digest_of(checkpoint["state"])
        with torch.random.fork_rng(devices=[]):  # the layers' initial weights are drawn, and thrown away
            network = SmallCNN(self.size, self.channels, TURNS)
        network.load_state_dict(checkpoint["state"])
        self.layers = network.layers(LAYERS).to(memory_format=torch.channels_last)
        self.freeze()

    def forward(self, images: Tensor) -> Features:
        """uint8 (N, C, H, W) of the size and channels that it was trained on; `InputError` for others."""
        if images.shape[1:] != (self.channels, self.size, self.size):
            wanted = f"{self.channels} x {self.size} x {self.size}"
            raise InputError(f"{self.name}: trained on images {wanted}, got {' x '.join(map(str, images.shape[1:]))}")
        x = to_float(images).contiguous(memory_format=torch.channels_last)
        return Features(self.layers(x).mean((2, 3)), None)


def rotation_for(
    dataset: ImageSet, device: torch.device | str = "cpu", *, kept_only: bool = False
) -> RotationExtractor:
    """The rotation extractor of `dataset`: cached, or trained now (about a minute on one core, said on stderr).

    Raises `InputError` for fewer than 8 images, and `NotKept` where it would have to be trained but `kept_only` is set.
    """
    if dataset.name in GENERATED:
        # its training split can always be made: one extractor whatever part is measured
        dataset = load(dataset.name, size=dataset.images.shape[-1], channels=dataset.images.shape[1], split="train")
    if len(dataset) < 8:
        raise InputError(f"{dataset.name}: {len(dataset)} images are too few to learn features from: needs 8 or more")
    return RotationExtractor(checkpoint_for(dataset, device, kept_only=kept_only)).to(device)


def checkpoint_for(dataset: ImageSet, device: torch.device | str = "cpu", *, kept_only: bool = False) -> dict[str, Any]:
    """The whole network's weights and what is known of them, from the cache or trained now; see `train`."""
    size, channels = dataset.images.shape[-1], dataset.images.shape[1]
    checkpoint = read_or_make(
        "rotation",
        f"{RECIPE}/{SEED}/{BUDGET}/{dataset.fingerprint}/{size}/{channels}",
        suffix=".pt",
        read=lambda file: fits(read(file), {"recipe": RECIPE, "fingerprint": dataset.fingerprint}),
        make=None if kept_only else lambda: train(dataset, device, budget=BUDGET),
        write=torch.save,
    )
    # the name is the dataset's as it is called now: the cache knows it by its content
    return {**checkpoint, "meta": {**checkpoint["meta"], "dataset": dataset.name}}


def train(dataset: ImageSet, device: torch.device | str = "cpu", *, budget: int = BUDGET) -> dict[str, Any]:
    """Train a `SmallCNN` on quarter turns by `small_cnn.fit`: 32 images a step, each in its four turns.

    Returns {"state": weights, "meta": plain data}; `meta["accuracy"]` is on the images held out of the training, in all
    four turns.
    """

    def measure(network: nn.Module, rows: Tensor) -> float:
        return accuracy_of(network, turned(dataset.images[rows]), turns(len(rows)))

    size = dataset.images.shape[-1]
    state, accuracy = fit(
        dataset.images,
        TURNS,
        BATCH // TURNS,
        lambda x, rows: (turned(x), turns(len(rows)).to(device)),
        measure,
        f"the {dataset.name} rotation features once ({size} px",
        device,
        budget,
    )
    return as_checkpoint(dataset, state, accuracy, recipe=RECIPE)


def turned(images: Tensor) -> Tensor:
    """Square images (N, C, H, W) in their four quarter turns: (4 N, C, H, W), all of the first turn first."""
    return torch.cat([torch.rot90(images, k, (2, 3)) for k in range(TURNS)])


def turns(count: int) -> Tensor:
    """(4 count,) int64: which turn each of the images of `turned` is in."""
    return torch.arange(TURNS).repeat_interleave(count)
