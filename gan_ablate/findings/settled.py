"""Has an arm settled, or was it cut off while it still improved? By its fall of log FID over the last quarter."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike

from gan_ablate.findings.rows import Rows, known, where

LIMIT = 0.1  # of log FID: what falls by less over the last quarter of training has settled
MARK = "still improving"


class Fall(NamedTuple):
    """By how much log FID fell over the last quarter of training, over the runs of an arm that did not fail."""

    mean: float  # 0.1 is about 10 %; below 0 where FID rose; NaN where no run has enough evaluations
    error: float  # standard error of the mean; NaN under two runs
    runs: int

    @property
    def still_improving(self) -> bool:
        """Whether the mean, less one standard error, is over `LIMIT`. One run cannot tell."""
        return self.mean - self.error > LIMIT


UNKNOWN = Fall(math.nan, math.nan, 0)


def fall_of(rows: Rows) -> Fall:
    """The fall of an arm's runs (`Run.last_quarter_fall`)."""
    return fall_over(where(rows, rows["outcome"] == "ok")["last_quarter_fall"])


def fall_over(values: ArrayLike) -> Fall:
    """The fall of runs that did not fail, from that of each (n,); NaN where a run has too few evaluations."""
    falls = known(np.asarray(values, dtype=float))
    n = len(falls)
    if not n:
        return UNKNOWN
    return Fall(float(falls.mean()), float(falls.std(ddof=1) / np.sqrt(n)) if n > 1 else math.nan, n)
