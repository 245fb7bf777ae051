"""Two-level designs as matrices of -1 (low) and 1 (high): full, fractional, Plackett-Burman; and their aliases.

Every matrix has the row of all lows: of a family's equal fractions the one that holds the control is taken.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from functools import reduce
from operator import xor
from typing import NamedTuple

import numpy as np

from gan_ablate.errors import InputError

MAX_CELLS = 4096  # of one design on one model: beyond it somebody has mistyped, or needs a fraction
MAX_FACTORS = 47  # the columns of a Plackett-Burman design of 48 runs

# (factors, log2 of runs) -> the generated columns, each as the product of basic columns 1, 2, ..
# Minimum aberration: Box, Hunter & Hunter 2005, table 6.22; Montgomery 2017, appendix VIII; Chen, Sun & Wu 1993.
MINIMUM_ABERRATION = {
    (4, 3): "123",
    (5, 4): "1234",
    (6, 4): "123 124",
    (7, 4): "123 124 134",
    (8, 4): "123 124 134 234",
    (6, 5): "12345",
    (7, 5): "1234 1245",
    (8, 5): "123 124 2345",
    (9, 5): "2345 1345 1245 1235",
    (10, 5): "1234 1235 1245 1345 2345",
    (11, 5): "123 234 345 134 145 245",
    (12, 5): "123 124 125 134 135 145 234",
    (13, 5): "123 124 125 134 135 145 234 235",
    (14, 5): "123 124 125 134 135 145 234 235 245",
    (15, 5): "123 124 125 134 135 145 234 235 245 345",
    (16, 5): "123 124 125 134 135 145 234 235 245 345 12345",
    (7, 6): "123456",
    (8, 6): "1234 1256",
    (9, 6): "1234 1356 3456",
    (10, 6): "2346 1346 1245 1235",
    (11, 6): "345 1234 126 2456 1456",
    (8, 7): "1234567",
    (9, 7): "13467 23567",
    (10, 7): "1237 2345 1346",
    (11, 7): "1237 2345 1346 1234567",
}


class Fraction(NamedTuple):
    """A regular 2^(k-p) fraction. `words[i]`: the basic factors whose product makes factor i, one for a basic one."""

    words: tuple[tuple[int, ...], ...]
    resolution: int | None  # letters of the shortest word of the defining relation; None: a full factorial

    @property
    def runs(self) -> int:
        return 1 << sum(len(w) == 1 for w in self.words)

    def matrix(self) -> np.ndarray:
        """(runs, k) of -1 and 1 in standard order, the first basic factor moving fastest; row 0 is all -1."""
        rows = np.arange(self.runs)
        basic = {w[0]: 2 * (rows >> i & 1) - 1 for i, w in enumerate(w for w in self.words if len(w) == 1)}
        # the sign puts the row of all lows into this fraction
        columns = [(-1) ** (len(w) + 1) * np.prod([basic[b] for b in w], axis=0) for w in self.words]
        return np.stack(columns, axis=1)


def fraction(k: int, resolution: int, runs: int | None = None) -> Fraction:
    """The smallest fraction of k two-level factors with at least this resolution (4 or 5), or the one of `runs`.

    runs: a power of two, at most 2^k.
    Generators stand in the tables up to 16 factors (resolution 4) and 11 (resolution 5); beyond them they are
    searched for greedily, so that more runs than needed may be asked for. The resolution is always proven.
    Raises `InputError` where there is none.
    """
    sizes = range(math.ceil(math.log2(k)), k + 1) if runs is None else [runs.bit_length() - 1]
    for m in sizes:
        words = _words(k, m, resolution)
        if words is None:
            continue
        found = shortest_word(words)
        if found is None or found >= resolution:
            return Fraction(words, found)
    fewest = "" if runs is None else f"; {fraction(k, resolution).runs} runs do"
    raise InputError(f"resolution {resolution} cannot be had for {k} factors in {runs} runs{fewest}")


def _words(k: int, m: int, resolution: int) -> tuple[tuple[int, ...], ...] | None:
    basic = [(i,) for i in range(m)]
    if (k, m) in MINIMUM_ABERRATION:
        table = MINIMUM_ABERRATION[k, m].split()
        return (*basic, *(tuple(int(digit) - 1 for digit in word) for word in table))
    columns = _greedy(k, m, resolution)
    return None if columns is None else tuple(tuple(i for i in range(m) if c >> i & 1) for c in columns)


def _greedy(k: int, m: int, resolution: int) -> list[int] | None:
    """k columns as sets of bits, of which no resolution - 1 or fewer have the product 1; None where it gets stuck.

    Odd products come first: those alone give resolution 4 up to half as many factors as runs.
    """
    chosen = [1 << i for i in range(m)]
    near: list[set[int]] = [{0}, *(set() for _ in range(resolution - 2))]  # near[n]: products of n chosen columns

    def add(column: int) -> None:
        for n in range(len(near) - 1, 0, -1):
            near[n] |= {column ^ other for other in near[n - 1]}

    for column in chosen:
        add(column)
    for column in sorted(range(1, 1 << m), key=lambda c: (c.bit_count() % 2 == 0, c.bit_count(), c)):
        if len(chosen) == k:
            break
        if not any(column in products for products in near):
            chosen.append(column)
            add(column)
    return chosen if len(chosen) == k else None


def shortest_word(words: Sequence[Iterable[int]]) -> int | None:
    """Letters in the shortest word of the defining relation (the resolution); None for a full factorial."""
    columns = [sum(1 << b for b in word) for word in words]
    if all(c.bit_count() == 1 for c in columns):
        return None
    for length in range(1, len(columns) + 1):
        for letters in itertools.combinations(columns, length):
            if reduce(xor, letters) == 0:
                return length
    return None


def hadamard(n: int) -> np.ndarray:
    """(n, n) of -1 and 1 with orthogonal rows and columns, for n = 4, 8, .. 48: Paley 1933, I and II, and doubling."""
    if n == 2:
        return np.array([[1, 1], [1, -1]])
    if _prime(n - 1):  # n is a multiple of 4, so n - 1 is 3 modulo 4: Paley I
        skew = _jacobsthal(n - 1)
        return np.block([[np.ones((1, 1), int), np.ones((1, n - 1), int)], [-np.ones((n - 1, 1), int), skew]]) + (
            np.diag([0] + [1] * (n - 1))
        )
    q = n // 2 - 1
    if q % 4 == 1 and _prime(q):  # Paley II
        row = np.ones((1, q), int)
        conference = np.block([[np.zeros((1, 1), int), row], [row.T, _jacobsthal(q)]])
        block = np.array([[1, 1], [1, -1]])
        return np.kron(conference, block) + np.kron(np.eye(q + 1, dtype=int), np.array([[1, -1], [-1, -1]]))
    return np.kron(hadamard(2), hadamard(n // 2))


def _prime(n: int) -> bool:
    return n > 1 and all(n % d for d in range(2, math.isqrt(n) + 1))


def _jacobsthal(q: int) -> np.ndarray:
    """(q, q): 1 where row minus column is a square modulo the prime q, -1 where not, 0 on the diagonal."""
    squares = {x * x % q for x in range(1, q)}
    character = np.array([0] + [1 if x in squares else -1 for x in range(1, q)])
    return character[(np.arange(q)[:, None] - np.arange(q)[None, :]) % q]


def plackett_burman(k: int, runs: int | None = None, fold_over: bool = False) -> np.ndarray:
    """(runs, k) of -1 and 1, twice the runs when folded over; row 0 is all -1. Plackett & Burman 1946.

    `runs`: a multiple of 4 over k, up to 48; by default the smallest. Folding over adds every row's mirror image,
    which frees main effects of two-way interactions. Raises `InputError`.
    """
    if k > MAX_FACTORS:
        raise InputError(f"plackett_burman has at most {MAX_FACTORS} factors, got {k}")
    n = 4 * (k // 4 + 1) if runs is None else runs
    if n % 4 or not 4 <= n <= 48:
        raise InputError(f"runs={n}: plackett_burman has a multiple of 4 of them, from 4 to 48")
    if n <= k:
        raise InputError(f"runs={n}: plackett_burman needs more runs than factors ({k}): {4 * (k // 4 + 1)} do")
    square = hadamard(n)
    square = square * square[:, :1]  # first column all 1,
    square = square * square[:1]  # and first row: then its other columns turned round hold the row of all lows
    matrix = -square[:, 1 : k + 1]
    if fold_over:
        matrix = np.concatenate([matrix, -matrix])
    if len(np.unique(matrix, axis=0)) < len(matrix):
        folded = ", folded over," if fold_over else ""
        raise InputError(f"{n} runs{folded} of {k} factors would repeat cells: use fewer runs, or factorial")
    return matrix


def alias_chains(matrix: np.ndarray, names: Sequence[str]) -> list[list[str]]:
    """Main effects and two-way interactions (`a * b`) in groups that this design cannot tell apart, mains first.

    A leading `-` says that a term comes with the other sign than the first of its chain. matrix: (runs, k).
    """
    chains: dict[bytes, list[str]] = {}
    signs: dict[bytes, int] = {}
    for order in (1, 2):
        for picked in itertools.combinations(range(len(names)), order):
            column = matrix[:, list(picked)].prod(axis=1)
            sign = int(column[0])
            key = (column * sign).tobytes()
            minus = "-" if signs.setdefault(key, sign) != sign else ""
            chains.setdefault(key, []).append(minus + " * ".join(names[i] for i in picked))
    return list(chains.values())


def overlap(matrix: np.ndarray) -> tuple[float, float]:
    """The greatest correlation of columns: main effect with two-way interaction, and two such interactions.

    0: clear of each other, 1: one and the same. matrix: (runs, k).
    """
    runs, k = matrix.shape
    pairs = np.stack([matrix[:, i] * matrix[:, j] for i, j in itertools.combinations(range(k), 2)], axis=1)
    between = np.abs(pairs.T @ pairs)
    np.fill_diagonal(between, 0)
    return float(np.abs(matrix.T @ pairs).max() / runs), float(between.max() / runs)
