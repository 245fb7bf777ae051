"""MNIST, Fashion-MNIST and CIFAR-10 through torchvision, which downloads them; and `stacked_mnist`, made of MNIST.

`stacked_mnist`: three digits as the channels of one image, which makes 1000 modes (Metz et al. 2017). Lin et al. 2018
draw 128,000 of them to train on and 26,000 to measure with. Here these are 128 and 26 of each mode, the three digits
drawn at random (with replacement) among the images of their class. So the real modes are exactly equally likely, and
the histogram that generated ones are compared with has no noise of its own: drawn without regard to the class, 128,000
images would add 999 / 256,000 = 0.004 to the KL of a perfect generator's 26,000, which is 0.019.
"""

from __future__ import annotations

import hashlib
import os
import socket
import tempfile
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchvision import datasets

from gan_ablate.data.images import ImageSet, convert
from gan_ablate.data.stacks import DIGITS, stack
from gan_ablate.errors import InputError, in_one_line
from gan_ablate.recipe import seed_for
from gan_ablate.untrusted import exclusive

NETWORK_TIMEOUT = 30.0  # seconds without an answer after which a download is given up


class _Source(NamedTuple):
    open: Callable[..., Any]  # torchvision's class
    files: dict[str, str]  # per split, the file under the data root that tells whether the set is there
    classes: tuple[str, ...] = ()  # where torchvision's own names are no good


_IDX = {"train": "{}/raw/train-images-idx3-ubyte", "test": "{}/raw/t10k-images-idx3-ubyte"}
SETS: dict[str, _Source] = {
    "mnist": _Source(datasets.MNIST, {k: v.format("MNIST") for k, v in _IDX.items()}, tuple("0123456789")),
    "fashion_mnist": _Source(datasets.FashionMNIST, {k: v.format("FashionMNIST") for k, v in _IDX.items()}),
    "cifar10": _Source(
        datasets.CIFAR10,
        {"train": "cifar-10-batches-py/data_batch_1", "test": "cifar-10-batches-py/test_batch"},
    ),
}


def data_folder(data_root: str | Path | None) -> Path:
    """`data_root`, else $GAN_ABLATE_DATA, else ~/.cache/gan_ablate/data."""
    return Path(data_root or os.environ.get("GAN_ABLATE_DATA") or "~/.cache/gan_ablate/data").expanduser()


def read_named(name: str, *, size: int, channels: int, split: str, data_root: str | Path | None = None) -> ImageSet:
    """One split of the named set, converted to uint8 (N, channels, size, size).

    Nothing is written or downloaded where the files are there. Raises `InputError`, naming the file looked for, where
    it is missing and cannot be downloaded, or is damaged.
    """
    source, folder = SETS[name], data_folder(data_root)
    file = folder / source.files[split]
    train = split == "train"
    try:
        try:
            found = source.open(root=str(folder), train=train, download=False)
        except RuntimeError:  # torchvision's "not found or corrupted"
            found = _download(source, folder, file, name, train)
    except InputError:
        raise
    except Exception as error:  # a cut-off file breaks torchvision's parsers in many ways
        raise InputError(
            f"{name}: {file} (or a file beside it) cannot be read ({in_one_line(error)}): "
            "delete it to have it downloaded again, or name another folder with --data-root"
        ) from error
    images = _tensor(found.data)
    labels = torch.as_tensor(found.targets, dtype=torch.int64)
    return ImageSet.of(convert(images, size, channels), labels, source.classes or tuple(found.classes), name)


def _download(source: _Source, folder: Path, file: Path, name: str, train: bool) -> Any:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        # the mode bits, not os.access: root may write anywhere, but a folder marked read-only is not ours to fill
        if not folder.stat().st_mode & 0o222:
            raise PermissionError(f"{folder} is read-only")
        with _one_at_a_time(folder, name):
            before = socket.getdefaulttimeout()
            socket.setdefaulttimeout(NETWORK_TIMEOUT)
            try:
                return source.open(root=str(folder), train=train, download=True)
            finally:
                socket.setdefaulttimeout(before)
    except Exception as error:
        raise InputError(
            f"{name}: no complete file {file}, and it cannot be downloaded ({in_one_line(error)}): "
            "name the folder that holds the files with --data-root"
        ) from error


def _one_at_a_time(folder: Path, name: str) -> AbstractContextManager[None]:
    """Lets one process at a time download a set: the second one then finds the files of the first."""
    key = hashlib.sha256(f"{folder.resolve()}/{name}/{os.getuid()}".encode()).hexdigest()[:16]
    return exclusive(Path(tempfile.gettempdir()) / f"gan_ablate-{key}.lock")


def _tensor(data: Any) -> Tensor:
    """(N, H, W) or (N, H, W, C) as (N, C, H, W)."""
    data = torch.as_tensor(data)
    return data.unsqueeze(1) if data.ndim == 3 else data.permute(0, 3, 1, 2).contiguous()


STACKED = "stacked_mnist"
STACKED_COUNTS = {"train": 128_000, "test": 26_000}  # images when no count is asked for


def read_stacked(
    *, size: int, channels: int = DIGITS, split: str, data_root: str | Path | None = None, count: int | None = None
) -> ImageSet:
    """`count` stacks of three digits of MNIST's `split`; raises `InputError` as MNIST does, and for other channels."""
    if channels != DIGITS:
        raise InputError(f"{STACKED}: channels={channels}: needs {DIGITS}, one for each digit")
    digits = read_named("mnist", size=size, channels=1, split=split, data_root=data_root)
    return stack(digits, STACKED_COUNTS[split] if count is None else count, seed_for(0, STACKED, split))
