"""Forest plots for papers: PDF and PNG by matplotlib, which is imported only when they are asked for.

They show what the page's own forest shows (`forest.lines`), in print's sizes and colours, the numbers beside it.
Same input, same bytes: no date and no version stands in a file.
"""

from __future__ import annotations

import io
import math
import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from gan_ablate.findings.summaries import ModelTable
from gan_ablate.formatting import interval, number
from gan_ablate.recipe import BASE
from gan_ablate.report.figures.forest import Axes, Line, axes_of, lines
from gan_ablate.report.figures.svg import LIGHT, blocks, doublings, short, style, times

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Plot
    from matplotlib.figure import Figure

WIDTH, ROW = 6.75, 0.155  # inches: the text width of a paper in two columns (ICML's), and the height of an arm
HEAD, FOOT = 0.42, 0.62  # inches above and below the arms: headings; axes and the key
ARMS = 46  # on a page of the PDF: it then fits a letter's height
DPI = 200
# shares of the width: where words end, and the left edge and the width of both plots
NAMES, FID, FAILED, RATIO, ENDS = 0.235, (0.245, 0.24), 0.53, (0.545, 0.275), 0.99
MARKS = {"helps": "o", "rescues": "^", "same": "D", "undecided": "o", "fails more": "v", "hurts": "s"}
STYLE: Any = {
    "font.family": "DejaVu Sans",  # comes with matplotlib
    "font.size": 6.5,
    "axes.linewidth": 0.6,
    "pdf.fonttype": 42,  # TrueType: publishers refuse type 3
    "xtick.major.width": 0.6,
    "xtick.major.size": 2.5,
}


def forest(table: ModelTable) -> dict[str, bytes]:
    """`pdf`: pages of at most 46 arms, each with base and the axes; `png`: all arms in one picture. Empty without arms
    that were judged."""
    from matplotlib import style as styles

    rows = lines(table)
    if not rows or table.verdicts is None:
        return {}
    axes = axes_of(rows, table.verdicts.margin, table.label)
    # not as the user's own matplotlibrc has it
    with styles.context(["default", STYLE]), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # an arm's name may be in any script: it gets a box
        pages = [_page([rows[0], *part], axes) for part in blocks(rows[1:], ARMS)]
        whole = pages[0] if len(pages) == 1 else _page(rows, axes)
        return {"pdf": _pdf(pages), "png": _png(whole)}


def _pdf(pages: Sequence[Figure]) -> bytes:
    from matplotlib.backends.backend_pdf import PdfPages

    held = io.BytesIO()
    with PdfPages(held, metadata=dict.fromkeys(("Creator", "Producer", "CreationDate"))) as file:
        for page in pages:
            file.savefig(page)
    return held.getvalue()


def _png(page: Figure) -> bytes:
    held = io.BytesIO()
    page.savefig(held, format="png", dpi=DPI, metadata={"Software": None})
    return held.getvalue()


def _page(rows: Sequence[Line], axes: Axes) -> Figure:
    from matplotlib.figure import Figure

    height = HEAD + ROW * len(rows) + FOOT
    figure = Figure(figsize=(WIDTH, height), facecolor="white")
    bottom, share = FOOT / height, ROW * len(rows) / height
    fid, ratio = (figure.add_axes((left, bottom, width, share)) for left, width in (FID, RATIO))
    for plot in (fid, ratio):
        _frame(plot, len(rows))
    _draw_fids(fid, rows, axes)
    _draw_ratios(ratio, rows, axes)
    for k, each in enumerate(rows):
        _write(figure, each, bottom + share * (1 - (k + 0.5) / len(rows)))
    top = bottom + share + 0.07 / height
    for x, words in ((FAILED, "failed"), (ENDS, "× base [95 %]; bold: certain")):
        figure.text(x, top, words, ha="right", color=LIGHT["soft"])
    _key(figure, rows, 0.1 / height)
    return figure


def _frame(plot: Plot, count: int) -> None:
    plot.set_xscale("log")
    plot.set_ylim(count - 0.5, -0.5)
    plot.set_yticks([])
    plot.spines[["left", "right", "top"]].set_visible(False)
    plot.xaxis.set_minor_locator(_no_ticks())
    plot.grid(axis="x", color=LIGHT["line"], linewidth=0.5)
    plot.set_axisbelow(True)


def _no_ticks() -> Any:
    from matplotlib.ticker import NullLocator

    return NullLocator()


def _draw_fids(plot: Plot, rows: Sequence[Line], axes: Axes) -> None:
    """A dot per run that did not fail, in the order of its seeds from top to bottom, and a line at base's mean."""
    if axes.fid is None:
        plot.set_visible(False)
        return
    ticks = axes.fid.ticks()
    plot.set_xticks(ticks, [number(tick, 2) for tick in ticks])
    plot.set_xlim(axes.fid.low, axes.fid.high)
    if not math.isnan(axes.base):
        plot.axvline(axes.base, color=LIGHT["ink"], linewidth=0.7, linestyle=(0, (4, 2)))
    for k, each in enumerate(rows):
        fids = np.exp(each.runs.log_fid)
        spread = np.linspace(-0.27, 0.27, len(fids)) if len(fids) > 1 else np.zeros(len(fids))
        plot.scatter(fids, k + spread, s=3.2, color=_colour(each), alpha=0.75, linewidths=0)
    plot.set_xlabel(_plain(axes.label), labelpad=2, parse_math=False)


def _draw_ratios(plot: Plot, rows: Sequence[Line], axes: Axes) -> None:
    """Each arm's ratio with its interval; the margin is shaded."""
    low, high = axes.ratio.low, axes.ratio.high
    ticks = doublings(low, high)
    plot.set_xticks(ticks, [times(tick) for tick in ticks])
    plot.set_xlim(low / 1.03, high * 1.03)
    plot.axvspan(1 / axes.margin, axes.margin, color=LIGHT["same"], alpha=0.13, linewidth=0)
    plot.axvline(1, color=LIGHT["axis"], linewidth=0.7)
    for k, each in enumerate(rows):
        r = each.arm.ratio
        if each.arm.arm == BASE or math.isnan(r.point):
            continue
        colour = _colour(each)
        if math.isfinite(r.low):
            plot.plot(np.clip([r.low, r.high], low, high), [k, k], color=colour, linewidth=1.1, solid_capstyle="butt")
        _mark(plot, each.arm.verdict, min(max(r.point, low), high), k)
    plot.set_xlabel("× that of base", labelpad=2)
    above: dict[str, Any] = {
        "xycoords": ("data", "axes fraction"),
        "textcoords": "offset points",
        "color": LIGHT["soft"],
    }
    plot.annotate("← better", (1, 1), (-4, 13), ha="right", **above)
    plot.annotate("worse →", (1, 1), (4, 13), ha="left", **above)
    plot.annotate(f"same within ×{axes.margin:g}", (1, 1), (0, 4), ha="center", **above)


def _mark(plot: Plot, verdict: str, x: float, y: float) -> None:
    colour = LIGHT[_kind(verdict)]
    face = "white" if _kind(verdict) == "neutral" else colour
    plot.plot(
        [x], [y], MARKS.get(verdict, "o"), markersize=3.6, markerfacecolor=face, markeredgecolor=colour,
        markeredgewidth=0.9, linestyle="none", label=verdict,
    )  # fmt: skip


def _write(figure: Figure, each: Line, y: float) -> None:
    """An arm's name, its failures, its ratio in numbers: bold where the verdict is certain."""
    a = each.arm
    centred: dict[str, Any] = {"va": "center_baseline", "parse_math": False}
    figure.text(NAMES, y, _plain(short(a.arm, 30)), ha="right", color=LIGHT["ink"], **centred)
    bad = LIGHT["hurts"] if each.runs.failed else LIGHT["soft"]
    figure.text(FAILED, y, f"{each.runs.failed}/{each.runs.finished}", ha="right", color=bad, **centred)
    if a.arm == BASE:
        return
    words = interval(a.ratio) if not math.isnan(a.ratio.point) else "base has no FID"
    if not each.runs.log_fid:
        words = "every run failed"
    weight = "bold" if a.certain else "normal"
    figure.text(ENDS, y, words, ha="right", color=_colour(each), fontweight=weight, **centred)


def _key(figure: Figure, rows: Sequence[Line], y: float) -> None:
    """The verdicts that occur, each with its mark."""
    from matplotlib.lines import Line2D

    found = [verdict for verdict in MARKS if any(each.arm.verdict == verdict for each in rows)]
    marks = []
    for verdict in found:
        colour = LIGHT[_kind(verdict)]
        face = "white" if _kind(verdict) == "neutral" else colour
        look: dict[str, Any] = {
            "markerfacecolor": face,
            "markeredgecolor": colour,
            "markersize": 3.6,
            "markeredgewidth": 0.9,
        }
        marks.append(Line2D([], [], linestyle="none", marker=MARKS[verdict], **look))
    figure.legend(
        marks, found, loc="lower center", bbox_to_anchor=(0.5, y), ncols=len(MARKS), frameon=False, borderpad=0,
        handletextpad=0.1, columnspacing=1.2, borderaxespad=0,
    )  # fmt: skip


def _kind(verdict: str) -> str:
    """The name of a verdict's colour."""
    return "neutral" if style(verdict) == "undecided" else style(verdict)


def _colour(each: Line) -> str:
    return LIGHT["ink"] if each.arm.arm == BASE else LIGHT[_kind(each.arm.verdict)]


def _plain(text: str) -> str:
    """Without what no font has: control characters and half surrogate pairs, escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape", "backslashreplace").decode() for c in text)
