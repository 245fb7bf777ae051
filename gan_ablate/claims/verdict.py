"""What tests say: the finding of one test, the evidence that it is after the correction, and the verdict on a claim."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal, NamedTuple

from gan_ablate.claims.claim import Claim
from gan_ablate.stats.intervals import NONE, Interval
from gan_ablate.stats.two_part import BASE_FAILS

Says = Literal["supports", "contradicts", "same", "open", "not tested"]  # same: FIDs equal within the margin
Decision = Literal["supported", "contradicted", "mixed", "no difference", "inconclusive", "not tested"]
VERDICTS: tuple[Decision, ...] = (
    "supported", "contradicted", "mixed", "no difference", "inconclusive", "not tested"
)  # fmt: skip
DECIDED = VERDICTS[:4]
Scale = Literal["ratio", "difference", "area", "correlation", "value"]  # area: under the ROC curve
Pair = tuple[float, float]  # treatment, control
More = tuple[int, int]  # more seeds of the treatment, and of the control


@dataclass(frozen=True)
class Finding:
    """What one test found, before the correction."""

    p: float = math.nan  # NaN: nothing could be tested, or the answer is not one of chance (`by_rule`)
    supports: int = 0  # the side that the data lean to: 1 as claimed, -1 the other way
    effect: Interval = NONE  # 95 % interval, on `scale`
    scale: Scale = "ratio"
    smallest_missed: float = math.nan  # on `scale`; NaN where unknown
    bound: bool = False  # `smallest_missed` is the far end of the 95 % interval, not a result of a power analysis
    told: str = ""  # what the sentence says beside the effect, or where there is none: failed runs, where they decide
    note: str = ""
    n: tuple[int, int] = (0, 0)  # runs of treatment and control, or arms and 0
    by_rule: bool = False  # decided by a rule and not by a test
    favours: int = 0  # -1: the treatment's figure is the lower one, 1: the higher
    failures: tuple[Interval, Interval] | None = None  # rates of the runs that p rests on; `None`: of all
    counts_failures: bool = False  # they have a part in p, as in the verdict of an arm
    p_same: float = math.nan  # of "FIDs differ by the margin or more, or one side fails more"; NaN: not asked
    more: Callable[[float], More | None] | None = (
        None  # what would bring p under a threshold; `None`: as p's size tells
    )

    @property
    def tested(self) -> bool:
        return self.by_rule or not math.isnan(self.p)


@dataclass(frozen=True)
class Evidence:
    """One test of one claim: a contrast on a model and dataset."""

    model: str  # such as dcgan; "wgan_gp v nsgan" where the sides are two models
    dataset: str
    contrast: str  # the arms as they are called in the study
    measure: str
    expects: str  # what the claim says of the treatment's figure: lower, higher, not worse, ..
    says: Says
    study: str = ""
    budget: str = ""  # as `4x`: at that many times the study's steps
    n: tuple[int, int] = (0, 0)  # runs of treatment and control, or arms and 0
    scale: Scale = "ratio"  # of `effect` and `smallest_missed`
    effect: Interval = NONE  # 95 % interval
    p: float = math.nan
    q: float = math.nan  # p by Benjamini and Hochberg, over the registry's tests
    p_holm: float = math.nan
    p_same: float = math.nan  # of "not the same within the margin", a family of its own
    q_same: float = math.nan
    tests: int = 0  # size of the family that `says` rests on
    certain: bool = False  # by Holm's correction too, or by a rule
    smallest_missed: float = math.nan  # the smallest effect found with 80 % power after the correction
    bound: bool = False  # `smallest_missed` is the far end of the 95 % interval instead, which is not corrected
    failures: tuple[Interval, Interval] = (NONE, NONE)  # rates with Wilson's intervals
    coverage: Pair = (math.nan, math.nan)  # mean modes reached; NaN where they are not known
    volatility: Pair = (math.nan, math.nan)  # mean over the runs
    still_improving: tuple[str, ...] = ()  # sides of a test of quality that had not settled when they were judged
    told: str = ""  # what the sentence says beside the effect
    note: str = ""
    settles: str = ""  # what would decide an open test: `about 6 more seeds of max_pooling on dcgan`
    seeds_to_settle: float = math.nan  # of both sides together; NaN where no number that can be afforded would do
    in_its_place: str = ""  # the study whose answer counts instead: there both sides chose their settings

    @property
    def counts(self) -> bool:
        """Whether the claim's verdict rests on it."""
        return not self.in_its_place


def fails_too_often(mine: float, other: float, counts_failures: bool) -> bool:
    """Whether a side of these failure rates may not be called the better one by its figure.

    counts_failures: failures have a part in p, and the other side is an arm or base. A base of many seeds may fail once
    and its arm of few seeds never: as in the report, over a fifth is too often.
    """
    return mine > max(other, BASE_FAILS if counts_failures else 0.0) or mine == 1


class OnDataset(NamedTuple):
    """A claim on one dataset."""

    dataset: str
    verdict: Decision
    certain: bool


@dataclass(frozen=True)
class Verdict:
    """What the data of all roots say of one claim."""

    id: str
    statement: str
    source: str
    verdict: Decision  # over all datasets
    summary: str  # one sentence with numbers
    evidence: tuple[Evidence, ...]
    smallest_missed: float  # of the open test that the sentence tells, on its scale; NaN where unknown
    tests: int = 0  # size of the family of differences
    certain: bool = False  # by Holm's correction alone the verdict would be the same
    datasets: tuple[OnDataset, ...] = field(default=())  # each dataset of the roots
    settles: str = ""  # what would decide it; empty where it is decided


def decide(
    claim: Claim, evidence: Sequence[Evidence], datasets: Sequence[str]
) -> tuple[Decision, bool, tuple[OnDataset, ...]]:
    """The claim's verdict over all datasets, whether it is certain, and the same on each.

    Certain is what the verdict would be too if the tests that are not certain were still open.
    """
    sure = [e if e.certain or e.says == "not tested" else replace(e, says="open") for e in evidence]
    found = []
    for dataset in datasets:
        verdict, same = (combine(claim, [e for e in held if e.dataset == dataset]) for held in (evidence, sure))
        found.append(OnDataset(dataset, verdict, verdict == same and verdict in DECIDED))
    whole = over_datasets(d.verdict for d in found)
    certain = whole in DECIDED and whole == over_datasets(d.verdict if d.certain else "inconclusive" for d in found)
    return whole, certain, tuple(found)


def over_datasets(found: Iterable[Decision]) -> Decision:
    """Supported where some dataset supports it and none contradicts it, contradicted the other way round; mixed where
    datasets disagree, or one of them is; no difference where some dataset says so and none of these."""
    held = set(found)
    if "mixed" in held or {"supported", "contradicted"} <= held:
        return "mixed"
    order = ("supported", "contradicted", "no difference", "inconclusive")
    return next((d for d in order if d in held), "not tested")  # type: ignore[return-value]


def combine(claim: Claim, evidence: Sequence[Evidence]) -> Decision:
    """The decision on one dataset by the claim's rule, one of `claim.RULES`."""
    tested = {e.says for e in evidence} - {"not tested"}
    if claim.rule == "any" or not tested:
        return _any(tested)
    if claim.rule == "some":
        return "contradicted" if tested == {"contradicts"} else _any(tested - {"contradicts"})
    parts: dict[tuple[str, str, str], set[Says]] = {}
    for e in evidence:
        parts.setdefault((e.measure, e.contrast, e.expects), set()).add(e.says)
    found = {_any(says) for says in parts.values()}
    if found == {"supported"}:
        return "supported"
    if "contradicted" in found:
        return "contradicted"
    if "mixed" in found or found == {"supported", "no difference"}:
        return "mixed"
    return "no difference" if found == {"no difference"} else "inconclusive"


def _any(says: set[Says]) -> Decision:
    if says <= {"not tested"}:
        return "not tested"
    if {"supports", "contradicts"} <= says:
        return "mixed"
    if "supports" in says:
        return "supported"
    if "contradicts" in says:
        return "contradicted"
    return "no difference" if says <= {"same", "not tested"} else "inconclusive"
