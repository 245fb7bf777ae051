"""What lies at the path of a dataset, told without decoding it: are results made of what is there now? No torch.

A source is known by two digests. Its listing (names, sizes and times of the images; in a zip, their CRCs) costs no
reading. Its content (names and bytes) decides where the listing differs: files that were copied have new times.
"""

from __future__ import annotations

import hashlib
import json
import os
import zipfile
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Any

from gan_ablate.errors import InputError
from gan_ablate.publishing import put

SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".gif", ".webp", ".tif", ".tiff", ".ppm", ".pgm"})


def is_image(path: str) -> bool:
    """Whether a path inside a source names an image: a known suffix, and nothing hidden on the way."""
    parts = PurePosixPath(path).parts
    hidden = any(part.startswith((".", "__MACOSX")) for part in parts)
    return bool(parts) and not hidden and PurePosixPath(path).suffix.lower() in SUFFIXES


def identity(path: Path) -> dict[str, str]:
    """`listing` and `content` of a folder or zip, 16 hex digits each.

    A folder is read through once per listing; the answer is kept in the cache folder. Raises `OSError`, `BadZipFile`.
    """
    listing = _listing(path)
    if not path.is_dir():
        return {"listing": listing, "content": listing}  # names and CRCs
    kept = _cache() / f"{_digest([str(path.resolve()), listing])}.txt"
    with suppress(OSError):
        if len(text := kept.read_text()) == 16:
            return {"listing": listing, "content": text}
    content = _content(path)
    with suppress(OSError):  # without a cache it is read again the next time
        kept.parent.mkdir(parents=True, exist_ok=True)
        put(kept, content.encode())
    return {"listing": listing, "content": content}


class Sources:
    """Looks at each source once, and finds the results that were made of something else than what is there now."""

    def __init__(self) -> None:
        self._listing, self._content = cache(_listing_now), cache(_content_now)
        self._others: list[tuple[Path, str]] = []  # folder and dataset of each such result

    def look(self, record: Mapping[str, Any], folder: Path) -> None:
        """Remembers a result, which lies in `folder`, if it is one of other data."""
        if self.changed(record):
            self._others.append((folder, record["recipe"]["dataset"]))

    def check(self) -> None:
        """Raises `InputError` where one was seen: done again or not, one root would hold results of two data sets."""
        if self._others:
            folder, dataset = self._others[0]
            runs = "this run was" if len(self._others) == 1 else f"this run and {len(self._others) - 1} more were"
            raise InputError(
                f"{folder}: {runs} made of other data than {dataset} holds now: put the former data back, "
                "give another --root, or remove the folders of such runs to have them done again"
            )

    def changed(self, record: Mapping[str, Any]) -> bool:
        """Whether a result's dataset is a path that holds other images now. A path that is gone tells nothing."""
        dataset = (record.get("recipe") or {}).get("dataset")
        made_of = (record.get("data") or {}).get("source")
        if not isinstance(dataset, str) or not isinstance(made_of, Mapping):
            return False
        if self._listing(dataset) in (None, made_of.get("listing")):
            return False
        return self._content(dataset) not in (None, made_of.get("content"))


def _listing_now(dataset: str) -> str | None:
    """The listing of what lies at a dataset's path; `None` where nothing does that can be read."""
    with suppress(OSError, zipfile.BadZipFile):
        return _listing(Path(dataset).expanduser())
    return None


def _content_now(dataset: str) -> str | None:
    with suppress(OSError, zipfile.BadZipFile):
        return identity(Path(dataset).expanduser())["content"]
    return None


def _listing(path: Path) -> str:
    if path.is_dir():
        return _digest([(name, stat.st_size, stat.st_mtime_ns) for name, stat in _files(path)])
    with zipfile.ZipFile(path) as archive:
        return _digest(sorted((i.filename, i.file_size, i.CRC) for i in archive.infolist() if is_image(i.filename)))


def _content(folder: Path) -> str:
    whole = hashlib.sha256()
    for name, _ in _files(folder):
        with open(folder / name, "rb") as file:
            whole.update(f"{name}\0{hashlib.file_digest(file, 'sha256').hexdigest()}\0".encode())
    return whole.hexdigest()[:16]


def walk(folder: Path) -> Iterator[Path]:
    """All files under a folder, links followed. Each folder counts once, by its own name rather than by a link's, so
    that links in a circle add nothing."""
    seen: set[tuple[int, int]] = set()
    tops = deque([folder])
    while tops:
        for here, inner, files in os.walk(tops.popleft()):
            facts = os.stat(here)
            if (facts.st_dev, facts.st_ino) in seen:
                inner.clear()
                continue
            seen.add((facts.st_dev, facts.st_ino))
            tops.extend(path for name in sorted(inner) if (path := Path(here) / name).is_symlink())
            yield from (Path(here) / name for name in files)


def _files(folder: Path) -> Iterator[tuple[str, os.stat_result]]:
    """The images under a folder, by name, in the order of their names."""
    found = (path.relative_to(folder).as_posix() for path in walk(folder) if path.is_file())
    return ((name, (folder / name).stat()) for name in sorted(filter(is_image, found)))


def _digest(value: object) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()[:16]


def _cache() -> Path:
    return Path(os.environ.get("GAN_ABLATE_CACHE") or "~/.cache/gan_ablate").expanduser() / "sources"
