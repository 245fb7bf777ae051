"""How images lie in a folder or zip: entries, splits, classes. No torch, and nothing is decoded.

Layouts: `{train,test}/<class>/x.jpg`, `{train,test}/x.jpg`, `<class>/x.jpg`, or images with no folder (no classes);
any of them may lie inside one wrapping folder.
"""

from __future__ import annotations

import zipfile
from functools import cache
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from gan_ablate.errors import InputError
from gan_ablate.recipe import AUTO, CLASSES
from gan_ablate.sources import SUFFIXES, is_image, walk

SPLIT_FOLDERS = {"train": ("train", "training"), "test": ("test", "testing", "val", "valid", "validation")}


class Entry(NamedTuple):
    """One image file. `path` is relative to the source, `size` the bytes that its listing says it has."""

    path: str
    size: int


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


def extractor_for(dataset: object, asked: str = AUTO) -> str:
    """The extractor of a plan: what was `asked`, `auto` as `classifier` or, for images without classes, `rotation`.

    dataset: a name or a path. What cannot be read counts as having classes: who loads it says what is wrong.
    """
    if asked != AUTO or not isinstance(dataset, str) or dataset in CLASSES:
        return "classifier" if asked == AUTO else asked
    return "classifier" if _classes(dataset) > 1 else "rotation"


def has_split(dataset: str, split: str) -> bool:
    """Whether a folder or zip has images for a split. Raises `InputError` for one that cannot be read."""
    source = Path(dataset).expanduser()
    entries = list_entries(source)
    try:
        return bool(arrange(entries, split, source)[0])
    except InputError:
        return False


@cache
def _classes(path: str) -> int:
    """The number of classes that the images at a path have; 2 where that cannot be said."""
    source = Path(path).expanduser()
    try:
        return len(arrange(list_entries(source), "train", source)[1])
    except (InputError, OSError, ValueError):  # ValueError: a name that can be no path
        return 2
