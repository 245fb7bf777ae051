"""The sections from the forest plots to the arms, in the order of the page."""

# ruff: noqa: E501 - lines of HTML and CSS, and captions

from __future__ import annotations

from collections.abc import Iterator
from html import escape
from typing import TYPE_CHECKING

from gan_ablate.findings import effects as designs
from gan_ablate.findings import tasks
from gan_ablate.findings.summaries import ALPHA, BASE
from gan_ablate.formatting import NOTHING, interval, number, p_value
from gan_ablate.report import armpages
from gan_ablate.report.columns import columns, stability_columns
from gan_ablate.report.html import arms_table, disclosure, drawn, listing, row, section, table

if TYPE_CHECKING:
    from gan_ablate.report.study import Section, Study

FOREST = (
    "FID of each arm over that of base, on a logarithmic axis, with 95 % intervals that are not corrected: of many arms some stay "
    "clear of ×1 by chance. Look for filled marks (● helps, ■ hurts): they pass Holm’s correction over all arms. Rings are undecided: "
    "they do not pass it, or the lower FID does but the arm fails more often than base, or always."
)
HEAT = (
    "Change of FID against base per trick and model, best tricks first: blue is better, orange is worse, full colour from a "
    "factor of 2 on. ● helps and ■ hurts pass the test; hatched cells are undecided; blank ones are not applicable or "
    "not run. No FID: every run failed without one; no ratio: base has no FID there. Look for rows of one colour: those tricks do "
    "the same on every model."
)
CURVE = (
    "FID against generator steps, logarithmic, all panels of a model to one scale. Thin lines are seeds, the thick line "
    "their geometric mean, the band its 95 % t interval; the dashed line is the mean of base. A seed that diverges leaves the mean, "
    "so a line can improve because only the better seeds are left: look where thin lines end. Look for lines under the dashed one, "
    "and for lines that turn up again. Each panel links to its arm."
)
PROFILE = (
    "Share of runs whose FID is at most so many times that of base; runs without a FID never count. Look for lines that lie above "
    "and left of that of base. Shown: base and the arms of the best interquartile mean, chosen on these same runs, which flatters "
    "them; the table has all. Bands (of base and the first) are pointwise 95 % percentile bootstrap intervals, runs drawn within "
    "each task: at few seeds they are too narrow."
)
BUDGET = (
    "Expected lowest FID if k runs can be paid for and the best is kept, relative to the geometric mean of base: exact, over all "
    "subsets of the runs made. Compare base at k = 2 with an arm at k = 1: where base is lower, a second seed is worth more than the "
    "trick. The arms in the figure were chosen as the best on these same runs, which flatters them; the table has all."
)
EFFECT = (
    "Effect of each factor, averaged over all levels of the others, as a ratio of FIDs (on over off), with 95 % intervals; "
    "a:b is an interaction. Look for interactions clear of ×1: there one trick changes what the other does. Filled marks pass Holm’s "
    "correction."
)


def parts(study: Study, pre: str) -> Iterator[str]:
    """The sections that the study has something to say in."""
    forests = [_forest(s, pre) for s in study.sections]
    yield section(f"{pre}forest", "Forest plot per model", "", forests)
    if study.heatmap:
        yield section(f"{pre}map", "Trick by model", "", [drawn(study.heatmap, HEAT, "heat")])
    links = {s.name: {p.arm: p.anchor for p in s.pages} for s in study.sections}
    yield section(f"{pre}numbers", "Every arm in numbers", "", [_numbers(s, links[s.name]) for s in study.sections])
    yield section(
        f"{pre}stability",
        "Stability",
        "What a run of each arm risks, whatever its FID: failures, drift after the best point, spread, gradients.",
        [
            f"<h3>{escape(s.table.title)}</h3>"
            + arms_table(f"Stability of {s.table.title}", stability_columns(s.table), s.table.arms, links[s.name])
            for s in study.sections
        ],
    )
    interactions = [_interactions(s) for s in study.sections if s.effects]
    if interactions:
        said = f"Least squares on log FID with seeds as blocks; design: {study.loaded.design.get('name', 'factors of the study')}."
        yield section(f"{pre}interactions", "Main effects and interactions", said, interactions)
    curves = [_curves(s) for s in study.sections if s.panels]
    if curves:
        yield section(f"{pre}curves", "FID against steps", CURVE, curves)
    if study.profiles:
        yield section(f"{pre}profiles", "Performance profiles", "", [drawn(study.profiles, PROFILE), _over(study)])
    budgets = [_budget(s) for s in study.sections if s.budget_figure]
    if budgets:
        yield section(f"{pre}budget", "Expected best under a budget", BUDGET, budgets)
    yield section(f"{pre}arms", "Arm by arm, with samples", armpages.INTRO, [armpages.arms(s) for s in study.sections])


def _forest(s: Section, pre: str) -> str:
    notes = "".join(f"<p class='note'>{escape(n)}</p>" for n in s.table.notes)
    found = drawn(s.forest, FOREST) if s.forest else "<p>Nothing can be compared yet.</p>"
    return (
        f"<section id='{pre}{s.name}' aria-labelledby='{pre}{s.name}-h'><h3 id='{pre}{s.name}-h'>{escape(s.table.title)}</h3>"
        f"<p class='sub'>{escape(s.table.protocol)}</p>{notes}{found}</section>"
    )


def _numbers(s: Section, links: dict[str, str]) -> str:
    skipped = s.table.not_applicable
    also = disclosure(f"Not applicable on {s.table.title}: {len(skipped)} arms", listing(skipped)) if skipped else ""
    return (
        f"<h3>{escape(s.table.title)}</h3>"
        + arms_table(f"Arms of {s.table.title}, best ratio first", columns(s.table), s.table.arms, links)
        + also
    )


def _interactions(s: Section) -> str:
    assert s.effects is not None
    e = s.effects
    rows = (
        row(
            effect.name,
            [
                (interval(effect.ratio), effect.ratio.point),
                (p_value(effect.p), effect.p),
                (p_value(effect.p_holm), effect.p_holm),
                (designs.confounded(effect), None),
            ],
            ("helps" if effect.ratio.point < 1 else "hurts") if effect.p_holm < ALPHA else "",
        )
        for effect in e.found.effects
    )
    heads = ["factor", f"{e.label}, high over low", "p", "p (Holm)", "cannot be told from"]
    return (
        f"<h3>{escape(e.title)}</h3><p class='sub'>{escape(design_line(e))}</p>{drawn(s.effects_figure, EFFECT)}"
        + table(f"Effects on {e.title} and their aliases", heads, rows)
    )


def design_line(e: designs.Effects) -> str:
    """Levels, degrees of freedom and what had to be assumed."""
    levels = "; ".join(f"{k}: {low} → {high}" for k, (low, high) in e.levels.items())
    f = e.found
    said = f"{f.runs} runs, {f.dof} degrees of freedom for the error. {levels}."
    if f.failed:
        said += f" {f.failed} runs without a FID stand at the worst FID seen, the least that their failure can mean."
    return said + (f" Not two-level, left out: {', '.join(e.left_out)}." if e.left_out else "")


def _curves(s: Section) -> str:
    decided = [BASE, *(a.arm for v in ("helps", "hurts") for a in s.table.with_verdict(v))]
    anchors = {p.arm: p.anchor for p in s.pages}
    panel = {
        arm: f"<a href='#{anchors[arm]}'>{figure.marked(f'{anchors[arm]}-c')}</a>"
        for arm, figure in s.panels.items()
        if arm in anchors
    }
    first = "".join(p for arm, p in panel.items() if arm in decided)
    rest = [p for arm, p in panel.items() if arm not in decided]
    others = (
        disclosure(f"{len(rest)} arms without a verdict", f"<div class='panels'>{''.join(rest)}</div>") if rest else ""
    )
    return f"<h3>{escape(s.table.title)}</h3><div class='panels'>{first}</div>{others}"


def _over(study: Study) -> str:
    rows = (
        row(
            r.arm,
            [(interval(r.iqm), r.iqm.point), (str(r.runs), r.runs), (str(r.failed), r.failed)],
            "base" if r.arm == BASE else "",
        )
        for r in study.over
    )
    names = ", ".join(study.over[0].tasks) if study.over else ""
    what = tasks.measured(study.tables)
    caption = f"Interquartile mean of {what} relative to base over {names}, with 95 % stratified bootstrap intervals"
    return disclosure(
        f"All {len(study.over)} arms that were run on every task",
        table(caption, ["arm", "interquartile mean, × base", "runs", "without FID"], rows),
    )


def _budget(s: Section) -> str:
    assert s.budget_figure
    ks = sorted({k for b in s.budgets for k in b.best})
    rows = (
        row(
            b.arm,
            [(number(b.best[k]) if k in b.best else NOTHING, b.best.get(k)) for k in ks],
            "base" if b.arm == BASE else "",
        )
        for b in s.budgets
    )
    heads = ["arm", *(f"{k} run{'s' if k > 1 else ''}" for k in ks)]
    caption = (
        f"Expected lowest {s.table.label} on {s.table.title}, times the geometric mean of base; ∞: all runs of some budgets "
        "fail"
    )
    figure = drawn(s.budget_figure, f"{s.table.title}: base and the {tasks.SHOWN} arms of the best expected result.")
    return f"<h3>{escape(s.table.title)}</h3>{figure}{disclosure('All arms', table(caption, heads, rows))}"
