"""Main effects and two-way interactions from any two-level design, by least squares with seeds as blocks."""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from gan_ablate.stats.corrections import holm
from gan_ablate.stats.intervals import NONE, Interval, exp


class Effect(NamedTuple):
    """One factor, or the interaction of two ("a:b"): half the difference of a's effects at b high and at b low."""

    name: str
    difference: Interval  # log score at high less log score at low; NaN where the design cannot tell
    p: float  # two-sided t test; NaN where there is none
    p_holm: float  # corrected over all effects estimated
    aliases: tuple[str, ...]  # what the estimate also contains (or what it cannot be told from), "-" for opposite sign
    interaction: bool = False

    @property
    def ratio(self) -> Interval:
        """The effect of log scores as a ratio: high / low; of an interaction, its square is how many times
        a's ratio at b low its ratio at b high is."""
        return Interval(*map(exp, self.difference))


@dataclass(frozen=True)
class Factorial:
    """Effects of a design in the order of the factors, then of their pairs."""

    effects: tuple[Effect, ...]
    dof: int  # of the residual; 0: the design is saturated and no effect has an interval
    runs: int
    failed: int  # runs that stand at the worst score seen

    def __getitem__(self, name: str) -> Effect:
        return next(e for e in self.effects if e.name == name)


def factorial(
    design: ArrayLike,
    scores: Sequence[float | None],
    names: Sequence[str],
    blocks: Sequence[Hashable] | None = None,
) -> Factorial:
    """Fit log `scores` (runs,) on `design` (runs, factors) of -1 (low) and +1 (high), one row per run that was made.

    Full and fractional factorials, Plackett-Burman, with any cells missing (Box, Hunter and Hunter 2005, chapters 5 to
    7). `blocks` (the seeds) take up what all runs of a seed share. A term is estimated where the runs made can tell it
    from all others; terms that are copies of an earlier one, or lie within several, are left out of the model, and then
    stand as aliases at those whose estimates they enter (alias matrix: Box and Wilson 1951). A failed run (`None`)
    takes the worst, highest, score seen; a term of which a level has failed runs only gets no estimate, since theirs
    would say that the level does nothing. Without residual error (scores that never vary) there is no interval and no
    p. Raises `ValueError` for shapes or codes that do not fit and where no run has a score.
    """
    x = np.asarray(design, dtype=float)
    if x.shape != (len(scores), len(names)) or not np.isin(x, (-1, 1)).all():
        raise ValueError(f"design {x.shape}: wanted -1 and +1 of shape ({len(scores)} scores, {len(names)} names)")
    seen = [v for v in scores if v is not None]
    if not seen or min(seen) <= 0:
        raise ValueError("no run has a score, or one has no logarithm")
    y = np.log(np.array([max(seen) if v is None else v for v in scores], dtype=float))

    terms = {name: x[:, i] for i, name in enumerate(names)}
    terms |= {f"{names[i]}:{names[j]}": x[:, i] * x[:, j] for i, j in combinations(range(len(names)), 2)}
    nuisance = _blocks(blocks, len(y))
    fitted = _estimable(terms, names, nuisance)
    columns = np.column_stack([nuisance, *(terms[t] for t in fitted)])
    inverse = np.linalg.pinv(columns.T @ columns)
    beta = inverse @ columns.T @ y
    dof = len(y) - columns.shape[1]
    sd = math.sqrt(float(((y - columns @ beta) ** 2).sum()) / dof) if dof > 0 else math.nan
    scored = np.array([v is not None for v in scores])

    estimates: dict[str, tuple[Interval, float]] = {}
    for i, name in enumerate(fitted, nuisance.shape[1]):
        both_levels = len(set(terms[name][scored])) == 2
        error = 2 * sd * math.sqrt(inverse[i, i])
        estimates[name] = _tested(2 * float(beta[i]), error, dof) if both_levels else (NONE, math.nan)
    adjusted = dict(zip(estimates, holm([p for _, p in estimates.values()])))
    found = _aliases(terms, fitted, columns, inverse, nuisance.shape[1])
    effects = tuple(
        Effect(
            name,
            *estimates.get(name, (NONE, math.nan)),
            float(adjusted.get(name, math.nan)),
            tuple(found[name]),
            interaction=name not in names,
        )
        for name in terms
    )
    return Factorial(effects, dof, len(y), len(scores) - len(seen))


def _tested(effect: float, error: float, dof: int) -> tuple[Interval, float]:
    """An effect with its t interval and two-sided p; NaN without residual error."""
    if dof <= 0 or not error > 1e-9 * abs(effect):
        return Interval(effect, math.nan, math.nan), math.nan
    half = float(special.stdtrit(dof, 0.975)) * error
    return Interval(effect, effect - half, effect + half), float(2 * special.stdtr(dof, -abs(effect) / error))


def _blocks(blocks: Sequence[Hashable] | None, n: int) -> np.ndarray:
    """(n, blocks) indicators; without blocks the constant."""
    if blocks is None:
        return np.ones((n, 1))
    if len(blocks) != n:
        raise ValueError(f"{len(blocks)} blocks for {n} scores")
    return np.array([[b == k for k in dict.fromkeys(blocks)] for b in blocks], dtype=float)


def _estimable(terms: Mapping[str, np.ndarray], names: Sequence[str], nuisance: np.ndarray) -> list[str]:
    """The terms to fit: main effects first, each if it adds to those before; then the interactions that main effects
    and all other interactions (copies counted once) together cannot make up."""
    kept: list[str] = []
    space = nuisance
    for name in names:
        if _adds(terms[name], space):
            kept.append(name)
            space = np.column_stack([space, terms[name]])
    candidates: list[str] = []
    for name in (t for t in terms if t not in names):
        column = terms[name]
        copy = any(abs(column @ terms[c]) > len(column) * (1 - 1e-9) for c in candidates)
        if not copy and _adds(column, space):
            candidates.append(name)
    for name in candidates:
        others = [terms[c] for c in candidates if c != name]
        if _adds(terms[name], np.column_stack([space, *others])):
            kept.append(name)
    return kept


def _adds(column: np.ndarray, space: np.ndarray) -> bool:
    """Whether `column` (n,) lies outside the span of `space` (n, k)."""
    left = column - space @ np.linalg.lstsq(space, column, rcond=None)[0]
    return bool(np.linalg.norm(left) > 1e-6 * np.linalg.norm(column))


def _aliases(
    terms: Mapping[str, np.ndarray], fitted: list[str], columns: np.ndarray, inverse: np.ndarray, skip: int
) -> dict[str, list[str]]:
    """Per term the others that its estimate contains: "c", "-c", or with their share "+0.33 c"."""
    found: dict[str, list[str]] = {name: [] for name in terms}
    for left_out in (t for t in terms if t not in fitted):
        shares = (inverse @ columns.T @ terms[left_out])[skip:]
        for name, share in zip(fitted, shares):
            if abs(share) > 1e-6:
                exact = abs(abs(share) - 1) < 1e-6
                found[name].append(_named(left_out, share, exact))
                found[left_out].append(_named(name, share, exact))
    return found


def _named(name: str, share: float, exact: bool) -> str:
    return f"{'-' if share < 0 else ''}{name}" if exact else f"{share:+.2f} {name}"
