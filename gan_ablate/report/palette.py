"""Colours of page and figures, light and dark, in one place: contrast is computed from here in the tests.

Blue and orange after Okabe and Ito (2008), which the colour-blind tell apart; shape and words always say the same.
"""

# ruff: noqa: E501 - lines of HTML and CSS, and captions

from __future__ import annotations

import re

LIGHT = {
    "bg": "#ffffff", "card": "#f5f7f9", "ink": "#1f2429", "soft": "#56606b", "line": "#d5dbe1", "axis": "#858d97",
    "helps": "#005f9e", "hurts": "#a84300", "neutral": "#6a737d", "focus": "#005f9e", "note": "#fff4e5",
}  # fmt: skip
DARK = {
    "bg": "#14171a", "card": "#1c2126", "ink": "#e6eaee", "soft": "#a0aab5", "line": "#333b43", "axis": "#7d8792",
    "helps": "#6bbcee", "hurts": "#f0a33a", "neutral": "#98a2ad", "focus": "#6bbcee", "note": "#33280f",
}  # fmt: skip
STRONGEST = 0.42  # opacity of the heat map's fullest cell: its text stays readable on it
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#9a7b00", "#3d7d9e")  # lines of several arms in one figure

FIGURE = (
    """
.fig text{font:12px system-ui,-apple-system,"Segoe UI",sans-serif;fill:var(--soft)}
.fig .nm{font-size:13px;fill:var(--ink)}.fig .sm{font-size:11px}.fig .cell{font-size:11.5px;fill:var(--ink)}
.fig .ax{stroke:var(--axis);stroke-width:1;fill:none}.fig .gr{stroke:var(--line);stroke-width:1;fill:none}
.fig .helps{stroke:var(--helps);fill:var(--helps)}.fig .hurts{stroke:var(--hurts);fill:var(--hurts)}
.fig .undecided{stroke:var(--neutral);fill:var(--neutral)}.fig .open{fill:var(--bg)}
.fig .thin{fill:none;stroke-width:1;stroke-opacity:.5}.fig .line{fill:none;stroke-width:2.2;stroke-linejoin:round}
.fig .base{stroke:var(--ink)}.fig .dash{stroke-dasharray:5 3}.fig .arm{stroke:var(--helps)}
.fig .band{stroke:none;fill:var(--helps);fill-opacity:.16}.fig .bband{stroke:none;fill:var(--neutral);fill-opacity:.16}
.fig .hot{fill:var(--hurts);stroke:none}.fig .cold{fill:var(--helps);stroke:none}
.fig .hatch{stroke:var(--neutral);stroke-width:1.1;stroke-opacity:.75}
.fig .frame{fill:none;stroke:var(--line)}
.fig .d2{stroke-dasharray:7 3}.fig .d3{stroke-dasharray:2 3}.fig .d4{stroke-dasharray:9 3 2 3}.fig .d5{stroke-dasharray:4 2}
""".strip()
    + "".join(
        f"\n.fig .s{k}{{stroke:{colour};fill:none;stroke-width:2.2;stroke-linejoin:round}}.fig .m{k}{{stroke:{colour};fill:{colour}}}"
        for k, colour in enumerate(SERIES)
    )
)


def variables() -> str:
    """The page's custom properties, light and dark."""
    light, dark = (";".join(f"--{k}:{v}" for k, v in colours.items()) for colours in (LIGHT, DARK))
    return (
        f":root{{color-scheme:light dark;{light}}}\n@media(prefers-color-scheme:dark){{:root{{{dark}}}}}\n"
        f"@media print{{:root{{color-scheme:light;{light}}}}}\n"
    )


def standalone() -> str:
    """Rules for a figure in a file of its own: plain colours, since drawing programs know no custom properties."""
    rules = {name: _filled(colours) for name, colours in (("light", LIGHT), ("dark", DARK))}
    return f"{rules['light']}\n@media(prefers-color-scheme:dark){{{rules['dark']}}}"


def _filled(colours: dict[str, str]) -> str:
    return re.sub(r"var\(--(\w+)\)", lambda m: colours[m[1]], FIGURE)
