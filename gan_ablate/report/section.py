"""A report as data: sections, built once, that the writers for HTML, Markdown, CSV and LaTeX walk."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import pandas as pd

from gan_ablate.formatting import interval, number, slug
from gan_ablate.report.figures.svg import Drawing
from gan_ablate.stats.intervals import Interval


@dataclass(frozen=True, eq=False)
class Scope:
    """A root, or a model within a root: `Names` gives each a text of its own, whatever they are called."""

    title: str
    root: Scope | None = None  # of a model

    def name(self, form: str) -> Name:
        """An anchor or the stem of a file of this root, or of this model: `{}` stands for the model."""
        return Name(form, self)


class Name(NamedTuple):
    """An anchor or the stem of a file. Without a scope it is the whole report's, and literal."""

    form: str
    scope: Scope | None = None


@dataclass(frozen=True)
class Column:
    """One column of a table. A row is whatever the column's functions take.

    value: a text, a number, an `Interval` or a tuple; NaN where there is none. csv: names of its parts in the CSV file.
    Without a heading the column stands in the CSV file alone; without names only in the other formats.
    """

    heading: str
    value: Callable[[Any], Any]
    meaning: str = ""
    csv: tuple[str, ...] = ()
    text: Callable[[Any], str] | None = None  # what the cell says, where that is not simply the value
    key: Callable[[Any], float] | None = None  # its place in an order, where that is not the value; NaN goes last
    digits: int = 3  # significant digits of a number
    optional: bool = False  # left out where no row has a value
    paper: bool = True  # the width of a printed page has room for it
    wide: bool = False  # several words: the cell breaks into lines on paper

    def cell(self, row: Any) -> tuple[str, float]:
        """The cell's text and its place in an order; NaN where it has none."""
        value = self.value(row)
        if isinstance(value, Interval):
            text, key = interval(value), value.point
        elif isinstance(value, str | tuple):
            text, key = str(value), math.nan
        else:
            text, key = str(value) if isinstance(value, int) else number(value, self.digits), float(value)
        return self.text(row) if self.text else text, self.key(row) if self.key else key

    def values(self, row: Any) -> Iterator[tuple[str, Any]]:
        """(name, value) of the CSV file."""
        value = self.value(row)
        return zip(self.csv, value if isinstance(value, tuple) else (value,))


@dataclass(frozen=True)
class Table:
    """The first column heads the rows. Tables of one CSV file have the same rows: their columns stand side by side."""

    caption: str
    columns: Sequence[Column]
    rows: Sequence[Any]
    csv: Name | None = None  # the file under tables/
    tex: Name | None = None
    link: Callable[[Any], Name | None] = lambda _: None  # where a row's head leads
    kind: Callable[[Any], str] = lambda _: ""  # a row's style: base, helps, hurts
    style: str = "sorts"  # sorts: with buttons and a filter; wrap: long texts; runs: narrow
    measured: str = ""  # how; printed tables say it

    @cached_property
    def shown(self) -> list[Column]:
        """The columns of pages and papers: one that is optional has a value in some row."""
        return [c for c in self.columns if c.heading and not (c.optional and self._empty(c))]

    def cells(self, row: Any) -> list[tuple[str, float]]:
        """(text, place in an order) of the columns that pages show."""
        return [column.cell(row) for column in self.shown]

    @property
    def meanings(self) -> list[tuple[str, str]]:
        """What the columns that pages show mean, where that is said."""
        return [(c.heading, c.meaning) for c in self.shown if c.meaning]

    def _empty(self, column: Column) -> bool:
        return all(math.isnan(column.cell(row)[1]) for row in self.rows)


class Data(NamedTuple):
    """A table that is only a CSV file."""

    csv: Name
    frame: pd.DataFrame
    measured: bool = False  # its figures were read from runs, not computed from them: written to the last digit


class Figure(NamedTuple):
    """A figure in one or several blocks, and what to see in it."""

    drawings: Sequence[Drawing]
    caption: str
    file: Name | None = None  # under figures/
    kind: str = ""
    anchors: tuple[Name, ...] = ()  # ids within the drawing


class Panels(NamedTuple):
    """Small figures side by side: (where it leads, its own anchor, drawing). Without an anchor it leads nowhere."""

    panels: Sequence[tuple[Name | None, Name, Drawing]]


class Picture(NamedTuple):
    """A picture, or a panel that is drawn again."""

    source: str | Name  # a data URI, or the panel's anchor
    alt: str
    caption: str
    width: float  # pixels
    height: float


class Pictures(NamedTuple):
    """Pictures side by side."""

    pictures: Sequence[Picture]
    kind: str = "grids"  # or glance: three to a row, small


class Text(NamedTuple):
    """A paragraph."""

    text: str
    kind: str = ""  # sub: smaller; note: what must not be missed


class Items(NamedTuple):
    """A list of (name, text); the name may be empty."""

    items: Sequence[tuple[str, str]]
    kind: str = ""  # code: lines of a recipe; facts: names and their values


class Code(NamedTuple):
    """Commands to paste, a line each."""

    lines: Sequence[str]


class Group(NamedTuple):
    """Parts under a heading: a model's, mostly."""

    title: str
    parts: Sequence[Part]
    anchor: Name | None = None


class Fold(NamedTuple):
    """Parts that a click opens."""

    summary: str
    parts: Sequence[Part]
    tag: str = ""  # a verdict
    aside: str = ""
    kind: str = ""  # arm | claim
    anchor: Name | None = None
    open: bool = False


class Only(NamedTuple):
    """Parts for one medium: `page` (HTML), or `text` (Markdown)."""

    medium: str
    parts: Sequence[Part]


class Strip(NamedTuple):
    """How many arms have each verdict: (verdict, arms)."""

    counts: Sequence[tuple[str, int]]


class Card(NamedTuple):
    """A model's parts, under a title that leads to more."""

    title: str
    link: Name
    parts: Sequence[Part]


class Cards(NamedTuple):
    """Cards side by side."""

    parts: Sequence[Card]


Part: TypeAlias = (
    Table | Data | Figure | Panels | Pictures | Text | Items | Code | Group | Fold | Only | Strip | Card | Cards
)  # what a section is made of


@dataclass(frozen=True)
class Section:
    """One section of a report."""

    anchor: Name
    nav: str  # in the navigation; empty: not there
    title: str
    what_to_see: str
    parts: Sequence[Part]
    key: bool = False  # the navigation of a report of several roots has it too
    kind: str = ""


@dataclass(frozen=True)
class Document:
    """A whole report."""

    title: str
    kicker: str
    heading: str
    lead: str
    notes: Sequence[str]
    sections: Sequence[Section]
    facts: Sequence[tuple[str, str]] = ()
    data: Sequence[Part] = ()  # what is a file alone

    def walk(self) -> Iterator[Section | Part]:
        """Every section and part, however deep."""
        waiting: list[Section | Part] = [*self.data, *self.sections][::-1]
        while waiting:
            found = waiting.pop()
            yield found
            if isinstance(found, Section | Group | Fold | Only | Card | Cards):
                waiting.extend(reversed(found.parts))

    def defined(self) -> Iterator[Name]:
        """Anchors and stems of files, each where it is defined; one may come twice."""
        for part in self.walk():
            match part:
                case Section(anchor=Name() as anchor) | Group(anchor=Name() as anchor) | Fold(anchor=Name() as anchor):
                    yield from (anchor, Name(f"{anchor.form}-h", anchor.scope))
                case Table():
                    yield from (name for name in (part.csv, part.tex) if name)
                case Data():
                    yield part.csv
                case Figure():
                    yield from (name for name in (part.file, *part.anchors) if name)
                case Panels():
                    yield from (own for _, own, _ in part.panels)


RESERVED = ("main", "report-files", "compare")  # of the page, and of the folder


class Names:
    """Gives the texts of names, so that none meet. No two differ by case alone: not every file system tells
    them apart.

    One root's names have no prefix; of several each has its own. A model whose name would lead to a text that is
    taken is called `name-2`, `name-3`, .. in all of its anchors and files.
    """

    def __init__(self, defined: Iterable[Name]) -> None:
        forms: dict[Scope | None, dict[str, None]] = {None: {}}
        for form, scope in defined:
            forms.setdefault(scope, {})[form] = None
            if scope is not None and scope.root is not None:
                forms.setdefault(scope.root, {})
        self._taken = {*RESERVED, *(form.lower() for form in forms[None])}
        self._tried: dict[str, int] = {}  # by first form: where to go on looking
        roots = [s for s in forms if s is not None and s.root is None]
        self._texts: dict[Scope, str] = {}  # a root's prefix, a model's stem
        for root in roots:
            if len(roots) == 1:
                self._taken |= {form.lower() for form in forms[root]}
                self._texts[root] = ""
            else:
                self._texts[root] = self._take(slug(root.title), [f"{{}}-{form}" for form in forms[root]]) + "-"
        for scope, own in forms.items():
            if scope is not None and scope.root is not None:
                prefix = self._texts[scope.root]
                self._texts[scope] = self._take(slug(scope.title), [prefix + form for form in own])

    def __call__(self, name: Name) -> str:
        if name.scope is None:
            return name.form
        if name.scope.root is None:
            return self._texts[name.scope] + name.form
        return self._texts[name.scope.root] + name.form.format(self._texts[name.scope])

    def _take(self, stem: str, forms: Sequence[str]) -> str:
        """`stem`, or the first of `stem-2`, `stem-3`, .. of which no form is taken."""
        first = (forms[0] if forms else "{}").format(stem)
        k = self._tried.get(first, 1)
        while True:
            name = stem if k == 1 else f"{stem}-{k}"
            own = {form.format(name).lower() for form in forms}
            k += 1
            if not own & self._taken:
                break
        self._taken |= own
        self._tried[first] = k
        return name


def distinct(names: Iterable[str]) -> list[str]:
    """The names, with `-2`, `-3`, .. after those that came before."""
    seen: dict[str, None] = {}
    for name in names:
        k = next(k for k in range(1, len(seen) + 2) if (name if k == 1 else f"{name}-{k}") not in seen)
        seen[name if k == 1 else f"{name}-{k}"] = None
    return list(seen)
