"""What tests say: the finding of one test, the evidence that it is after the correction, and the verdict on a claim."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from gan_ablate.claims.claim import Claim
from gan_ablate.formatting import interval, number, p_value
from gan_ablate.stats.intervals import NONE, Interval

Says = Literal["supports", "contradicts", "open", "not tested"]
Decision = Literal["supported", "contradicted", "mixed", "inconclusive", "not tested"]
VERDICTS: tuple[Decision, ...] = ("supported", "contradicted", "mixed", "inconclusive", "not tested")
Scale = Literal["ratio", "difference", "area", "correlation", "value"]  # area: under the ROC curve
Pair = tuple[float, float]  # treatment, control


@dataclass(frozen=True)
class Finding:
    """What one test found, before the correction."""

    p: float = math.nan  # NaN: nothing could be tested, or the answer is not one of chance (`certain`)
    supports: int = 0  # the side that the data lean to: 1 as claimed, -1 the other way
    effect: Interval = NONE  # 95 % interval, on `scale`
    scale: Scale = "ratio"
    smallest_missed: float = math.nan  # on `scale`; NaN where unknown
    bound: bool = False  # `smallest_missed` is the far end of the 95 % interval, not a result of a power analysis
    note: str = ""
    n: tuple[int, int] = (0, 0)  # runs of treatment and control, or arms and 0
    certain: bool = False  # decided by a rule and not by a test
    favours: int = 0  # -1: the treatment's figure is the lower one, 1: the higher

    @property
    def tested(self) -> bool:
        return self.certain or not math.isnan(self.p)


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
    n: tuple[int, int] = (0, 0)  # runs of treatment and control, or arms and 0
    scale: Scale = "ratio"  # of `effect` and `smallest_missed`
    effect: Interval = NONE  # 95 % interval
    p: float = math.nan
    p_holm: float = math.nan
    smallest_missed: float = math.nan  # the smallest effect found with 80 % power after the correction
    bound: bool = False  # `smallest_missed` is the far end of the 95 % interval instead, which is not corrected
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
    verdict: Decision
    summary: str  # one sentence with numbers
    evidence: tuple[Evidence, ...]
    smallest_missed: float  # of the open test that the sentence tells, on its scale; NaN where unknown
    tests: int = 0  # size of the family that Holm's correction is over


def conclude(claim: Claim, evidence: tuple[Evidence, ...], tests: int) -> Verdict:
    """The claim's verdict from its tests, already corrected over all `tests` of the registry."""
    decision = combine(claim, evidence)
    told = _told(decision, evidence)
    return Verdict(
        id=claim.id,
        statement=claim.statement,
        source=claim.cited,
        verdict=decision,
        summary=_sentence(claim, decision, evidence, told, tests),
        evidence=evidence,
        smallest_missed=told[0].smallest_missed if decision == "inconclusive" and told[0].says == "open" else math.nan,
        tests=tests,
    )


def combine(claim: Claim, evidence: Sequence[Evidence]) -> Decision:
    """The decision by the claim's rule, one of `claim.RULES`."""
    tested = {e.says for e in evidence} - {"not tested"}
    if claim.rule == "any" or not tested:
        return _any(tested)
    if claim.rule == "some":
        contradicted = tested == {"contradicts"}
        return "supported" if "supports" in tested else "contradicted" if contradicted else "inconclusive"
    parts: dict[tuple[str, str, str], set[Says]] = {}
    for e in evidence:
        parts.setdefault((e.measure, e.contrast, e.expects), set()).add(e.says)
    found = {_any(says) for says in parts.values()}
    if found == {"supported"}:
        return "supported"
    return "contradicted" if "contradicted" in found else "mixed" if "mixed" in found else "inconclusive"


def _any(says: set[Says]) -> Decision:
    if says <= {"not tested"}:
        return "not tested"
    if {"supports", "contradicts"} <= says:
        return "mixed"
    return "supported" if "supports" in says else "contradicted" if "contradicts" in says else "inconclusive"


def _told(decision: Decision, evidence: Sequence[Evidence]) -> list[Evidence]:
    """The tests that the sentence tells: the strongest of each side, or of those that stayed open."""
    if decision == "inconclusive":
        tested = [e for e in evidence if e.says != "not tested"]
        return [_strongest([e for e in tested if e.says == "open"] or tested)]
    says = {"supported": ("supports",), "contradicted": ("contradicts",), "mixed": ("supports", "contradicts")}
    return [_strongest([e for e in evidence if e.says == s]) for s in says.get(decision, ())]


def _strongest(evidence: Sequence[Evidence]) -> Evidence:
    """The test with the smallest p; those of a rule first."""
    return min(evidence, key=lambda e: -1.0 if math.isnan(e.p) else e.p)


def _sentence(
    claim: Claim, decision: Decision, evidence: Sequence[Evidence], told: Sequence[Evidence], tests: int
) -> str:
    if decision == "not tested":
        reasons = list(dict.fromkeys(f"{e.model}: {e.note}" for e in evidence))
        more = f" (and {len(reasons) - 2} more)" if len(reasons) > 2 else ""
        proof = f"; proven by {claim.proof}" if claim.proof else ""
        return f"Not tested: {'; '.join(reasons[:2]) or 'no data'}{more}{proof}."
    head = {
        "supported": f"Supported on {_where(evidence, 'supports')}",
        "contradicted": f"Contradicted on {_where(evidence, 'contradicts')}",
        "mixed": f"Supported on {_where(evidence, 'supports')}, contradicted on {_where(evidence, 'contradicts')}",
        "inconclusive": "Not decided",
    }[decision]
    decided = [f"{e.measure} on {e.model} {e.says} it" for e in evidence if e.says in ("supports", "contradicts")]
    if decision == "inconclusive" and decided:
        head += f" as a whole ({', '.join(decided)})"
    return f"{head}: {'; '.join(phrase(e, tests) for e in told)}."


def _where(evidence: Iterable[Evidence], says: Says) -> str:
    return " and ".join(dict.fromkeys(e.model for e in evidence if e.says == says))


def phrase(e: Evidence, tests: int) -> str:
    """One test in words and numbers."""
    contrast = "" if e.contrast.lower() in e.measure.lower() else f"{e.contrast}, "
    place = f"{e.measure}, {contrast}{e.model}"
    if math.isnan(e.p):
        return f"{place}: {e.note}"
    effect = "" if math.isnan(e.effect.point) else f"{e.scale} {interval(e.effect)}, "
    text = f"{place}: {effect}p {p_value(e.p_holm)} after Holm over {tests} tests"
    if e.says == "open":
        text += f"; {e.note if math.isnan(e.smallest_missed) else missed(e)}"
    return text


def missed(e: Evidence) -> str:
    """What an open test could have missed at 80 % power, or how far its 95 % interval goes."""
    size = number(e.smallest_missed)
    if e.bound:
        far = {"ratio": "a ratio of {}", "value": "{} off", "area": "an area of {}", "correlation": "one of size {}"}
        return f"the data still allow {far[e.scale].format(size)}"
    return f"an effect under {'a factor of ' * (e.scale == 'ratio')}{size} could have been missed"
