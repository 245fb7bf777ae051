"""Silences the messages of Lightning that say nothing about a run."""

import logging
import warnings


def quiet_lightning() -> None:
    """From now on only errors are shown: no devices, tips, hints or deprecations."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
