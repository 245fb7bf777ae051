"""Reads an archive of `gan-ablate pack`: into a root to go on from, or for as long as a command takes.

An archive may come from anyone. Nothing is written but files of fixed names in folders named by 16 hex digits, and
never more than its index says, which has limits itself.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

from gan_ablate.errors import InputError
from gan_ablate.publishing import discard, refusing, sync_folder
from gan_ablate.results.files import FAILURE, PAGE_PICTURE, RESULT
from gan_ablate.results.study_file import LONGEST_NAME, NAME, read_study
from gan_ablate.store import archive, compact_log
from gan_ablate.store.archive import Refused, Stream
from gan_ablate.store.attempts import read_attempts
from gan_ablate.study.study import MOST_RUNS
from gan_ablate.untrusted import LARGEST, LARGEST_ARCHIVE, MOST_UNPACKED, read_regular

SCHEMA = 1  # of the index: raise it when archives change their meaning
RUN_ID = re.compile(r"[0-9a-f]{16}")
LONGEST_INDEX = 16_000_000  # bytes; that of `MOST_RUNS` runs has 5 million
PLACES = {archive.LOG_TEXT: archive.LOG, archive.PICTURES: PAGE_PICTURE}  # stream -> its files' path in a run's folder
UNDATED = 315_532_800  # seconds since 1970, 1980: of a result whose attempts do not say when it was published
File = tuple[str, str, bytes]  # run id (empty: of the root itself), path in its folder, content


class Unpacked(os.PathLike[str]):
    """An archive in place of a root: `Path(unpacked)` is the folder in which its files lie for a while.

    called: what pages call the root: the folder in which a sweep of the study keeps it by default.
    """

    def __init__(self, given: str, folder: Path, called: str) -> None:
        self.given, self.folder, self.called = given, folder, called

    def __fspath__(self) -> str:
        return str(self.folder)

    def __str__(self) -> str:
        return self.given


Root = str | Path | Unpacked


def unpack(path: str | Path, out: str | Path) -> int:
    """Makes a root of an archive; it is there whole or not at all. Returns how many runs it has.

    Raises `InputError` for an archive that is refused, and where `out` is there already.
    """
    out = Path(out)
    if out.exists() and not (out.is_dir() and not any(out.iterdir())):
        raise InputError(f"{out}: is there already: give another --out, or join the two: gan-ablate merge {out} {path}")
    with refusing(out, any_error=True):
        folder = out.with_name(f".{out.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp")
        folder.mkdir(parents=True)
        try:
            runs = _lay_out(path, folder)
            os.sync()  # once, in place of a sync for each of ten thousand files
            os.rename(folder, out)
        except BaseException:
            discard(folder)
            raise
        sync_folder(out.parent)
    return runs


@contextmanager
def opened(roots: Sequence[str | Path]) -> Iterator[list[Root]]:
    """The roots, archives among them unpacked for as long as the command takes. What is refused is told of by the
    archive's own path."""
    with ExitStack() as stack:
        found: list[Root] = []
        try:
            for root in roots:
                found.append(stack.enter_context(_opened(root)) if Path(root).is_file() else root)
            yield found
        except InputError as error:
            if (line := told(str(error), found)) != str(error):
                raise InputError(line) from error
            raise


def told(text: str, roots: Sequence[Root]) -> str:
    """A text with the archives' own paths in place of the folders that they are unpacked in."""
    for root in roots:
        if isinstance(root, Unpacked):
            text = text.replace(str(root.folder), root.given)
    return text


@contextmanager
def _opened(path: str | Path) -> Iterator[Unpacked]:
    with ExitStack() as stack:
        with refusing(tempfile.gettempdir(), any_error=True):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="gan-ablate-"))).resolve()
            _lay_out(path, folder)
        yield Unpacked(str(path), folder, f"runs/{read_study(folder).name[:LONGEST_NAME]}")


def _lay_out(path: str | Path, folder: Path) -> int:
    """Writes an archive's files into a folder of its own. Returns how many runs it has."""
    try:
        data = read_regular(Path(path), LARGEST_ARCHIVE)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from None
    known: set[str] = set()
    try:
        for run_id, name, content in contents(data):
            place = folder / "runs" / run_id / name if run_id else folder / name
            place.parent.mkdir(parents=True, exist_ok=True)
            with open(place, "xb") as file:
                file.write(content)
            known.add(run_id)
        (folder / "runs").mkdir(exist_ok=True)
        known.discard("")
        if strays := known - {cell.run_id for cell in read_study(folder).cells}:
            raise Refused(f"run {min(strays)} is none of its study's")
    except Refused as error:
        raise InputError(f"{path}: {error}") from None
    except InputError as error:
        raise InputError(str(error).replace(str(folder), str(path))) from None
    for run_id in known:
        _date(folder / "runs" / run_id)
    return len(known)


def contents(data: bytes) -> Iterator[File]:
    """The files of an archive, one after the other. Raises `Refused`."""
    streams = archive.split(data)
    index = _index(streams.pop(archive.INDEX))
    yield "", NAME, streams[archive.STUDY].read(index["study"])
    sizes: Mapping[str, list[int | None]] = index["sizes"]
    wanted = {archive.STUDY, *sizes, *([archive.LOG_NUMBERS] if archive.LOG_TEXT in sizes else [])}
    if wanted != set(streams):
        raise Refused("its index names other members than it has")
    total = index["study"]
    for kind, column in sizes.items():
        for run_id, size in zip(index["runs"], column, strict=True):
            if size is None:
                continue
            content = streams[kind].read(size)
            if kind == archive.LOG_TEXT:
                content = _log(content, streams[archive.LOG_NUMBERS])
            total += len(content)
            if total > MOST_UNPACKED:
                raise Refused(f"unpacks to over {MOST_UNPACKED:,} bytes")
            yield run_id, PLACES.get(kind, kind), content
    for stream in streams.values():
        stream.close()


def _log(text: bytes, numbers: Stream) -> bytes:
    if compact_log.count(text) > LARGEST:
        raise Refused("a log in it is too long")
    try:
        return compact_log.decode(text, numbers.read(compact_log.count(text)))
    except UnicodeDecodeError:
        raise Refused("a log in it is damaged") from None


def _index(stream: Stream) -> dict[str, Any]:
    """The index, checked. Raises `Refused`."""
    try:
        found = json.loads(stream.rest(LONGEST_INDEX), object_pairs_hook=_once)
        if found["schema"] != SCHEMA:
            raise Refused(f"schema {str(found['schema'])[:40]}, written by another version of gan_ablate")
        runs, sizes = found["runs"], found["sizes"]
        known = {*archive.PLAIN, archive.LOG_TEXT, archive.PICTURES}
        good = found.keys() == {"schema", "study", "runs", "sizes"} and sizes.keys() <= known
        good = good and _is_size(found["study"])
        good = good and len(runs) <= MOST_RUNS and all(isinstance(r, str) and RUN_ID.fullmatch(r) for r in runs)
        good = good and runs == sorted(set(runs)) and all(len(column) == len(runs) for column in sizes.values())
        good = good and all(size is None or _is_size(size) for column in sizes.values() for size in column)
        logs = zip(sizes.get(archive.LOG) or (), sizes.get(archive.LOG_TEXT) or ())
        good = good and not any(a is not None and b is not None for a, b in logs)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        if isinstance(error, Refused):
            raise
        good = False
    if not good:
        raise Refused("its index is damaged")
    if sum(size or 0 for column in sizes.values() for size in column) > MOST_UNPACKED:
        raise Refused(f"unpacks to over {MOST_UNPACKED:,} bytes")
    return dict(found)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a name twice")
    return found


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= LARGEST


def _date(folder: Path) -> None:
    """Gives a result the time at which its run ended: `status` reckons a sweep's pace by it."""
    ended = UNDATED
    with suppress(IndexError, KeyError, ValueError, OverflowError, OSError):
        ended = int(datetime.fromisoformat(str(read_attempts(folder)[-1]["ended"])).timestamp())
    for name in (RESULT, FAILURE):
        if (folder / name).exists():
            try:
                os.utime(folder / name, (ended, ended))
            except (OSError, OverflowError):
                os.utime(folder / name, (UNDATED, UNDATED))
