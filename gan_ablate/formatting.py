"""Numbers as text, the same in every format."""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from pathlib import Path

from gan_ablate.stats.intervals import Interval

NOTHING = "–"
DIGITS = 9  # of a figure that was computed
LONGEST_SLUG = 80  # characters: a file name holds a root's, a model's and the kind of file


def number(x: float, digits: int = 3) -> str:
    """Three significant digits without exponents where they can be avoided."""
    if math.isnan(x):
        return NOTHING
    if math.isinf(x):
        return "∞"
    if x != 0 and (abs(x) < 1e-3 or abs(x) >= 1e5):
        return f"{x:.{digits - 1}e}"
    places = max(0, digits - 1 - (math.floor(math.log10(abs(x))) if x else 0))
    return f"{x:.{places}f}"


def computed(x: float) -> float:
    """A computed figure as files have it: processors differ in the sixteenth digit, and the same runs give one file."""
    return x if float(x).is_integer() else float(f"{x:.{DIGITS}g}")


def whole(x: float) -> str:
    """Without decimals."""
    return number(x) if not math.isfinite(x) else f"{x:.0f}"


def interval(i: Interval) -> str:
    """`point [low, high]`."""
    if math.isnan(i.point):
        return NOTHING
    return number(i.point) if math.isnan(i.low) else f"{number(i.point)} [{number(i.low)}, {number(i.high)}]"


def rate(i: Interval) -> str:
    """A proportion with its interval in percent: `40 % [12, 77]`."""
    point, low, high = (whole(100 * x) for x in i)
    return NOTHING if math.isnan(i.point) else f"{point} % [{low}, {high}]"


def p_value(p: float) -> str:
    """`<0.001` where it is."""
    return NOTHING if math.isnan(p) else "<0.001" if p < 0.001 else f"{p:.3f}"


def percent(ratio: float) -> str:
    """A ratio of FIDs as a change: `-12 %`; from 2 on as a factor, `×3.5`."""
    if math.isnan(ratio):
        return NOTHING
    if math.isinf(ratio):
        return "∞"
    if ratio >= 2:
        return f"×{number(ratio, 2)}"
    change = round((ratio - 1) * 100)
    return f"{change:+d} %".replace("-", "−") if change else "±0 %"


def clock(seconds: float | None) -> str:
    """Seconds as h:mm:ss; `?` when not known.

    >>> clock(3725)
    '1:02:05'
    """
    if seconds is None:
        return "?"
    whole = round(seconds)
    return f"{whole // 3600}:{whole // 60 % 60:02d}:{whole % 60:02d}"


def duration(seconds: float) -> str:
    """In the unit that fits: `40 s`, `12 min`, `3.4 h`.

    >>> duration(725)
    '12 min'
    """
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5970 else f"{seconds / 3600:.1f} h"


def one_line(text: object) -> str:
    """On one line, without what could close a fenced block."""
    return " ".join(str(text).replace("`", "'").split())


def some(names: Sequence[str], most: int = 6) -> str:
    """The first few, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def slug(text: str) -> str:
    """A name that is safe in file names and anchors. Texts may share one: `report.section.Names` tells them apart."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", text).strip("-")[:LONGEST_SLUG].rstrip("-") or "study"


def place(path: str | Path) -> str:
    """A path as a report prints it: from the current folder on where it lies inside, so that the same report comes of
    `runs/x` and of the whole path; else as given."""
    whole, here = Path(os.path.abspath(path)), Path(os.path.abspath("."))
    return str(whole.relative_to(here)) if whole.is_relative_to(here) else str(path)
