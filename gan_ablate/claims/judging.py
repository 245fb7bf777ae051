"""From roots to verdicts: every contrast of every claim on every table, all tests corrected together, a rule per claim.

The family is the whole registry, whatever claims are asked for: it was declared before the data. As in the report's
tables Benjamini and Hochberg's correction gives what a test says, and Holm's marks it as certain. Two claims may share
a test, each expecting the opposite of the other: the corrections count it once. Whether two FIDs are the same within
the margin is a family of its own, as in the tables.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Literal, NamedTuple

from gan_ablate.claims.catalogue import registry
from gan_ablate.claims.counted import at_own_settings, once
from gan_ablate.claims.looks import at_each_look
from gan_ablate.claims.measures import MEASURES
from gan_ablate.claims.planned_tests import PlannedTest, planned_tests
from gan_ablate.claims.sentence import conclude
from gan_ablate.claims.settling import settling
from gan_ablate.claims.verdict import Evidence, Finding, Pair, Says, Verdict, fails_too_often
from gan_ablate.findings.settled import fall_over
from gan_ablate.results.frames import Results, run_tables
from gan_ablate.results.runs import Run
from gan_ablate.stats.corrections import ALPHA, benjamini_hochberg, holm
from gan_ablate.stats.intervals import Interval, wilson
from gan_ablate.study.budgets import at

Findings = Mapping[PlannedTest, Finding]  # of all tests for which nothing is missing


class Corrected(NamedTuple):
    """The p of one test after the corrections: q of Benjamini and Hochberg, and p of Holm."""

    q: float = math.nan
    p_holm: float = math.nan


class Family(NamedTuple):
    """All tests of the registry, corrected together."""

    p: Mapping[tuple[object, ...], Corrected]  # by key
    tests: int
    alpha: float

    @property
    def threshold(self) -> float:
        """What one more test alone would have to pass now."""
        return self.alpha * (1 + sum(p.q < self.alpha for p in self.p.values())) / max(1, self.tests)


class Families(NamedTuple):
    """Tests of a difference, and of FIDs that are the same within the margin."""

    apart: Family
    same: Family


def judge(roots: Sequence[Results], alpha: float = ALPHA) -> list[Verdict]:
    """A verdict per claim of the registry, in its order, from what `results.frames.load` read of some roots."""
    found, claims = run_tables(roots), registry().values()
    rows = [once([t for c in claim.contrasts for t in planned_tests(c, MEASURES, found)]) for claim in claims]
    asked = {t.key for row in rows for t in row if not t.contrast.fallback and (t.awaited or not t.missing)}
    share = alpha / max(1, len(asked))  # of one test, after the stricter correction
    findings = {t: _find(t, share) for row in rows for t in row if not t.missing}
    rows = [_where_it_is_asked(_without_fallbacks(row, findings)) for row in rows]
    whole = [t for row in rows for t in row]
    families = Families(*(_corrected(whole, findings, alpha, kind) for kind in ("p", "p_same")))  # type: ignore[arg-type]
    tests, datasets = families.apart.tests, [*dict.fromkeys(table.dataset for table in found)]
    return [
        conclude(
            claim, tuple(at_own_settings(row, [_evidence(t, findings.get(t), families) for t in row])), tests, datasets
        )
        for claim, row in zip(claims, rows)
    ]


def _find(test: PlannedTest, share: float) -> Finding:
    ask = test.measure.test
    return at_each_look(test, share, ask) if test.measure.by_look else ask(test, share)


def _where_it_is_asked(row: Sequence[PlannedTest]) -> list[PlannedTest]:
    """Without the datasets on which nothing of a claim can be asked, if it can be on others."""
    asked = {t.table.dataset for t in row if t.awaited or not t.missing}
    return [t for t in row if not asked or t.table.dataset in asked]


def _without_fallbacks(row: Sequence[PlannedTest], findings: Findings) -> list[PlannedTest]:
    """A fallback is asked only for models where the contrasts before it could not be tested."""
    told = {t.model for t in row if not t.contrast.fallback and t in findings and findings[t].tested}
    return [t for t in row if not (t.contrast.fallback and t.model in told)]


def _corrected(
    planned: Sequence[PlannedTest], findings: Findings, alpha: float, kind: Literal["p", "p_same"]
) -> Family:
    """Tests of an unfinished sweep that wait for their runs count too, as p = 1."""
    p: dict[tuple[object, ...], float] = {t.key: getattr(findings[t], kind) for t in planned if t in findings}
    tested = {key for key, value in p.items() if not math.isnan(value)}
    may_come = (t for t in planned if not t.contrast.fallback and not t.contrast.is_rule)
    if kind == "p_same":
        may_come = (t for t in may_come if t.measure.has_margin and not t.contrast.is_margin)
    to_come = len({t.key for t in may_come if _waits(t, findings)} - tested)
    whole = [*p.values(), *[1.0] * to_come]
    each = map(Corrected, map(float, benjamini_hochberg(whole)), map(float, holm(whole)))
    return Family(dict(zip(p, each)), to_come + len(tested), alpha)


def _waits(test: PlannedTest, findings: Findings) -> bool:
    """Whether more runs are planned; where no run has such a figure, none may ever come."""
    return test.awaited or (test in findings and any(findings[test].n) and test.progress != "")


def _evidence(test: PlannedTest, finding: Finding | None, families: Families) -> Evidence:
    contrast, measure, table = test.contrast, test.measure, test.table
    crossed = test.model != test.control_model
    model = (f"{test.model} v {test.control_model}" if crossed else test.model) + at(table.budget)
    place = model, table.dataset, measure.name(test), measure.label, contrast.expects
    if finding is None:
        return Evidence(*place, says="not tested", note=_joined(test.missing, test.progress if test.awaited else ""))
    a, b = ([r for arm in side for r in table.side(*arm).values()] for side in measure.sides(test))
    failures = finding.failures or (_rate(a), _rate(b))
    apart, same = (family.p.get(test.key, Corrected()) for family in families)
    says, note = _says(test, finding, apart.q < families.apart.alpha, failures)
    if says == "open" and same.q < families.same.alpha:
        says, note = "same", ""
    p_holm, family = (same.p_holm, families.same) if says == "same" else (apart.p_holm, families.apart)
    if says == "not tested" and measure.needs and not any(finding.n):
        note = f"needs {measure.needs}"
    return Evidence(
        *place,
        says=says,
        study=table.study,
        budget=table.budget,
        n=finding.n if any(finding.n) else (len(a), len(b)),
        scale=finding.scale,
        effect=finding.effect,
        p=finding.p,
        q=apart.q,
        p_holm=apart.p_holm,
        p_same=finding.p_same,
        q_same=same.q,
        tests=family.tests,
        certain=says in ("supports", "contradicts", "same") and (finding.by_rule or p_holm < family.alpha),
        smallest_missed=math.nan if says == "open" and note else finding.smallest_missed,
        bound=finding.bound,
        failures=failures,
        coverage=_means(a, b, MEASURES["modes"].read),
        volatility=_means(a, b, MEASURES["volatility"].read),
        still_improving=_still_improving(test, a, b) if measure.quality and finding.scale == "ratio" else (),
        told=finding.told,
        note=_joined(finding.note, note, test.progress),
        **settling(test, finding, families.apart.threshold, note) if says == "open" else {},
    )


def _joined(*notes: str) -> str:
    return "; ".join(dict.fromkeys(filter(None, notes)))


def _says(test: PlannedTest, finding: Finding, passes: bool, failures: tuple[Interval, Interval]) -> tuple[Says, str]:
    """What one test says after the correction, and why it may not say more.

    A better figure says nothing for a side of which more runs failed, or all did.
    """
    if not finding.tested:
        return "not tested", finding.note
    if finding.supports == 0 or not (finding.by_rule or passes):
        return "open", ""
    says: Says = "supports" if finding.supports > 0 else "contradicts"
    if not test.measure.quality or finding.by_rule:
        return says, ""
    better = (finding.favours < 0) == (test.measure.better == "lower")
    for_treatment = better or (test.contrast.is_margin and says == "supports")
    favoured = test.treatment if for_treatment else test.control
    mine, other = (rate.point for rate in (failures if for_treatment else failures[::-1]))
    if fails_too_often(mine, other, finding.counts_failures):
        return "open", f"passes the test, but of {favoured}, the better side, more runs failed, or all did: no verdict"
    return says, ""


def _still_improving(test: PlannedTest, *sides: Sequence[Run]) -> tuple[str, ...]:
    """The sides whose FID still fell over the last quarter of training: models where two are compared, else arms."""
    names = (test.model, test.control_model) if test.model != test.control_model else (test.treatment, test.control)
    falls = (fall_over([run.last_quarter_fall for run in side if not run.failed]) for side in sides)
    return tuple(name for name, fall in zip(names, falls, strict=True) if fall.still_improving)


def _rate(runs: Sequence[Run]) -> Interval:
    return wilson(sum(r.failed for r in runs), len(runs))


def _means(a: Iterable[Run], b: Iterable[Run], read: Callable[[Run], float | None] | None) -> Pair:
    """Means of a figure over the runs that have it, of treatment and control; NaN where none has."""
    assert read is not None
    first, second = ([v for r in side if (v := read(r)) is not None] for side in (a, b))
    return tuple(sum(values) / len(values) if values else math.nan for values in (first, second))  # type: ignore[return-value]
