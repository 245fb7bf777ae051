"""One disclosure per arm: curve, samples, recipe, difference from base, runs and the command that repeats them."""

# ruff: noqa: E501 - lines of HTML and CSS, and captions

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from gan_ablate.findings.summaries import BASE, ArmSummary
from gan_ablate.formatting import number
from gan_ablate.report.arms import ArmPage
from gan_ablate.report.columns import change, verdict
from gan_ablate.report.curves import HEIGHT, WIDTH
from gan_ablate.report.html import definitions, row, table

if TYPE_CHECKING:
    from gan_ablate.report.study import Section

INTRO = (
    "Samples are of the median and the worst seed by final FID, never hand-picked: the same z in every grid, the first half of "
    "each run’s picture. Look for images that repeat: they are what a lost mode looks like. Where not all fit into the page, base comes "
    "first, then arms with a verdict, then the others, the clearest result first; the others lie in the runs’ folders. The recipe of base "
    "stands in full, that of an arm by what is different."
)


def arms(section: Section) -> str:
    """All arms of a model."""
    summaries = {a.arm: a for a in section.table.arms}
    pages = "".join(_page(section, p, summaries[p.arm]) for p in section.pages)
    return f"<h3>{escape(section.table.title)}</h3>{pages}"


def _page(section: Section, page: ArmPage, a: ArmSummary) -> str:
    kind = (a.verdict or "base").replace(" ", "-")
    said = "" if page.arm == BASE else f" {change(a)}"
    head = f"<h4><b>{escape(page.arm)}</b> <span class='tag {kind}'>{escape(a.verdict or 'base')}</span><span class='soft'>{escape(said)}</span></h4>"
    opened = " open" if page.arm == BASE else ""
    return (
        f"<details class='arm' id='{page.anchor}'{opened}><summary>{head}</summary>"
        f"<div class='grids'>{_chart(section, page)}{_grids(page, section.table.label)}</div>{_words(section, page, a)}"
        f"{_runs(page, section.table.label)}<h5>Again</h5><pre>{escape(page.command)}</pre></details>\n"
    )


def _chart(section: Section, page: ArmPage) -> str:
    figure = section.panels.get(page.arm)
    if figure is None:
        return ""
    # the panel that is drawn above, once more: a reference costs no bytes
    use = f"<use href='#{page.anchor}-c'/>"
    view = f"<svg class='fig' viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH * 1.35:g}' role='img' aria-label='{escape(figure.label)}'>{use}</svg>"
    return f"<figure class='chart'>{view}<figcaption>{escape(section.table.label)} against steps: seeds thin, mean thick, base dashed.</figcaption></figure>"


def _grids(page: ArmPage, label: str) -> str:
    return "".join(
        f"<figure class='shot'><img alt='Samples of {escape(g.arm)}, {g.which} seed {g.seed}, {escape(label)} {number(g.fid)}' "
        f"src='{g.uri}' width='{g.width}' height='{g.height}' loading='lazy'><figcaption>{g.which} seed ({g.seed}): "
        f"{escape(label)} {number(g.fid)}</figcaption></figure>"
        for g in page.grids
    )


def _words(section: Section, page: ArmPage, a: ArmSummary) -> str:
    found = ""
    if page.arm != BASE:
        said = verdict(a, section.table)
        found += f"<p>{escape(said[:1].upper() + said[1:])}. {a.runs} runs, {a.failures} failed{f' ({escape(a.outcomes)})' if a.outcomes else ''}.</p>"
        lines = [*page.against_base, *page.changes]
        if lines:
            items = "".join(f"<li><code>{escape(line)}</code></li>" for line in lines)
            found += f"<h5>Different from base</h5><ul class='plain'>{items}</ul>"
    # in full once per model: hundreds of arms would repeat what they share with base
    told = page.arm != BASE and any(p.arm == BASE and p.recipe for p in section.pages)
    if page.recipe and not told:
        found += f"<h5>Recipe</h5>{definitions(page.recipe)}"
    return found


def _runs(page: ArmPage, label: str) -> str:
    if not page.runs:
        return ""
    rows = (
        row(
            str(r.seed),
            [
                (r.outcome, None),
                (number(r.fid), None),
                (number(r.best_fid), None),
                (number(r.seconds), None),
                (r.run_id, None),
            ],
        )
        for r in page.runs
    )
    heads = ["seed", "outcome", label, "at its best", "seconds", "run"]
    return table(f"Runs of {page.arm}", heads, rows, "runs")
