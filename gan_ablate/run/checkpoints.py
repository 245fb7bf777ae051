"""Checkpoints of a run: sealed files, and the Lightning callbacks that write them and measure the untrained generator.

A checkpoint is the zip that `torch.save` makes, with the SHA-256 of all bytes before it as the zip's comment; torch,
`unzip` and any other reader accept it. The digest also covers what a zip's CRCs leave out (headers, names, directory),
and torch checks no CRC.
"""

from __future__ import annotations

import hashlib
import io
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.fabric.plugins.io import CheckpointIO

from gan_ablate.evaluate.callback import EvaluationCallback
from gan_ablate.models import GANModule
from gan_ablate.publishing import sync_folder, whole
from gan_ablate.run.log import START, RunLog

PREVIOUS = "previous.ckpt"  # in the same folder: what the last checkpoint replaced
SEAL = b"gan_ablate sha256 "
LENGTH = len(SEAL) + 64  # bytes of the comment


class DamagedCheckpoint(ValueError):
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
    """A sealed checkpoint, on the CPU. Raises `DamagedCheckpoint`, and `OSError` where the disk refuses."""
    data = path.read_bytes()
    body, seal = memoryview(data)[:-LENGTH], data[-LENGTH:]
    if not seal.startswith(SEAL):
        raise DamagedCheckpoint("cut short, or not a checkpoint of a run")
    if seal != SEAL + hashlib.sha256(body).hexdigest().encode():
        raise DamagedCheckpoint("damaged: its content does not have the digest that it was written with")
    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # sealed, but not by this package
        raise DamagedCheckpoint(f"cannot be read ({type(error).__name__})") from error


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


CHECKPOINT_SHARE = 0.1  # of the steps between checkpoints
CHECKPOINT_SECONDS = 120.0  # or so much time, whichever comes first


class Untrained(lightning.Callback):
    """Measures the untrained generator, which a run has to beat."""

    def __init__(self, evaluation: EvaluationCallback) -> None:
        self.evaluation = evaluation

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, GANModule)
        if pl_module.d_steps == 0:
            self.evaluation.evaluate(pl_module)


class Checkpoints(lightning.Callback):
    """Writes `last.ckpt`, keeps the one before it, and stops the training when asked to.

    belongs: what a checkpoint must have been made with to be gone on from (the run's id, its data); written into each,
    with how it is measured. evaluation: the run's. While it waits for its extractor no checkpoint is due, since none
    could say how its run is measured; one that is asked for waits too. run_log: the run's; a checkpoint belongs to the
    lines that it had then.
    """

    def __init__(  # noqa: PLR0917
        self,
        folder: Path,
        steps: int,
        should_stop: Callable[[], bool],
        belongs: Mapping[str, Any],
        evaluation: EvaluationCallback,
        run_log: RunLog,
    ) -> None:
        self.folder, self.should_stop = folder, should_stop
        self.evaluation, self.run_log = evaluation, run_log  # Lightning sets `log` on every callback
        self._belongs = belongs
        self.every = max(1, round(steps * CHECKPOINT_SHARE))
        self.stopped, self.resumed, self.seconds_before = False, 0, 0.0
        self._saved_at, self._began = 0, time.perf_counter()
        self._last_time = self._began

    @property
    def belongs(self) -> dict[str, Any]:
        return {**self._belongs, "evaluation": self.evaluation.settings()}

    def latest(self) -> str | None:
        """The newest checkpoint to go on from, or `None`; the log is put back to the lines that it had then.

        One that is damaged, of another run, of other data, or whose log has lost lines is moved aside, with a line.
        Raises `OSError` where the disk refuses: that says nothing against a checkpoint.
        """
        for name in ("last.ckpt", PREVIOUS):
            path = self.folder / name
            try:
                run: Any = read_sealed(path).get("run")
            except FileNotFoundError:
                continue
            except DamagedCheckpoint as error:
                reason = str(error)
            else:
                reason = self._objection(run)
                if not reason:
                    self.run_log.rewind(run["log"])
                    return str(path)
            print(f"{path}: {reason}; moved aside to {name}.refused, trying the one before", file=sys.stderr)
            path.replace(path.with_name(f"{name}.refused"))
        self.run_log.rewind(START)
        return None

    def _objection(self, run: Any) -> str:
        """Why not to go on from a checkpoint that says this of its run; empty if nothing is against it."""
        if not isinstance(run, Mapping) or "log" not in run:
            return "not a checkpoint of a run in a folder"
        for key, own in self.belongs.items():
            if (held := run.get(key)) != own:
                return f"of another run: {key} is {_brief(held)}, here {_brief(own)}"
        if not self.run_log.holds(run["log"]):
            return f"{self.run_log.path.name} has lost lines that it had when this checkpoint was written"
        return ""

    def on_save_checkpoint(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["run"] = {**self.belongs, "log": self.run_log.position()}

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, GANModule)
        asked = self.should_stop()
        done = pl_module.g_steps
        due = done - self._saved_at >= self.every or time.perf_counter() - self._last_time > CHECKPOINT_SECONDS
        due = due and self.evaluation.ready
        finished = pl_module.limit is not None and done >= pl_module.limit
        if (asked or due or finished) and not pl_module.diverged_at:
            self._save(trainer, done)
        if asked and not finished:
            self.stopped = True
            trainer.should_stop = True

    def _save(self, trainer: lightning.Trainer, done: int) -> None:
        self.evaluation.catch_up()
        self._saved_at, self._last_time = done, time.perf_counter()
        trainer.save_checkpoint(self.folder / "last.ckpt")  # by `SealedCheckpoints`

    def state_dict(self) -> dict[str, Any]:
        return {"resumed": self.resumed, "seconds": self.seconds_before + time.perf_counter() - self._began}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.resumed = state_dict["resumed"] + 1
        self.seconds_before = state_dict["seconds"]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, GANModule)
        self._saved_at = pl_module.g_steps


def _brief(value: Any) -> str:
    """A value as a line of a log bears it."""
    text = ", ".join(f"{k} {v}" for k, v in value.items()) if isinstance(value, Mapping) else str(value)
    return text if len(text) <= 200 else f"{text[:200]}.."
