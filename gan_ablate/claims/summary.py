"""One verdict of a claim's tests, by the rules of `claim.RULES`, and the sentence that says so."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from gan_ablate.claims.claim import Claim
from gan_ablate.claims.verdict import Evidence, Verdict


def summarise(claim: Claim, evidence: tuple[Evidence, ...], tests: int) -> Verdict:
    """The claim's verdict from its tests, already corrected over all `tests` of the registry."""
    verdict = combine(claim, evidence)
    open_ = [e.smallest_missed for e in evidence if e.says == "open" and not math.isnan(e.smallest_missed)]
    return Verdict(
        id=claim.id,
        statement=claim.statement,
        source=claim.cited,
        verdict=verdict,
        summary=_sentence(claim, verdict, evidence, tests),
        evidence=evidence,
        smallest_missed=min(open_, default=math.nan) if verdict == "inconclusive" else math.nan,
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


def _sentence(claim: Claim, verdict: str, evidence: Sequence[Evidence], tests: int) -> str:
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
    says = {"supported": ("supports",), "contradicted": ("contradicts",), "mixed": ("supports", "contradicts")}
    chosen = [_strongest(e for e in evidence if e.says == s) for s in says.get(verdict, ())]
    if verdict == "inconclusive":
        tested = [e for e in evidence if e.says != "not tested"]
        chosen = [_strongest(tested)]
        if any(e.says != "open" for e in tested):
            parts = ", ".join(f"{e.measure} on {e.model} {e.says} it" for e in tested if e.says != "open")
            head += f" as a whole ({parts})"
    told = "; ".join(phrase(e, tests) for e in chosen if e is not None)
    return f"{head}: {told}."


def _where(evidence: Iterable[Evidence], says: str) -> str:
    return " and ".join(dict.fromkeys(e.model for e in evidence if e.says == says))


def _strongest(evidence: Iterable[Evidence]) -> Evidence | None:
    """The test with the smallest p; those of a rule first."""
    return min(evidence, key=lambda e: -1.0 if math.isnan(e.p) else e.p, default=None)


def phrase(e: Evidence, tests: int) -> str:
    """One test in words and numbers."""
    place = (
        f"{e.measure}, {e.contrast}, {e.model}"
        if e.contrast.lower() not in e.measure.lower()
        else f"{e.measure}, {e.model}"
    )
    if math.isnan(e.p):
        return f"{place}: {e.note}"
    point, low, high = e.effect
    value = f"{point:.3g}" + ("" if math.isnan(low) else f" ({low:.3g} to {high:.3g})")
    text = f"{place}: {e.scale} {value}, p = {p_value(e.p_holm)} after Holm over {tests} tests"
    if e.says == "open":
        text += f"; {missed(e)}" if not math.isnan(e.smallest_missed) else ""
        text += f"; {e.note}" if math.isnan(e.smallest_missed) and e.note else ""
    return text


def missed(e: Evidence) -> str:
    """What an open test could have missed."""
    if e.expects in ("near", "not worse", "equivalent"):
        how = {"ratio": f"a ratio of {e.smallest_missed:.3g}", "value": f"{e.smallest_missed:.3g} off"}
        return f"the data still allow {how.get(e.scale, f'{e.smallest_missed:.3g}')}"
    unit = {"ratio": f"a factor of {e.smallest_missed:.3g}", "area": f"an area of {e.smallest_missed:.3g}"}
    return f"an effect under {unit.get(e.scale, f'{e.smallest_missed:.3g}')} could have been missed"


def p_value(p: float) -> str:
    return "-" if math.isnan(p) else "under 0.0001" if p < 0.0001 else f"{p:.2g}"
