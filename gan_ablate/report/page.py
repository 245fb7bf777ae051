"""The report as one self-contained HTML page that reads without JavaScript."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING

from gan_ablate.report import protocol
from gan_ablate.report.analysis import BASE, ArmSummary, ModelTable
from gan_ablate.report.columns import columns
from gan_ablate.report.text import number, percent, slug

if TYPE_CHECKING:
    from gan_ablate.report.write import Section, Study

WORDS = {"helps": "helped", "hurts": "hurt", "undecided": "undecided", "not tested": "not tested"}
MARKS = {"helps": "●", "hurts": "■", "undecided": "○", "not tested": "·"}


def render(studies: Sequence[Study]) -> str:
    """The whole page."""
    css = files("gan_ablate.report").joinpath("page.css").read_text(encoding="utf-8")
    title = ", ".join(s.loaded.name for s in studies)
    body = "\n".join(part for study in studies for part in _study(study, len(studies) > 1))
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; img-src data:; style-src 'unsafe-inline'\">"
        f"<title>{escape(title)} · gan_ablate</title><style>{css}</style></head>\n<body><main>\n{body}\n</main></body></html>\n"
    )


def _study(study: Study, several: bool) -> list[str]:
    loaded = study.loaded
    prefix = f"{slug(loaded.name)}-" if several else ""
    left = int((loaded.runs["outcome"] == "missing").sum())
    progress = (
        f" <b>{len(loaded.runs) - left} of {len(loaded.runs)} runs are in</b>: verdicts may change." if left else ""
    )
    parts = [
        f"<header><p class='kicker'>gan_ablate · study</p><h1>{escape(loaded.name)}</h1>"
        f"<p class='lead'>Which tricks helped, which hurt, what is undecided, and how sure is that? Each arm differs from "
        f"<b>base</b> by one trick; seeds pair the arms; p-values are Holm-corrected over the arms of a model. "
        f"Percentages are the change of FID against base [95 % interval]; less is better.{progress}</p></header>",
        "<section class='verdicts' aria-label='Verdicts'>",
        *(_verdicts(s, prefix) for s in study.sections),
        "</section>",
    ]
    for section in study.sections:
        parts += _section(section, prefix)
    return parts + _protocol(study)


def _verdicts(section: Section, prefix: str) -> str:
    table, blocks = section.table, []
    for verdict, word in WORDS.items():
        arms = table.with_verdict(verdict)
        if arms:
            chips = "".join(_chip(a, verdict) for a in arms)
            cls = verdict.replace(" ", "-")
            blocks.append(f"<h3 class='{cls}'>{MARKS[verdict]} {word} <small>{len(arms)}</small></h3><ul>{chips}</ul>")
    base = table.base
    summary = f"base: FID {number(base.fid.point)}, {base.failures}/{base.runs} failed" if base else "no base"
    return (
        f"<div class='card'><h2><a href='#{prefix}{section.name}'>{escape(table.model)}</a></h2>"
        f"<p class='sub'>{escape(table.label)}<br>{escape(summary)}</p>{''.join(blocks) or '<p>nothing to compare yet</p>'}</div>"
    )


def _chip(a: ArmSummary, verdict: str) -> str:
    ratio = a.against.ratio if a.against else None
    change = percent(ratio.point) if ratio else "–"
    sure = [f"[{percent(ratio.low)}, {percent(ratio.high)}]"] if ratio and not math.isnan(ratio.low) else []
    sure += [f"{a.failures}/{a.runs} failed"] if a.failures else []
    how = f" <em>{' · '.join(sure)}</em>" if sure else ""
    return f"<li class='{verdict.replace(' ', '-')}'><span>{escape(a.arm)}</span> <b>{change}</b>{how}</li>"


def _section(section: Section, prefix: str) -> list[str]:
    table = section.table
    parts = [
        f"<section id='{prefix}{section.name}'><h2>{escape(table.model)}</h2><p class='sub'>{escape(table.protocol)}</p>"
    ]
    parts += [f"<p class='note'>{escape(n)}</p>" for n in table.notes]
    if section.forest:
        parts.append(
            f"<figure><div class='scroll'>{section.forest}</div><figcaption>FID of each arm over base's, on a logarithmic "
            "axis, with 95 % intervals that are not corrected for the number of arms. Look for intervals that stay clear of "
            "×1; filled marks (● helps, ■ hurts) also pass Holm's correction, hollow ones are undecided.</figcaption></figure>"
        )
    parts.append(_table(table))
    if table.not_applicable:
        items = "".join(f"<li><b>{escape(a)}</b>: {escape(why)}</li>" for a, why in table.not_applicable)
        parts.append(
            f"<details><summary>not applicable: {len(table.not_applicable)} arms</summary><ul>{items}</ul></details>"
        )
    if section.curves:
        parts.append(
            f"<figure><div class='scroll'>{section.curves}</div><figcaption>FID against generator steps, logarithmic and to one "
            "scale: thin lines are seeds, the thick one their geometric mean, over base's mean in every panel. Look for arms "
            "that fall below it, and for lines that turn up again.</figcaption></figure>"
        )
    return [*parts, _grids(section), "</section>"]


def _table(table: ModelTable) -> str:
    cols = columns(table)
    head = "".join(f"<th scope='col' title='{escape(c.meaning)}'>{escape(c.heading)}</th>" for c in cols)
    rows = []
    for a in table.arms:
        cells = "".join(f"<td>{escape(c.cell(a))}</td>" for c in cols[1:])
        cls = "base" if a.arm == BASE else a.verdict.replace(" ", "-")
        rows.append(f"<tr class='{cls}'><th scope='row'>{escape(a.arm)}</th>{cells}</tr>")
    legend = "; ".join(f"{escape(c.heading)}: {escape(c.meaning)}" for c in cols[1:])
    return (
        f"<div class='scroll'><table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>"
        f"<p class='legend'>{legend}.</p>"
    )


def _grids(section: Section) -> str:
    blocks = []
    for arm in section.table.arms:
        pictures = section.grids.get(arm.arm) or []
        if not pictures:
            continue
        images = "".join(
            f"<figure><img alt='samples of {escape(g.arm)}, seed {g.seed}' src='{g.uri}'>"
            f"<figcaption>{g.which} seed ({g.seed}): FID {number(g.fid)}</figcaption></figure>"
            for g in pictures
        )
        opened = " open" if arm.arm == BASE else ""
        blocks.append(
            f"<details{opened}><summary>{escape(arm.arm)}</summary><div class='grids'>{images}</div></details>"
        )
    if not blocks:
        return ""
    return (
        "<h3>Samples</h3><p class='sub'>The same z in every grid, the first half of each run's; the median and the worst seed by final FID, never "
        "hand-picked. Look for repeated images: they are what a lost mode looks like.</p>" + "".join(blocks)
    )


def _protocol(study: Study) -> list[str]:
    loaded = study.loaded
    facts = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in protocol.facts(loaded))
    lines = "".join(f"<dd>{escape(s)}</dd>" for s in protocol.settings(loaded))
    failed = protocol.failures(loaded)
    rows = "".join(f"<li><b>{escape(run)}</b>: {escape(why)}</li>" for run, why in failed)
    why = (
        f"<details><summary>{len(failed)} runs</summary><ul>{rows}</ul></details>"
        if failed
        else "<p>Nothing failed.</p>"
    )
    return [
        "<section><h2>Protocol</h2>",
        *(f"<p>{escape(p)}</p>" for p in protocol.EXPLANATION),
        f"<dl>{facts}<dt>base recipes</dt>{lines}</dl>",
        f"<pre>{escape(chr(10).join(protocol.commands(loaded)))}</pre></section>",
        f"<section><h2>What failed and why</h2>{why}</section>",
    ]
