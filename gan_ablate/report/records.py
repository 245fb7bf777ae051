"""Findings as tidy frames: what the CSV files hold, and what two reports are compared by."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from gan_ablate.findings.effects import Effects
from gan_ablate.findings.signs import SignRow
from gan_ablate.findings.summaries import ModelTable
from gan_ablate.findings.tasks import Budget, OverTasks

ALL = "all-arms.csv"  # every arm of every model of every root: what `--compare` reads
FORMULA = re.compile(r"'*[=+\-@\t\r]")  # a text that a spreadsheet would carry out, were it not quoted


def csv(frame: pd.DataFrame) -> str:
    """The file's text. A cell that a spreadsheet would take for a formula begins with ', so that it stays a text."""
    texts = {c: frame[c].map(_guarded) for c in frame.columns if not pd.api.types.is_numeric_dtype(frame[c])}
    return frame.assign(**texts).to_csv(index=False, lineterminator="\n")


def _guarded(value: object) -> object:
    return f"'{value}" if isinstance(value, str) and FORMULA.match(value) else value


def unguarded(text: str) -> str:
    """A cell's text as it was before `csv` wrote it."""
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text


def arms(table: ModelTable) -> pd.DataFrame:
    """A row per arm with every figure of the tables."""
    rows = []
    for a in table.arms:
        c = a.against
        rows.append(
            {
                "model": table.model,
                "dataset": table.dataset,
                "arm": a.arm,
                "metric": table.label,
                "runs": a.runs,
                "missing": a.missing,
                "failures": a.failures,
                "failure_low": a.failure_rate.low,
                "failure_high": a.failure_rate.high,
                "outcomes": a.outcomes,
                "fid": a.fid.point,
                "fid_low": a.fid.low,
                "fid_high": a.fid.high,
                "fid_dof": _dof(table.groups[a.arm]["fid"]),
                "ratio": c.ratio.point if c else math.nan,
                "ratio_low": c.ratio.low if c else math.nan,
                "ratio_high": c.ratio.high if c else math.nan,
                "ratio_dof": c.dof if c else math.nan,
                "test": c.test if c else "",
                "p": c.p if c else math.nan,
                "p_holm": a.p_holm,
                "pair_correlation": c.correlation if c else math.nan,
                "detectable_ratio": c.detectable if c else math.nan,
                "probability_of_improvement": a.improvement,
                "cliffs_delta": c.delta if c else math.nan,
                "verdict": a.verdict,
                "is_mean": a.is_mean.point,
                "is_low": a.is_mean.low,
                "is_high": a.is_mean.high,
                **a.means,
                "final_over_best": a.final_over_best,
                "seed_spread": a.spread,
                "seconds": a.seconds,
                "protocol": table.protocol,
            }
        )
    return pd.DataFrame(rows)


def _dof(fid: np.ndarray) -> float:
    """Degrees of freedom of the interval of a mean over the seeds with a score."""
    return max(int(np.isfinite(fid.astype(float)).sum()) - 1, 0) or math.nan


def over(rows: Sequence[OverTasks]) -> pd.DataFrame:
    """Interquartile means over models and datasets."""
    return pd.DataFrame(
        {"arm": r.arm, "tasks": "; ".join(r.tasks), "runs": r.runs, "without_fid": r.failed, "iqm": r.iqm.point}
        | {"iqm_low": r.iqm.low, "iqm_high": r.iqm.high}
        for r in rows
    )


def signs(rows: Sequence[SignRow]) -> pd.DataFrame:
    """Signs of failure in the first half."""
    return pd.DataFrame(
        {
            "model": s.title,
            "sign": s.sign,
            "failed_early": s.failed[0],
            "failed": s.failed[1],
            "good_early": s.good[0],
            "good": s.good[1],
            "ever": s.ever,
            "auc": s.area.value.point,
            "auc_low": s.area.value.low,
            "auc_high": s.area.value.high,
            "p": s.area.p,
        }
        for s in rows
    )


def effects(e: Effects) -> pd.DataFrame:
    """Main effects and interactions."""
    return pd.DataFrame(
        {
            "effect": f.name,
            "ratio": f.ratio.point,
            "ratio_low": f.ratio.low,
            "ratio_high": f.ratio.high,
            "p": f.p,
            "p_holm": f.p_holm,
            "aliases": ", ".join(f.aliases),
        }
        for f in e.found.effects
    )


def budgets(rows: Sequence[Budget]) -> pd.DataFrame:
    """Expected best, and the chance that every run fails, long."""
    return pd.DataFrame(
        {"arm": b.arm, "runs": k, "expected_best_over_base": v, "chance_of_nothing": b.nothing[k]}
        for b in rows
        for k, v in b.best.items()
    )


def claims(found: Sequence[Any]) -> pd.DataFrame:
    """A row per claim."""
    keys = ("id", "statement", "source", "verdict", "summary", "smallest_missed")
    return pd.DataFrame({k: getattr(v, k) for k in keys} for v in found)
