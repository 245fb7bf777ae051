"""Arms in truth, and how their runs are drawn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from benchmarks.verdicts.single_tests import SPREAD_OF_SD
from gan_ablate.stats.moderated import Prior, fit_prior, squeeze

NEW_SD, COLLAPSED = 0.11, 1.2  # of the kept report's dcgan; how much higher the log FID of collapsed runs is


KEPT = {  # runs of dcgan whose noise is drawn again, and how many seeds all arms of them have
    "kept": (Path(__file__).with_name("kept-runs.csv"), 5),  # of the first kept report: `shapes`, 1,195 runs
    "digits": (Path(__file__).parents[2] / "reports" / "ablation" / "tables" / "runs.csv", 4),  # its first look
}


class World(NamedTuple):
    """Arms in truth, and how their runs vary."""

    effect: np.ndarray  # (arms,) logarithms of FID ratios
    rate: np.ndarray  # (arms,) of failures
    base_rate: float = 0.0
    shared: float = 0.1  # share of the variance that all arms of a seed have in common
    tails: str = "normal"  # or "t4"; "flat": uniform; "inverse": normal with variances as the prior has them, d0 = 6.3;
    # "kept", "digits": spread and residuals of those runs, nothing shared
    scored: float = 0.7  # share of failed runs that have a FID, e^COLLAPSED times as high


def world(groups: Sequence[tuple[int, float, float]], **rest: Any) -> World:
    """groups: (arms, ratio, failure rate)."""
    effect, rate = (np.concatenate([np.full(g[0], g[k]) for g in groups]) for k in (1, 2))
    return World(np.log(effect), rate, **rest)


MIXED = [(45, 1, 0), (10, 0.9, 0), (10, 0.75, 0), (10, 1.5, 0), (15, 3, 0)]


EDGE = [(45, 1.25, 0), (45, 0.8, 0)]


FAILING = [(10, 1, 0.05), (5, 1, 0.2), (5, 1, 0.6), (5, 1, 1), (5, 3, 0.2), (5, 3, 0.6)]


WORLDS = {
    "nothing": world([(90, 1, 0)]),
    "nothing, inverse chi-squared": world([(90, 1, 0)], tails="inverse"),
    "nothing, shared 0": world([(90, 1, 0)], shared=0.0),
    "nothing, shared 0.3": world([(90, 1, 0)], shared=0.3),
    "nothing, t4": world([(90, 1, 0)], tails="t4"),
    "nothing, flat": world([(90, 1, 0)], tails="flat"),
    "nothing, kept runs": world([(90, 1, 0)], tails="kept"),
    "nothing, digits runs": world([(90, 1, 0)], tails="digits"),
    "nothing, all fail 0.05": world([(90, 1, 0.05)], base_rate=0.05),
    "mixed": world(MIXED),
    "mixed, shared 0.3": world(MIXED, shared=0.3),
    "mixed, t4": world(MIXED, tails="t4"),
    "mixed, kept runs": world(MIXED, tails="kept"),
    "mixed, digits runs": world(MIXED, tails="digits"),
    "edge": world(EDGE),
    "edge, shared 0": world(EDGE, shared=0.0),
    "edge, t4": world(EDGE, tails="t4"),
    "edge, kept runs": world(EDGE, tails="kept"),
    "edge, digits runs": world(EDGE, tails="digits"),
    "edge among others": world([(45, 1, 0), (15, 1.25, 0), (15, 0.8, 0), (15, 3, 0)]),
    "failures, base 0": world([(45, 1, 0), (10, 0.75, 0), *FAILING]),
    "failures, base 0.05": world([(45, 1, 0.05), (10, 0.75, 0.05), *FAILING], base_rate=0.05),
}


def draw(rng: np.random.Generator, w: World, studies: int, seeds: int) -> tuple[np.ndarray, np.ndarray]:
    """Log FID (NaN: none) and whether the run failed (studies, 1 + arms, seeds); base comes first."""
    effect, rate = np.array([0, *w.effect]), np.array([w.base_rate, *w.rate])
    size = (studies, len(effect), seeds)
    sd = NEW_SD * np.exp(SPREAD_OF_SD * rng.normal(size=(*size[:2], 1)))
    bad = (np.abs(effect) > math.log(2.9)) | (rate > w.base_rate)
    sd = np.where(bad[:, None], rng.uniform(0.2, 0.7, (*size[:2], 1)), sd)
    if w.tails == "inverse":
        sd = NEW_SD * np.sqrt(6.3 / rng.chisquare(6.3, (*size[:2], 1)))
    own = rng.normal(size=size)
    if w.tails in {"t4", "flat"}:
        flat = math.sqrt(3)
        own = rng.standard_t(4, size) / math.sqrt(2) if w.tails == "t4" else rng.uniform(-flat, flat, size)
    x = sd * (math.sqrt(w.shared) * rng.normal(size=(studies, 1, seeds)) + math.sqrt(1 - w.shared) * own)
    if w.tails in KEPT:
        prior, residuals = kept(*KEPT[w.tails])
        sd = np.sqrt(prior.dof * prior.variance / rng.chisquare(prior.dof, (*size[:2], 1)))
        x = sd * residuals[rng.integers(0, len(residuals), size)]
    failed = rng.random(size) < rate[:, None]
    x = x + effect[:, None] + np.where(failed, COLLAPSED + 0.4 * rng.normal(size=size), 0)
    return np.where(failed & (rng.random(size) > w.scored), np.nan, x), failed


@cache
def kept(path: Path, seeds: int) -> tuple[Prior, np.ndarray]:
    """How variances of log FID are spread over the dcgan arms of a kept study in which each of the first seeds went
    well, and the residuals of all their runs in sds.

    A residual is drawn from all arms, since four draws of one arm's few values tie, as no FIDs do; the sd is the
    moderated one, since few values over their own sd have no tails.
    """
    runs = pd.read_csv(path)
    runs = runs[(runs["model"] == "dcgan") & (runs["seed"] < seeds)]
    table = np.log(runs.pivot(index="arm", columns="seed", values="fid"))
    table = table[runs.groupby("arm")["outcome"].apply(lambda o: (o == "ok").all())].dropna().to_numpy()
    variance, dof = table.var(1, ddof=1), np.full(len(table), table.shape[1] - 1.0)
    prior = fit_prior(variance, dof, caution=None)
    residuals = (table - table.mean(1, keepdims=True)) / np.sqrt(squeeze(variance, dof, prior)[0])[:, None]
    return prior, residuals.ravel() / residuals.std()
