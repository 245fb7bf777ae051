"""Loggers outside the store: W&B, TensorBoard, CSV. None of them may fail a run."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from gan_ablate.errors import unknown
from gan_ablate.recipe import Recipe

WANDB_MODES = ("disabled", "offline", "online")
LOGGERS = ("none", "csv", "tensorboard")
WANDB_SECONDS = 30  # for the server to answer, beside the training; then the W&B run is kept offline


def outside_loggers(  # noqa: PLR0917
    recipe: Recipe, folder: Path, wandb: str, logger: str, group: str, artifacts: bool = False
) -> list[Any]:
    """The loggers that a run was asked for. `group` is the W&B project, `artifacts` whether it gets files.

    Raises:
        InputError: an unknown logger or W&B mode, a time limit that is no number.
    """
    if wandb not in WANDB_MODES:
        raise unknown("W&B mode", wandb, WANDB_MODES)
    if logger not in LOGGERS:
        raise unknown("logger", logger, LOGGERS)
    found: list[Any] = []
    if logger == "csv":
        from lightning.pytorch.loggers import CSVLogger

        found.append(CSVLogger(folder, name="csv", version=""))
    elif logger == "tensorboard":
        from lightning.pytorch.loggers import TensorBoardLogger

        found.append(TensorBoardLogger(folder, name="tensorboard", version=""))
    if wandb != "disabled":
        found.extend(_wandb(recipe, folder, wandb, group, artifacts))
    return found


def conclude(loggers: Sequence[Any], result: Mapping[str, Any] | None = None) -> None:
    """Ends the loggers once the run is over; `result` is None for one that was stopped and will go on."""
    for each in loggers:
        each.finalize("success")
        if hasattr(each, "conclude"):
            each.conclude(result)


def _wandb(recipe: Recipe, folder: Path, mode: str, project: str, artifacts: bool) -> list[Any]:
    from gan_ablate.uplink.client import seconds
    from gan_ablate.uplink.logger import WandbLog

    limit = seconds("init", WANDB_SECONDS)
    try:
        return [WandbLog(recipe, folder, mode, project, limit, artifacts)]
    except OSError as error:  # no process or no room for it
        print(f"W&B {mode}: {error.strerror or error}; the run goes on without it", file=sys.stderr)
        return []
