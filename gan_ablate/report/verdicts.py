"""The first screen: which tricks helped, which hurt, what is undecided, and how sure that is."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

from gan_ablate.findings.summaries import ArmSummary, ModelTable
from gan_ablate.formatting import number
from gan_ablate.report.arm_columns import change
from gan_ablate.report.section import Card, CardItem, CardList, Cards, Section
from gan_ablate.report.study import Model, ReportedStudy

WORDS = {"helps": "helped", "hurts": "hurt", "undecided": "undecided", "not tested": "not tested"}
MARKS = {"helps": "●", "hurts": "■", "undecided": "○", "not tested": "·"}


def verdicts(study: ReportedStudy) -> Section:
    """A card per model."""
    cards = Cards([_card(m) for m in study.models])
    anchor = study.scope.name("verdicts")
    return Section(anchor, "Verdicts", "Verdicts", summary(study.tables), (cards,), key=True, kind="verdicts")


def summary(tables: Sequence[ModelTable]) -> str:
    """One sentence over all models."""
    counts = {v: sum(len(t.with_verdict(v)) for t in tables) for v in WORDS}
    n = sum(counts.values())
    if not n:
        return "Nothing to compare yet."
    untested = counts.pop("not tested")
    if untested == n:
        return f"None of {n} arms could be tested."
    said = ", ".join(f"{k} {WORDS[v]}" for v, k in counts.items() if k)
    runs = sorted({a.runs for t in tables for v in counts for a in t.with_verdict(v)})  # made, not planned
    over = f"{runs[0]}" if len(runs) == 1 else f"{runs[0]} to {runs[-1]}"
    rest = f" {untested} {'arm' if untested == 1 else 'arms'} not tested." if untested else ""
    return f"Of {n - untested} tests of an arm on a model, over {over} seeds: {said}.{rest}"


def unfinished(study: ReportedStudy, partial: bool) -> str:
    """What a reader of an unfinished sweep must know first; empty when all runs are in."""
    if not study.left:
        return ""
    n = len(study.loaded.runs)
    per_model = "; ".join(
        f"{model} {int((part != 'missing').sum())}/{len(part)}"
        for model, part in study.loaded.runs.groupby("model", sort=False)["outcome"]
    )
    if partial:
        return (
            f"Partial report of {study.loaded.name}, a sweep still running: {n - study.left} of {n} runs are in "
            f"({per_model}). Arms without a run are left out of the tables, though Holm’s correction counts them. "
            "Verdicts may change; to stop the sweep at a verdict that pleases would make it worth less than it says."
        )
    return (
        f"Unfinished: only {n - study.left} of {n} runs of {study.loaded.name} have a result ({per_model}). Every "
        "verdict below may change. If the sweep is still running, --partial leaves out the arms that have not begun."
    )


def _card(m: Model) -> Card:
    table, base = m.table, m.table.base
    lists = []
    for verdict, word in WORDS.items():
        arms = table.with_verdict(verdict)[:: -1 if verdict == "hurts" else 1]  # the worst first
        decided = verdict in ("helps", "hurts")
        if not arms and not decided:
            continue
        lists.append(
            CardList(
                f"{MARKS[verdict]} {len(arms) or 'none'} {word}",
                verdict if arms and decided else "",
                [CardItem(a.arm, m.anchors[a.arm], *_change(a)) for a in arms],
                _missed(arms) if verdict == "undecided" else "" if decided else _untested(table),
                "listed" if decided else "folded" if verdict == "undecided" else "counted",
            )
        )
    sub = f"base: {table.label} {number(base.fid.point)}, {base.failures}/{base.runs} failed" if base else "no base"
    return Card(table.title, m.scope.name("{}"), sub, lists)


def _change(a: ArmSummary) -> tuple[str, tuple[str, ...]]:
    words, between = change(a)
    return words, tuple(filter(None, (between, f"{a.failures}/{a.runs} failed" if a.failures else "")))


def _missed(arms: Sequence[ArmSummary]) -> str:
    """What the undecided arms could hide, of those where that is known."""
    withheld = sum(a.withheld for a in arms)
    found = [a.against.detectable for a in arms if a.against and a.against.detectable < 100 and not a.withheld]
    said = f"{withheld} with a lower FID, but too many failures." if withheld else ""
    if not found:
        return said
    of = "" if len(found) == len(arms) else f" for {len(found)} of {len(arms)}"
    size = number(statistics.median(found))
    return f"A change by ×{size} could still hide there (median{of}; 80 % power). {said}".strip()


def _untested(table: ModelTable) -> str:
    return "base has no result" if table.base is None or not table.base.runs else "too few runs"
