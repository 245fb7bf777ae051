"""SVG by hand: fast, and bytes that never change."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from gan_ablate.report.palette import standalone

NOT_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]")  # no file that holds one of these is XML


@dataclass(frozen=True)
class Figure:
    """A drawing: in a page it takes the page's style, in a file it brings its own."""

    width: float
    height: float
    label: str  # what a screen reader says
    body: tuple[str, ...]

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


def mark(verdict: str, x: float, y: float) -> str:
    """A disc that helps, a square that hurts, a ring undecided: shape says what colour says."""
    if verdict == "helps":
        return f'<circle class="helps" cx="{x:g}" cy="{y:g}" r="5"/>'
    if verdict == "hurts":
        return f'<rect class="hurts" x="{x - 4.5:g}" y="{y - 4.5:g}" width="9" height="9"/>'
    return f'<circle class="undecided open" stroke-width="2" cx="{x:g}" cy="{y:g}" r="4.2"/>'


def short(name: str, most: int) -> str:
    return name if len(name) <= most else name[: most - 1] + "…"


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
        """1, 2, 5 times powers of ten within the axis, thinned to about six."""
        decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        for steps in ((1, 2, 5), (1, 3), (1,)):
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


def stacked(parts: Sequence[Figure]) -> Figure | None:
    """Blocks one under the other in one figure, for a file."""
    if not parts:
        return None
    tops = [sum(p.height for p in parts[:k]) for k in range(len(parts))]
    body = [f'<g transform="translate(0 {top:g})">{"".join(p.body)}</g>' for top, p in zip(tops, parts, strict=True)]
    return figure(max(p.width for p in parts), sum(p.height for p in parts), parts[0].label, body)


def figure(width: float, height: float, label: str, body: Sequence[str]) -> Figure:
    return Figure(width, height, label, tuple(body))
