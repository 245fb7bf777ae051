"""The dashboard's page, and what has changed of it since a reader last asked."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from functools import cache
from importlib.resources import files
from typing import NamedTuple

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from gan_ablate.dashboard.sections import as_of, document, done_of
from gan_ablate.dashboard.watched import Look
from gan_ablate.report.html import Writer, content_policy, style
from gan_ablate.report.section import Document, Names


class Drawn(NamedTuple):
    """A look as HTML. sections: anchor -> its HTML; tags: anchor -> what tells it from another."""

    document: Document
    names: Names
    sections: Mapping[str, str]
    tags: Mapping[str, str]
    done: int
    runs: int
    as_of: str


def draw(look: Look) -> Drawn:
    found = document(look)
    names = Names(found.defined())
    sections = {names(s.anchor): Writer(names).section(s) for s in found.sections}
    tags = {k: hashlib.sha256(html.encode(errors="replace")).hexdigest()[:16] for k, html in sections.items()}
    return Drawn(found, names, sections, tags, *done_of(look), as_of(look))


def whole(drawn: Drawn) -> str:
    """The page; it reads without its script too, which only refreshes it."""
    css, code = Markup(style() + _own("page.css")), Markup(script())
    return _environment().get_template("page.html").render(drawn._asdict(), css=css, script=code)


def changes(drawn: Drawn, have: Collection[str]) -> str:
    """JSON for the script: the head of the page, and the sections whose tag is not among those that it has."""
    found = {
        "title": drawn.document.title, "line": drawn.document.lead, "as_of": drawn.as_of,
        "done": drawn.done, "runs": drawn.runs, "notes": list(drawn.document.notes),
        "sections": [
            {"id": k, "tag": tag, **({} if tag in have else {"html": drawn.sections[k]})}
            for k, tag in drawn.tags.items()
        ],
    }  # fmt: skip
    return json.dumps(found)


@cache
def script() -> str:
    """Sorting and filtering as in reports, then the refreshing."""
    return files("gan_ablate.report").joinpath("page.js").read_text(encoding="utf-8") + _own("page.js")


@cache
def policy() -> str:
    """As a report's, and the script may ask this server."""
    return f"{content_policy(script())}; connect-src 'self'; frame-ancestors 'none'"


@cache
def _environment() -> Environment:
    loader = PackageLoader("gan_ablate.dashboard", "templates")
    return Environment(autoescape=True, loader=loader, undefined=StrictUndefined)


@cache
def _own(name: str) -> str:
    return files("gan_ablate.dashboard").joinpath(name).read_text(encoding="utf-8")
