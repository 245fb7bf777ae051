"""Corrections for many tests. NaN entries are no tests: they stay NaN and do not count."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

ALPHA = 0.05  # of every family of tests


def holm(p: ArrayLike) -> np.ndarray:
    """Holm's (1979) step-down adjusted p-values (n,); NaN entries are no tests and stay NaN.

    Under `alpha` they reject with a family-wise error of at most alpha, however the tests depend on each other.
    """
    p, order = _tested(p)
    adjusted = np.full(p.shape, np.nan)
    steps = np.minimum(1.0, np.arange(len(order), 0, -1) * p[order])
    adjusted[order] = np.maximum.accumulate(steps) if len(order) else steps
    return adjusted


def benjamini_hochberg(p: ArrayLike) -> np.ndarray:
    """Benjamini and Hochberg's (1995) step-up adjusted p-values (n,): for exploration, and said so.

    Under `alpha` the expected share of false ones among the rejected is at most alpha where the tests are independent
    or positively dependent, as arms that share their control are (Benjamini and Yekutieli 2001).
    """
    p, order = _tested(p)
    adjusted = np.full(p.shape, np.nan)
    steps = p[order] * len(order) / np.arange(1, len(order) + 1)
    adjusted[order] = np.minimum(1.0, np.minimum.accumulate(steps[::-1])[::-1])
    return adjusted


def _tested(p: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """p as floats and the places of the tests in it, smallest p first."""
    p = np.asarray(p, dtype=float)
    tested = np.flatnonzero(~np.isnan(p))
    return p, tested[np.argsort(p[tested], kind="stable")]
