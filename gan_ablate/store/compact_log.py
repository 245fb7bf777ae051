"""Logs in little room, for archives: a log is text and float32 numbers, and the numbers are kept as their four bytes.

What a run logs are float32 values, written with the 17 digits of a float64: 18 bytes each, of which no compressor takes
back more than half. Nothing is lost of a log that was written otherwise: a number that is no float32 stays text.
"""

from __future__ import annotations

import re
import struct

MARK = "\0"  # stands in the text for a number; JSON has none
NUMBER = re.compile(r"-?\d+\.\d+(?:e[-+]\d+)?")


def encode(log: bytes) -> tuple[bytes, bytes] | None:
    """(text, numbers): the numbers as big-endian float32, all first bytes first. `None` for what is no log of ours."""
    numbers: list[float] = []

    def taken(found: re.Match[str]) -> str:
        value = float(found[0])
        try:
            kept = struct.unpack(">f", struct.pack(">f", value))[0]
        except OverflowError:
            return found[0]
        if repr(kept) != found[0]:
            return found[0]
        numbers.append(kept)
        return MARK

    try:
        text = log.decode()
    except UnicodeDecodeError:
        return None
    if MARK in text:
        return None
    short = NUMBER.sub(taken, text).encode()
    packed = struct.pack(f">{len(numbers)}f", *numbers)
    return short, b"".join(packed[k::4] for k in range(4))


def count(text: bytes) -> int:
    """How many bytes of numbers belong to a text."""
    return 4 * text.count(MARK.encode())


def decode(text: bytes, numbers: bytes) -> bytes:
    """The log. numbers: `count(text)` bytes. Raises `ValueError` for a text that is none."""
    n = len(numbers) // 4
    packed = bytes(numbers[k * n + i] for i in range(n) for k in range(4))
    values = iter(struct.unpack(f">{n}f", packed))
    head, *rest = text.decode().split(MARK)
    return "".join([head, *(repr(next(values)) + part for part in rest)]).encode()
