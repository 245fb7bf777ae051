"""The engine of stats/two_part.py on many studies at once."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from benchmarks.verdicts.single_tests import ALPHA
from benchmarks.verdicts.worlds import World, draw
from gan_ablate.stats.corrections import benjamini_hochberg, holm
from gan_ablate.stats.failures import boschloo_p
from gan_ablate.stats.moderated import CAUTION, Difference, fit_prior, squeeze
from gan_ablate.stats.parts import MARGIN
from gan_ablate.stats.two_part import combine_looks
from gan_ablate.study.seed_plan import RECOMMENDED

BASE_SEEDS, LOOKS, WEIGHTS = RECOMMENDED.base, RECOMMENDED.looks, RECOMMENDED.weights


class Rule(NamedTuple):
    """How many seeds, when the evidence is looked at, and what collapsed runs count as."""

    base: int = BASE_SEEDS
    looks: tuple[int, ...] = LOOKS
    weights: tuple[float, ...] = WEIGHTS
    caution: float | None = CAUTION
    collapsed: str = "apart"  # in the failure part only; "in FID": in both, with a prior of their arms' own
    planned: int = 0  # arms of the whole table, where not all have their seeds yet: the others count as p = 1


class Played(NamedTuple):
    """What a rule said of every arm (studies, arms), had it ended after each look (looks first), and its intervals."""

    verdict: np.ndarray  # of strings
    certain: np.ndarray
    runs: np.ndarray  # of the arm
    error: np.ndarray  # estimate - truth, log ratio, at the arm's last look
    p_truth: np.ndarray  # p of the truth: under 0.05 the interval misses it
    look: np.ndarray  # the arm's last, from 0


THIRDS, LAST_HALF = (1 / 3, 1 / 3, 1 / 3), (0.25, 0.25, 0.5)


DESIGNS = (
    Rule(40, (16,), (1.0,)),
    Rule(40, (4, 8, 16), LAST_HALF),
    Rule(40, (4, 8, 16), THIRDS),
    Rule(40, (4, 8, 16), (0.1, 0.3, 0.6)),
    Rule(40, (5, 10, 20), LAST_HALF),
    Rule(40, (5, 10, 20), THIRDS),
    Rule(40, (4, 8, 12, 16, 20), (0.2,) * 5),
    Rule(20, (16,), (1.0,)),
    Rule(20, (4, 8, 16), LAST_HALF),
    Rule(20, (5, 10, 20), THIRDS),
)


def moments(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean, variance and count along the last axis of what is not NaN."""
    there = ~np.isnan(x)
    n = there.sum(-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.where(there, x, 0).sum(-1) / n
        squares = np.where(there, (x - mean[..., None]) ** 2, 0).sum(-1)
        return mean, np.where(n > 1, squares / (n - 1), np.nan), n


def differences(arms: Sequence[np.ndarray], base: Sequence[np.ndarray], failed: np.ndarray, rule: Rule) -> Difference:
    """Arms less base with moderated variances, all (studies, arms), from `moments` and counts of failed runs."""
    (mean, variance, n), (base_mean, base_variance, m) = arms, base
    found = [np.full(mean.shape, np.nan) for _ in range(4)]
    for k in range(len(mean)):
        v, d = np.append(variance[k], base_variance[k]), np.append(n[k], m[k]) - 1.0
        apart = np.append(failed[k] > 0, False) & (rule.collapsed == "in FID")
        for group in (apart, ~apart):
            moderated, dof = squeeze(v[group], d[group], fit_prior(v[group], d[group], rule.caution))
            at = np.flatnonzero(group[:-1])
            with np.errstate(invalid="ignore", divide="ignore"):
                found[0][k, at], found[1][k, at] = np.sqrt(moderated[: len(at)] / n[k, at]), dof[: len(at)]
            if not group[-1]:
                continue
            found[2][k], found[3][k] = math.sqrt(moderated[-1] / m[k]), dof[-1]
    return Difference(mean - base_mean[:, None], *found)


def failure_p(failed: np.ndarray, n: np.ndarray, base_failed: np.ndarray, m: int) -> np.ndarray:
    """`boschloo_p` of each arm (studies, arms)."""
    keys, back = np.unique(
        np.stack([failed, n, np.broadcast_to(base_failed[:, None], n.shape)]).reshape(3, -1),
        axis=1,
        return_inverse=True,
    )
    return np.array([boschloo_p(int(a), int(b), int(c), m) for a, b, c in keys.T])[back].reshape(n.shape)


def chunked(test: Callable[[Difference], np.ndarray], d: Difference, at: np.ndarray) -> np.ndarray:
    """A test of the differences `at` (studies, arms), a few thousand at a time; NaN elsewhere."""
    found, flat = np.full(at.shape, np.nan), [field[at] for field in d]
    parts = [test(Difference(*(f[i : i + 4000] for f in flat))) for i in range(0, int(at.sum()), 4000)]
    found[at] = np.concatenate(parts) if parts else []
    return found


def play(x: np.ndarray, failed: np.ndarray, rule: Rule, effect: np.ndarray) -> Played:
    """The engine on many studies at once: log FID and failures (studies, 1 + arms, seeds), base first."""
    x = np.where(failed & (rule.collapsed == "apart"), np.nan, x)
    base, base_failed = moments(x[:, 0, : rule.base]), failed[:, 0, : rule.base].sum(-1)
    shape = (len(x), x.shape[1] - 1)
    state = [np.full(shape, np.nan) for _ in range(6)]  # mean, variance, count, failed, error, p of the truth
    runs, look, active = np.zeros(shape, int), np.zeros(shape, int), np.ones(shape, bool)
    p, p_same, way, verdicts, certain = [], [], [], [], []
    for index, seeds in enumerate(rule.looks):
        news = [*moments(x[:, 1:, :seeds]), failed[:, 1:, :seeds].sum(-1)]
        state[:4] = [np.where(active, new, old) for new, old in zip(news, state)]
        runs, look = np.where(active, seeds, runs), np.where(active, index, look)
        d = differences(state[:3], base, state[3], rule)
        p_fid = chunked(lambda k: k.p(), d, active)
        same = chunked(lambda k: np.maximum(*k.outside(math.log(MARGIN))), d, active)
        truth = chunked(lambda k: k.p(), d._replace(mean=d.mean - effect), active)
        state[4:] = np.where(active, d.mean - effect, state[4]), np.where(active, truth, state[5])
        p_fail = failure_p(state[3].astype(int), runs, base_failed, rule.base)
        share, base_share = state[3] / runs, (base_failed / rule.base)[:, None]
        more, none = share > base_share, (state[3] == 0) & (base_failed == 0)[:, None]
        only = np.isnan(p_fid) | (more & (d.mean < 0))
        by_fid = ~only & (none | (p_fid <= p_fail))
        both = np.where(only, 2 * p_fail, np.where(none, p_fid, 2 * np.fmin(p_fid, p_fail)))
        p.append(np.where(active, np.minimum(both, 1), np.nan))
        p_same.append(np.where(more, 1.0, same))
        fails = np.where(more, "fails more", np.where(share < base_share, "rescues", ""))
        way.append(np.where(by_fid, np.where(d.mean > 0, "hurts", "helps"), fails))
        verdict, sure = tabled(p, p_same, way, more, rule)
        verdicts.append(verdict)
        certain.append(sure)
        active = verdict == "undecided"
    return Played(np.array(verdicts), np.array(certain), runs, state[4], state[5], look)


def tabled(
    p: list[np.ndarray], p_same: list[np.ndarray], way: list[np.ndarray], more: np.ndarray, rule: Rule
) -> tuple[np.ndarray, np.ndarray]:
    """Verdicts after the looks so far, and whether they are certain."""
    shape = more.shape
    rest = np.ones(max(0, rule.planned - shape[1]))
    tests = np.array([np.where(more & (w == "helps"), np.nan, one) for one, w in zip(p, way)])
    (total, best), (same, _) = (combine_looks(t.reshape(len(p), -1), rule.weights) for t in (tests, np.array(p_same)))
    total, same = (np.nan_to_num(t.reshape(shape), nan=1.0) for t in (total, same))
    same = np.where(more, 1.0, same)
    ways = np.take_along_axis(np.array(way), best.reshape(1, *shape), 0)[0]
    q, sure, q_same, sure_same = (
        np.array([correct(np.append(row, rest))[: shape[1]] for row in t]) < ALPHA
        for t in (total, same)
        for correct in (benjamini_hochberg, holm)
    )
    decided = q & (ways != "")
    verdict = np.where(decided, ways, np.where(q_same, "same", "undecided"))
    return verdict, np.where(decided, sure, q_same & sure_same)


def simulate(rng: np.random.Generator, w: World, rule: Rule, studies: int) -> Played:
    """`play` on studies drawn from a world, in batches."""
    parts = []
    for first in range(0, studies, 250):
        x, failed = draw(rng, w, min(250, studies - first), max(rule.base, *rule.looks))
        parts.append(play(x, failed, rule, w.effect))
    axis = (1, 1, 0, 0, 0, 0)
    return Played(*(np.concatenate(field, axis=a) for field, a in zip(zip(*parts), axis)))
