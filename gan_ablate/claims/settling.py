"""What would decide an open test, and an open claim: more seeds, of which arms, in which sweep."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from gan_ablate.claims.claim import Claim
from gan_ablate.claims.measures import MEASURES
from gan_ablate.claims.planned_tests import Measure, PlannedTest
from gan_ablate.claims.verdict import Decision, Evidence, Finding, More
from gan_ablate.stats.more_seeds import ANY, MOST_SEEDS, scaled

NAMED = 3  # parts of an open claim that are told


def settling(test: PlannedTest, finding: Finding, threshold: float, why: str) -> dict[str, Any]:
    """In words, and how many seeds in all that is; NaN where no number would do. For `Evidence`.

    threshold: of one more test. why: what keeps a test that passes from a verdict; more seeds would not mend it.
    """
    unit = test.measure.unit
    if why:
        return {"settles": f"not more {unit}: the better side fails more"}
    if finding.more is not None:
        more = finding.more(threshold)
    else:
        offer = scaled(finding.p, max(1, finding.n[0]), threshold, [o for o in ANY if not o.base])
        more = offer and (offer.seeds, offer.seeds)
    if more is None:
        return {
            "settles": f"over {MOST_SEEDS} more {unit}" if test.table.plan is None else "no look is left that would"
        }
    return {"settles": f"about {_more_of(test, finding, more)}", "seeds_to_settle": float(sum(more))}


def _more_of(test: PlannedTest, finding: Finding, more: More) -> str:
    """Such as `6 more seeds of max_pooling on dcgan`."""
    if not finding.n[1] or type(test.measure) is not Measure:
        return f"{_count(more[0], test.measure.unit)} of {test.model}"
    crossed = test.model != test.control_model
    names = (test.model, test.control_model) if crossed else (test.treatment, test.control)
    where = "" if crossed else f" on {test.model}"
    if more[0] == more[1]:
        return f"{_count(more[0], test.measure.unit)} each of {names[0]} and {names[1]}{where}"
    parts = (f"{_count(n, test.measure.unit)} of {name}" for n, name in zip(more, names, strict=True) if n)
    return " and ".join(parts) + where


def _count(n: int, unit: str) -> str:
    return f"{n} more {unit if n > 1 else unit.removesuffix('s')}"


def settles(claim: Claim, decision: Decision, evidence: Sequence[Evidence]) -> str:
    """Of an open claim: what decides its cheapest open test, or each where its rule needs all; and the sweep that it
    still lacks. Empty where the claim is decided."""
    if decision not in ("inconclusive", "not tested"):
        return ""
    waiting = any(e.says == "not tested" for e in evidence)
    open_ = sorted((e for e in evidence if e.says == "open"), key=_seeds)
    told = [f"{e.settles} ({_sweep(claim, e.study)})" for e in (open_ if claim.rule == "all" else open_[:1])]
    if waiting and (decision == "not tested" or claim.rule == "all"):
        measured = any(MEASURES[measure].measured_by for c in claim.contrasts for *_, measure in c.sides)
        told.append(f"gan-ablate sweep {claim.study}" + ", then gan-ablate measure" * measured)
    return "; ".join(told[:NAMED]) + f"; and {len(told) - NAMED} more" * (len(told) > NAMED)


def _seeds(e: Evidence) -> float:
    return math.inf if math.isnan(e.seeds_to_settle) else e.seeds_to_settle


def _sweep(claim: Claim, study: str) -> str:
    return claim.study if Path(claim.study).stem == study else f"study {study}"
