"""The registry and its verdicts as text for a terminal."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

from gan_ablate.claims.claim import RULES, Claim, Contrast
from gan_ablate.claims.measures import MEASURES
from gan_ablate.claims.summary import interval, missed, p_value
from gan_ablate.claims.verdict import Evidence, Verdict
from gan_ablate.stats.intervals import Interval


def listing(claims: Iterable[Claim], verdicts: Mapping[str, Verdict]) -> str:
    """All claims: id, statement, contrasts, and the verdict where there are roots."""
    lines = []
    for claim in claims:
        verdict = verdicts.get(claim.id)
        lines.append(f"{claim.id}  {claim.statement}")
        lines.append(f"    {contrasts(claim)}")
        if verdict is not None:
            lines.append(f"    {verdict.verdict.upper()}: {verdict.summary.split(': ', 1)[-1]}")
    if verdicts:
        one = next(iter(verdicts.values()))
        counts = {v: sum(x.verdict == v for x in verdicts.values()) for v in dict.fromkeys(_order(verdicts))}
        lines += ["", ", ".join(f"{n} {v}" for v, n in counts.items()) + f"; Holm's correction over {one.tests} tests"]
    else:
        lines += ["", "`gan-ablate claims ID` shows one; `--root ROOT` gives the verdicts from a sweep's data"]
    return "\n".join(lines)


def _order(verdicts: Mapping[str, Verdict]) -> list[str]:
    from gan_ablate.claims.verdict import VERDICTS

    held = {v.verdict for v in verdicts.values()}
    return [v for v in VERDICTS if v in held]


def contrasts(claim: Claim) -> str:
    """Such as `D N: base v saturating (FID lower)`."""
    return "; ".join(dict.fromkeys(describe(c) for c in claim.contrasts))


def describe(contrast: Contrast) -> str:
    where = " ".join(contrast.models) + (f" v {' '.join(contrast.against)}" if contrast.against else "")
    label = MEASURES[contrast.measure].label
    if contrast.expects == "near":
        return f"{where}: {label} near its null (within {contrast.margin:g})"
    if contrast.treatment == "*":
        return f"{where}: {label}, all arms"
    margin = f" within a ratio of {contrast.margin:g}" if contrast.margin else ""
    return f"{where}: {contrast.label} ({label} {contrast.expects}{margin})"


def one(claim: Claim, verdict: Verdict | None) -> str:
    """One claim with its evidence."""
    lines = [
        claim.id,
        f"  {claim.statement}",
        f"  source: {claim.cited}",
        *(f"  contrast: {describe(c)}{' (where the ones before have no data)' * c.fallback}" for c in claim.contrasts),
        f"  rule: {RULES[claim.rule]}",
        f"  study: {claim.study}",
    ]
    if claim.proof:
        lines.append(f"  proof: {claim.proof}")
    if verdict is None:
        return "\n".join([*lines, "  `--root ROOT` gives the verdict from a sweep's data"])
    lines += [f"  verdict: {verdict.verdict}", f"    {verdict.summary}"]
    for e in verdict.evidence:
        lines += ["", *_evidence(e)]
    return "\n".join(lines)


def _evidence(e: Evidence) -> list[str]:
    head = f"  {e.model}" + (f" on {e.dataset}" if e.dataset else "") + (f" ({e.study})" if e.study else "")
    lines = [f"{head}: {e.contrast}, {e.measure}, claimed {e.expects}: {e.says}"]
    if not math.isnan(e.effect.point):
        tested = f", p {p_value(e.p)}, after Holm {p_value(e.p_holm)}" if not math.isnan(e.p) else ""
        lines.append(f"    {e.scale} {interval(e.effect)}{tested}, n {e.n[0]}" + (f" and {e.n[1]}" if e.n[1] else ""))
    if e.says == "open" and not math.isnan(e.smallest_missed):
        lines.append(f"    {missed(e)}")
    if e.study:
        sides = 2 if not math.isnan(e.failures[1].point) else 1
        failures = " v ".join(map(_rate, e.failures[:sides]))
        modes, volatility = (_pair(x[:sides]) for x in (e.coverage, e.volatility))
        lines.append(f"    failures {failures}, modes {modes}, volatility {volatility}")
    return [*lines, f"    note: {e.note}"] if e.note else lines


def _rate(x: Interval) -> str:
    return "-" if math.isnan(x.point) else f"{x.point:.0%} ({x.low:.0%} to {x.high:.0%})"


def _pair(x: tuple[float, ...]) -> str:
    return " v ".join("-" if math.isnan(v) else f"{v:.3g}" for v in x)


def as_data(claim: Claim, verdict: Verdict | None) -> dict[str, Any]:
    """One claim as plain data, with its verdict where there is one."""
    data: dict[str, Any] = {
        "id": claim.id,
        "statement": claim.statement,
        "source": claim.source,
        "paper": claim.paper,
        "contrasts": [dataclasses.asdict(c) for c in claim.contrasts],
        "rule": claim.rule,
        "study": claim.study,
        "proof": claim.proof,
    }
    if verdict is not None:
        told = dataclasses.asdict(verdict)
        data |= {k: told[k] for k in ("verdict", "summary", "smallest_missed", "tests", "evidence")}
        for made, e in zip(data["evidence"], verdict.evidence):
            made["effect"] = e.effect._asdict()
            made["failures"] = [rate._asdict() for rate in e.failures]
    return data
