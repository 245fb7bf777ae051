"""A claim's verdict in words: one sentence with numbers."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence

from gan_ablate.claims.claim import Claim
from gan_ablate.claims.settling import settles
from gan_ablate.claims.verdict import VERDICTS, Decision, Evidence, OnDataset, Says, Verdict, decide
from gan_ablate.formatting import interval, number, p_value
from gan_ablate.stats.parts import MARGIN
from gan_ablate.study.budgets import at

WORDS = {d: "not decided" if d == "inconclusive" else d for d in VERDICTS}
SIDES: dict[Decision, tuple[Says, ...]] = {
    "supported": ("supports",),
    "contradicted": ("contradicts",),
    "mixed": ("supports", "contradicts", "same"),
    "no difference": ("same",),
}
VERBS: dict[Says, str] = {"supports": "supports it", "contradicts": "contradicts it", "same": "makes no difference"}


def conclude(claim: Claim, evidence: tuple[Evidence, ...], tests: int, datasets: Sequence[str]) -> Verdict:
    """The claim's verdict from its tests, already corrected over all `tests` of the registry."""
    counted = tuple(e for e in evidence if e.counts)
    decision, certain, each = decide(claim, counted, datasets)
    told = _told(decision, [e for e in counted if any(e.dataset == d.dataset and d.verdict == decision for d in each)])
    told = told or _told(decision, counted)
    open_ = decision == "inconclusive" and told[0].says == "open"
    return Verdict(
        id=claim.id,
        statement=claim.statement,
        source=claim.cited,
        verdict=decision,
        summary=_sentence(claim, decision, counted, told, each),
        evidence=evidence,
        smallest_missed=told[0].smallest_missed if open_ else math.nan,
        tests=tests,
        certain=certain,
        datasets=each,
        settles=settles(claim, decision, counted),
    )


def _told(decision: Decision, evidence: Sequence[Evidence]) -> list[Evidence]:
    """The tests that the sentence tells: the strongest of each side, or of those that stayed open."""
    if decision == "inconclusive":
        tested = [e for e in evidence if e.says != "not tested"]
        return [_strongest([e for e in tested if e.says == "open"] or tested)] if tested else []
    sides = [[e for e in evidence if e.says == s] for s in SIDES.get(decision, ())]
    return [_strongest(side) for side in sides if side]


def _strongest(evidence: Sequence[Evidence]) -> Evidence:
    """The test with the smallest p; those of a rule first."""
    return min(evidence, key=lambda e: -1.0 if math.isnan(e.p) else e.p)


def _sentence(
    claim: Claim, decision: Decision, evidence: Sequence[Evidence], told: Sequence[Evidence], each: Sequence[OnDataset]
) -> str:
    if decision == "not tested":
        reasons = list(dict.fromkeys(f"{e.model}: {e.note}" for e in evidence))
        more = f" (and {len(reasons) - 2} more)" if len(reasons) > 2 else ""
        proof = f"; proven by {claim.proof}" if claim.proof else ""
        return f"Not tested: {'; '.join(reasons[:2]) or 'no data'}{more}{proof}."
    several = sum(d.verdict != "not tested" for d in each) > 1
    head = _over(each, evidence) if several and decision != "inconclusive" else _head(decision, evidence)
    decided = [f"{e.measure} on {e.model} {VERBS[e.says]}" for e in evidence if e.says in VERBS]
    if decision == "inconclusive" and decided:
        head += f" as a whole ({', '.join(dict.fromkeys(decided))})"
    other = dict.fromkeys(_with_more_steps(evidence, told))
    return f"{head}: {'; '.join([*(phrase(e, several) for e in told), *other])}."


def _with_more_steps(evidence: Sequence[Evidence], told: Sequence[Evidence]) -> Iterator[str]:
    """Where a second budget, not told yet, says otherwise than the first: a verdict on speed, not on the end."""
    decided = [e for e in evidence if e.says in VERBS]
    for longer in (e for e in decided if e.budget and e not in told):
        for e in decided:
            asked = e.dataset, e.contrast, e.measure, e.model + at(longer.budget)
            if asked == (longer.dataset, longer.contrast, longer.measure, longer.model) and e.says != longer.says:
                yield f"but {longer.contrast}, {longer.model}, {VERBS[longer.says]}"


def _head(decision: Decision, evidence: Sequence[Evidence]) -> str:
    if decision == "inconclusive":
        return "Not decided"
    words: dict[Says, str] = {"supports": "supported", "contradicts": "contradicted", "same": "no difference"}
    parts = [f"{words[says]} on {where}" for says in SIDES[decision] if (where := _where(evidence, says))]
    return _capital(", ".join(parts))


def _over(each: Sequence[OnDataset], evidence: Sequence[Evidence]) -> str:
    """Such as `Supported on mnist only (dcgan), not decided on cifar10`."""
    tested = [d for d in each if d.verdict != "not tested"]
    texts: list[str] = []
    for word in dict.fromkeys(sorted((d.verdict for d in tested), key=[*WORDS].index)):
        own = [d.dataset for d in tested if d.verdict == word]
        says = () if word == "mixed" else SIDES.get(word, ())
        models = " and ".join(dict.fromkeys(e.model for e in evidence if e.dataset in own and e.says in says))
        only = " only" * (bool(says) and len(own) < len(tested) and not texts)
        texts.append(f"{WORDS[word]} on {' and '.join(own)}{only}" + f" ({models})" * bool(models))
    return _capital(", ".join(texts))


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _where(evidence: Iterable[Evidence], says: Says) -> str:
    return " and ".join(dict.fromkeys(e.model for e in evidence if e.says == says))


def phrase(e: Evidence, with_dataset: bool = False) -> str:
    """One test in words and numbers."""
    contrast = "" if e.contrast.lower() in e.measure.lower() else f"{e.contrast}, "
    place = f"{e.measure}, {contrast}{e.model}" + f" on {e.dataset}" * with_dataset
    if math.isnan(e.p):
        return f"{place}: {e.note}"
    effect = "" if math.isnan(e.effect.point) else f"{e.scale} {interval(e.effect)}, "
    told = f"{e.told}{', ' * bool(e.told)}{effect}" + f"the same within x{MARGIN:g}, " * (e.says == "same")
    q = e.q_same if e.says == "same" else e.q
    text = f"{place}: {told}q {p_value(q)} over {e.tests} tests" + ", certain" * e.certain
    if e.says == "open":
        why = missed(e) if not math.isnan(e.smallest_missed) else e.note if e.note not in text else ""
        text += f"; {why}" * bool(why)
    return text + f"; still improving: {' and '.join(e.still_improving)}" * bool(e.still_improving)


def missed(e: Evidence) -> str:
    """What an open test could have missed at 80 % power, or how far its 95 % interval goes."""
    size = number(e.smallest_missed)
    if e.bound:
        far = {"ratio": "a ratio of {}", "value": "{} off", "area": "an area of {}", "correlation": "one of size {}"}
        return f"the data still allow {far[e.scale].format(size)}"
    return f"an effect under {'a factor of ' * (e.scale == 'ratio')}{size} could have been missed"
