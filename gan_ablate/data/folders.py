"""A folder or zip of images as a dataset, decoded once into a memory-mapped cache.

Layouts: `{train,test}/<class>/x.jpg`, `{train,test}/x.jpg`, `<class>/x.jpg`, or images with no folder (no classes);
any of them may lie inside one wrapping folder. A zip is read in place: nothing is extracted.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import warnings
import zipfile
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from gan_ablate.data.images import ImageSet
from gan_ablate.errors import InputError, in_one_line
from gan_ablate.publishing import whole
from gan_ablate.sources import SUFFIXES, is_image, walk

# raster formats only: by its content PIL would also take an EPS, and call Ghostscript to draw it
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
SPLIT_FOLDERS = {"train": ("train", "training"), "test": ("test", "testing", "val", "valid", "validation")}
LARGEST_FILE = 1 << 29  # bytes of one image file, unpacked: more is a mistake or a zip bomb
CACHE_VERSION = 2  # part of the key: raise it when decoding changes


class Entry(NamedTuple):
    """One image file. `path` is relative to the source, `size` the bytes that its listing says it has."""

    path: str
    size: int


def cache_folder() -> Path:
    """$GAN_ABLATE_CACHE, else ~/.cache/gan_ablate/images."""
    return Path(os.environ.get("GAN_ABLATE_CACHE") or "~/.cache/gan_ablate/images").expanduser()


def read_folder(
    source: Path, *, size: int, channels: int, split: str = "train", name: str = "", progress: bool = False
) -> ImageSet:
    """The images under `source`, centre-cropped to a square and resized to `size`, in the order of their paths.

    Decoded images are kept in `cache_folder()`, keyed by the files' names and bytes, size, channels and split: neither
    times nor a zip's CRCs, which anyone can set, say what is in a file.
    Raises `InputError` for a source without images or without the split, and for an unreadable image.
    """
    entries = list_entries(source)
    chosen, classes, labels = arrange(entries, split, source)
    identity = [CACHE_VERSION, size, channels, _contents(source, chosen)]
    key = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]
    shape = (len(chosen), channels, size, size)
    file = cache_folder() / f"{key}.npy"
    pixels = _cached(file, shape)
    if pixels is None:
        pixels = _decode_all(source, chosen, shape, file, progress)
    return ImageSet.of(
        torch.from_numpy(pixels),
        None if labels is None else torch.tensor(labels, dtype=torch.int64),
        classes,
        name or str(source),
    )


def _contents(source: Path, entries: list[Entry]) -> list[object]:
    """Identifies the entries' contents: their paths, and BLAKE2b of each file's bytes or of the whole zip's."""
    for entry in entries:
        if entry.size > LARGEST_FILE:
            where = f"{source}{'!' if source.is_file() else '/'}{entry.path}"
            raise InputError(f"{where}: {entry.size} bytes is too large for an image: remove it")
    try:
        if source.is_file():
            with source.open("rb") as file:
                return [[entry.path for entry in entries], hashlib.file_digest(file, hashlib.blake2b).hexdigest()]
        digests, short = [], partial(hashlib.blake2b, digest_size=16)
        for entry in entries:
            with (source / entry.path).open("rb") as file:
                digests.append((entry.path, hashlib.file_digest(file, short).hexdigest()))
        return [digests]
    except OSError as error:
        raise InputError(f"{error.filename or source}: cannot be read ({error.strerror or error})") from error


def list_entries(source: Path) -> list[Entry]:
    """All image files of a folder or zip, sorted by path; hidden files and other suffixes are skipped."""
    if source.is_dir():
        found = [
            Entry(path.relative_to(source).as_posix(), path.stat().st_size)
            for path in walk(source)
            if is_image(path.relative_to(source).as_posix()) and path.is_file()
        ]
    else:
        try:
            with zipfile.ZipFile(source) as archive:
                found = [Entry(i.filename, i.file_size) for i in archive.infolist() if is_image(i.filename)]
        except (zipfile.BadZipFile, OSError) as error:
            raise InputError(f"{source}: neither a folder nor a readable zip of images ({error})") from error
    if not found:
        raise InputError(
            f"{source}: no images in it; it needs files such as <class>/1.png ({', '.join(sorted(SUFFIXES))})"
        )
    return sorted(found, key=lambda entry: entry.path)


def arrange(entries: list[Entry], split: str, source: Path) -> tuple[list[Entry], tuple[str, ...], list[int] | None]:
    """The entries of `split`, the class names (the same for every split) and, with classes, each entry's label."""
    inner = {entry: PurePosixPath(entry.path).parts for entry in entries}
    known = {folder for folders in SPLIT_FOLDERS.values() for folder in folders}
    while True:
        tops = {parts[0].lower() if len(parts) > 1 else "" for parts in inner.values()}
        if tops <= known:
            names = SPLIT_FOLDERS[split]
            chosen = [entry for entry, parts in inner.items() if parts[0].lower() in names]
            if not chosen:
                raise InputError(f"{source}: no images for split {split!r}; it needs a folder {names[0]!r} with some")
            inner = {entry: parts[1:] for entry, parts in inner.items()}
            break
        if len({parts[0] for parts in inner.values()}) == 1 and all(len(parts) > 2 for parts in inner.values()):
            inner = {entry: parts[1:] for entry, parts in inner.items()}  # one wrapping folder around everything
            continue
        if split != "train":
            raise InputError(f"{source}: no split {split!r}; it needs folders 'train' and 'test' that hold the images")
        chosen = entries
        break
    flat = [entry for entry, parts in inner.items() if len(parts) == 1]
    if len(flat) == len(inner):
        return chosen, (), None
    if flat:
        raise InputError(
            f"{source}: {flat[0].path} lies beside class folders; put every image into the folder of its class"
        )
    classes = tuple(sorted({parts[0] for parts in inner.values()}))
    index = {name: label for label, name in enumerate(classes)}
    return chosen, classes, [index[inner[entry][0]] for entry in chosen]


def decode(data: bytes, size: int, channels: int) -> NDArray[np.uint8]:
    """An image file's bytes as uint8 (channels, size, size): upright, centre-cropped, resized with anti-aliasing."""
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        with Image.open(io.BytesIO(data), formats=FORMATS) as opened:
            image: Image.Image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I"):  # 16 bits a pixel, which `convert` would clip instead of scaling
                image = Image.fromarray((np.asarray(image) // 256).clip(0, 255).astype(np.uint8))
            if image.has_transparency_data:
                clear = image.convert("RGBA")
                image = Image.alpha_composite(Image.new("RGBA", clear.size, (0, 0, 0, 255)), clear)
            image = image.convert("L" if channels == 1 else "RGB")
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    if image.size != (size, size):
        box = (left, top, left + side, top + side)
        image = image.resize((size, size), Image.Resampling.BILINEAR, box=box)
    return np.asarray(image).reshape(size, size, channels).transpose(2, 0, 1)


def _cached(file: Path, shape: tuple[int, ...]) -> NDArray[np.uint8] | None:
    """The cache file mapped copy-on-write (nothing is ever written back), or None if it is missing or damaged."""
    with suppress(OSError, ValueError, EOFError):
        pixels = np.load(file, mmap_mode="c", allow_pickle=False)
        if pixels.shape == shape and pixels.dtype == np.uint8:
            return pixels
    return None


def _decode_all(
    source: Path, entries: list[Entry], shape: tuple[int, ...], file: Path, progress: bool
) -> NDArray[np.uint8]:
    """Decode into a temporary file and rename it into place; without a writable cache, decode into memory."""
    with ExitStack() as stack:
        out: IO[bytes] | None = None
        with suppress(OSError):
            file.parent.mkdir(parents=True, exist_ok=True)
            # written by `write`, not through a mapping: a full disk is then an error and not a SIGBUS
            out = stack.enter_context(whole(file))
        pixels = np.empty((0,) if out else shape, np.uint8)
        if out is not None:
            header = {"descr": "|u1", "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(out, header)
        archive = stack.enter_context(zipfile.ZipFile(source)) if source.is_file() else None
        for row, entry in enumerate(_bar(entries, source, progress)):
            where = f"{source}!{entry.path}" if archive else str(source / entry.path)
            image = _decode_one(source, archive, entry, where, shape)
            if out is None:
                pixels[row] = image
            else:
                out.write(image.tobytes())
        if out is None:
            return pixels
    mapped = _cached(file, shape)
    if mapped is None:
        raise InputError(
            f"{file}: the cache of decoded images cannot be read back; free disk space or set GAN_ABLATE_CACHE"
        )
    return mapped


def _decode_one(
    source: Path, archive: zipfile.ZipFile | None, entry: Entry, where: str, shape: tuple[int, ...]
) -> NDArray[np.uint8]:
    try:
        with _opened(source, archive, entry) as file:
            data = file.read(entry.size + 1)  # no more than it says it has, whatever it unpacks to
        if len(data) != entry.size:
            raise ValueError(f"not the {entry.size:,} bytes that it should have")
        return decode(data, shape[2], shape[1])
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise InputError(f"{where}: too many pixels to decode safely: shrink the image or remove it") from error
    except Exception as error:  # damaged files break decoders with nearly any exception
        raise InputError(f"{where}: not a readable image ({in_one_line(error)}): replace or remove it") from error


def _opened(source: Path, archive: zipfile.ZipFile | None, entry: Entry) -> IO[bytes]:
    if archive is None:
        return (source / entry.path).open("rb")
    if archive.getinfo(entry.path).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("packed in a way whose size cannot be bounded; pack it with deflate, as zip does")
    return archive.open(entry.path)


def _bar(entries: list[Entry], source: Path, progress: bool) -> Iterable[Entry]:
    if not progress:
        return entries
    from rich.console import Console
    from rich.progress import track

    return track(entries, f"decoding {source.name}", console=Console(stderr=True), transient=True)
