"""Loggers outside the store: W&B, TensorBoard, CSV. None of them may fail a run."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

from gan_ablate.errors import unknown
from gan_ablate.recipe import Recipe

WANDB_MODES = ("disabled", "offline", "online")
LOGGERS = ("none", "csv", "tensorboard")
WANDB_SECONDS = 30  # to wait for the server before going on offline


def outside_loggers(recipe: Recipe, folder: Path, wandb: str, logger: str, group: str) -> list[Any]:
    """The loggers that a run was asked for. `group` is the W&B project.

    Raises:
        InputError: an unknown logger or W&B mode.
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
        found.extend(_wandb(recipe, folder, wandb, group))
    return found


def _wandb(recipe: Recipe, folder: Path, mode: str, project: str) -> list[Any]:
    import wandb
    from lightning.pytorch.loggers import WandbLogger

    settings = wandb.Settings(init_timeout=WANDB_SECONDS, silent=True)
    for attempt in [mode] if mode == "offline" else [mode, "offline"]:
        try:
            run = wandb.init(
                project=project,
                id=recipe.run_id,
                name=f"{recipe.model}/{recipe.arm}/{recipe.seed}",
                group=f"{recipe.model}/{recipe.arm}",
                config=recipe.to_dict(),
                dir=_made(folder / "wandb"),
                mode="online" if attempt == "online" else "offline",
                resume="allow" if attempt == "online" else None,
                settings=settings,
            )
            return [WandbLogger(experiment=run)]
        except Exception as error:
            first = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
            print(f"W&B {attempt}: {first}; the run goes on without it", file=sys.stderr)
            os.environ.pop("WANDB_SERVICE", None)
    return []


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder
