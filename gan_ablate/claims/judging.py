"""From roots to verdicts: every contrast of every claim on every table, Holm over all tests, one rule per claim.

The family is the whole registry, whatever claims are asked for: it was declared before the data. A test that two claims
share (the same two sides, each claiming another direction) is one test.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from gan_ablate.claims import along, contrasting, designs, rates
from gan_ablate.claims.cells import Cell, cells_of
from gan_ablate.claims.claim import BASE
from gan_ablate.claims.contrasting import Finding
from gan_ablate.claims.measures import MEASURES, modes, scores
from gan_ablate.claims.registry import registry
from gan_ablate.claims.summary import summarise
from gan_ablate.claims.verdict import Evidence, Verdict
from gan_ablate.results.tables import Results, Run, Table, tables
from gan_ablate.stats.corrections import holm
from gan_ablate.stats.intervals import Interval, wilson
from gan_ablate.stats.paired import POOL_FROM, Scores, family_correlation

ALPHA = 0.05
RULED = ("equal", "always")  # what is decided by a rule: no test, no p


def judge(roots: Sequence[Results], alpha: float = ALPHA) -> list[Verdict]:
    """A verdict per claim of the registry, in its order, from what `gan_ablate.report.load` read of some roots."""
    found = tables(roots)
    claims = list(registry().values())
    planned = [list(cells_of(claim, found)) for claim in claims]
    asked = {c.key for row in planned for c in row if not c.contrast.fallback and (c.awaited or not c.missing)}
    share = alpha / max(1, len(asked))
    pooled: dict[tuple[int, str, str], float] = {}
    findings = {id(c): _test(c, found, share, pooled) for row in planned for c in row if not c.missing}
    rows = [_without_fallbacks(row, findings) for row in planned]
    first = {c.key: findings[id(c)].p for row in rows for c in row if not c.missing}
    to_come = len(_to_come(rows, found, findings) - {key for key, p in first.items() if not math.isnan(p)})
    adjusted = dict(zip(first, map(float, holm([*first.values(), *[1.0] * to_come]))))
    tests = to_come + sum(not math.isnan(p) for p in first.values())
    verdicts = []
    for claim, row in zip(claims, rows):
        given = [(c, findings.get(id(c)), adjusted[c.key] if not c.missing else math.nan) for c in row]
        evidence = tuple(_evidence(cell, found, finding, p, alpha) for cell, finding, p in given)
        verdicts.append(summarise(claim, evidence, tests))
    return verdicts


def _test(cell: Cell, found: Sequence[Table], share: float, pooled: dict[tuple[int, str, str], float]) -> Finding:
    table, contrast, kind = found[cell.at], cell.contrast, MEASURES[cell.contrast.measure].kind
    a, b = table.side(cell.model, cell.treatment), table.side(cell.control_model, cell.control)
    if contrast.expects == "equal":
        return contrasting.equal(a, b)
    if kind == "failures":
        return rates.failure_rates(contrast, a, b, share)
    if kind == "spread":
        return contrasting.spread(contrast, a, b)
    if kind == "points":
        return designs.points(contrast, table, cell.model, cell.control_model)
    if kind == "interaction":
        return designs.norm_at_small_batch(contrast, table, cell.model)
    if kind == "sign":
        return along.sign(contrast, table, cell.model)
    if kind == "correlation":
        return along.correlation(contrast, table, cell.model, share)
    if kind == "value":
        return along.late_answers(contrast, table, cell.model)
    if cell.model != cell.control_model:
        return contrasting.compared(contrast, a, b, share, 0.0)
    if table.one_training(cell.model, cell.treatment, cell.control):
        return contrasting.compared(contrast, a, b, share, 1.0)
    key = (cell.at, cell.model, contrast.measure)
    if key not in pooled:
        pooled[key] = _pooled(table, cell.model, contrast.measure)
    return contrasting.compared(contrast, a, b, share, pooled[key])


def _pooled(table: Table, model: str, name: str) -> float:
    """What pairing by seed is worth, over all arms of a model: see `stats.paired.compare_family`."""
    measure = MEASURES[name]
    if measure.read is None:
        return 0.0
    apart = [arm for arm in table.arms[model] if (model, arm) not in table.tied]
    found = [scores(table.side(model, arm), measure) for arm in apart]
    sides: list[Scores] = [side for side in found if side]
    return family_correlation(sides, measure.scale) if len(sides) > POOL_FROM else 0.0


def _to_come(
    rows: Sequence[Sequence[Cell]], found: Sequence[Table], findings: Mapping[int, Finding]
) -> set[tuple[object, ...]]:
    """Tests that wait for runs of an unfinished sweep: they were planned, so the correction counts them, in or not."""

    def waits(cell: Cell) -> bool:
        begun = not cell.missing and any(findings[id(cell)].n)  # without any such figure none may ever come
        return cell.awaited or (begun and _unfinished(cell, found[cell.at]) != "")

    asked = (c for row in rows for c in row if not c.contrast.fallback and c.contrast.expects not in RULED)
    return {c.key for c in asked if waits(c)}


def _unfinished(cell: Cell, table: Table) -> str:
    done, planned = cell.progress(table)
    return f"{done} of {planned} runs are in" if done < planned else ""


def _without_fallbacks(row: Sequence[Cell], findings: Mapping[int, Finding]) -> list[Cell]:
    """A fallback is asked only for models where the contrasts before it could not be tested."""
    told = {c.model for c in row if not c.contrast.fallback and _told(findings.get(id(c)))}
    return [c for c in row if not (c.contrast.fallback and c.model in told)]


def _told(finding: Finding | None) -> bool:
    return finding is not None and (finding.certain or not math.isnan(finding.p))


def _evidence(cell: Cell, found: Sequence[Table], finding: Finding | None, p: float, alpha: float) -> Evidence:
    contrast, measure = cell.contrast, MEASURES[cell.contrast.measure]
    crossed = cell.model != cell.control_model
    sides = cell.whole_model or contrast.control_measure
    label = contrast.label if sides else f"{cell.treatment} v {cell.control}"
    common: dict[str, Any] = {
        "model": f"{cell.model} v {cell.control_model}" if crossed else cell.model,
        "contrast": BASE if crossed and not cell.whole_model else label,
        "measure": measure.label,
        "expects": contrast.expects,
    }
    if finding is None:
        dataset = found[cell.at].dataset if cell.at >= 0 else ""
        so_far = _unfinished(cell, found[cell.at]) if cell.awaited else ""
        return Evidence(**common, dataset=dataset, says="not tested", note=_joined(cell.missing, so_far))
    table = found[cell.at]
    a, b = ([r for side in sides for r in table.side(*side).values()] for sides in cell.sides(table))
    says, note = _says(cell, finding, p, alpha, (a, b))
    if says == "not tested" and measure.needs and not any(finding.n):
        note = f"needs {measure.needs}"
    return Evidence(
        **common,
        dataset=table.dataset,
        study=table.study,
        says=says,
        n=finding.n if any(finding.n) else (len(a), len(b)),
        scale=finding.scale,
        effect=finding.effect,
        p=finding.p,
        p_holm=p,
        smallest_missed=math.nan if says == "open" and note else finding.smallest_missed,
        bound=finding.bound,
        failures=(_rate(a), _rate(b)),
        coverage=(_modes(a), _modes(b)),
        volatility=(_mean(a, "stability", "volatility"), _mean(b, "stability", "volatility")),
        note=_joined(finding.note, note, _unfinished(cell, table)),
    )


def _joined(*notes: str) -> str:
    return "; ".join(dict.fromkeys(filter(None, notes)))


def _says(
    cell: Cell, finding: Finding, p: float, alpha: float, sides: tuple[Sequence[Run], Sequence[Run]]
) -> tuple[str, str]:
    """What one test says after the correction, and why it was not let say more."""
    a, b = sides
    if not _told(finding):
        return "not tested", finding.note
    if finding.supports == 0 or not (finding.certain or p < alpha):
        return "open", ""
    says = "supports" if finding.supports > 0 else "contradicts"
    measure = MEASURES[cell.contrast.measure]
    if not measure.quality or cell.contrast.expects in (*RULED, "near") or (cell.whole_model and not b):
        return says, ""
    as_good = cell.contrast.expects in ("equivalent", "not worse")
    better = (finding.favours < 0) == (measure.better == "lower")
    first = better or (as_good and says == "supports")  # whether it speaks for the treatment
    favoured = cell.treatment if first else cell.control
    mine, other = (_rate(side).point for side in ((a, b) if first else (b, a)))
    if mine > other or mine == 1:
        return "open", f"passes the test, but of {favoured}, the better side, more runs failed, or all did: no verdict"
    return says, ""


def _rate(runs: Iterable[Run]) -> Interval:
    failed = [r.failed for r in runs]
    return wilson(sum(failed), len(failed))


def _modes(runs: Iterable[Run]) -> float:
    values = [v for r in runs if (v := modes(r)) is not None]
    return sum(values) / len(values) if values else math.nan


def _mean(runs: Iterable[Run], part: str, key: str) -> float:
    values = [v for r in runs if (v := r.get(part, key)) is not None]
    return sum(values) / len(values) if values else math.nan
