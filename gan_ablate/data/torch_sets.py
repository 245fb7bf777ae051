"""Any torch `Dataset` or `DataLoader` of images, as the one tensor that the suite trains on, or batch by batch.

Images are channels first: tensors or arrays (C, H, W) or (H, W), uint8 in 0..255 or floats in [0, 1] or [-1, 1], or PIL
images. An entry is an image, (image, label, ..) or a mapping with such keys; a label is one class number per image.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import chain
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset, RandomSampler, SequentialSampler

from gan_ablate.data.images import ImageSet, convert, to_uint8
from gan_ablate.errors import InputError

DECIDE = 1000  # images that tell floats in [0, 1] from those in [-1, 1]
SLACK = 0.01  # beyond its range a float may lie: resizing overshoots
IMAGES, LABELS = ("image", "images", "img", "pixel_values"), ("label", "labels", "target", "targets")
POINT = (2, 1, 1)  # the shape of a point in the plane, of `ring` and `grid`
FORMS = "uint8 in 0..255, or floats in [0, 1] or [-1, 1]"

Source = Dataset[Any] | DataLoader[Any] | Tensor


def image_set(
    source: Source,
    *,
    size: int | None = None,
    channels: int | None = None,
    labels: bool = True,
    value_range: tuple[float, float] | None = None,
    name: str = "",
) -> ImageSet:
    """All images of a dataset, or of a loader's dataset in its order, as uint8 (N, channels, size, size).

    Args:
        size: pixels; the middle square is brought to it. None: the images' own, which are then square and of one size.
        channels: 1 or 3; None: those of the first image.
        labels: False leaves them out. Without labels there are no classes.
        value_range: (0, 1) or (-1, 1), of floats; None: [-1, 1] if one of the first 1,000 images is negative somewhere.
        name: as tables call the set; the dataset's type where it is empty.

    Raises:
        InputError: an image or label of another form. The line says which one.
    """
    dataset = source.dataset if isinstance(source, DataLoader) else source
    name = name or type(dataset).__name__
    if value_range is not None and tuple(value_range) not in ((0, 1), (-1, 1)):
        raise InputError(f"{name}: value_range={value_range!r}: needs (0, 1) or (-1, 1)")
    pixels, numbers, seen = list[Tensor](), list[Tensor | None](), 0
    with torch.random.fork_rng(devices=[]):  # a loader draws a seed from the global generator
        entries = _entries(source, name)
        head, low = _head(entries, value_range)
        for images, own in chain(head, entries):
            where = f"{name}: image {seen:,}"
            channels = channels or images.shape[1]
            part = _square(_bytes(images, low, where), size, where)
            if pixels and part.shape[2:] != pixels[0].shape[2:] and not size:
                raise InputError(f"{where} is {_shape(part)}, the first {_shape(pixels[0])}: give size=...")
            pixels.append(convert(part, size or part.shape[-1], channels))
            numbers.append(_class_numbers(own, len(images), where) if labels else None)
            seen += len(images)
    if not seen:
        raise InputError(f"{name}: has no images")
    known = _joined(numbers, name)
    return ImageSet.of(torch.cat(pixels), known, () if known is None else _class_names(dataset, known), name)


def batch_of(entry: Any) -> tuple[Tensor, Tensor]:
    """A loader's batch as images (B, C, H, W) of its own type, and labels (B,) int64, or (0,) where it has none.

    Points in the plane (B, 2, 1, 1) and volumes (B, C, D, H, W) are images too.
    """
    images, labels = _parts(entry)
    if not (isinstance(images, Tensor) and (tuple(images.shape[1:]) == POINT or images.ndim == 5)):
        images = _channels_first(images, "batch", one=False)
    if labels is not None:
        labels = torch.as_tensor(labels)
    if labels is None or labels.shape != images.shape[:1] or labels.is_floating_point():
        labels = torch.empty(0, dtype=torch.int64)
    return images, labels.to(images.device).long()


def _entries(source: Source, name: str) -> Iterator[tuple[Tensor, Any]]:
    """Images (B, C, H, W) and their labels, one batch after the other."""
    if isinstance(source, Tensor):
        yield _channels_first(source, name, one=False), None
    elif isinstance(source, DataLoader):
        for entry in _in_order(source):
            images, labels = _parts(entry)
            yield _channels_first(images, name, one=False), labels
    elif isinstance(source, Dataset):
        whole: Any = source
        for entry in whole if isinstance(source, IterableDataset) else (whole[k] for k in range(len(whole))):
            image, label = _parts(entry)
            yield _channels_first(image, name, one=True), label
    else:
        raise InputError(f"{name}: {type(source).__name__}: needs a torch Dataset, DataLoader or tensor of images")


def _in_order(loader: DataLoader[Any]) -> DataLoader[Any]:
    """The same loader without shuffling and with its last batch: each image once, the same at every call."""
    plain = isinstance(loader.sampler, RandomSampler | SequentialSampler) and loader.batch_size is not None
    if isinstance(loader.dataset, IterableDataset) or not plain:
        return loader
    return DataLoader(
        loader.dataset, loader.batch_size, collate_fn=loader.collate_fn, num_workers=loader.num_workers
    )  # fmt: skip


def _parts(entry: Any) -> tuple[Any, Any]:
    """Image and label of an entry; the label is None where it has none."""
    if isinstance(entry, Mapping):
        image = next((k for k in IMAGES if k in entry), None)
        if image is None:
            raise InputError(f"an entry has {', '.join(map(str, entry))}: its image needs one of {', '.join(IMAGES)}")
        return entry[image], next((entry[k] for k in LABELS if k in entry), None)
    if isinstance(entry, tuple | list):
        return entry[0], entry[1] if len(entry) > 1 else None
    return entry, None


def _channels_first(image: Any, name: str, *, one: bool) -> Tensor:
    """(B, C, H, W) of one image, or of a batch. Raises `InputError` for what is no image of 1 or 3 channels."""
    if isinstance(image, Image.Image):
        array = np.array(image.convert("L" if image.mode in ("1", "L") else "RGB"))
        image = torch.from_numpy(array if array.ndim == 2 else array.transpose(2, 0, 1).copy())
    if isinstance(image, np.ndarray):
        image = torch.from_numpy(image)
    if not isinstance(image, Tensor):
        raise InputError(f"{name}: an image is a {type(image).__name__}: needs a tensor (C, H, W) or a PIL image")
    x = image[None] if one else image
    x = x[:, None] if x.dim() == 3 else x
    if x.dim() != 4 or x.shape[1] not in (1, 3):
        hint = " (they look like height x width x channels)" if x.dim() == 4 and x.shape[-1] in (1, 3) else ""
        raise InputError(f"{name}: images are {'x'.join(map(str, x.shape[1:]))}{hint}: need 1 or 3 channels first")
    return x.detach().cpu() if one else x.detach()


def _head(
    entries: Iterator[tuple[Tensor, Any]], value_range: tuple[float, float] | None
) -> tuple[list[tuple[Tensor, Any]], float]:
    """The first batches, and the lower end of the floats' range."""
    head, count = list[tuple[Tensor, Any]](), 0
    if value_range is not None:
        return head, float(value_range[0])
    for images, labels in entries:
        head.append((images, labels))
        count += len(images)
        if count >= DECIDE or not images.is_floating_point():
            break
    return head, lowest(*(images for images, _ in head))


def lowest(*batches: Tensor) -> float:
    """The lower end of the range that floats are in: -1 if one is negative, else 0."""
    return -1.0 if any(x.is_floating_point() and bool((x < 0).any()) for x in batches) else 0.0


def _bytes(images: Tensor, low: float, where: str) -> Tensor:
    """uint8 (B, C, H, W) on the CPU."""
    if images.dtype == torch.uint8:
        return images.cpu()
    if not images.is_floating_point():
        raise InputError(f"{where} is {str(images.dtype).removeprefix('torch.')}: needs {FORMS}")
    least, most = float(images.min()), float(images.max())
    if not (low - SLACK <= least and most <= 1 + SLACK):
        known = f"the range is [{low:g}, 1]: give value_range, or images that are {FORMS}"
        raise InputError(f"{where} has values from {least:.3g} to {most:.3g}, but {known}")
    return to_uint8(images.float() if low else images.float() * 2 - 1).cpu()


def _square(images: Tensor, size: int | None, where: str) -> Tensor:
    """Their middle square."""
    height, width = images.shape[2:]
    if height == width:
        return images
    if not size:
        raise InputError(f"{where} is {_shape(images)}, not square: give size=..., which its middle is brought to")
    side = min(height, width)
    top, left = (height - side) // 2, (width - side) // 2
    return images[:, :, top : top + side, left : left + side]


def _class_numbers(labels: Any, count: int, where: str) -> Tensor | None:
    """(count,) int64, or None."""
    if labels is None:
        return None
    found = torch.as_tensor(labels)
    if found.numel() != count or found.is_floating_point():
        raise InputError(f"{where}: its label is no class number ({tuple(found.shape)}): give labels=False")
    return found.reshape(count).long().cpu()


def _joined(numbers: list[Tensor | None], name: str) -> Tensor | None:
    """All labels, or None where there are none: -1 is the customary number of images without."""
    found = [each for each in numbers if each is not None]
    if not found or all(bool((each < 0).all()) for each in found):
        return None
    labels = torch.cat(found)
    if len(found) < len(numbers) or bool((labels < 0).any()):
        raise InputError(f"{name}: some images have no class number: give labels=False")
    return labels


def _class_names(dataset: Any, labels: Tensor) -> tuple[str, ...]:
    """The dataset's own names (`classes`), or the numbers."""
    count = int(labels.max()) + 1
    while not hasattr(dataset, "classes") and hasattr(dataset, "dataset"):
        dataset = dataset.dataset  # of a subset
    names = getattr(dataset, "classes", ())
    return tuple(map(str, names)) if isinstance(names, list | tuple) and len(names) >= count else tuple(
        map(str, range(count))
    )  # fmt: skip


def _shape(images: Tensor) -> str:
    return "x".join(map(str, images.shape[1:]))
