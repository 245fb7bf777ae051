"""The section on random points: what each setting does to FID, the models beside each other, and every point."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

from gan_ablate.findings.effects import level_name
from gan_ablate.findings.points import Point, beside, influences, is_number, points, said_of_correlation, said_of_level
from gan_ablate.formatting import NOTHING, number, p_value
from gan_ablate.report.figures.scatter import scatter
from gan_ablate.report.section import Column, Figure, Group, Part, Section, Table, Text
from gan_ablate.report.study import ReportedStudy

SAID = (
    "A setting is judged over all points, whatever the others are there, by ranks: failed points rank worst. Settings "
    "were drawn independently of each other, so what one does is not what another does; how two of them act together "
    "is not asked."
)
SCATTER = (
    "Each point's FID against each of its settings, on one logarithmic scale for all models; rings on top are points "
    "that failed. Look for panels in which the points lie along a slope, or lower in one column than in another."
)
POINTS = "Each point on each model, the best ones first. A setting is what the point has in place of the model's own."


def settings(study: ReportedStudy) -> Section:
    """What moves FID in a random design; no parts in another."""
    found, titles = points(study.loaded, study.tables), [t.title for t in study.tables]
    anchor = study.scope.name("settings")
    if not found:
        return Section(anchor, "Settings", "What the settings do", SAID, ())
    rows = [row for title in titles for row in influences(found, title)]
    parts: list[Part] = [Table("Settings and FID", INFLUENCE, rows, study.scope.name("settings"))]
    if drawn := scatter(found, titles, study.tables[0].label):
        parts.append(Figure((drawn,), SCATTER, study.scope.name("settings")))
    if len(titles) > 1:
        table = Table("Models at the same points", BESIDE, beside(found, titles), study.scope.name("models"))
        said = "A point that fails on one model alone is won by the other; one that fails on both, by neither."
        parts.append(Group("The models beside each other", (Text(said), table)))
    factors = list(dict.fromkeys(name for p in found for name in p.settings))
    columns = (
        Column("point", lambda p: p.name, csv=("point",)),
        *(Column(name, partial(_setting, name), csv=(name,), text=partial(_shown, name)) for name in factors),
        *(Column(f"FID, {t}", partial(_fid, t), csv=(f"fid of {t}",), text=partial(_said, t)) for t in titles),
    )
    every = Group("Every point", (Text(POINTS), Table("Points", columns, found, study.scope.name("points"))))
    return Section(anchor, "Settings", "What the settings do", SAID, (*parts, every), key=True)


INFLUENCE = (
    Column("model", lambda i: i.title, "what was trained", ("model",)),
    Column("setting", lambda i: i.factor, "", ("setting",)),
    Column(
        "rank correlation", lambda i: i.correlation,
        "Spearman's, of a setting that is a number with FID: over 0, higher is worse", ("rank_correlation",),
        said_of_correlation,
    ),
    Column(
        "median FID by level", lambda i: "; ".join(map(said_of_level, i.levels)),
        "of a setting that is a name, best first", ("levels",), wide=True,
    ),
    Column("p", lambda i: i.p, "by ranks: Spearman's or Kruskal and Wallis's test", ("p",), lambda i: p_value(i.p)),
    Column("p (Holm)", lambda i: i.p_holm, "over the settings of a model", ("p_holm",), lambda i: p_value(i.p_holm)),
    Column("", lambda i: i.acts, csv=("known",)),
)  # fmt: skip
BESIDE = (
    Column("model", lambda b: b.first, "", ("model",)),
    Column("beside", lambda b: b.second, "", ("beside",)),
    Column("better", lambda b: b.won, "points at which the first is better", ("won",)),
    Column("worse", lambda b: b.lost, "points at which the second is", ("lost",)),
    Column("p", lambda b: b.p, "two-sided, by the sign test, not corrected", ("p",), lambda b: p_value(b.p)),
)


def _setting(name: str, point: Point) -> Any:
    value = point.settings.get(name)
    return value if is_number(value) else level_name(value)


def _shown(name: str, point: Point) -> str:
    value = _setting(name, point)
    return number(value) if is_number(value) else value


def _fid(title: str, point: Point) -> float:
    fid = point.fids.get(title)
    return math.nan if fid is None else fid


def _said(title: str, point: Point) -> str:
    fid = point.fids.get(title)
    return number(fid) if fid is not None else "failed" if title in point.fids else NOTHING
