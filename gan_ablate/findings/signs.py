"""Did a sign in the first half of training announce a failure?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gan_ablate.findings.summaries import ModelTable, Rows, known, where
from gan_ablate.stats.failures import Association, auc


@dataclass(frozen=True)
class SignRow:
    """One sign on one model, over the runs where it was looked for."""

    title: str
    sign: str
    failed: tuple[int, int]  # failed runs that showed it in the first half, all failed ones
    good: tuple[int, int]  # the same of runs that ended well
    ever: int  # runs that showed it at any time
    area: Association  # P(a failed run shows it and a good one not), ties half: 0.5 says nothing


def announced(table: ModelTable) -> list[SignRow]:
    """Per sign; crashed runs have no record of signs and are left out."""
    if not table.groups:
        return []
    rows = {k: np.concatenate([g[k] for g in table.groups.values()]) for k in next(iter(table.groups.values()))}
    rows = where(rows, ~np.isin(rows["outcome"].astype(str), ["crashed", "missing"]))
    found = []
    for column in (c for c in rows if c.startswith("sign_")):
        sign = column.removeprefix("sign_")
        looked = where(rows, np.array([sign in str(names).split(",") for names in rows["signs_asked"]], dtype=bool))
        if not len(looked["outcome"]):
            continue
        early, bad = _early(looked, column), looked["outcome"] != "ok"
        found.append(
            SignRow(
                table.title,
                sign,
                (int(early[bad].sum()), int(bad.sum())),
                (int(early[~bad].sum()), int((~bad).sum())),
                len(known(looked[column])),
                auc(early.astype(float), [bool(b) for b in bad]),
            )
        )
    return found


def _early(rows: Rows, column: str) -> np.ndarray:
    """(runs,) whether the sign first showed in the first half; a sign that never showed is NaN, so not early."""
    return rows[column].astype(float) <= rows["steps"].astype(float) / 2
