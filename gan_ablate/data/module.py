"""The LightningDataModule: one uint8 tensor on the training device, batches drawn by index. No workers, no copies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset

from gan_ablate.data import load
from gan_ablate.data.images import ImageSet
from gan_ablate.data.torch_sets import image_set
from gan_ablate.errors import InputError
from gan_ablate.recipe import seed_for

ONE_DEVICE = (
    "a run trains on one: two players with optimisers of their own, norms over the batch and data drawn by index on "
    "the device are not what DDP averages. Use Trainer(devices=1), and the other devices for other runs: gan-ablate "
    "sweep gives every GPU its own"
)
Batch = tuple[Tensor, Tensor]  # images uint8 (B, C, H, W), labels int64 (B,), or (0,) where there are none


def one_device(count: int) -> None:
    """Raises `InputError` for more than one device (docs/architecture.md says why)."""
    if count > 1:
        raise InputError(f"{count} devices: {ONE_DEVICE}")


class Batches:
    """Batch k of a seed, for every k: full batches only, and in each epoch of the data every image at most once."""

    def __init__(self, images: Tensor, labels: Tensor | None, batch_size: int, seed: int) -> None:
        if not 1 <= batch_size <= len(images):
            raise InputError(f"batch_size={batch_size}: needs 1 to {len(images)}, the number of images")
        self.images, self.labels, self.batch_size, self.seed = images, labels, batch_size, seed
        self.per_epoch = len(images) // batch_size
        self._order: tuple[int, Tensor] = (-1, torch.empty(0))  # (epoch, permutation): the last one used
        self._none = torch.empty(0, dtype=torch.int64, device=images.device)

    def __getitem__(self, k: int) -> Batch:
        """Batch k, a pure function of (seed, k): what was drawn before does not matter."""
        return self.at(self.rows(k, 1)[0])

    def at(self, rows: Tensor) -> Batch:
        """The batch of these images; rows: (B,) int64 on their device."""
        labels = self._none if self.labels is None else self.labels.index_select(0, rows)
        return self.images.index_select(0, rows), labels

    def rows(self, first: int, count: int) -> Tensor:
        """(count, B) int64 the images of the batches from `first` on, on their device."""
        parts = []
        while count:
            epoch, place = divmod(first, self.per_epoch)
            n = min(count, self.per_epoch - place)
            order = self._epoch(epoch)[place * self.batch_size : (place + n) * self.batch_size]
            parts.append(order.view(n, self.batch_size))
            first, count = first + n, count - n
        return parts[0] if len(parts) == 1 else torch.cat(parts)

    def _epoch(self, epoch: int) -> Tensor:
        """(images,) the order of an epoch."""
        if self._order[0] != epoch:
            generator = torch.Generator().manual_seed(seed_for(self.seed, "data", epoch))
            order = torch.randperm(len(self.images), generator=generator)  # on the CPU: one order for every device
            self._order = (epoch, order.to(self.images.device))
        return self._order[1]


class _Loader:
    """What Lightning iterates over: one epoch of `length` batches, from where the run stands to the epoch's end."""

    def __init__(self, batches: Batches, length: int, trainer: lightning.Trainer | None) -> None:
        self.batches, self.length, self.trainer = batches, length, trainer

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Batch | Batches]:
        start = self.start()
        # a run resumed inside an epoch draws the rest of it: Lightning counts the batches before as fetched
        end = start + self.length - start % self.length
        if self.trainer is not None and getattr(self.trainer.lightning_module, "draws_batches", False):
            while self.start() < end:
                yield self.batches
            return
        for k in range(start, end):
            yield self.batches[k]

    def start(self) -> int:
        """Batches that the run has consumed: the module's `d_steps`, or whole epochs for a module that counts none."""
        if self.trainer is None:
            return 0
        consumed = getattr(self.trainer.lightning_module, "d_steps", None)
        return self.trainer.current_epoch * self.length if consumed is None else int(consumed)


class _One:
    """A loader of one batch. torch's own would draw from the global random generator."""

    def __init__(self, batch: Batch) -> None:
        self.batch = batch

    def __len__(self) -> int:
        return 1

    def __iter__(self) -> Iterator[Batch]:
        yield self.batch


class GANDataModule(lightning.LightningDataModule):
    """Training batches `(images uint8 (B, C, H, W), labels (B,))` from a tensor that lies on the training device.

    dataset: a name or path that `load` takes (16 pixels and 3 channels unless given); an `ImageSet`, whose size and
    channels are its own; or a torch `Dataset` or `DataLoader` of images, read once (see `torch_sets.image_set`).
    batch_size: None is the loader's own, else 64.
    batches: batches in the one "epoch" that Lightning sees, for a run counted in steps; None: one pass, N // B.
    Batch k is a pure function of (seed, k). Iteration begins at the module's `d_steps` (batches consumed so far), so
    a resumed run goes on with the batches that the unbroken one would have drawn. Images are scaled in the step.
    A module that `draws_batches` is given `Batches` instead, of which it takes as many as it likes at a time.
    """

    def __init__(
        self,
        dataset: str | Path | ImageSet | Dataset[Any] | DataLoader[Any] = "shapes",
        *,
        size: int | None = None,
        channels: int | None = None,
        batch_size: int | None = None,
        seed: int = 0,
        data_root: str | Path | None = None,
        split: str = "train",
        batches: int | None = None,
    ) -> None:
        super().__init__()
        if batches is not None and batches < 1:
            raise InputError(f"batches={batches}: needs at least 1")
        own = dataset.batch_size if isinstance(dataset, DataLoader) else None
        self.dataset, self.size, self.channels, self.batch_size = dataset, size, channels, batch_size or own or 64
        self.seed, self.data_root, self.split, self.batches = seed, data_root, split, batches
        self._images: ImageSet | None = dataset if isinstance(dataset, ImageSet) else None

    @property
    def images(self) -> ImageSet:
        """The image set, on the CPU; loaded on first use."""
        if self._images is None and isinstance(self.dataset, str | Path):
            size, channels = self.size or 16, self.channels or 3
            self._images = load(
                self.dataset, size=size, channels=channels, split=self.split, data_root=self.data_root
            )  # fmt: skip
        elif self._images is None:
            assert not isinstance(self.dataset, str | Path | ImageSet)
            self._images = image_set(self.dataset, size=self.size, channels=self.channels)
        assert self._images is not None
        return self._images

    def setup(self, stage: str | None = None) -> None:
        """Load the images (Lightning calls this before the first epoch)."""
        if self.trainer is not None:
            one_device(self.trainer.world_size)
        _ = self.images

    def train_dataloader(self) -> _Loader:
        """One epoch of batches on the trainer's device (the CPU without a trainer): the whole set is moved there."""
        device = torch.device("cpu") if self.trainer is None else self.trainer.strategy.root_device
        source = self.images
        labels = None if source.labels is None else source.labels.to(device)
        batches = Batches(source.images.to(device), labels, self.batch_size, self.seed)
        return _Loader(batches, self.batches or batches.per_epoch, self.trainer)

    def val_dataloader(self) -> _One:
        """One batch, which begins a validation: `GANEvaluation` then measures samples against the whole set."""
        labels = self.images.labels
        none = torch.empty(0, dtype=torch.int64)
        return _One((self.images.images[: self.batch_size], none if labels is None else labels[: self.batch_size]))

    def transfer_batch_to_device(self, batch: Any, device: torch.device, dataloader_idx: int) -> Any:
        """Nothing: the batch was drawn on the device."""
        return batch
