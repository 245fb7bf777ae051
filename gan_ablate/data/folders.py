"""A folder or zip of images as a dataset, decoded once into a memory-mapped cache.

How images may lie there says `gan_ablate.layout`. A zip is read in place: nothing is extracted.
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
from pathlib import Path
from typing import IO

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from gan_ablate.data.images import ImageSet
from gan_ablate.errors import InputError, in_one_line
from gan_ablate.layout import Entry, arrange, list_entries
from gan_ablate.publishing import whole

# raster formats only: by its content PIL would also take an EPS, and call Ghostscript to draw it
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
LARGEST_FILE = 1 << 29  # bytes of one image file, unpacked: more is a mistake or a zip bomb
CACHE_VERSION = 2  # part of the key: raise it when decoding changes


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
