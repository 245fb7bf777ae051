"""What stands beside a run's Trainer: the untrained floor, and checkpoints that survive a kill."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import lightning

from gan_ablate.evaluate.callback import EvaluationCallback
from gan_ablate.models import GANModule
from gan_ablate.run.checkpoints import PREVIOUS, Damaged, read_sealed
from gan_ablate.run.log import START, RunLog

CHECKPOINT_SHARE = 0.1  # of the steps between checkpoints
CHECKPOINT_SECONDS = 120.0  # or so much time, whichever comes first


class Untrained(lightning.Callback):
    """Measures the untrained generator: the floor that a run has to beat."""

    def __init__(self, evaluation: EvaluationCallback) -> None:
        self.evaluation = evaluation

    def on_train_start(self, trainer: lightning.Trainer, pl_module: lightning.LightningModule) -> None:
        assert isinstance(pl_module, GANModule)
        if pl_module.d_steps == 0:
            self.evaluation.evaluate(pl_module)


class Checkpoints(lightning.Callback):
    """Writes `last.ckpt` and keeps the one before it; leaves when asked to.

    belongs: what a checkpoint must have been made with to be gone on from (the run's id, its data, how it is
    measured); written into each. run_log: the run's; a checkpoint belongs to the lines that it had then.
    """

    def __init__(
        self,
        folder: Path,
        steps: int,
        should_stop: Callable[[], bool],
        belongs: Mapping[str, Any],
        run_log: RunLog,
    ) -> None:
        self.folder, self.should_stop = folder, should_stop
        self.belongs, self.run_log = belongs, run_log  # Lightning sets `log` on every callback
        self.every = max(1, round(steps * CHECKPOINT_SHARE))
        self.stopped, self.resumed, self.seconds_before = False, 0, 0.0
        self._saved_at, self._began = 0, time.perf_counter()
        self._last_time = self._began

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
            except Damaged as error:
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
        finished = pl_module.limit is not None and done >= pl_module.limit
        if (asked or due or finished) and not pl_module.diverged_at:
            self._save(trainer, done)
        if asked and not finished:
            self.stopped = True
            trainer.should_stop = True

    def _save(self, trainer: lightning.Trainer, done: int) -> None:
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
