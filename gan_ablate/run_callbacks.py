"""What stands beside a run's Trainer: the untrained floor, checkpoints that survive a kill, and the run's log."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import lightning
import torch
from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers.logger import DummyExperiment

from gan_ablate.evaluate import health
from gan_ablate.evaluate.callback import EvaluationCallback
from gan_ablate.models import GANModule

CHECKPOINT_SHARE = 0.1  # of the steps between checkpoints
CHECKPOINT_SECONDS = 120.0  # or so much time, whichever comes first


class Untrained(lightning.Callback):
    """Measures the untrained generator: the floor that a run has to beat. A resumed run's log goes back to its step."""

    def __init__(self, evaluation: EvaluationCallback, log: RunLog) -> None:
        self.evaluation, self.run_log = evaluation, log  # Lightning sets `log` on every callback
        self._rows: int | None = None

    def state_dict(self) -> dict[str, Any]:
        return {"rows": self.run_log.rows}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._rows = state_dict["rows"]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, GANModule)
        self.run_log.rewind(self._rows if pl_module.d_steps else 0)
        if pl_module.d_steps == 0:
            self.evaluation.evaluate(pl_module)


class Checkpoints(lightning.Callback):
    """Writes `last.ckpt` atomically and keeps the one before it; leaves when asked to."""

    def __init__(self, folder: Path, steps: int, should_stop: Callable[[], bool]) -> None:
        self.folder, self.should_stop = folder, should_stop
        self.every = max(1, round(steps * CHECKPOINT_SHARE))
        self.stopped, self.resumed, self.seconds_before = False, 0, 0.0
        self._saved_at, self._began = 0, time.perf_counter()
        self._last_time = self._began

    def latest(self) -> str | None:
        """The newest checkpoint that can be read, or `None`."""
        for name in ("last.ckpt", "previous.ckpt"):
            path = self.folder / name
            if not path.exists():
                continue
            try:
                torch.load(path, map_location="cpu", weights_only=True)
            except Exception as error:
                print(f"{path}: cannot be read ({type(error).__name__}), trying the one before", file=sys.stderr)
                continue
            return str(path)
        return None

    def on_train_batch_end(
        self, trainer: lightning.Trainer, pl_module: lightning.LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        assert isinstance(pl_module, GANModule)
        asked = self.should_stop()
        done = pl_module.g_steps
        due = done - self._saved_at >= self.every or time.perf_counter() - self._last_time > CHECKPOINT_SECONDS
        finished = pl_module.limit is not None and done >= pl_module.limit
        if (asked or due or finished) and not pl_module.diverged_at:
            self._save(trainer, done)
        if asked and not finished:
            self.stopped = True
            trainer.should_stop = True

    def _save(self, trainer: lightning.Trainer, done: int) -> None:
        self._saved_at, self._last_time = done, time.perf_counter()
        self.folder.mkdir(parents=True, exist_ok=True)
        temporary, last = self.folder / f".{os.getpid()}.ckpt", self.folder / "last.ckpt"
        trainer.save_checkpoint(temporary)
        with temporary.open("rb") as file:
            os.fsync(file.fileno())
        if last.exists():
            last.replace(self.folder / "previous.ckpt")
        temporary.replace(last)
        folder = os.open(self.folder, os.O_RDONLY)
        try:
            os.fsync(folder)  # else a power cut may leave neither name
        finally:
            os.close(folder)

    def state_dict(self) -> dict[str, Any]:
        return {"resumed": self.resumed, "seconds": self.seconds_before + time.perf_counter() - self._began}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self.resumed = state_dict["resumed"] + 1
        self.seconds_before = state_dict["seconds"]

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, GANModule)
        self._saved_at = pl_module.g_steps


class RunLog(Logger):
    """Training health and evaluations as JSON lines, each with its G step; says so when a sign of failure first shows.

    probabilities: whether D's answers are (see `evaluate.health`).
    """

    def __init__(self, path: Path, probabilities: bool = True) -> None:
        super().__init__()
        self.path, self.probabilities = path, probabilities
        self.records: list[dict[str, Any]] = []  # training health so far, those of a resumed run's earlier lives too
        self.rows = 0  # lines in the file
        self.signs: dict[str, int | None] = {}

    @property
    def name(self) -> str:
        return "metrics"

    @property
    def version(self) -> str:
        return ""

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
                print(f"step {at}: {name}: {health.SIGNS[name].__doc__}", file=sys.stderr, flush=True)
        self.signs = found

    def rewind(self, rows: int | None) -> None:
        """Keep the first `rows` lines (None: all): a run that died logged the others after its last checkpoint.

        By count and not by step: with several D steps per G step, some of a step's lines come after its checkpoint.
        """
        self.records, self.rows = [], 0
        if not self.path.exists():
            return
        kept: list[str] = []
        for line in self.path.read_bytes().splitlines():
            try:
                text = line.decode()
                row = json.loads(text)
            except ValueError:
                continue  # cut short when the process died, or not UTF-8
            if isinstance(row, dict) and (rows is None or len(kept) < rows):
                kept.append(text + "\n")
                self.records += [] if "evaluation" in row else [row]
        self.rows = len(kept)
        whole = self.path.with_name(f".{self.path.name}.{os.getpid()}.tmp")
        whole.write_text("".join(kept))
        whole.replace(self.path)  # a run killed here again has the lines of before or those kept
        self.signs = health.signs(self.records, probabilities=self.probabilities)  # said in an earlier life

    def evaluated(self, point: dict[str, Any]) -> None:
        """One evaluation's record."""
        self._write({"step": point["step"], "evaluation": point})

    def _write(self, row: dict[str, Any]) -> dict[str, Any]:
        plain = {k: None if isinstance(v, float) and not abs(v) < float("inf") else v for k, v in row.items()}
        with self.path.open("a") as file:
            file.write(json.dumps(plain) + "\n")
        self.rows += 1
        return plain
