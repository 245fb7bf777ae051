"""Lightning's own talk, which says nothing of a run."""

import logging
import warnings


def quiet_lightning() -> None:
    """Only errors from now on: no devices, tips, hints and deprecations."""
    for name in ("lightning.pytorch", "lightning.fabric", "lightning.pytorch.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="lightning.*")
