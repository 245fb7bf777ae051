"""One verdict of a claim's tests, by the rules of `claim.RULES`, and the sentence that says so."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from gan_ablate.claims.claim import Claim
from gan_ablate.claims.verdict import Evidence, Verdict
from gan_ablate.stats.intervals import Interval


def summarise(claim: Claim, evidence: tuple[Evidence, ...], tests: int) -> Verdict:
    """The claim's verdict from its tests, already corrected over all `tests` of the registry."""
    verdict = combine(claim, evidence)
    told = _told(verdict, evidence)
    return Verdict(
        id=claim.id,
        statement=claim.statement,
        source=claim.cited,
        verdict=verdict,
        summary=_sentence(claim, verdict, evidence, told, tests),
        evidence=evidence,
        smallest_missed=told[0].smallest_missed if verdict == "inconclusive" and told[0].says == "open" else math.nan,
        tests=tests,
    )


def combine(claim: Claim, evidence: Sequence[Evidence]) -> str:
    """One of `verdict.VERDICTS`."""
    tested = [e.says for e in evidence if e.says != "not tested"]
    if not tested:
        return "not tested"
    if claim.rule == "some":
        if "supports" in tested:
            return "supported"
        return "contradicted" if set(tested) == {"contradicts"} else "inconclusive"
    if claim.rule == "any":
        return _any(tested)
    parts: dict[tuple[str, str, str], list[str]] = {}
    for e in evidence:
        parts.setdefault((e.measure, e.contrast, e.expects), []).append(e.says)
    found = {_any([s for s in says if s != "not tested"]) for says in parts.values()}
    if found == {"supported"}:
        return "supported"
    if "contradicted" in found:
        return "contradicted"
    return "mixed" if "mixed" in found else "inconclusive"


def _any(says: Sequence[str]) -> str:
    for_, against = "supports" in says, "contradicts" in says
    if for_ and against:
        return "mixed"
    return "supported" if for_ else "contradicted" if against else "inconclusive"


def _told(verdict: str, evidence: Sequence[Evidence]) -> list[Evidence]:
    """The tests that the sentence tells: the strongest of each side, or of those that stayed open."""
    if verdict == "inconclusive":
        tested = [e for e in evidence if e.says != "not tested"]
        return [_strongest([e for e in tested if e.says == "open"] or tested)]
    says = {"supported": ("supports",), "contradicted": ("contradicts",), "mixed": ("supports", "contradicts")}
    return [_strongest([e for e in evidence if e.says == s]) for s in says.get(verdict, ())]


def _sentence(claim: Claim, verdict: str, evidence: Sequence[Evidence], told: Sequence[Evidence], tests: int) -> str:
    if verdict == "not tested":
        reasons = list(dict.fromkeys(f"{e.model}: {e.note}" for e in evidence))
        more = f" (and {len(reasons) - 2} more)" if len(reasons) > 2 else ""
        proof = f"; proven by {claim.proof}" if claim.proof else ""
        why = "; ".join(reasons[:2]) + more
        return f"Not tested: {why or 'no data'}{proof}."
    head = {
        "supported": f"Supported on {_where(evidence, 'supports')}",
        "contradicted": f"Contradicted on {_where(evidence, 'contradicts')}",
        "mixed": f"Supported on {_where(evidence, 'supports')}, contradicted on {_where(evidence, 'contradicts')}",
        "inconclusive": "Not decided",
    }[verdict]
    decided = [e for e in evidence if e.says in ("supports", "contradicts")]
    if verdict == "inconclusive" and decided:
        head += f" as a whole ({', '.join(f'{e.measure} on {e.model} {e.says} it' for e in decided)})"
    return f"{head}: {'; '.join(phrase(e, tests) for e in told)}."


def _where(evidence: Iterable[Evidence], says: str) -> str:
    return " and ".join(dict.fromkeys(e.model for e in evidence if e.says == says))


def _strongest(evidence: Sequence[Evidence]) -> Evidence:
    """The test with the smallest p; those of a rule first."""
    return min(evidence, key=lambda e: -1.0 if math.isnan(e.p) else e.p)


def phrase(e: Evidence, tests: int) -> str:
    """One test in words and numbers."""
    place = (
        f"{e.measure}, {e.contrast}, {e.model}"
        if e.contrast.lower() not in e.measure.lower()
        else f"{e.measure}, {e.model}"
    )
    if math.isnan(e.p):
        return f"{place}: {e.note}"
    effect = "" if math.isnan(e.effect.point) else f"{e.scale} {interval(e.effect)}, "
    text = f"{place}: {effect}p {p_value(e.p_holm)} after Holm over {tests} tests"
    if e.says == "open":
        text += f"; {e.note if math.isnan(e.smallest_missed) else missed(e)}"
    return text


def missed(e: Evidence) -> str:
    """What an open test could have missed at 80 % power, or how far its 95 % interval goes."""
    size = f"{e.smallest_missed:.3g}"
    if e.bound:
        far = {"ratio": "a ratio of {}", "value": "{} off", "area": "an area of {}", "correlation": "one of size {}"}
        return f"the data still allow {far[e.scale].format(size)}"
    return f"an effect under {'a factor of ' * (e.scale == 'ratio')}{size} could have been missed"


def interval(x: Interval) -> str:
    return f"{x.point:.3g}" + ("" if math.isnan(x.low) else f" ({x.low:.3g} to {x.high:.3g})")


def p_value(p: float) -> str:
    return "-" if math.isnan(p) else "under 0.0001" if p < 0.0001 else f"{p:.2g}"
