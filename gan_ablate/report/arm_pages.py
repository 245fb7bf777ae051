"""Arm by arm: curve, samples, recipe, what is different from base, runs and the command that repeats them."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import lru_cache
from operator import itemgetter
from typing import Any

from gan_ablate.errors import InputError
from gan_ablate.findings.summaries import ArmSummary
from gan_ablate.formatting import number, one_line
from gan_ablate.recipe import BASE, Recipe, TrickSpec
from gan_ablate.report.figures.curves import PANEL
from gan_ablate.report.protocol import repeat_arm
from gan_ablate.report.section import (
    Code,
    Column,
    Fold,
    Group,
    Items,
    Only,
    Part,
    Picture,
    Pictures,
    Section,
    Table,
    Text,
)
from gan_ablate.report.sections import panel_anchor
from gan_ablate.report.study import Model, ReportedStudy
from gan_ablate.report.verdict_columns import change, verdict
from gan_ablate.results.files import UNREADABLE
from gan_ablate.store.show import against_base
from gan_ablate.tricks import trick_names

INTRO = (
    "Samples are of the median and the worst seed by final FID, never hand-picked: the same z in every grid, the "
    "first half of each run’s picture. Look for images that repeat: they are what a lost mode looks like. Where not "
    "all fit into the page, base comes first, then arms that differ from it, then the others, the clearest result "
    "first; what is left out lies in the runs’ folders. The recipe of base stands in full, that of an arm by what is "
    "different."
)
LEFT_OUT = ("seed", "arm", "classes", "model", "dataset")  # of a recipe
RUN = ("seed", "outcome", "fid", "best_fid", "seconds", "run_id")


def arms(study: ReportedStudy) -> Section:
    """A fold per arm. Only on the page: of hundreds of arms the text would be too long."""
    grids, groups = study.grids, []
    for m in study.models:
        recipes = {a.arm: _recipe(m, a.arm) for a in m.table.arms}
        pages = [_page(m, a, recipes, grids.get(m.anchors[a.arm], ())) for a in m.table.arms]
        groups.append(Group(m.table.title, pages))
    anchor = study.scope.name("arms")
    return Section(anchor, "Arms and samples", "Arm by arm, with samples", INTRO, (Only("page", groups),), key=True)


def pictures(study: ReportedStudy) -> dict[str, bytes]:
    """The pictures that the page of this root shows, by run id: what an archive keeps of its samples."""
    return {grid.run_id: grid.picture for grids in study.grids.values() for grid in grids}


def _page(m: Model, a: ArmSummary, recipes: Mapping[str, dict[str, Any]], grids: Any) -> Fold:
    recipe, base = recipes[a.arm], recipes.get(BASE, {})
    rows = m.table.groups[a.arm]
    parts: list[Part] = [Pictures([*_chart(m, a), *_shots(m, grids)])]
    if a.arm != BASE:
        said = verdict(a)
        how = f" ({a.outcomes})" if a.outcomes else ""
        ahead = f" To decide: {more}." if (more := a.to_decide) else ""
        parts.append(Text(f"{said[:1].upper() + said[1:]}. {a.runs} runs, {a.failures} failed{how}.{ahead}"))
        different = _differences(recipe, base) if recipe and base else []
        lines = [("", line) for line in (*different, *_explain(recipe))]
        parts += [Group("Different from base", (Items(lines, "code"),))] if lines else []
    # in full once per model: hundreds of arms would repeat what they share with base
    if recipe and (a.arm == BASE or not base):
        parts.append(Group("Recipe", (Items(list(_fields(recipe)), "facts"),)))
    runs = list(zip(*(rows[k].tolist() for k in RUN), strict=True))
    heads = ("seed", "outcome", m.table.label, "at its best", "seconds", "run")
    columns = [Column(head, itemgetter(k)) for k, head in enumerate(heads)]
    parts += [Table(f"Runs of {a.arm}", columns, runs, style="runs")] if runs else []
    command = repeat_arm(m.loaded, m.table, a.arm, recipe, [int(s) for s in rows["seed"]])
    parts.append(Group("Again", (Code((command,)),)))
    aside = "" if a.arm == BASE else " ".join(filter(None, change(a)))
    return Fold(a.arm, parts, a.verdict or "base", aside, "arm", m.anchors[a.arm], open=a.arm == BASE)


def _chart(m: Model, a: ArmSummary) -> Iterator[Picture]:
    """The panel that is drawn among the curves, once more: a reference costs no bytes."""
    if drawn := m.panels.get(a.arm):
        caption = f"{m.table.label} against steps: seeds thin, mean thick, base dashed."
        yield Picture(panel_anchor(m, a.arm), drawn.label, caption, *PANEL)


def _shots(m: Model, grids: Any) -> Iterator[Picture]:
    for g in grids:
        said = f"{m.table.label} {number(g.fid)}"
        alt = f"Samples of {g.arm}, {g.which} seed {g.seed}, {said}"
        yield Picture(g.uri, alt, f"{g.which} seed ({g.seed}): {said}", *g.shown)


def _recipe(m: Model, arm: str) -> dict[str, Any]:
    """Of the arm's first run that has one."""
    records = (m.loaded.records.get(run_id) or {} for run_id in m.table.groups[arm]["run_id"])
    return next((dict(r["recipe"]) for r in records if r.get("recipe")), {})


def _explain(recipe: Mapping[str, Any]) -> tuple[str, ...]:
    """What a recipe's tricks do to the blueprint; nothing where that cannot be said."""
    told = {k: v for k, v in recipe.items() if k not in ("seed", "arm")}
    return _explain_json(json.dumps(told, sort_keys=True, default=str)) if recipe.get("tricks") else ()


@lru_cache(maxsize=1024)
def _explain_json(recipe: str) -> tuple[str, ...]:
    try:
        read = Recipe.from_dict(json.loads(recipe))
        if any(t.name not in trick_names() for t in read.tricks):  # never import what a result file names
            return ("a trick of the user's own",)
        return tuple(against_base(read))
    except (InputError, *UNREADABLE):
        return ()


def _fields(recipe: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in recipe.items():
        if name in LEFT_OUT:
            continue
        if name == "tricks":
            yield "tricks", _tricks(value)
        elif isinstance(value, dict):
            yield from ((f"{name}.{k}", one_line(v)[:200]) for k, v in value.items())
        else:
            yield str(name), one_line(value)[:200]


def _tricks(value: Any) -> str:
    try:
        specs = [str(TrickSpec(str(t["name"]), t.get("params") or {})) for t in value]
    except UNREADABLE:
        return one_line(value)[:200]
    return "; ".join(map(one_line, specs)) or "none"


def _differences(recipe: Mapping[str, Any], base: Mapping[str, Any]) -> list[str]:
    """`lr: 0.0002 → 0.001`, of the fields that differ from base's."""
    theirs = dict(_fields(base))
    return [f"{k}: {theirs.get(k, 'none')} → {v}" for k, v in _fields(recipe) if v != theirs.get(k, "none")]
