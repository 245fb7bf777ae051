"""Pieces of HTML: everything that comes from a study goes through `escape`."""

# ruff: noqa: E501 - lines of HTML and CSS, and captions

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from html import escape

from gan_ablate.findings.summaries import BASE, ArmSummary
from gan_ablate.report.columns import Column
from gan_ablate.report.svg import Figure


def section(anchor: str, title: str, intro: str, parts: Iterable[str]) -> str:
    """A landmark with its heading."""
    body = "".join(parts)
    said = f"<p class='sub'>{escape(intro)}</p>" if intro else ""
    return f"<section id='{anchor}' aria-labelledby='{anchor}-h'><h2 id='{anchor}-h'>{escape(title)}</h2>{said}{body}</section>\n"


def drawn(figure: Figure | Sequence[Figure], caption: str, cls: str = "") -> str:
    """A figure with what to see in it; wide ones scroll by themselves, by keyboard too."""
    parts = [figure] if isinstance(figure, Figure) else figure
    inner = "".join(p.inline for p in parts)
    return f"<figure class='{cls}'>{scroll(inner, parts[0].label)}<figcaption>{escape(caption)}</figcaption></figure>\n"


def scroll(inner: str, label: str, more: str = "") -> str:
    return (
        f"<div class='{f'scroll {more}'.strip()}' role='group' aria-label='{escape(label)}' tabindex='0'>{inner}</div>"
    )


def disclosure(summary: str, inner: str) -> str:
    """`summary` is text."""
    return f"<details><summary>{escape(summary)}</summary>{inner}</details>\n"


def table(caption: str, heads: Sequence[str], rows: Iterable[str], cls: str = "sorts") -> str:
    """`rows` are HTML of `row`; class `sorts` gets sort buttons and a filter where JavaScript runs."""
    head = "".join(f"<th scope='col'>{escape(h)}</th>" for h in heads)
    inner = (
        f"<table{_class(cls)}><caption>{escape(caption)}</caption><thead><tr>{head}</tr></thead>"
        f"<tbody>{''.join(rows)}</tbody></table>"
    )
    return scroll(inner, caption, "tall" if "sorts" in cls else "") + "\n"


def row(head: str, cells: Iterable[tuple[str, float | None]], cls: str = "", link: str = "") -> str:
    """`head` and the cells' texts are text; a cell's number is its place in an order."""
    name = f"<a href='#{link}'>{escape(head)}</a>" if link else escape(head)
    body = "".join(f"<td{_key(key)}>{escape(text)}</td>" for text, key in cells)
    return f"<tr{_class(cls)}><th scope='row'>{name}</th>{body}</tr>"


def _class(name: str) -> str:
    return f" class='{escape(name)}'" if name else ""


def _key(value: float | None) -> str:
    return "" if value is None or not math.isfinite(value) else f" data-k='{value:.6g}'"


def arms_table(caption: str, cols: Sequence[Column], arms: Iterable[ArmSummary], links: dict[str, str]) -> str:
    """A line per arm, with a legend of the columns."""
    rows = (
        row(
            a.arm,
            ((c.cell(a), c.key(a) if c.key else None) for c in cols[1:]),
            _kind(a, cols),
            links.get(a.arm, ""),
        )
        for a in arms
    )
    return table(caption, [c.heading for c in cols], rows) + legend(cols)


def _kind(a: ArmSummary, cols: Sequence[Column]) -> str:
    """The row's class. The style marks a verdict in the second column: other tables only tell base apart."""
    if a.arm == BASE:
        return "base"
    return a.verdict.replace(" ", "-") if cols[1].heading == "verdict" else ""


def legend(cols: Sequence[Column]) -> str:
    items = "".join(f"<dt>{escape(c.heading)}</dt><dd>{escape(c.meaning)}</dd>" for c in cols)
    return disclosure("What the columns mean", f"<dl>{items}</dl>")


def listing(items: Iterable[tuple[str, str]]) -> str:
    """Bold name and text."""
    return "<ul class='plain'>" + "".join(f"<li><b>{escape(a)}</b> {escape(b)}</li>" for a, b in items) + "</ul>"


def definitions(items: Iterable[tuple[str, str]]) -> str:
    return "<dl>" + "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in items) + "</dl>"
