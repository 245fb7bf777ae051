"""What is found beside the verdicts: effects of factors, curves, what few runs can buy, and signs of failure."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import pandas as pd

from gan_ablate.findings import effects as designs
from gan_ablate.findings import tasks
from gan_ablate.findings.effects import SignRow, announced
from gan_ablate.formatting import p_value
from gan_ablate.recipe import BASE
from gan_ablate.report.arm_columns import SIGN_WORDS
from gan_ablate.report.figures import curves as lines
from gan_ablate.report.figures import ratios
from gan_ablate.report.section import (
    Column,
    Data,
    Figure,
    Fold,
    Group,
    Name,
    Only,
    Panels,
    Part,
    Section,
    Table,
    Text,
)
from gan_ablate.report.study import Model, ReportedStudy
from gan_ablate.stats.corrections import ALPHA
from gan_ablate.stats.two_part import FAVOURS

CURVE = (
    "FID against generator steps, logarithmic, all panels of a model to one scale. Thin lines are seeds, the thick "
    "line their geometric mean, the band its 95 % t interval; the dashed line is the mean of base. A seed that "
    "diverges leaves the mean, so a line can improve because only the better seeds are left: look where thin lines "
    "end. Look for lines under the dashed one, and for lines that turn up again. Each panel links to its arm."
)
PROFILE = (
    "Share of runs whose FID is at most so many times that of base; runs without a FID never count. Look for lines "
    "that lie above and left of that of base. Shown: base and the arms of the best interquartile mean, chosen on "
    "these same runs, which flatters them; the table has all. Bands (of base and the first) are pointwise 95 % "
    "percentile bootstrap intervals, runs drawn within each task: at few seeds they are too narrow."
)
BUDGET = (
    "Expected lowest FID if k runs can be paid for and the best is kept, relative to the geometric mean of base: "
    "exact, over all subsets of the runs made. Compare base at k = 2 with an arm at k = 1: where base is lower, a "
    "second seed is worth more than the trick. The arms in the figure were chosen as the best on these same runs, "
    "which flatters them; the table has all."
)
EFFECT = (
    "Effect of each factor, averaged over all levels of the others, as a ratio of FIDs (on over off), with 95 % "
    "intervals; a:b is an interaction. Look for interactions clear of ×1: there one trick changes what the other "
    "does. Filled marks pass Holm’s correction. Same: the interval lies within a ratio of 1.25; of an interaction, "
    "that neither factor changes the other’s ratio by more."
)
SIGNS = (
    "Did a sign, shown in the first half of training, announce a failure? AUC is the chance that a failed run showed "
    "it and a good one did not, ties counted half: 0.5 says nothing, 1 tells all [95 % interval, Newcombe’s method "
    "5]; p by the exact rank test, not corrected. Interval and p take runs of one arm as independent, though they "
    "tend to fail together: both are too sure of themselves. Crashed runs keep no record and are left out."
)


def interactions(study: ReportedStudy) -> Section:
    """Main effects and interactions of a factor design."""
    groups = []
    for m in study.models:
        if (e := designs.effects(study.loaded, m.table)) is None:
            continue
        columns = (
            Column("factor", lambda f: f.name, csv=("effect",)),
            Column(f"{e.label}, high over low", lambda f: f.ratio, csv=("ratio", "ratio_low", "ratio_high")),
            Column("p", lambda f: f.p, "", ("p",), lambda f: p_value(f.p)),
            Column("p (Holm)", lambda f: f.p_holm, "", ("p_holm",), lambda f: p_value(f.p_holm)),
            Column("verdict", designs.verdict, "", ("verdict",)),
            Column("cannot be told from", lambda f: ", ".join(f.aliases), "", ("aliases",), designs.confounded),
        )
        drawings = ratios.effects(e.found, e.title, ALPHA, e.label)
        table = Table(
            f"Effects on {e.title} and their aliases",
            columns,
            e.found.effects,
            m.scope.name("{}-effects"),
            kind=designs.verdict,
        )
        figure = Figure(drawings, EFFECT, m.scope.name("effects-{}"))
        groups.append(Group(e.title, (Text(design_line(e), "sub"), figure, table)))
    design = study.loaded.design.get("name", "factors of the study")
    said = f"Least squares on log FID with seeds as blocks; design: {design}."
    return Section(study.scope.name("interactions"), "Interactions", "Main effects and interactions", said, groups)


def design_line(e: designs.Effects) -> str:
    """Levels, degrees of freedom and what had to be assumed."""
    levels = "; ".join(f"{k}: {low} → {high}" for k, (low, high) in e.levels.items())
    f = e.found
    said = f"{f.runs} runs, {f.dof} degrees of freedom for the error. {levels}."
    if f.failed:
        said += f" {f.failed} runs without a FID stand at the worst FID seen, the least that their failure can mean."
    return said + (f" Not two-level, left out: {', '.join(e.left_out)}." if e.left_out else "")


def curves(study: ReportedStudy) -> Section:
    """A panel per arm: base and arms that differ from it first."""

    def group(m: Model) -> Group:
        panels = {arm: (m.anchors[arm], panel_anchor(m, arm), drawn) for arm, drawn in m.panels.items()}
        decided = {BASE, *(a.arm for a in m.table.arms if a.verdict in FAVOURS)}
        first = [p for arm, p in panels.items() if arm in decided]
        rest = [p for arm, p in panels.items() if arm not in decided]
        folded = Fold(f"{len(rest)} arms that are not told apart from base", (Panels(rest),))
        file = Figure((lines.together(m.panels, m.table.title),), "", m.scope.name("curves-{}"))
        on_page = (Panels(first), folded) if rest else (Panels(first),)
        return Group(m.table.title, (Only("text", (file,)), Only("page", on_page)))

    groups = [group(m) for m in study.models if m.panels]
    return Section(study.scope.name("curves"), "Curves", "FID against steps", CURVE, groups)


def panel_anchor(m: Model, arm: str) -> Name:
    """Where the arm's panel stands."""
    return m.scope.name(f"{m.anchors[arm].form}-c")


def profiles(study: ReportedStudy) -> Section:
    """Performance profiles and interquartile means over models and datasets."""
    first = [t for t in study.tables if not t.budget]  # a second budget has few arms, chosen by their verdict
    over, what = tasks.over(first), tasks.measured(first)
    drawn = lines.profiles(over, what)
    columns = (
        Column("arm", lambda r: r.arm, csv=("arm",)),
        Column("", lambda r: ("; ".join(r.tasks), r.runs, r.failed), csv=("tasks", "runs", "without_fid")),
        Column("interquartile mean, × base", lambda r: r.iqm, csv=("iqm", "iqm_low", "iqm_high")),
        Column("runs", lambda r: r.runs),
        Column("without FID", lambda r: r.failed),
    )
    names = ", ".join(over[0].tasks) if over else ""
    caption = f"Interquartile mean of {what} relative to base over {names}, with 95 % stratified bootstrap intervals"
    table = Table(caption, columns, over, study.scope.name("over-models"), kind=lambda r: BASE * (r.arm == BASE))
    parts: list[Part] = [Figure((drawn,), PROFILE, study.scope.name("profiles"))] if drawn else []
    parts += [Fold(f"All {len(over)} arms that were run on every task", (table,))] if over else []
    return Section(study.scope.name("profiles"), "Profiles", "Performance profiles", "", parts)


def budget(study: ReportedStudy) -> Section:
    """What few runs can buy."""
    parts: list[Part] = []
    for m in study.models:
        found = tasks.budgets(m.table)
        if not found:
            continue
        parts.append(Data(m.scope.name("{}-budget"), _budgets(found)))
        if (drawn := lines.expected_best(found, m.table.title, m.table.label)) is None:
            continue
        ks = sorted({k for b in found for k in b.best})
        columns = [
            Column("arm", lambda b: b.arm),
            *(Column(f"{k} run{'s' if k > 1 else ''}", partial(_best, k)) for k in ks),
        ]
        caption = (
            f"Expected lowest {m.table.label} on {m.table.title}, times the geometric mean of base; ∞: all runs of "
            "some budgets fail"
        )
        table = Table(caption, columns, found, kind=lambda b: BASE * (b.arm == BASE))
        shown = f"{m.table.title}: base and the {tasks.SHOWN} arms of the best expected result."
        figure = Figure((drawn,), shown, m.scope.name("budget-{}"))
        parts.append(Group(m.table.title, (figure, Fold("All arms", (table,)))))
    return Section(study.scope.name("budget"), "Expected best", "Expected best under a budget", BUDGET, parts)


def _best(k: int, b: tasks.Budget) -> float:
    return b.best.get(k, math.nan)


def _budgets(found: Sequence[tasks.Budget]) -> pd.DataFrame:
    """Expected best, and the chance that every run fails, long: a row per arm and budget."""
    return pd.DataFrame(
        {"arm": b.arm, "runs": k, "expected_best_over_base": v, "chance_of_nothing": b.nothing[k]}
        for b in found
        for k, v in b.best.items()
    )


def signs(study: ReportedStudy) -> Section:
    """Signs of failure, and whether they announced one."""
    rows = [row for m in study.models for row in announced(m.table)]
    columns = (
        Column(
            "sign",
            lambda s: (s.title, s.sign),
            "",
            ("model", "sign"),
            lambda s: f"{s.title}: {SIGN_WORDS.get(s.sign, s.sign)}",
        ),
        _share("failed runs that showed it early", lambda s: s.failed, ("failed_early", "failed")),
        _share("good runs that did", lambda s: s.good, ("good_early", "good")),
        Column("ever", lambda s: s.ever, csv=("ever",)),
        Column("AUC", lambda s: s.area.value, csv=("auc", "auc_low", "auc_high")),
        Column("p", lambda s: s.area.p, "", ("p",), lambda s: p_value(s.area.p)),
    )
    table = Table("Signs in the first half, per model", columns, rows, study.scope.name("signs"))
    return Section(study.scope.name("signs"), "Signs of failure", "Signs of failure", SIGNS, (table,) if rows else ())


def _share(heading: str, value: Callable[[SignRow], tuple[int, int]], csv: tuple[str, str]) -> Column:
    """`3/4`."""
    key = lambda s: value(s)[0] / value(s)[1] if value(s)[1] else math.nan  # noqa: E731
    return Column(heading, value, "", csv, lambda s: "{}/{}".format(*value(s)), key)
