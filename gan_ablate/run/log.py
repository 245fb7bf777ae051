"""A run's log: training health and evaluations as JSON lines, which a checkpoint knows to the byte."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from lightning.pytorch.callbacks import RichProgressBar
from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers.logger import DummyExperiment
from rich.progress import TaskID

from gan_ablate.evaluate import health
from gan_ablate.evaluate.beside import ExtractorBeside
from gan_ablate.outcomes import SIGNS
from gan_ablate.publishing import publish
from gan_ablate.results.files import parse_lines

START = {"bytes": 0, "sha256": hashlib.sha256().hexdigest()}  # the position of an empty log


class RunLog(Logger):
    """Training health and evaluations as JSON lines, each with its G step; says so when a sign of failure first shows.

    `rewind` comes first: it opens the file, as a new one, so that nobody who held the old one writes into it.

    probabilities: whether D's answers are (see `evaluate.health`).
    """

    name, version = "metrics", ""

    def __init__(self, path: Path, probabilities: bool = True) -> None:
        super().__init__()
        self.path, self.probabilities = path, probabilities
        self.records: list[dict[str, Any]] = []  # training health so far, those of a resumed run's earlier lives too
        self.signs: dict[str, int | None] = {}
        self._file: IO[bytes] | None = None
        self._bytes, self._digest = 0, hashlib.sha256()  # of all lines

    @property
    def experiment(self) -> Any:
        return DummyExperiment()

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: `recipe.json` holds them."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """One line; what is not finite is written as null."""
        self.records.append(self._write({"step": step, **metrics}))
        found = health.signs(self.records, probabilities=self.probabilities)
        for name, at in found.items():
            if at is not None and self.signs.get(name) is None:
                print(f"step {at}: {name}: {SIGNS[name]}", file=sys.stderr, flush=True)
        self.signs = found

    def evaluated(self, point: dict[str, Any]) -> None:
        """One evaluation's record."""
        self._write({"step": point["step"], "evaluation": point})

    def position(self) -> dict[str, Any]:
        """Where the log ends, and the SHA-256 of all before; what is before is on the disk then."""
        assert self._file is not None
        os.fsync(self._file.fileno())
        return {"bytes": self._bytes, "sha256": self._digest.hexdigest()}

    def holds(self, position: Mapping[str, Any]) -> bool:
        """Whether the file still has every line up to there, as it was."""
        return hashlib.sha256(self._head(position)).hexdigest() == position["sha256"]

    def rewind(self, position: Mapping[str, Any]) -> None:
        """Keep the lines up to there: a run that died logged the others after its last checkpoint.

        By place and not by step: with several D steps per G step, some of a step's lines come after its checkpoint.
        """
        self.close()
        head = self._head(position)
        rows = parse_lines(head)
        self.records = [row for row in rows if "evaluation" not in row]
        self.signs = health.signs(self.records, probabilities=self.probabilities)  # said in an earlier life
        self._bytes, self._digest = len(head), hashlib.sha256(head)
        publish(self.path, head)  # a run killed here again has the lines of before or those kept
        self._file = open(self.path, "ab")  # noqa: SIM115 - the run's until `close`

    def close(self) -> None:
        """No lines come after this."""
        if self._file is not None:
            with suppress(OSError):  # of a line that could not be written: said already
                self._file.close()
        self._file = None

    def _head(self, position: Mapping[str, Any]) -> bytes:
        if not position["bytes"]:
            return b""
        try:
            with open(self.path, "rb") as file:
                return file.read(position["bytes"])
        except FileNotFoundError:
            return b""

    def _write(self, row: dict[str, Any]) -> dict[str, Any]:
        assert self._file is not None
        plain = {k: None if isinstance(v, float) and not abs(v) < float("inf") else v for k, v in row.items()}
        line = json.dumps(plain).encode() + b"\n"
        self._file.write(line)
        self._file.flush()
        self._bytes += len(line)
        self._digest.update(line)
        return plain


class StepBar(RichProgressBar):
    """Lightning's bar, by D's steps: several of them may pass in one call of the training step.

    beside: an extractor that is trained meanwhile. It has a bar of its own until it is there.
    """

    def __init__(self, beside: ExtractorBeside | None = None) -> None:
        super().__init__()
        self._beside = beside
        self._beside_id: TaskID | None = None
        if beside is not None:
            beside.watch = self._show

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        super().on_train_start(trainer, pl_module)
        if self._beside is not None:
            self._beside_id = self._add_task(100, "extractor, %")

    def on_train_batch_end(self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int) -> None:
        super().on_train_batch_end(trainer, pl_module, outputs, batch, pl_module.d_steps - 1)
        if self._beside is not None:
            self._show(self._beside.share)

    def _show(self, share: float) -> None:
        self._update(self._beside_id, round(100 * share), visible=share < 1)
        if share >= 1:  # nothing is left to show, and a process that was killed never says so
            self._beside = None
