"""Verdicts and the evidence that they stand on: plain data for tables and pages."""

from __future__ import annotations

import math
from dataclasses import dataclass

from gan_ablate.stats.intervals import NONE, Interval

VERDICTS = ("supported", "contradicted", "mixed", "inconclusive", "not tested")
Pair = tuple[float, float]  # treatment, control


@dataclass(frozen=True)
class Evidence:
    """One test of one claim: a contrast on a model and dataset."""

    model: str  # such as dcgan; "wgan_gp v nsgan" where the sides are two models
    dataset: str
    contrast: str  # the arms as they are called in the study
    measure: str
    expects: str  # what the claim says of the treatment's figure: lower, higher, not worse, ..
    says: str  # "supports" | "contradicts" | "open" | "not tested"
    study: str = ""
    n: tuple[int, int] = (0, 0)  # runs of treatment and control, or units and 0
    scale: str = "ratio"  # of `effect`: ratio, difference, area (ROC), correlation, value, rate
    effect: Interval = NONE  # 95 % interval
    p: float = math.nan
    p_holm: float = math.nan
    smallest_missed: float = math.nan  # on the same scale: found with 80 % power after the correction
    bound: bool = False  # `smallest_missed` is in place of that the far end of the 95 % interval, not corrected
    failures: tuple[Interval, Interval] = (NONE, NONE)  # rates with Wilson's intervals
    coverage: Pair = (math.nan, math.nan)  # mean modes reached; NaN where they are not known
    volatility: Pair = (math.nan, math.nan)  # mean over the runs
    note: str = ""


@dataclass(frozen=True)
class Verdict:
    """What the data of all roots say of one claim."""

    id: str
    statement: str
    source: str
    verdict: str  # one of VERDICTS
    summary: str  # one sentence with numbers
    evidence: tuple[Evidence, ...]
    smallest_missed: float  # of the open test that the sentence tells, on its scale; NaN where unknown
    tests: int = 0  # size of the family that Holm's correction is over
