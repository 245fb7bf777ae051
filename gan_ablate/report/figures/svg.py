"""SVG by hand: fast, and bytes that never change. The colours of page and figures, light and dark, are here too: the
tests compute contrast from them.

Blue and orange after Okabe and Ito (2008), which the colour-blind tell apart; shape and words always say the same.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from importlib.resources import files
from typing import Any

LIGHT = {
    "bg": "#ffffff", "card": "#f5f7f9", "ink": "#1f2429", "soft": "#56606b", "line": "#d5dbe1", "axis": "#858d97",
    "helps": "#005f9e", "hurts": "#a84300", "same": "#00664a", "neutral": "#6a737d", "focus": "#005f9e",
    "note": "#fff4e5",
}  # fmt: skip
DARK = {
    "bg": "#14171a", "card": "#1c2126", "ink": "#e6eaee", "soft": "#a0aab5", "line": "#333b43", "axis": "#7d8792",
    "helps": "#6bbcee", "hurts": "#f0a33a", "same": "#5fc9a8", "neutral": "#98a2ad", "focus": "#6bbcee",
    "note": "#33280f",
}  # fmt: skip
MARKS = {
    "helps": "●", "rescues": "▲", "same": "◆", "undecided": "○", "fails more": "▼", "hurts": "■", "not tested": "·",
}  # fmt: skip
STRONGEST = 0.42  # opacity of the heat map's fullest cell: its text stays readable on it
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#9a7b00", "#3d7d9e")  # lines of several arms in one figure

FIGURE = files("gan_ablate.report.figures").joinpath("figure.css").read_text(encoding="utf-8").strip() + "".join(
    f"\n.fig .s{k}{{stroke:{colour};fill:none;stroke-width:2.2;stroke-linejoin:round}}"
    f".fig .m{k}{{stroke:{colour};fill:{colour}}}"
    for k, colour in enumerate(SERIES)
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


NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # no file that holds one of these is XML


@dataclass(frozen=True)
class Drawing:
    """A drawing: in a page it takes the page's style, in a file it brings its own."""

    width: float
    height: float
    label: str  # what a screen reader says
    body: Sequence[str]

    @property
    def inline(self) -> str:
        return self._svg("", f' style="max-width:{min(860, 1.15 * self.width):.0f}px"')

    def marked(self, anchor: str) -> str:
        """Inline, to be linked to and drawn again by `use`."""
        return self._svg("", f' id="{escape(anchor)}"')

    @property
    def file(self) -> str:
        return self._svg(f"<style>{standalone()}</style>") + "\n"

    def _svg(self, head: str, more: str = "") -> str:
        box = f'viewBox="0 0 {self.width:g} {self.height:g}" role="img" aria-label="{escape(self.label)}"'
        whole = f'<svg xmlns="http://www.w3.org/2000/svg" class="fig" {box}{more}>{head}{"".join(self.body)}</svg>'
        return NOT_XML.sub("", whole)


def text(x: float, y: float, words: str, cls: str = "", anchor: str = "") -> str:
    more = (f' class="{cls}"' if cls else "") + (f' text-anchor="{anchor}"' if anchor else "")
    return f'<text x="{x:g}" y="{y:g}"{more}>{escape(words)}</text>'


def line(cls: str, x1: float, y1: float, x2: float, y2: float, more: str = "") -> str:  # noqa: PLR0917
    return f'<line class="{cls}" x1="{x1:g}" y1="{y1:g}" x2="{x2:g}" y2="{y2:g}"{more}/>'


def polyline(cls: str, points: Iterable[tuple[float, float]]) -> str:
    return f'<polyline class="{cls}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'


def polygon(cls: str, points: Iterable[tuple[float, float]]) -> str:
    return f'<polygon class="{cls}" points="{" ".join(f"{x:.1f},{y:.1f}" for x, y in points)}"/>'


def rectangle(cls: str, x: float, y: float, width: float, height: float) -> str:
    return f'<rect class="{cls}" x="{x:g}" y="{y:g}" width="{width:g}" height="{height:g}"/>'


def dot(cls: str, x: float, y: float, r: float) -> str:
    return f'<circle class="{cls} dot" cx="{x:g}" cy="{y:.1f}" r="{r:g}"/>'


def ring(cls: str, x: float, y: float, r: float) -> str:
    return f'<circle class="{cls} open" stroke-width="1.5" cx="{x:.1f}" cy="{y:g}" r="{r:g}"/>'


def mark(verdict: str, x: float, y: float) -> str:
    """The shape of `MARKS`: it says what colour says. Two triangles: up rescues, down fails more."""
    corners = {
        "rescues": (0, -5.5, 5.5, 4, -5.5, 4),
        "fails more": (0, 5.5, 5.5, -4, -5.5, -4),
        "same": (0, -5.5, 5.5, 0, 0, 5.5, -5.5, 0),
    }
    if verdict == "helps":
        return f'<circle class="helps" cx="{x:g}" cy="{y:g}" r="5"/>'
    if verdict == "hurts":
        return f'<rect class="hurts" x="{x - 4.5:g}" y="{y - 4.5:g}" width="9" height="9"/>'
    if verdict in corners:
        flat = corners[verdict]
        return polygon(style(verdict), ((x + dx, y + dy) for dx, dy in zip(flat[::2], flat[1::2])))
    return f'<circle class="undecided open" stroke-width="2" cx="{x:g}" cy="{y:g}" r="4.2"/>'


def style(verdict: str) -> str:
    """The class of a verdict's colour: blue is better, orange worse, green the same."""
    return {"rescues": "helps", "fails more": "hurts"}.get(verdict, verdict if verdict in MARKS else "undecided")


def short(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


def arm_name(x: float, y: float, arm: str, anchor: str = "", *, most: int, large: int) -> str:
    """An arm's name, cut to `most` letters; one of over `large` is small, since it would not fit."""
    return text(x, y, short(arm, most), "nm" if len(arm) <= large else "nm sm", anchor)


class Log:
    """A logarithmic axis: values to places."""

    def __init__(self, low: float, high: float, start: float, end: float) -> None:
        self.low, self.high, self.start, self.end = low, high, start, end
        self.span = math.log(high / low) or 1.0

    def __call__(self, value: float) -> float:
        """Rounded place; what lies outside stands at the edge."""
        share = math.log(min(max(value, self.low), self.high) / self.low) / self.span
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self) -> list[float]:
        """Round values within the axis, as many as do not crowd it: about six."""
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for steps in ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 5), (1, 3), (1,)):
            found = [m * 10.0**d for d in decades for m in steps if self.low <= m * 10.0**d <= self.high]
            if len(found) <= 6:
                return found
        return found[:: math.ceil(len(found) / 6)]


def doublings(low: float, high: float) -> list[float]:
    """Powers of two within [low, high]; every second or third where they are many."""
    found = [2.0**k for k in range(-20, 21) if low <= 2.0**k <= high]
    step = 1 + len(found) // 9
    return [t for t in found if round(math.log2(t)) % step == 0]


def times(tick: float) -> str:
    return f"×{tick:g}" if tick >= 1 else f"×1/{1 / tick:g}"


def blocks(items: Sequence[Any], most: int = 30) -> list[Sequence[Any]]:
    """As few even parts as need be: a plot that is longer than a page of paper repeats its axis."""
    parts = max(1, math.ceil(len(items) / most))
    size = math.ceil(len(items) / parts)
    return [items[k : k + size] for k in range(0, len(items), size)]


def stacked(parts: Sequence[Drawing]) -> Drawing:
    """Blocks one under the other in one figure, for a file."""
    if len(parts) == 1:
        return parts[0]
    tops = [sum(p.height for p in parts[:k]) for k in range(len(parts))]
    body = [f'<g transform="translate(0 {top:g})">{"".join(p.body)}</g>' for top, p in zip(tops, parts, strict=True)]
    return Drawing(max(p.width for p in parts), sum(p.height for p in parts), parts[0].label, body)
