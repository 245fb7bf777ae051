"""The report as one self-contained HTML page that reads without JavaScript."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from html import escape
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from gan_ablate.report import backmatter, findings, screen
from gan_ablate.report.palette import FIGURE, variables

if TYPE_CHECKING:
    from gan_ablate.report.study import Study

NAMES = {
    "verdicts": "Verdicts",
    "forest": "Forest plots",
    "map": "Heat map",
    "numbers": "Numbers",
    "stability": "Stability",
    "interactions": "Interactions",
    "curves": "Curves",
    "profiles": "Profiles",
    "budget": "Expected best",
    "arms": "Arms and samples",
    "claims": "Claims",
    "signs": "Signs of failure",
    "protocol": "Protocol",
    "failures": "Failures",
}


def render(studies: Sequence[Study], claims: Sequence[Any], prefixes: Sequence[str], partial: bool) -> str:
    """The whole page. Of several roots the verdicts all come first: they are what the page is opened for."""
    title = ", ".join(s.loaded.name for s in studies)
    own = list(zip(studies, prefixes, strict=True))
    several = len(own) > 1
    main = [
        *(_titled(screen.verdicts(s, pre), s, several) for s, pre in own),
        *(_titled(part, s, several) for s, pre in own for part in findings.parts(s, pre)),
        backmatter.claims(claims),
        *(_titled(part, s, several) for s, pre in own for part in backmatter.parts(s, pre)),
    ]
    body = "".join(main)
    links = [(anchor, name) for anchor, name in _links(own) if f"id='{anchor}'" in body]
    return document(title, screen.header(studies, partial), navigation(links), body)


def _titled(part: str, study: Study, several: bool) -> str:
    """A section with its root's name in its heading, where others have the same heading."""
    return part.replace("</h2>", f" · {escape(study.label)}</h2>", 1) if several else part


def _links(own: Sequence[tuple[Study, str]]) -> list[tuple[str, str]]:
    """(anchor, name) of the sections that the navigation offers, those not on the page among them."""
    if len(own) == 1:
        return list(NAMES.items())
    groups = (("verdicts",), ("numbers", "arms"))
    several = [(f"{pre}{a}", f"{NAMES[a]} · {s.label}") for anchors in groups for s, pre in own for a in anchors]
    return [*several, ("claims", NAMES["claims"])]


def navigation(links: Sequence[tuple[str, str]]) -> str:
    items = "".join(f"<li><a href='#{anchor}'>{escape(name)}</a></li>" for anchor, name in links)
    return f"<nav aria-label='Sections'><ul>{items}</ul></nav>"


def document(title: str, header: str, nav: str, body: str) -> str:
    """A page of the house: its own style and script inside, nothing else allowed to run or load."""
    home = files("gan_ablate.report")
    css = variables() + home.joinpath("page.css").read_text(encoding="utf-8") + FIGURE
    script = home.joinpath("page.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'; "
        "base-uri 'none'; form-action 'none'"
    )
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}"><link rel="icon" href="data:,">'
        f"<title>{escape(title)} · gan_ablate</title><style>{css}</style></head>\n<body>"
        f"<a class='skip' href='#main'>Skip to the findings</a>{header}{nav}<main id='main'>\n{body}</main>"
        "<footer><p>Made by gan_ablate from result files; the same files give the same page.</p></footer>"
        f"<script>{script}</script></body></html>\n"
    )
