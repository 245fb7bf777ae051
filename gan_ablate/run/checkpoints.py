"""Checkpoint files: whole or not there, and read back only where each bit is as it was written.

A checkpoint is the zip that `torch.save` makes, with the SHA-256 of all bytes before it as the zip's comment: torch,
`unzip` and any other reader take it as before. The digest also covers what the CRCs of a zip leave out (its headers,
names and directory), and torch looks at no CRC.
"""

from __future__ import annotations

import hashlib
import io
from pathlib import Path
from typing import Any

import torch
from lightning.fabric.plugins.io import CheckpointIO

from gan_ablate.store.publishing import sync_folder, whole

PREVIOUS = "previous.ckpt"  # in the same folder: what the last checkpoint replaced
SEAL = b"gan_ablate sha256 "
LENGTH = len(SEAL) + 64  # bytes of the comment


class Damaged(ValueError):
    """A file that is not, bit for bit, a checkpoint as this package writes them. The message says why."""


def write_sealed(path: Path, checkpoint: dict[str, Any]) -> None:
    """Publishes a sealed checkpoint beside its target; the one that it replaces stays as `previous.ckpt`.

    Raises `OSError`; then what was there is there.
    """
    buffer = io.BytesIO()
    torch.save(checkpoint, buffer)
    buffer.seek(-2, io.SEEK_END)  # the last field of a zip without a comment: the comment's length
    buffer.write(LENGTH.to_bytes(2, "little"))
    buffer.write(SEAL + hashlib.sha256(buffer.getbuffer()).hexdigest().encode())
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole(path, keep=path.with_name(PREVIOUS)) as file:
        file.write(buffer.getbuffer())
    sync_folder(path.parent)  # else a power cut may leave neither name


def read_sealed(path: Path) -> dict[str, Any]:
    """A sealed checkpoint, on the CPU. Raises `Damaged`, and `OSError` where the disk refuses."""
    data = path.read_bytes()
    body, seal = memoryview(data)[:-LENGTH], data[-LENGTH:]
    if not seal.startswith(SEAL):
        raise Damaged("cut short, or not a checkpoint of a run")
    if seal != SEAL + hashlib.sha256(body).hexdigest().encode():
        raise Damaged("damaged: its content does not have the digest that it was written with")
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # sealed, but not by this package
        raise Damaged(f"cannot be read ({type(error).__name__})") from error


class SealedCheckpoints(CheckpointIO):
    """How Lightning writes and reads a run's checkpoints.

    Its own way leads through the temporary folder, which may be full where the root is not, and checks nothing.
    """

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        write_sealed(Path(path), checkpoint)

    def load_checkpoint(self, path: Any, map_location: Any = None, weights_only: bool | None = None) -> dict[str, Any]:
        return read_sealed(Path(path))

    def remove_checkpoint(self, path: Any) -> None:
        Path(path).unlink(missing_ok=True)
