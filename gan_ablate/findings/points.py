"""Random points of a study's settings: which setting moves FID, and how the models do at the same points."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from gan_ablate.findings.effects import level_name
from gan_ablate.findings.settled import LIMIT
from gan_ablate.findings.summaries import ArmSummary, ModelTable
from gan_ablate.formatting import number, p_value, some
from gan_ablate.results.frames import Results
from gan_ablate.stats.corrections import ALPHA, holm
from gan_ablate.stats.ranks import association, groups_p, scored, sign_p


class Point(NamedTuple):
    """One point of a random design, on every model that has run it."""

    name: str  # of the arm
    settings: Mapping[str, Any]  # by factor
    fids: Mapping[str, float | None]  # by the title of the model's table; None: a run of it failed

    @property
    def rank(self) -> float:
        """Its place in an order: mean log FID over its models; the points that fail somewhere go last."""
        found = [math.inf if fid is None else math.log(fid) for fid in self.fids.values()]
        return sum(found) / len(found) if found else math.nan


class Level(NamedTuple):
    """One level of a setting that is a name."""

    name: str
    points: int
    failed: int
    fid: float  # median over those that did not fail; NaN where all did


class Influence(NamedTuple):
    """What a setting does to a model's FID over the points, whatever the others are there. Failed points rank worst."""

    title: str  # of the model's table
    factor: str
    correlation: float  # Spearman's with FID, of a setting that is a number; else NaN
    levels: tuple[Level, ...]  # of a setting that is a name, best first
    p: float
    p_holm: float  # Holm's, over the settings of the model

    @property
    def acts(self) -> bool:
        """Whether FID is known to go with it."""
        return self.p_holm < ALPHA


class Beside(NamedTuple):
    """Two models at the same points. A point that fails on one alone is won by the other; on both, by neither."""

    first: str
    second: str
    won: int  # points at which the first is better
    lost: int
    p: float  # of the sign test


def points(loaded: Results, tables: Sequence[ModelTable]) -> list[Point]:
    """The points of a random design in the order of `Point.rank`; none of another design."""
    if loaded.design.get("name") != "random":
        return []
    fids: dict[str, dict[str, float | None]] = {name: {} for name in loaded.factors}
    for table in tables:
        for a in table.arms:
            if a.runs and a.arm in fids:
                fids[a.arm][table.title] = a.fid.point if _is_good(a) else None
    found = (Point(name, loaded.factors[name], own) for name, own in fids.items() if own)
    return sorted(found, key=lambda p: p.rank)


def _is_good(a: ArmSummary) -> bool:
    """Whether no run of a point failed."""
    return not a.failures and a.fid.point > 0


def is_number(value: Any) -> bool:
    """Whether a setting has an order: true and false are names."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def influences(found: Sequence[Point], title: str) -> list[Influence]:
    """What each setting does on one model, the surest first."""
    own = [p for p in found if title in p.fids]
    scores = scored([p.fids[title] for p in own])
    rows = []
    for factor in dict.fromkeys(name for p in own for name in p.settings):
        values: list[Any] = [p.settings.get(factor) for p in own]
        if all(map(is_number, values)):
            correlation, p = association(values, scores)
            rows.append(Influence(title, factor, correlation, (), p, math.nan))
        else:
            names = [level_name(v) for v in values]
            groups = [scores[np.array(names) == name] for name in dict.fromkeys(names)]
            rows.append(Influence(title, factor, math.nan, _levels(names, scores), groups_p(groups), math.nan))
    adjusted = holm([row.p for row in rows])
    return sorted(
        (row._replace(p_holm=float(p)) for row, p in zip(rows, adjusted, strict=True)),
        key=lambda row: math.inf if math.isnan(row.p) else row.p,
    )


def beside(found: Sequence[Point], titles: Sequence[str]) -> list[Beside]:
    """Every two models at the points that both have run."""
    rows = []
    for first, second in combinations(titles, 2):
        both = [
            scored([p.fids[first], p.fids[second]]) for p in found if first in p.fids and second in p.fids
        ]  # each (2,)
        won, lost = (sum(bool(a < b) for a, b in (pair[::way] for pair in both)) for way in (1, -1))
        rows.append(Beside(first, second, won, lost, sign_p(won, lost)))
    return rows


def said_of_points(loaded: Results, tables: Sequence[ModelTable]) -> Iterator[str]:
    """How FID is spread over the points on each model and which settings move it; how models do at the same points."""
    found = points(loaded, tables)
    held = [t for t in tables if any(t.title in p.fids for p in found)]
    for table in held:
        yield f"{table.title}: {' '.join((*over_points(table), _moved(influences(found, table.title))))}"
    if pairs := beside(found, [t.title for t in held]):
        each = [f"{b.first} in {b.won}, {b.second} in {b.lost} (p {p_value(b.p)})" for b in pairs]
        yield f"At the same points the better one is {'; '.join(each)}."


def over_points(table: ModelTable) -> Iterator[str]:
    """How many points fail, how far FID goes over the others, and whether they have settled; nothing before any ran."""
    done = [a for a in table.arms if a.runs]
    good = [a for a in done if _is_good(a)]
    if not done:
        return
    yield f"{len(done) - len(good)} of {len(done)} points fail."
    if len(good) < 2:
        return
    fids = [a.fid.point for a in good]
    yield (
        f"The FID of the others has a median of {number(float(np.median(fids)))} and goes from {number(min(fids))} to "
        f"{number(max(fids))}, a standard deviation of {number(float(np.log(fids).std(ddof=1)), 2)} in its logarithm."
    )
    falls = [a.fall.mean for a in good if not math.isnan(a.fall.mean)]
    if moving := sum(fall > LIMIT for fall in falls):
        yield f"Of {len(falls)} points {moving} had not settled: log FID fell by over {LIMIT:g} in the last quarter."


def _moved(rows: Sequence[Influence]) -> str:
    acting = [f"{row.factor} ({said_of(row)})" for row in rows if row.acts]
    others = [row.factor for row in rows if not row.acts]
    if not acting:
        return "FID is not known to go with any setting."
    return f"FID goes with {', '.join(acting)}{f'; not known to with {some(others)}' if others else ''}."


def said_of(row: Influence) -> str:
    """`higher is worse, rank correlation 0.71`, or the levels of a name, best first."""
    if row.levels:
        return ", ".join(said_of_level(level) for level in row.levels)
    way = "higher is worse" if row.correlation > 0 else "higher is better"
    return f"{way}, rank correlation {said_of_correlation(row)}"


def said_of_correlation(row: Influence) -> str:
    """`−0.44`."""
    return number(row.correlation, 2).replace("-", "−")


def said_of_level(level: Level) -> str:
    """`batch 11.2`, `none 22.5 and 3 of 8 fail`."""
    fid = "" if math.isnan(level.fid) else f" {number(level.fid)}"
    joined = " and" if fid else ":"
    return f"{level.name}{fid}" + (f"{joined} {level.failed} of {level.points} fail" if level.failed else "")


def _levels(names: Sequence[str], scores: np.ndarray) -> tuple[Level, ...]:
    rows = []
    for name in dict.fromkeys(names):
        own = scores[np.array(names) == name]
        good = own[np.isfinite(own)]
        median = float(np.median(good)) if len(good) else math.nan
        rows.append((float(np.median(own)), Level(name, len(own), len(own) - len(good), median)))
    return tuple(level for _, level in sorted(rows, key=lambda row: row[0]))
