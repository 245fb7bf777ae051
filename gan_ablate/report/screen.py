"""The first screen: which tricks helped, which hurt, what is undecided, and how sure that is."""

# ruff: noqa: E501 - lines of HTML and CSS, and captions

from __future__ import annotations

import re
import statistics
from collections.abc import Sequence
from html import escape
from typing import TYPE_CHECKING

from gan_ablate.findings.summaries import ALPHA, ArmSummary, ModelTable
from gan_ablate.formatting import number
from gan_ablate.report.columns import change

if TYPE_CHECKING:
    from gan_ablate.report.study import Section, Study

WORDS = {"helps": "helped", "hurts": "hurt", "undecided": "undecided", "not tested": "not tested"}
MARKS = {"helps": "●", "hurts": "■", "undecided": "○", "not tested": "·"}
SHOWN = 5  # arms named in a card; the others are a click away


def header(studies: Sequence[Study], partial: bool) -> str:
    """Title, what the page answers, and how far the sweeps are."""
    names = ", ".join(s.loaded.name for s in studies)
    notes = "".join(f"<p class='note' role='note'>{escape(t)}</p>" for s in studies if (t := unfinished(s, partial)))
    return (
        f"<header><p class='kicker'>gan_ablate report</p><h1>{escape(names)}: which tricks help?</h1>{notes}"
        "<p class='lead'>Each arm is compared with <b>base</b>, run on the same seeds. Percentages are the change of FID against "
        "base, less is better, with 95 % intervals that are not corrected for the number of arms. A verdict is given where p stays "
        f"under {ALPHA} after Holm’s correction over all arms of a model.</p></header>"
    )


def unfinished(study: Study, partial: bool) -> str:
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
            f"({per_model}). Arms without a run are left out of the tables, though Holm’s correction counts them. Verdicts "
            "may change; to stop the sweep at a verdict that pleases would make it worth less than it says."
        )
    return (
        f"Unfinished: only {n - study.left} of {n} runs of {study.loaded.name} have a result ({per_model}). Every verdict "
        "below may change. If the sweep is still running, --partial leaves out the arms that have not begun."
    )


def verdicts(study: Study, pre: str) -> str:
    """A card per model."""
    cards = "".join(_card(s, pre) for s in study.sections)
    return (
        f"<section class='verdicts' id='{pre}verdicts' aria-labelledby='{pre}verdicts-h'><h2 id='{pre}verdicts-h'>Verdicts</h2>"
        f"<p class='sub'>{escape(summary(study.tables))}</p><div class='cards'>{cards}</div></section>\n"
    )


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


def _card(section: Section, pre: str) -> str:
    table = section.table
    links = {p.arm: p.anchor for p in section.pages}
    base = table.base
    blocks = [_named(table, v, links, f"{pre}{section.name}") for v in ("helps", "hurts")]
    first = f"base: {table.label} {number(base.fid.point)}, {base.failures}/{base.runs} failed" if base else "no base"
    anchor = f"{pre}{section.name}"
    return (
        f"<article class='card'><h3><a href='#{anchor}'>{escape(table.title)}</a></h3><p class='sub'>{escape(first)}</p>"
        f"{''.join(blocks)}{_undecided(table, links)}{_untested(table)}</article>"
    )


def _named(table: ModelTable, verdict: str, links: dict[str, str], anchor: str) -> str:
    arms = table.with_verdict(verdict)
    word = WORDS[verdict]
    if not arms:
        return f"<h4>{MARKS[verdict]} none {word}</h4>"
    shown = arms if verdict == "helps" else arms[::-1]  # the worst first
    items = "".join(_item(a, links) for a in shown[:SHOWN])
    more = f"<p><a href='#{anchor}'>and {len(arms) - SHOWN} more</a></p>" if len(arms) > SHOWN else ""
    return f"<h4 class='{verdict}'>{MARKS[verdict]} {len(arms)} {word}</h4><ul>{items}</ul>{more}"


def _item(a: ArmSummary, links: dict[str, str]) -> str:
    failed = f" <small>{a.failures}/{a.runs} failed</small>" if a.failures else ""
    words, _, interval = change(a).partition(" [")
    between = f" <small>[{escape(interval)}</small>" if interval else ""
    name = re.sub("([_:=,+])", r"\1<wbr>", escape(a.arm))
    return f"<li><a href='#{links.get(a.arm, '')}'>{name}</a><span><b>{escape(words)}</b>{between}{failed}</span></li>"


def _undecided(table: ModelTable, links: dict[str, str]) -> str:
    arms = table.with_verdict("undecided")
    if not arms:
        return ""
    names = ", ".join(f"<a href='#{links.get(a.arm, '')}'>{escape(a.arm)}</a>" for a in arms)
    return (
        f"<h4>{MARKS['undecided']} {len(arms)} undecided</h4><p>{escape(_missed(arms))}</p>"
        f"<details><summary>which</summary><p>{names}</p></details>"
    )


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
    arms = table.with_verdict("not tested")
    if not arms:
        return ""
    why = "base has no result" if table.base is None or not table.base.runs else "too few runs"
    return f"<h4>{MARKS['not tested']} {len(arms)} not tested</h4><p>{escape(why)}</p>"
