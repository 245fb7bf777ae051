"""The file that `gan-ablate pack` writes: a zip whose few members are streams of bzip2, each of one kind of file.

Files of one kind resemble each other, so that packed together they take a fifth of what each takes by itself. Members
are stored, not deflated: only what bzip2 gives, whose format has not changed since 1996, decides the bytes, and its
reader, unlike the one of `zipfile`, can be told how much to unpack at the most.
"""

from __future__ import annotations

import bz2
import io
import stat
import struct
import unicodedata
import zipfile
from collections.abc import Mapping

from gan_ablate.errors import InputError, in_one_line, unknown
from gan_ablate.untrusted import MOST_RATIO

INDEX, STUDY = "index.json", "study.yaml"
LOG, LOG_TEXT, LOG_NUMBERS = "metrics.jsonl", "metrics.text", "metrics.numbers"  # see `compact_log`
PICTURES = "page.webp"
PLAIN = ("recipe.json", "result.json", "failed.json", "attempts.jsonl", "measured.json", LOG)  # kept as they are
STREAMS = (INDEX, STUDY, *PLAIN, LOG_TEXT, LOG_NUMBERS, PICTURES)
SUFFIX = ".bz2"
WHEN = (1980, 1, 1, 0, 0, 0)  # the time that all members bear: the first that a zip can say
REGULAR = stat.S_IFREG | 0o644
END = struct.Struct("<4sHHHHIIH")  # the record that ends a zip
END_MARK, ZIP64_MARK, MARK = b"PK\5\6", b"PK\6\7", b"PK"
HEADER = 30  # bytes before a member's name
LONGEST_DIRECTORY = 65_536  # bytes of the list of members; ours has a thousand
SLACK = 10_000_000  # bytes that any stream may have, however well it is packed
NOT_OURS = "not an archive of gan-ablate pack"


class Refused(InputError):
    """An archive that `gan-ablate pack` has not written, or not so. The text says what is wrong with it."""


def build(streams: Mapping[str, bytes]) -> bytes:
    """The archive of these streams. Same streams, same bytes: fixed order, times, modes and compression."""
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name in (n for n in STREAMS if n in streams):
            member = zipfile.ZipInfo(name + SUFFIX, WHEN)
            member.create_system, member.external_attr = 3, REGULAR << 16
            archive.writestr(member, bz2.compress(streams[name], 9))
    return buffer.getvalue()


def split(data: bytes) -> dict[str, Stream]:
    """The streams of an archive, none of them unpacked yet. Raises `Refused` for anything but what `build` makes."""
    _look_at_end(data)
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            _look_at_names([m.orig_filename for m in members])
            for member in members:
                _look_at(member)
            held = sum(HEADER + len(m.filename) + m.file_size for m in members)
            if held + END.unpack(data[-END.size :])[5] + END.size != len(data):
                raise Refused("bytes in it belong to no member")
            return {m.filename.removesuffix(SUFFIX): Stream(m.filename, archive.read(m)) for m in members}
    except (zipfile.BadZipFile, zipfile.LargeZipFile, NotImplementedError, RuntimeError, OSError) as error:
        raise Refused(f"damaged ({in_one_line(error)})") from None
    except (ValueError, OverflowError, struct.error, UnicodeError) as error:
        if isinstance(error, Refused):
            raise
        raise Refused(f"damaged ({in_one_line(error)})") from None


def _look_at_end(data: bytes) -> None:
    """Before `zipfile` believes it: a list of members may be gigabytes long."""
    if data[:2] != MARK:
        raise Refused(f"{NOT_OURS}: no zip")
    if len(data) < END.size or not data[-END.size :].startswith(END_MARK):
        raise Refused("cut short, or with something behind its end")
    _, disk, first, here, members, directory, _, comment = END.unpack(data[-END.size :])
    if data[-END.size - 20 :].startswith(ZIP64_MARK) or disk or first or comment:
        raise Refused(f"{NOT_OURS}: a zip of another kind")
    if here != members or members > len(STREAMS) or directory > LONGEST_DIRECTORY:
        raise Refused(f"{NOT_OURS}: {members} members, where those have at most {len(STREAMS)}")


def _look_at_names(names: list[str]) -> None:
    """Raises `Refused` for names that are no stream's, or two of which a file system may take for one."""
    known = [name + SUFFIX for name in STREAMS]
    seen: dict[str, str] = {}
    for name in names:
        alike = unicodedata.normalize("NFKC", name).casefold()
        if alike in seen:
            how = "twice" if seen[alike] == name else f"and {seen[alike]!r}, which some file systems take for one"
            raise Refused(f"has {name[:80]!r} {how}")
        seen[alike] = name
    for name in names:
        if ".." in name.replace("\\", "/").split("/") or name.startswith(("/", "\\")) or name[1:2] == ":":
            raise Refused(f"member {name[:80]!r} leads out of it")
    for name in (INDEX, STUDY):
        if name + SUFFIX not in names:
            raise Refused(f"{NOT_OURS}: no {name + SUFFIX} in it")
    for name in names:
        if name not in known:
            raise Refused(str(unknown("member", name, known)))


def _look_at(member: zipfile.ZipInfo) -> None:
    mode = member.external_attr >> 16
    if stat.S_IFMT(mode) not in (0, stat.S_IFREG) or member.is_dir():
        what = "a link" if stat.S_ISLNK(mode) else "a folder" if stat.S_ISDIR(mode) else "a device or a pipe"
        raise Refused(f"member {member.filename!r} is {what}")
    if member.flag_bits & 0x41:
        raise Refused(f"member {member.filename!r} is encrypted")
    stored = member.compress_type == zipfile.ZIP_STORED and member.compress_size == member.file_size
    if not stored or member.flag_bits or member.extra or member.comment:
        raise Refused(f"member {member.filename!r} was not written by gan-ablate pack")


class Stream:
    """A member, unpacked piece by piece, never more of it than was asked for."""

    def __init__(self, name: str, packed: bytes) -> None:
        self.name, self.most = name, MOST_RATIO * len(packed) + SLACK
        self._unpacker, self._packed, self._read = bz2.BZ2Decompressor(), packed, 0

    def read(self, size: int) -> bytes:
        """The next `size` bytes. Raises `Refused` where there are fewer, or where they are damaged."""
        self._read += size
        if self._read > self.most:
            raise Refused(f"member {self.name!r} unpacks to over {MOST_RATIO} times its size")
        found = bytearray()
        while len(found) < size:
            if self._unpacker.eof or (self._unpacker.needs_input and not self._packed):
                raise Refused(f"member {self.name!r} ends early")
            given, self._packed = self._packed, b""
            found += self._unpack(given, size - len(found))
        return bytes(found)

    def rest(self, most: int) -> bytes:
        """All that is left. Raises `Refused` where that is over `most` bytes."""
        found = bytearray()
        while not self._unpacker.eof:
            if self._unpacker.needs_input and not self._packed:
                raise Refused(f"member {self.name!r} ends early")
            given, self._packed = self._packed, b""
            found += self._unpack(given, most + 1 - len(found))
            if len(found) > min(most, self.most):
                raise Refused(f"member {self.name!r} unpacks to over {min(most, self.most):,} bytes")
        self.close()
        return bytes(found)

    def close(self) -> None:
        """Raises `Refused` where something is left."""
        left = b"" if self._unpacker.eof else self._unpack(self._packed, 1)
        if left or not self._unpacker.eof or self._unpacker.unused_data:
            raise Refused(f"member {self.name!r} is longer than the index says")

    def _unpack(self, given: bytes, most: int) -> bytes:
        try:
            return self._unpacker.decompress(given, most)
        except (OSError, EOFError, ValueError):
            raise Refused(f"member {self.name!r} is damaged") from None
