"""A report as Markdown; figures are files beside it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence

from gan_ablate.formatting import one_line
from gan_ablate.report import section as data
from gan_ablate.report.figures.svg import MARKS

# what Markdown takes for markup within a line; an underscore inside of a word is none
MARKUP = re.compile(r"[\\`*\[\]!#~|]|(?<![^\W_])_|_(?![^\W_])")


def text(document: data.Document, names: Callable[[data.Name], str]) -> str:
    """The whole report."""
    blocks = [f"# {safe(document.heading)}", *(f"> **{safe(note)}**" for note in document.notes), safe(document.lead)]
    blocks += ["\n".join(f"- {safe(k)}: {safe(v)}" for k, v in document.facts)] if document.facts else []
    for section in document.sections:
        blocks += [f"## {safe(section.title)}", *([safe(section.what_to_see)] if section.what_to_see else [])]
        blocks += _blocks(section.parts, names, 3)
    return "\n\n".join(blocks) + "\n"


def _blocks(parts: Sequence[data.Part], names: Callable[[data.Name], str], depth: int) -> Iterator[str]:
    for part in parts:
        match part:
            case data.Text():
                yield ("> " if part.kind == "note" else "") + safe(part.text)
            case data.Items():
                yield "\n".join(_item(name, said, part.kind) for name, said in part.items)
            case data.Code():
                yield "\n".join(("```", *part.lines, "```"))
            case data.Table():
                cells = ([c.cell(row)[0] for c in part.shown] for row in part.rows)
                yield from (safe(part.caption), "\n".join(grid([c.heading for c in part.shown], cells)))
            case data.Figure(file=data.Name() as file):
                yield f"![{safe(part.drawings[0].label)}](figures/{names(file)}.svg)"
                yield from [safe(part.caption)] if part.caption else []
            case data.Strip():
                yield "; ".join(f"{MARKS[word]} {n} {safe(word)}" for word, n in part.counts)
            case data.Card():
                yield f"{'#' * depth} {safe(part.title)}"
                yield from _blocks(part.parts, names, depth + 1)
            case data.Cards():
                yield from _blocks(part.parts, names, depth)
            case data.Group():
                yield f"{'#' * depth} {safe(part.title)}"
                yield from _blocks(part.parts, names, depth + 1)
            case data.Fold():
                yield f"**{safe(part.summary)}**"
                yield from _blocks(part.parts, names, depth)
            case data.Only(medium="text"):
                yield from _blocks(part.parts, names, depth)


def _item(name: str, said: str, kind: str) -> str:
    if kind == "code":
        return f"- {code(said)}"
    head = f"{safe(name)}: " if kind == "facts" else f"**{safe(name)}** " if name else ""
    return f"- {head}{safe(said)}"


def grid(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """A Markdown table of texts."""
    lines = [f"| {' | '.join(map(safe, heads))} |", f"| {' | '.join('---' for _ in heads)} |"]
    return lines + [f"| {' | '.join(map(safe, cells))} |" for cells in rows]


def safe(text: object) -> str:
    """On one line, with what Markdown and HTML would take for markup made harmless."""
    plain = " ".join(str(text).split()).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return MARKUP.sub(r"\\\g<0>", plain).replace("](", "]\\(")


def code(text: object) -> str:
    """As a code span: there nothing is markup, and nothing can be escaped, but a backtick ends it."""
    return f"`{one_line(text)}`"
