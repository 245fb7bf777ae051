"""A report as one self-contained HTML page that reads without JavaScript. All text goes through `escape`."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Callable, Sequence
from html import escape
from importlib.resources import files

from gan_ablate.report import section as data
from gan_ablate.report.figures.svg import FIGURE, NOT_XML, Drawing, variables

BREAKS = re.compile(r"([_:=,+])(?=\S)")  # a long name may go on in the next line here; no entity has any of them
ENLARGED = 1.35  # a panel that is drawn again


def page(document: data.Document, names: Callable[[data.Name], str]) -> str:
    """The whole page: its own style and script inside, nothing else allowed to run or load."""
    home = files("gan_ablate.report")
    css, script = style(), home.joinpath("page.js").read_text(encoding="utf-8")
    policy = content_policy(script)
    facts = _definitions(document.facts) if document.facts else ""
    notes, links = notes_of(document), links_to(document.sections, names)
    said = {name: escape(getattr(document, name)) for name in ("title", "kicker", "heading", "lead")}
    sections = "".join(map(Writer(names).section, document.sections))
    whole = home.joinpath("page.html").read_text(encoding="utf-8")
    return whole.format(
        policy=policy, css=css, notes=notes, facts=facts, links=links, script=script, sections=sections, **said
    )


def style() -> str:
    """The style of pages and of the figures in them, light and dark."""
    return variables() + files("gan_ablate.report").joinpath("page.css").read_text(encoding="utf-8") + FIGURE


def content_policy(script: str) -> str:
    """A Content-Security-Policy: the page's own style, this one script and pictures that stand in the page."""
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    return (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )


def notes_of(document: data.Document) -> str:
    return "".join(f"<p class='note' role='note'>{escape(note)}</p>" for note in document.notes)


def links_to(sections: Sequence[data.Section], names: Callable[[data.Name], str]) -> str:
    """The navigation's items."""
    return "".join(f"<li><a href='#{names(s.anchor)}'>{escape(s.nav)}</a></li>" for s in sections if s.nav)


class Writer:
    """Parts as HTML. `depth` is the level of the next heading."""

    def __init__(self, names: Callable[[data.Name], str]) -> None:
        self.names = names

    def section(self, s: data.Section) -> str:
        """A landmark with its heading."""
        anchor = self.names(s.anchor)
        said = f"<p class='sub'>{escape(s.what_to_see)}</p>" if s.what_to_see else ""
        return (
            f"<section{_class(s.kind)} id='{anchor}' aria-labelledby='{anchor}-h'>"
            f"<h2 id='{anchor}-h'>{escape(s.title)}</h2>{said}{self.parts(s.parts, 3)}</section>\n"
        )

    def parts(self, parts: Sequence[data.Part], depth: int) -> str:
        return "".join(self.part(p, depth) for p in parts)

    def part(self, part: data.Part, depth: int) -> str:
        found = ""
        match part:
            case data.Text():
                note = " role='note'" if part.kind == "note" else ""
                found = f"<p{_class(part.kind)}{note}>{escape(part.text)}</p>"
            case data.Items():
                found = _definitions(part.items) if part.kind == "facts" else _items(part)
            case data.Code():
                found = f"<pre>{escape(chr(10).join(part.lines))}</pre>"
            case data.Table():
                found = self.table(part)
            case data.Figure():
                found = _figure(part)
            case data.Strip():
                found = _strip(part)
            case data.Card():
                found = self.card(part, depth)
            case data.Panels() | data.Pictures() | data.Cards():
                found = self.side_by_side(part, depth)
            case data.Group():
                found = self.group(part, depth)
            case data.Fold():
                found = self.fold(part, depth)
            case data.Only(medium="page"):
                found = self.parts(part.parts, depth)
        return found

    def group(self, g: data.Group, depth: int) -> str:
        inner = self.parts(g.parts, depth + 1)
        if g.anchor is None:
            return f"<h{depth}>{escape(g.title)}</h{depth}>{inner}"
        anchor = self.names(g.anchor)
        head = f"<h{depth} id='{anchor}-h'>{escape(g.title)}</h{depth}>"
        return f"<section id='{anchor}' aria-labelledby='{anchor}-h'>{head}{inner}</section>"

    def fold(self, f: data.Fold, depth: int) -> str:
        tag = f"<span class='tag {escape(f.tag.replace(' ', '-'))}'>{escape(f.tag)}</span>" if f.tag else ""
        aside = f"<span class='soft'>{escape(f.aside)}</span>" if f.aside else ""
        if f.anchor is None:
            head = " ".join(filter(None, (tag, escape(f.summary), aside)))
            return f"<details{_class(f.kind)}><summary>{head}</summary>{self.parts(f.parts, depth)}</details>\n"
        head = f"<h{depth}>{' '.join(filter(None, (f'<b>{escape(f.summary)}</b>', tag, aside)))}</h{depth}>"
        own = f"{_class(f.kind)} id='{self.names(f.anchor)}'{' open' * f.open}"
        return f"<details{own}><summary>{head}</summary>{self.parts(f.parts, depth + 1)}</details>\n"

    def table(self, t: data.Table) -> str:
        """Style `sorts` gets sort buttons and a filter where JavaScript runs."""
        columns, sorts = t.shown, "sorts" in t.style
        head = "".join(f"<th scope='col'>{escape(c.heading)}</th>" for c in columns)
        rows = "".join(self.row(t, columns, row, sorts) for row in t.rows)
        inner = (
            f"<table{_class(t.style)}><caption>{escape(t.caption)}</caption><thead><tr>{head}</tr></thead>"
            f"<tbody>{rows}</tbody></table>"
        )
        meanings = [(c.heading, c.meaning) for c in columns if c.meaning]
        legend = f"<details><summary>What the columns mean</summary>{_definitions(meanings)}</details>\n"
        return _scroll(inner, t.caption, "tall" if sorts else "") + "\n" + (legend if meanings else "")

    def row(self, t: data.Table, columns: Sequence[data.Column], row: object, sorts: bool) -> str:
        first, *rest = (c.cell(row) for c in columns)
        link, kind = t.link(row), t.kind(row)
        head = BREAKS.sub(r"\1<wbr>", escape(first[0]))
        name = f"<a href='#{self.names(link)}'>{head}</a>" if link else head
        body = "".join(f"<td{_key(key) if sorts else ''}>{escape(text)}</td>" for text, key in rest)
        return f"<tr{_class(kind)}><th scope='row'>{name}</th>{body}</tr>"

    def side_by_side(self, part: data.Panels | data.Pictures | data.Cards, depth: int) -> str:
        if isinstance(part, data.Cards):
            return f"<div class='cards'>{self.parts(part.parts, depth)}</div>"
        if isinstance(part, data.Pictures):
            return f"<div class='{part.kind}'>{''.join(map(self.picture, part.pictures))}</div>"
        return f"<div class='panels'>{''.join(self.panel(*panel) for panel in part.panels)}</div>"

    def panel(self, to: data.Name | None, own: data.Name, drawn: Drawing) -> str:
        marked = drawn.marked(self.names(own))
        return f"<a href='#{self.names(to)}'>{marked}</a>" if to else f"<div>{marked}</div>"

    def picture(self, p: data.Picture) -> str:
        if isinstance(p.source, str):
            shown = f"<img alt='{escape(p.alt)}' src='{p.source}' width='{p.width}' height='{p.height}' loading='lazy'>"
        else:
            box = f"viewBox='0 0 {p.width} {p.height}' width='{p.width * ENLARGED:g}'"
            label = NOT_XML.sub("", escape(p.alt))
            shown = (
                f"<svg class='fig' {box} role='img' aria-label='{label}'><use href='#{self.names(p.source)}'/></svg>"
            )
        kind = "shot" if isinstance(p.source, str) else "chart"
        return f"<figure class='{kind}'>{shown}<figcaption>{escape(p.caption)}</figcaption></figure>"

    def card(self, card: data.Card, depth: int) -> str:
        head = f"<h{depth}><a href='#{self.names(card.link)}'>{escape(card.title)}</a></h{depth}>"
        return f"<article class='card'>{head}{self.parts(card.parts, depth + 1)}</article>\n"


def _strip(strip: data.Strip) -> str:
    """A tile per verdict; those that no arm has are pale."""
    tiles = (
        f"<li class='{escape(word.replace(' ', '-'))}{' none' * (not n)}'><b>{n}</b> {escape(word)}</li>"
        for word, n in strip.counts
    )
    return f"<ul class='strip'>{''.join(tiles)}</ul>"


def _figure(f: data.Figure) -> str:
    """With what to see in it; wide ones scroll by themselves, by keyboard too."""
    inner = _scroll("".join(d.inline for d in f.drawings), f.drawings[0].label)
    return f"<figure class='{f.kind}'>{inner}<figcaption>{escape(f.caption)}</figcaption></figure>\n"


def _scroll(inner: str, label: str, more: str = "") -> str:
    kind = f"scroll {more}".strip()
    return f"<div class='{kind}' role='group' aria-label='{escape(label)}' tabindex='0'>{inner}</div>"


def _items(part: data.Items) -> str:
    lines = []
    for name, text in part.items:
        said = f"<code>{escape(text)}</code>" if part.kind == "code" else escape(text)
        lines.append(f"<li>{f'<b>{escape(name)}</b> ' if name else ''}{said}</li>")
    return f"<ul class='plain'>{''.join(lines)}</ul>"


def _definitions(items: Sequence[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in items) + "</dl>"


def _class(name: str) -> str:
    return f" class='{escape(name)}'" if name else ""


def _key(value: float) -> str:
    return f" data-k='{value:.6g}'" if math.isfinite(value) else ""
