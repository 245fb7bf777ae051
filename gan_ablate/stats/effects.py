"""Effect sizes that need no distribution."""

from __future__ import annotations

import math
from collections.abc import Sequence


def improvement(treatment: Sequence[float | None], control: Sequence[float | None]) -> float:
    """P(a random treatment run scores lower than a random control run), ties counted half (Agarwal et al. 2021).

    `None` is a failed run: worse than any score, equal to another failed run.
    """
    if not treatment or not control:
        return math.nan
    a, b = ([math.inf if v is None else v for v in side] for side in (treatment, control))
    wins = sum(1.0 if x < y else 0.5 if x == y else 0.0 for x in a for y in b)
    return wins / (len(a) * len(b))


def cliffs_delta(treatment: Sequence[float | None], control: Sequence[float | None]) -> float:
    """Cliff's (1993) delta in [-1, 1]: positive where the treatment tends to score higher (worse)."""
    return 1 - 2 * improvement(treatment, control)
