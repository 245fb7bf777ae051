"""The small CNN of the extractors that are trained on the dataset itself, and its training with a fixed seed."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from pathlib import Path
from typing import IO, Any

import torch
from rich.console import Console
from rich.progress import track
from torch import Tensor, nn
from torch.nn import functional as F

from gan_ablate.data.images import ImageSet, to_float
from gan_ablate.evaluate.extractors import Features

SEED = 20240607
BUDGET = 200_000  # images seen in training: half a minute to two minutes on one core
HELD_OUT = 0.05  # share of the images that measure the accuracy instead of training
BATCH = 128
# called after each step with the share of the training that is done: for who trains in another process
WATCH: ContextVar[Callable[[float], object]] = ContextVar("watch", default=lambda share: None)


class SmallCNN(nn.Module):
    """Four 3x3 convolutions with batch norm and a linear head: 124,000 weights for 64 classes, 128 features.

    Strides are chosen by the image size so that the last map is about 4 x 4, whatever the size. For volumes (dims = 3)
    the convolutions are 3x3x3 and the last map is about 2 x 2 x 2, since a voxel more a side costs more.
    """

    WIDTHS = (32, 48, 64, 128)
    dim = WIDTHS[-1]

    def __init__(self, size: int, channels: int, classes: int, dims: int = 2) -> None:
        super().__init__()
        seen = size if dims == 2 else 2 * size
        strides = (1, 2, 2, 1) if seen < 24 else (2, 2, 2, 1) if seen < 48 else (2, 2, 2, 2)
        convolution, norm = {2: (nn.Conv2d, nn.BatchNorm2d), 3: (nn.Conv3d, nn.BatchNorm3d)}[dims]
        self.memory = {2: torch.channels_last, 3: torch.channels_last_3d}[dims]
        layers: list[nn.Module] = []
        for before, after, stride in zip((channels, *self.WIDTHS[:-1]), self.WIDTHS, strides, strict=True):
            layers += [convolution(before, after, 3, stride, 1, bias=False), norm(after), nn.ReLU(inplace=True)]
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(self.dim, classes)

    def layers(self, count: int) -> nn.Sequential:
        """The first convolutions, each with its norm and ReLU."""
        return self.body[: 3 * count]

    def forward(self, x: Tensor) -> Features:
        """x: float (N, C, H, W) in [-1, 1], volumes (N, C, D, H, W)."""
        maps = self.body(x.contiguous(memory_format=self.memory))
        features = maps.mean(tuple(range(2, maps.ndim)))  # (N, 128), >= 0
        return Features(features, self.head(features))


def fit(  # noqa: PLR0917
    images: Tensor,
    classes: int,
    rows_per_step: int,
    batch: Callable[[Tensor, Tensor], tuple[Tensor, Tensor]],
    measure: Callable[[nn.Module, Tensor], float],
    what: str,
    device: torch.device | str,
    budget: int,
) -> tuple[dict[str, Tensor], float]:
    """Train a `SmallCNN` for uint8 images (N, C, H, W) with a fixed seed, the caller's random state left alone.

    AdamW under a one-cycle schedule (Smith 2018) for `budget` images in batches of 128, small shifts as augmentation.
    batch: float images (rows_per_step, C, H, W) and their rows (rows_per_step,) -> network input (128, C, H, W) and its
    classes (128,). measure: of the network and the rows held out, 5 % of the images (at least one, 5,000 at most).
    what: said on stderr, with the number of steps. Returns the weights, on the CPU, and what `measure` found.
    """
    started, count = time.perf_counter(), len(images)
    generator = torch.Generator().manual_seed(SEED)
    order = torch.randperm(count, generator=generator)
    held_out = order[: min(5000, max(1, round(HELD_OUT * count)))]
    order = order[len(held_out) :] if count > 1 else order
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        network = SmallCNN(images.shape[-1], images.shape[1], classes, images.ndim - 2).to(device)
        network = network.to(memory_format=network.memory)
    rows_per_step = min(rows_per_step, len(order))
    steps = max(50, budget // BATCH)
    said, on_screen = f"training {what}, {steps} steps)", sys.stderr.isatty()
    if not on_screen:
        print(said, end=" ... ", file=sys.stderr, flush=True)
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=8e-3, total_steps=steps, pct_start=0.2)
    at = len(order)
    bar = Console(stderr=True)
    watch = WATCH.get()
    for step in track(range(steps), f"{said} ..", console=bar, transient=True, disable=not on_screen):
        if at + rows_per_step > len(order):  # the next epoch
            order, at = order[torch.randperm(len(order), generator=generator)], 0
        rows = order[at : at + rows_per_step]
        at += rows_per_step
        x, y = batch(_shifted(to_float(images[rows].to(device)), generator), rows)
        loss = F.cross_entropy(network(x).logits, y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        watch((step + 1) / steps)
    accuracy = measure(network.eval(), held_out)
    print(
        f"{said} ... " * on_screen + f"accuracy {accuracy:.1%}, {time.perf_counter() - started:.0f} s",
        file=sys.stderr,
        flush=True,
    )
    return {k: v.cpu().contiguous() for k, v in network.state_dict().items()}, accuracy


def as_checkpoint(dataset: ImageSet, weights: dict[str, Tensor], accuracy: float, **own: Any) -> dict[str, Any]:
    """{"state": weights, "meta": plain data} of what `fit` found. own: what the caller's `meta` has besides."""
    size, channels = dataset.images.shape[-1], dataset.images.shape[1]
    of = {"dataset": dataset.name, "fingerprint": dataset.fingerprint, "size": size, "channels": channels}
    of |= {"dims": dataset.images.ndim - 2}
    return {"state": weights, "meta": {**own, **of, "accuracy": accuracy}}


def accuracy_of(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """Share of uint8 images (N, C, H, W) whose largest logit is that of their label."""
    device = next(network.parameters()).device
    with torch.no_grad():
        right = [
            (network(to_float(x.to(device))).logits.argmax(1).cpu() == y).sum()
            for x, y in zip(images.split(256), labels.split(256), strict=True)
        ]
    return int(sum(right)) / len(images)


def read(file: Path | IO[bytes]) -> dict[str, Any] | None:
    """The checkpoint {"state", "meta"} in `file` (weights only, no code), or None where it is missing or damaged."""
    try:
        checkpoint = torch.load(file, map_location="cpu", weights_only=True)
    except Exception:  # a truncated zip raises one of many types
        return None
    return checkpoint if isinstance(checkpoint, dict) and {"state", "meta"} <= set(checkpoint) else None


def fits(checkpoint: dict[str, Any] | None, wanted: dict[str, object]) -> dict[str, Any] | None:
    """The checkpoint where its `meta` says what is wanted and its weights are finite, else None."""
    if checkpoint is None:
        return None
    meta, weights = checkpoint["meta"], checkpoint["state"].values()
    own = all(meta.get(name) == value for name, value in wanted.items())
    return checkpoint if own and all(bool(torch.isfinite(w).all()) for w in weights) else None


def _shifted(x: Tensor, generator: torch.Generator) -> Tensor:
    """The batch (N, C, H, W) or (N, C, D, H, W) moved by up to one pixel each way, at random; edges are repeated."""
    dims = x.ndim - 2
    moved = F.pad(x, (1, 1) * dims, mode="replicate")
    for dim, by in zip(
        range(-1, -1 - dims, -1), torch.randint(0, 3, (dims,), generator=generator).tolist(), strict=True
    ):
        moved = moved.narrow(dim, by, x.shape[dim])
    return moved
