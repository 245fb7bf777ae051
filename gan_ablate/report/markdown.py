"""The report as Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from gan_ablate.findings import effects as designs
from gan_ablate.findings.summaries import ModelTable
from gan_ablate.formatting import NOTHING, interval, number, one_line, p_value, percent
from gan_ablate.report import backmatter, findings, protocol, screen
from gan_ablate.report.columns import SIGN_WORDS, Column, columns, stability_columns
from gan_ablate.report.svg import short

if TYPE_CHECKING:
    from gan_ablate.report.study import Section, Study

# what Markdown takes for markup within a line; an underscore inside of a word is none
MARKUP = re.compile(r"[\\`*\[\]!#~|]|(?<![^\W_])_|_(?![^\W_])")


def render(studies: Sequence[Study], claims: Sequence[Any], prefixes: Sequence[str], partial: bool) -> str:
    """The whole report; figures are files beside it."""
    lines: list[str] = []
    for study, pre in zip(studies, prefixes, strict=True):
        lines += [f"# {safe(study.loaded.name)}: which tricks help?", ""]
        if said := screen.unfinished(study, partial):
            lines += [f"> **{safe(said)}**", ""]
        lines += [safe(screen.summary(study.tables)), ""]
        lines += [f"- **{safe(t.title)}** ({safe(t.label)}): {verdict_line(t)}" for t in study.tables]
        if study.heatmap:
            lines += picture("Trick by model", f"{pre}heatmap", findings.HEAT)
        for section in study.sections:
            lines += _model(section, pre)
        if study.profiles:
            lines += ["", "## Performance profiles"]
            lines += [*picture("Performance profiles", f"{pre}profiles", findings.PROFILE), ""]
            cells = ([r.arm, interval(r.iqm), str(r.runs), str(r.failed)] for r in study.over)
            lines += grid(["arm", "interquartile mean, × base", "runs", "without FID"], cells)
    lines += _claims(claims)
    for study in studies:
        lines += _backmatter(study)
    return "\n".join(lines) + "\n"


def _model(section: Section, pre: str) -> Iterator[str]:
    table = section.table
    yield from ("", f"## {safe(table.title)}", "", safe(table.protocol))
    for note in table.notes:
        yield from ("", f"> {safe(note)}")
    if section.forest:
        yield from picture("Forest plot", f"{pre}forest-{section.name}", findings.FOREST)
    yield ""
    yield from arms(columns(table), table)
    yield from ("", "### Stability", "")
    yield from arms(stability_columns(table), table)
    if table.not_applicable:
        yield ""
        yield from (f"- not applicable: {code(arm)}: {safe(why)}" for arm, why in table.not_applicable)
    if section.effects:
        found = section.effects
        yield from ("", "### Main effects and interactions", "", safe(findings.design_line(found)))
        yield from picture("Effects", f"{pre}effects-{section.name}", findings.EFFECT)
        yield ""
        cells = (
            [e.name, interval(e.ratio), p_value(e.p), p_value(e.p_holm), designs.confounded(e)]
            for e in found.found.effects
        )
        yield from grid(["factor", f"{found.label}, high over low", "p", "p (Holm)", "cannot be told from"], cells)
    if section.panels:
        yield from ("", "### FID against steps")
        yield from picture("Curves", f"{pre}curves-{section.name}", findings.CURVE)
    if section.budget_figure:
        ks = sorted({k for b in section.budgets for k in b.best})
        yield from ("", "### Expected best under a budget")
        yield from picture("Expected best", f"{pre}budget-{section.name}", findings.BUDGET)
        yield ""
        rows = ([b.arm, *(number(b.best[k]) if k in b.best else NOTHING for k in ks)] for b in section.budgets)
        yield from grid(["arm", *(f"k = {k}" for k in ks)], rows)


def _claims(claims: Sequence[Any]) -> Iterator[str]:
    if claims:
        yield from ("", "## The claims", "")
        cells = ([v.id, v.statement, v.verdict, v.summary, v.source] for v in claims)
        yield from grid(["claim", "statement", "verdict", "evidence", "source"], cells)


def _backmatter(study: Study) -> Iterator[str]:
    loaded = study.loaded
    signs = [
        [s.title, SIGN_WORDS.get(s.sign, s.sign), f"{s.failed[0]}/{s.failed[1]}", f"{s.good[0]}/{s.good[1]}"]
        + [interval(s.area.value), p_value(s.area.p)]
        for x in study.sections
        for s in x.signs
    ]
    if signs:
        yield from ("", "## Signs of failure", "", safe(backmatter.SIGNS), "")
        yield from grid(["model", "sign", "failed runs that showed it early", "good runs that did", "AUC", "p"], signs)
    yield from ("", "## Protocol", "")
    for paragraph in protocol.explanation(study.tables):
        yield from (safe(paragraph), "")
    yield from (f"- {k}: {safe(v)}" for k, v in protocol.facts(loaded))
    yield from (f"- {safe(s)}" for s in protocol.settings(loaded))
    yield from ("", "```", *protocol.commands(loaded), "```", "", "## What failed and why", "")
    reasons = [f"- {n} × {safe(short(kind, backmatter.REASON))}" for kind, n in protocol.kinds(loaded)]
    yield from reasons or ["Nothing failed."]


def arms(cols: Sequence[Column], table: ModelTable) -> list[str]:
    """A line per arm."""
    return grid([c.heading for c in cols], ([c.cell(a) for c in cols] for a in table.arms))


def grid(heads: Sequence[str], rows: Any) -> list[str]:
    """A Markdown table of texts."""
    lines = [f"| {' | '.join(map(safe, heads))} |", f"| {' | '.join('---' for _ in heads)} |"]
    return lines + [f"| {' | '.join(map(safe, cells))} |" for cells in rows]


def verdict_line(table: ModelTable) -> str:
    """`helped: a (-12 %), b; hurt: c; undecided: d`."""
    parts = []
    for verdict, word in screen.WORDS.items():
        found = table.with_verdict(verdict)
        if found:
            names = (f"{safe(a.arm)} ({percent(a.against.ratio.point)})" if a.against else safe(a.arm) for a in found)
            parts.append(f"{word} ({len(found)}): {', '.join(names)}")
    return "; ".join(parts) or "nothing to compare yet"


def picture(name: str, file: str, caption: str) -> list[str]:
    """A figure beside the report, and what to see in it."""
    return ["", f"![{name}](figures/{file}.svg)", "", safe(caption)]


def safe(text: object) -> str:
    """On one line, with what Markdown and HTML would take for markup made harmless."""
    plain = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return MARKUP.sub(r"\\\g<0>", plain).replace("](", "]\\(")


def code(text: object) -> str:
    """As a code span: there nothing is markup, and nothing can be escaped, but a backtick ends it."""
    return f"`{one_line(text)}`"
