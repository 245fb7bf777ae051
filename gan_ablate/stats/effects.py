"""Effect sizes that need no distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from gan_ablate.stats.exact import scored


def improvement(
    treatment: Sequence[float | None],
    control: Sequence[float | None],
    better: Literal["lower", "higher"] = "lower",
) -> float:
    """P(a random treatment run beats a random control run), ties counted half (Agarwal et al. 2021, section 4.3).

    `None` is a failed run: worse than any score, equal to another failed run. NaN where a side has no runs.
    """
    if not treatment or not control:
        return math.nan
    worst = math.inf if better == "lower" else -math.inf
    a, b = scored(treatment, worst)[:, None], scored(control, worst)[None, :]
    wins = (a < b) if better == "lower" else (a > b)
    return float((wins + 0.5 * (a == b)).mean())


def cliffs_delta(treatment: Sequence[float | None], control: Sequence[float | None]) -> float:
    """Cliff's (1993) delta in [-1, 1]: positive where the treatment tends to score higher (worse)."""
    return 1 - 2 * improvement(treatment, control)
