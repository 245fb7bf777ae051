"""A Lightning logger for W&B that hands everything to a child process."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lightning.pytorch.loggers import Logger
from lightning.pytorch.loggers.logger import DummyExperiment

from gan_ablate.recipe import Recipe
from gan_ablate.uplink import payload
from gan_ablate.uplink.client import Ended, Link


class WandbLog(Logger):
    """Curves, sample grids and the table of evaluations of one run. Nothing it does can fail or hold up the run.

    mode: online | offline; online falls back to offline when the server cannot be reached in time.
    project: W&B's, the study's name. artifacts: whether checkpoint and sample grids are uploaded at the end.
    """

    name, version = "wandb", ""

    def __init__(  # noqa: PLR0917
        self, recipe: Recipe, folder: Path, mode: str, project: str, init_seconds: float, artifacts: bool = False
    ) -> None:
        super().__init__()
        self.folder, self.version, self.artifacts = folder, recipe.run_id, artifacts
        self.target = payload.target(mode, project)
        self.last_step, self.evaluations = -1, 0
        begin = payload.init(recipe, project)
        self.link = Link(folder, begin, mode=mode, init_seconds=init_seconds, summaries=payload.SUMMARIES)

    @property
    def experiment(self) -> Any:
        return DummyExperiment()

    def log_hyperparams(self, *args: Any, **kwargs: Any) -> None:
        """Nothing: the run began with the whole recipe."""

    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        """One row, with its sample grid if it is an evaluation's."""
        row = payload.row(metrics, step)
        self.link.tell("log", row=row, images=payload.images(self.folder, row))
        if payload.TIMED in row:
            self.last_step, self.evaluations = step or 0, self.evaluations + 1

    def finalize(self, status: str) -> None:
        """Ends the W&B run of a run that crashed. After a success the result is still to come: see `conclude`."""
        if status != "success":
            self._end(1)

    def conclude(self, result: Mapping[str, Any] | None) -> None:
        """The summary, then the end of the W&B run, within its time limit."""
        if result is not None:
            self.link.tell("summary", values=payload.summary(result))
            for artifact in payload.artifacts(self.folder, self.version) if self.artifacts else ():
                self.link.tell("artifact", **artifact)
        self._end(0)

    def _end(self, exit_code: int) -> None:
        if not self.link.over:
            table = payload.table(payload.history(self.folder))
            self.link.tell("table", **table)
            self._mark(self.link.finish(exit_code), len(table["rows"]))

    def _mark(self, ended: Ended, evaluations: int) -> None:
        if ended.error:
            print(f"W&B {self.target['mode']}: {ended.error}; the run goes on without it", file=sys.stderr)
        if not ended.complete or ended.mode != self.target["mode"] or self.evaluations < evaluations:
            return  # nor is a resumed run marked: W&B may lack what its earlier process had not sent when it died
        try:
            payload.mark(self.folder, self.target, self.last_step, ended)
        except OSError as error:
            print(f"W&B: {self.folder}: the upload cannot be marked: {error.strerror}", file=sys.stderr)
