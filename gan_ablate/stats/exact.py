"""Tests by enumeration: exact at any size, with ties and failed runs, and the floors that no data can get under."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike

EXACT_UP_TO = 20_000  # splits or sign patterns to enumerate: 8 against 8 runs, 14 pairs
DRAWS = 20_000  # sign patterns drawn where there are more


def ranks(x: ArrayLike) -> np.ndarray:
    """Ranks from 1 of x (n,); ties share their mean rank, infinities included."""
    _, place, ties = np.unique(np.asarray(x, dtype=float), return_inverse=True, return_counts=True)
    return (np.cumsum(ties) - (ties - 1) / 2)[place]


def scored(side: Sequence[float | None], worst: float = math.inf) -> np.ndarray:
    """Scores (n,) with `worst` in place of failed runs."""
    return np.array([worst if v is None else v for v in side], dtype=float)


def rank_sum_p(ranked: np.ndarray, n: int) -> float:
    """Two-sided p of the rank sum of the first n of `ranked` (n + m,), over every split into n and m (Wilcoxon 1945):
    twice the smaller tail, since with ties and n other than m the two tails differ.

    scipy turns to the normal approximation where values tie, and failed runs always tie: at 3 against 3 it then says
    0.064 where no split can give less than 0.1. Beyond `EXACT_UP_TO` splits: that approximation.
    """
    if math.comb(len(ranked), n) > EXACT_UP_TO:
        from scipy import stats  # slow to import, seldom needed

        return float(stats.mannwhitneyu(ranked[:n], ranked[n:], alternative="two-sided").pvalue)
    splits = np.array(list(combinations(range(len(ranked)), n)))  # (splits, n)
    sums = ranked[splits].sum(axis=1)
    low, high = (sums <= sums[0] + 1e-9).mean(), (sums >= sums[0] - 1e-9).mean()  # the first split is the one observed
    return float(min(1.0, 2 * min(low, high)))


def sign_flip_p(d: ArrayLike, seed: int = 0) -> float:
    """Two-sided p of the mean of paired differences d (n,) under symmetry around 0, over all 2^n signs (Fisher 1935).

    From 15 pairs on, over 20,000 drawn sign patterns and the observed one.
    """
    d = np.asarray(d, dtype=float)
    if len(d) == 0:
        return math.nan
    signs = _signs(len(d), seed)
    sums = np.abs(signs @ d)
    return float((sums >= abs(d.sum()) - 1e-12 * np.abs(d).sum()).mean())


def signed_rank_p(d: ArrayLike, seed: int = 0) -> float:
    """Two-sided p of Wilcoxon's (1945) signed ranks of d (n,), ties shared, zeros ranked and signless (Pratt 1959).

    Infinite differences are the largest: `worst_rank_differences` makes them of failed runs.
    """
    d = np.asarray(d, dtype=float)
    if len(d) == 0:
        return math.nan
    return sign_flip_p(np.sign(d) * ranks(np.abs(d)), seed)


def worst_rank_differences(treatment: Mapping[int, float | None], control: Mapping[int, float | None]) -> np.ndarray:
    """Differences of scores over the seeds of both: +inf where only the treatment failed, -inf where only the control,
    0 where both did (Lachin 1999, worst-rank scores)."""
    d = []
    for seed in sorted(treatment.keys() & control.keys()):
        a, b = treatment[seed], control[seed]
        if a is None or b is None:
            d.append(0.0 if a is b else math.inf if a is None else -math.inf)
        else:
            d.append(a - b)
    return np.array(d)


def least_rank_p(n: int, m: int) -> float:
    """The smallest two-sided p that a rank test of n against m runs can give."""
    return min(1.0, 2 / math.comb(n + m, n))


def least_sign_p(n: int) -> float:
    """The smallest two-sided p that a sign, sign-flip or signed-rank test of n pairs can give."""
    return min(1.0, 2.0 ** (1 - n))


def floor_note(n: int, least: float, comparisons: int = 1, alpha: float = 0.05, test: str = "rank") -> str:
    """A sentence where no data of n runs a side can be significant, else "". `least` is the test's smallest p.

    Holm's smallest adjusted p is `comparisons` times the smallest p if all other tests come out larger.
    """
    if min(1.0, comparisons * least) < alpha:
        return ""
    after = f" after correction for {comparisons} tests" if comparisons > 1 else ""
    return f"At n={n} no p-value of a {test} test can fall under {alpha:g}{after} (at best {least:.3g} before it)."


def _signs(n: int, seed: int) -> np.ndarray:
    """(patterns, n) of -1 and +1, the observed (all +1) first."""
    if 2**n <= EXACT_UP_TO:
        return 1.0 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
    drawn = 1.0 - 2.0 * np.random.default_rng(seed).integers(0, 2, (DRAWS, n))
    return np.vstack([np.ones(n), drawn])
