"""The sections that hold every arm of every model: forest plots, heat map, numbers and stability."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from gan_ablate.recipe import BASE
from gan_ablate.report import arm_columns
from gan_ablate.report.arm_columns import STABILITY
from gan_ablate.report.figures import forest as forests
from gan_ablate.report.figures import ratios
from gan_ablate.report.section import Column, Figure, Fold, Group, Items, Name, Section, Table, Text
from gan_ablate.report.study import ArmRow, Model, ReportedStudy
from gan_ablate.report.verdicts import warnings

FOREST = (
    "Left: FID of each run that did not fail, a dot each, on a logarithmic axis; the dashed line is the mean of base. "
    "Middle: a ring for each run that failed, and how many of how many. Right: FID of the arm over that of base, with "
    "the 95 % interval of its test, not corrected for the number of arms; between the margins (shaded) it counts as "
    "the same. Colour and shape are the verdict: ● helps, ▲ rescues (blue), ◆ same (green), ○ undecided (grey), ▼ "
    "fails more, ■ hurts (orange). At the right edge: which verdicts are certain, and about what an undecided arm "
    "would take."
)
HEAT = (
    "Change of FID against base per trick and model, best tricks first: blue is better, orange is worse, full colour "
    "from a factor of 2 on. ● helps, ▲ rescues, ◆ same, ▼ fails more, ■ hurts; hatched cells are undecided; blank ones "
    "are not applicable or not run. All failed: no run has a FID that counts; no ratio: base has none there. Look for "
    "rows of one colour: those tricks do the same on every model."
)
STABLE = "What a run of each arm risks, whatever its FID: failures, drift after the best point, spread, gradients."


def forest(study: ReportedStudy) -> Section:
    """Ratios to base, and what to know of each model's runs."""

    def group(m: Model) -> Group:
        drawings = forests.forest(m.table)
        drawn = f"{n} arms" if (n := sum(a.judged is not None for a in m.table.arms)) > 1 else "one arm"
        file = m.scope.name("forest-{}")
        said = f"{m.table.title}: base, then {drawn} from the best ratio to the worst."
        plot = Figure(drawings, said, file, "forest") if drawings else Text("Nothing can be compared yet.")
        notes = (Text(n, "note") for n in (*warnings(m.table), *m.table.notes) if n)
        return Group(m.table.title, (Text(m.table.protocol, "sub"), *notes, plot), m.scope.name("{}"))

    parts = _each(study, group) if any(m.table.base for m in study.models) else []
    return Section(study.scope.name("forest"), "Forest plots", "Forest plot per model", FOREST, parts)


def heat_map(study: ReportedStudy) -> Section:
    """Trick by model at a glance."""
    hatch = Name("hatch-map" if not study.place else f"hatch-map-{study.place + 1}")
    drawings = ratios.heatmap(study.tables, hatch.form)
    figure = Figure(drawings, HEAT, study.scope.name("heatmap"), "heat", (hatch,))
    return Section(study.scope.name("map"), "Heat map", "Trick by model", "", (figure,) if drawings else ())


def numbers(study: ReportedStudy) -> Section:
    """Every figure of every arm."""

    def group(m: Model) -> Group:
        skipped = m.table.not_applicable
        listed = Fold(f"Not applicable on {m.table.title}: {len(skipped)} arms", (Items(skipped),))
        caption = f"Arms of {m.table.title}{', best ratio first' * (m.table.base is not None)}"
        table = _arms(
            m, caption, arm_columns.numbers(m.table), "{}", lambda r: r.arm.verdict.replace(" ", "-"), m.table.protocol
        )
        return Group(m.table.title, (table, listed) if skipped else (table,))

    return Section(study.scope.name("numbers"), "Numbers", "Every arm in numbers", "", _each(study, group), key=True)


def stability(study: ReportedStudy) -> Section:
    """Failure, drift and the size of gradients."""

    def group(m: Model) -> Group:
        return Group(m.table.title, (_arms(m, f"Stability of {m.table.title}", STABILITY, "{}-stability"),))

    return Section(study.scope.name("stability"), "Stability", "Stability", STABLE, _each(study, group))


def _arms(  # noqa: PLR0917
    m: Model,
    caption: str,
    columns: Sequence[Column],
    tex: str,
    kind: Callable[[ArmRow], str] = lambda _: "",
    how: str = "",
) -> Table:
    """A line per arm. The style marks a verdict in the second column: other tables only tell base apart."""
    return Table(
        caption,
        columns,
        m.rows,
        m.scope.name("{}"),
        m.scope.name(tex),
        link=lambda r: m.anchors[r.arm.arm],
        kind=lambda r: BASE if r.arm.arm == BASE else kind(r),
        measured=how,
    )


def _each(study: ReportedStudy, group: Callable[[Model], Group]) -> list[Group]:
    return [group(m) for m in study.models]
