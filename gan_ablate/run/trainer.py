"""Lightning's Trainer as runs have it: one device, nothing on the screen, no files but those that are asked for."""

from __future__ import annotations

import logging
import warnings
from typing import Any

import lightning


def run_trainer(device: str, **options: Any) -> lightning.Trainer:
    """A Trainer on a `cuda` or `cpu` device. Evaluations come at the G steps of a plan, so nothing is validated."""
    quiet: dict[str, Any] = {"logger": False, "enable_progress_bar": False, "enable_model_summary": False}
    return lightning.Trainer(
        accelerator="gpu" if device == "cuda" else "cpu",
        devices=1,
        max_epochs=1,
        limit_val_batches=0,
        enable_checkpointing=False,
        **quiet | options,
    )


def quiet_lightning() -> None:
    """From now on Lightning shows only errors: no devices, tips, hints or deprecations."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
