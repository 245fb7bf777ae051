"""A report as one self-contained HTML page that reads without JavaScript. Jinja escapes all text."""

from __future__ import annotations

import base64
import hashlib
import math
import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from gan_ablate.report import section as data
from gan_ablate.report.figures.svg import FIGURE, NOT_XML, variables

BREAKS = re.compile(r"([_:=,+])(?=\S)")  # a long name may go on in the next line here; no entity has any of them
ENLARGED = 1.35  # a panel that is drawn again


def page(document: data.Document, names: Callable[[data.Name], str]) -> str:
    """The whole page: its own style and script inside, nothing else allowed to run or load."""
    home = files("gan_ablate.report")
    script = home.joinpath("page.js").read_text(encoding="utf-8")
    return _environment().get_template("page.html").render(
        document=document, policy=Markup(content_policy(script)), css=Markup(style()), script=Markup(script),
        name=names, m=_macros(names),
    )  # fmt: skip


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


class Writer:
    """Sections and parts as HTML. names: gives the texts of anchors."""

    def __init__(self, names: Callable[[data.Name], str]) -> None:
        self.macros = _macros(names)

    def section(self, section: data.Section) -> str:
        """A landmark with its heading."""
        return str(self.macros.section(section))

    def parts(self, parts: Sequence[data.Part], depth: int) -> str:
        """depth: level of the next heading."""
        return str(self.macros.parts(parts, depth))


@lru_cache(maxsize=1)
def _environment() -> Environment:
    loader = PackageLoader("gan_ablate.report", "templates")
    found = Environment(autoescape=True, loader=loader, undefined=StrictUndefined, keep_trailing_newline=True)
    found.filters["xml"] = lambda text: NOT_XML.sub("", text)
    return found


def _macros(names: Callable[[data.Name], str]) -> Any:
    """The macros of templates/parts.html."""
    given = {"name": names, "kind_of": _kind_of, "key_of": _key_of, "breakable": _breakable, "enlarged": ENLARGED}
    return _environment().get_template("parts.html").make_module(given)


def _kind_of(part: data.Part) -> str:
    return type(part).__name__


def _breakable(text: str) -> Markup:
    return Markup(BREAKS.sub(r"\1<wbr>", str(escape(text))))


def _key_of(value: float) -> Markup:
    return Markup(f" data-k='{value:.6g}'") if math.isfinite(value) else Markup()
