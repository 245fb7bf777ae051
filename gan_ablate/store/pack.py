"""Packs a root: study, results, recipes, attempts, logs and the pictures of its report, without checkpoints."""

from __future__ import annotations

import errno
import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from gan_ablate.errors import InputError, in_one_line
from gan_ablate.publishing import publish, refusing, trouble
from gan_ablate.results.files import FAILURE, RESULT
from gan_ablate.results.study_file import NAME, read_study
from gan_ablate.store import archive, compact_log
from gan_ablate.store.unpack import RUN_ID, SCHEMA, contents
from gan_ablate.untrusted import LARGEST, LARGEST_ARCHIVE, read_regular

OF_FINISHED = ("measured.json", archive.LOG)  # a log that is still written to has no place in an archive


def pack(root: Path, pictures: Mapping[str, bytes]) -> bytes:
    """The archive of a root, the same for the same files, wherever they lie. pictures: run id -> bytes.

    Files go in as they are, those that do not count as results too: what reads the root reads the archive alike. Of
    runs that are not finished only recipe and attempts. Raises `InputError` for a file that is no regular one, and for
    what is too large for an archive.
    """
    cells = read_study(root).cells  # before its bytes: an adaptive sweep may add to them meanwhile
    columns: dict[str, list[int | None]] = {}
    streams: dict[str, bytearray] = {archive.STUDY: bytearray(_read(root / NAME) or b"")}
    runs = [run_id for run_id in sorted({cell.run_id for cell in cells}) if RUN_ID.fullmatch(run_id)]
    held = {run_id: dict(_files(root / "runs" / run_id, pictures.get(run_id))) for run_id in runs}
    runs = [run_id for run_id in runs if held[run_id]]
    for kind in (*archive.PLAIN, archive.LOG_TEXT, archive.LOG_NUMBERS, archive.PICTURES):
        found = [held[run_id].get(kind) for run_id in runs]
        if any(text is not None for text in found):
            streams[kind] = bytearray().join(text or b"" for text in found)
            columns[kind] = [None if text is None else len(text) for text in found]
    columns.pop(archive.LOG_NUMBERS, None)  # the text says how many there are
    index = {"schema": SCHEMA, "study": len(streams[archive.STUDY]), "runs": runs, "sizes": columns}
    streams[archive.INDEX] = bytearray(json.dumps(index, separators=(",", ":")).encode())
    data = archive.build({name: bytes(stream) for name, stream in streams.items()})
    if len(data) > LARGEST_ARCHIVE:
        raise InputError(f"{root}: {len(data):,} bytes packed, over {LARGEST_ARCHIVE:,}: split the study")
    try:
        for _ in contents(data):  # what nobody could unpack is not to be kept
            pass
    except archive.Refused as error:
        raise InputError(f"{root}: cannot be packed: {error}") from None
    return data


def write(out: Path, data: bytes) -> None:
    """Publishes an archive, over an older one or in a new file. Raises `InputError` for a file that is none."""
    try:
        with refusing(out):
            if out.exists() or out.is_symlink():
                archive.split(read_regular(out, LARGEST_ARCHIVE))
            out.parent.mkdir(parents=True, exist_ok=True)
            publish(out, data)
    except archive.Refused:
        raise InputError(f"{out}: is there, and no archive of gan-ablate pack: give another --out") from None
    except OSError as error:
        raise InputError(trouble(error, out) or f"{out}: cannot be written: {error.strerror or error}") from None


def _files(folder: Path, picture: bytes | None) -> Iterator[tuple[str, bytes]]:
    """(kind, bytes) of a run's files. Its result is read first: what was written before it is whole."""
    if folder.is_symlink():
        raise InputError(f"{folder}: a link; a run's folder lies in its root: put the folder itself there")
    ended = {name: text for name in (RESULT, FAILURE) if (text := _read(folder / name)) is not None}
    yield from ended.items()
    for name in archive.PLAIN:
        if name in ended or name in (RESULT, FAILURE) or (name in OF_FINISHED and not ended):
            continue
        if (text := _read(folder / name)) is None:
            continue
        short = compact_log.encode(text) if name == archive.LOG else None
        if short is not None and compact_log.decode(*short) == text:
            yield archive.LOG_TEXT, short[0]
            yield archive.LOG_NUMBERS, short[1]
        else:
            yield name, text
    if picture is not None and ended:
        yield archive.PICTURES, picture


def _read(path: Path) -> bytes | None:
    try:
        return read_regular(path, LARGEST)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ENOTDIR):
            return None
        raise InputError(f"{path}: cannot be packed: {in_one_line(error.strerror or error)}") from None
