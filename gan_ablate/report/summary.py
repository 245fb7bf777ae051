"""The page that one forwards: samples of base and of both ends, the ends of the forest plot, and what is not said."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gan_ablate.findings.summaries import ArmSummary
from gan_ablate.formatting import number, place
from gan_ablate.recipe import BASE
from gan_ablate.report.figures import forest, samples
from gan_ablate.report.protocol import settings
from gan_ablate.report.section import Figure, Group, Items, Only, Part, Picture, Pictures, Text
from gan_ablate.report.study import Model, ReportedStudy

ROWS = 10  # of the short forest plots, all models together
FEWEST = 4  # of one model
SMALLER = 0.55  # the size of a picture here, of that beside its arm
ENDS = (
    "Of each model base and the arms of the lowest and of the highest ratio to it, chosen on these same runs, which "
    "flatters both. Dots are runs, rings are failed ones; shaded: the same within the margin."
)
CANNOT = (
    "what a trick does on other data, at other sizes, widths or lengths of training, at settings that are tuned for "
    "it, or together with other tricks, unless those are arms here"
)


def at_a_glance(study: ReportedStudy) -> tuple[Part, ...]:
    """Pictures, plots and scope; on the page alone, since all of it stands in other sections too."""
    shown = [m for m in study.models if m.table.base and not m.table.budget]
    shots = [picture for m in shown for picture in _shots(study, m)]
    most = max(FEWEST, ROWS // max(1, len(shown)))
    plots = [plot for m in shown if (plot := _plot(m, most))]
    parts: list[Part] = (
        [Group("Samples of the median seed, the same z in each", (Pictures(shots, "glance"),))] if shots else []
    )
    parts += [Group("Best and worst arms", (Text(ENDS, "sub"), *plots))] if plots else []
    parts += [Group("What this study is, and what it cannot say", (Items(scope(study), "facts"),))] if shown else []
    return (Only("page", parts),) if parts else ()


def ends(arms: Sequence[ArmSummary], most: int) -> list[ArmSummary]:
    """Of arms in the order of their ratios: the first and the last that were judged, `most` in all."""
    judged = [a for a in arms if a.rests_on and a.arm != BASE]
    first = (most + 1) // 2
    return judged if len(judged) <= most else [*judged[:first], *judged[len(judged) - most + first :]]


def _plot(m: Model, most: int) -> Figure | None:
    drawings = forest.forest(m.table, ends(m.table.arms, most))
    return Figure(drawings, m.table.title, kind="forest") if drawings else None


def _shots(study: ReportedStudy, m: Model) -> Iterator[Picture]:
    """Of the median seed of base, of the arm with the lowest FID and of the one with the highest that has a picture."""
    held = {a.arm: study.grids.get(m.anchors[a.arm]) for a in m.table.arms}
    both = [a.arm for a in m.table.arms if a.rests_on and a.arm != BASE and held[a.arm] and a.ratio.point > 0]
    named = [("base", BASE), *zip(("lowest FID", "highest FID"), (both[0], both[-1]))] if len(both) > 1 else []
    for which, arm in named:
        if grids := held.get(arm):
            yield _picture(m, which, grids[0])


def _picture(m: Model, which: str, grid: samples.Grid) -> Picture:
    said = f"{m.table.title}, {which}{f': {grid.arm}' if grid.arm != BASE else ''}, FID {number(grid.fid)}"
    width, height = (round(SMALLER * side) for side in grid.shown)
    return Picture(grid.uri, f"Samples of {said}", said, width, height)


def scope(study: ReportedStudy) -> list[tuple[str, str]]:
    """What a verdict here is about."""
    loaded = study.loaded
    source = loaded.source if isinstance(loaded.source, dict) else {}
    datasets = dict.fromkeys(f"{t.dataset} ({t.label})" for t in study.tables)
    tuned = "every arm picked its own settings on seeds of its own, base too" if source.get("tune") else (
        "base's settings were fixed beforehand; every arm runs at them, but for what its trick changes"
    )  # fmt: skip
    return [
        ("data", "; ".join(datasets)),
        ("training", "; ".join(settings(loaded))),
        ("tuned", tuned),
        ("cannot say", CANNOT),
        ("made by", f"the study {loaded.name}, {place(loaded.root)}"),
    ]
