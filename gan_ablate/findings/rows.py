"""The runs of one arm as columns: what the findings are computed from."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pandas as pd

from gan_ablate.outcomes import TINY

Rows = dict[str, np.ndarray]  # runs as columns (n,): frames would take most of a large report's time


def by_arm(part: pd.DataFrame) -> dict[str, Rows]:
    """The runs of each arm, in the frame's order."""
    columns = {str(name): part[name].to_numpy() for name in part.columns}
    codes, arms = pd.factorize(part["arm"])
    order = np.argsort(codes, kind="stable")
    starts = np.searchsorted(codes[order], np.arange(len(arms) + 1))
    places = (order[a:b] for a, b in pairwise(starts))
    return {str(arm): {k: v[p] for k, v in columns.items()} for arm, p in zip(arms, places, strict=True)}


def where(rows: Rows, kept: np.ndarray) -> Rows:
    """The runs where `kept` (n,) is true."""
    return {k: v[kept] for k, v in rows.items()}


def scores(rows: Rows) -> dict[int, float | None]:
    """FID by seed of the runs carried out; `None` where a run failed without one."""
    done = where({k: rows[k] for k in ("seed", "fid")}, rows["outcome"] != "missing")
    return {int(s): None if math.isnan(f) else max(float(f), TINY) for s, f in zip(done["seed"], done["fid"])}


def by_seed(rows: Rows) -> dict[int, float | None]:
    """Seed -> log FID of a finished run, `None` where it failed, with a FID or without."""
    return {
        int(seed): math.log(max(float(fid), TINY)) if outcome == "ok" else None
        for seed, fid, outcome in zip(rows["seed"], rows["fid"], rows["outcome"], strict=True)
        if outcome != "missing"
    }


def failed(rows: Rows) -> tuple[int, int]:
    """(failed, carried out)."""
    carried_out = rows["outcome"] != "missing"
    return int((carried_out & (rows["outcome"] != "ok")).sum()), int(carried_out.sum())


def known(column: np.ndarray) -> np.ndarray:
    """The values there are."""
    x = column.astype(float)
    return x[~np.isnan(x)]


def mean(column: np.ndarray) -> float:
    """Over the values there are; NaN where there is none."""
    x = known(column)
    return float(x.mean()) if len(x) else math.nan
