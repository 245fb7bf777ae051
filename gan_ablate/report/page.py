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
from gan_ablate.report.text import slug

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


def prefix(study: Study, several: bool) -> str:
    """Before every anchor and file name of a study, where a report has several."""
    return f"{slug(study.loaded.name)}-" if several else ""


def render(studies: Sequence[Study], claims: Sequence[Any], prefixes: Sequence[str], partial: bool) -> str:
    """The whole page."""
    title = ", ".join(s.loaded.name for s in studies)
    several = len(studies) > 1
    main: list[str] = []
    for study, pre in zip(studies, prefixes, strict=True):
        if several:
            main.append(f"<h2 class='root'>{escape(study.loaded.name)}</h2>")
        main += [screen.verdicts(study, pre), *findings.parts(study, pre)]
    main.append(backmatter.claims(claims))
    for study, pre in zip(studies, prefixes, strict=True):
        main += backmatter.parts(study, pre)
    body = "".join(main)
    links = [
        (f"{pre}{anchor}", f"{name} · {study.loaded.name}" if several else name)
        for study, pre in zip(studies, prefixes, strict=True)
        for anchor, name in NAMES.items()
        if f"id='{pre}{anchor}'" in body and (anchor in ("verdicts", "numbers", "arms") or not several)
    ]
    return document(title, screen.header(studies, partial), navigation(links), body)


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
