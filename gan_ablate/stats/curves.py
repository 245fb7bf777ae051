"""Curves of FID along a run."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike


def time_to(target: float, times: ArrayLike, scores: ArrayLike, stay: bool = False) -> float:
    """The first of `times` (n,), ascending, at which the score (n,) is at or under `target`; infinite if never.

    Evaluated points only: nothing is interpolated, so times are as coarse as the evaluations. `stay` asks that the
    score never goes over the target again. NaN scores (a diverged run) are over any target.
    """
    t, under = np.asarray(times, dtype=float), np.asarray(scores, dtype=float) <= target
    if t.shape != under.shape or (np.diff(t) < 0).any():
        raise ValueError(f"times {t.shape} must ascend and match scores {under.shape}")
    if stay:
        under = np.logical_and.accumulate(under[::-1])[::-1]
    return float(t[np.argmax(under)]) if under.any() else math.inf
