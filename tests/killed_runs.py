"""Real runs that die of kill -9 on the way; a sweep's workers find this module by its name."""

from __future__ import annotations

import itertools
import os
import signal
from pathlib import Path
from typing import Any

from fake_runs import count

from gan_ablate.models.base import GANModule
from gan_ablate.recipe import Recipe
from gan_ablate.run.carry_out import carry_out

STEPS, KILLED_AT = 20, 13  # evaluated at 0, 10 and 20; the last checkpoint before the kill is of step 10


def killed_once(recipe: Recipe, folder: Path, **options: Any) -> dict[str, Any]:
    """As `carry_out`, but the process of the first attempt dies inside a round: D has learned, G has not."""
    if count(folder, "starts") == 1:
        turn, rounds = GANModule.generator_turn, itertools.count(1)

        def last_turn(*args: Any) -> Any:
            if next(rounds) == KILLED_AT:
                os.kill(os.getpid(), signal.SIGKILL)
            return turn(*args)

        GANModule.generator_turn = last_turn  # type: ignore[method-assign]  # this process does not outlive it
    return carry_out(recipe, folder, **options)
