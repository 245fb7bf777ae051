"""Figures as SVG text: forest plots and curves. By hand, for speed and for bytes that never change."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

import numpy as np
import pandas as pd

from gan_ablate.report.analysis import BASE, ModelTable
from gan_ablate.report.text import number

# Okabe & Ito's colours, safe for the colour-blind; verdicts differ in shape too
STYLE = (
    ".ax{stroke:#8a8f98;stroke-width:1}.gr{stroke:#8a8f98;stroke-opacity:.25}.tx{font:12px system-ui,sans-serif;"
    "fill:#5b6470}.nm{font:13px system-ui,sans-serif;fill:#30363d}.helps{stroke:#0072b2;fill:#0072b2}.hurts{stroke:#d55e00;"
    "fill:#d55e00}.undecided{stroke:#7a828c;fill:#7a828c}.thin{fill:none;stroke-opacity:.35;stroke-width:1}"
    ".line{fill:none;stroke-width:2}.base{stroke:#30363d;fill:none}.arm{stroke:#0072b2;fill:none}"
    "@media(prefers-color-scheme:dark){.tx{fill:#9aa4b0}.nm{fill:#d9dee4}.helps{stroke:#56b4e9;fill:#56b4e9}"
    ".hurts{stroke:#e69f00;fill:#e69f00}.base{stroke:#d9dee4}.arm{stroke:#56b4e9}}"
)
WIDTH, LEFT, RIGHT, ROW = 760, 210, 90, 26


def _svg(width: float, height: float, label: str, body: Sequence[str]) -> str:
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:g} {height:g}" role="img" '
    return "\n".join([f'{head}aria-label="{escape(label)}"><style>{STYLE}</style>', *body, "</svg>"])


def forest(table: ModelTable) -> str:
    """Ratio of FID to base's, per arm, on a logarithmic axis; left of 1 is better."""
    arms = [a for a in table.arms if a.against is not None and a.runs]
    ratios = [r for a in arms if a.against for r in a.against.ratio if math.isfinite(r) and r > 0]
    low, high = min([0.5, *ratios]), max([2.0, *ratios])
    low, high = max(low, 1 / 64), min(high, 64.0)  # an interval beyond leaves the picture; the table has its numbers
    span = math.log(high / low)

    def x(ratio: float) -> float:
        place = math.log(min(max(ratio, low), high) / low) / span
        return round(LEFT + place * (WIDTH - LEFT - RIGHT), 1)

    height = 34 + ROW * len(arms) + 30
    bottom = height - 30
    ticks = [t for k in range(-6, 7) if low <= (t := 2.0**k) <= high]
    body = []
    for tick in ticks:
        body.append(
            f'<line class="{"ax" if tick == 1 else "gr"}" x1="{x(tick)}" x2="{x(tick)}" y1="22" y2="{bottom}"/>'
        )
        name = f"×{tick:g}" if tick >= 1 else f"×1/{1 / tick:g}"
        body.append(f'<text class="tx" x="{x(tick)}" y="{bottom + 18}" text-anchor="middle">{name}</text>')
    body.append(f'<text class="tx" x="{x(1) - 8}" y="14" text-anchor="end">← better than base</text>')
    body.append(f'<text class="tx" x="{x(1) + 8}" y="14">worse →</text>')
    for k, arm in enumerate(arms):
        assert arm.against is not None
        y, r, kind = 34 + ROW * k + ROW / 2 - 4, arm.against.ratio, arm.verdict.replace(" ", "-")
        name = arm.arm if len(arm.arm) <= 30 else arm.arm[:29] + "…"
        body.append(f'<text class="nm" x="{LEFT - 12}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        cls = kind if kind in ("helps", "hurts") else "undecided"
        if math.isfinite(r.low):
            body.append(f'<line class="{cls}" stroke-width="2" x1="{x(r.low)}" x2="{x(r.high)}" y1="{y}" y2="{y}"/>')
        if math.isnan(r.point):  # every run failed without a FID: worse than any ratio, so at the right edge
            body.append(f'<text class="tx" x="{WIDTH - RIGHT}" y="{y + 4}" text-anchor="end">no FID</text>')
        else:
            body.append(_mark(cls, x(r.point), y))
        failures = f"{arm.failures}/{arm.runs} failed" if arm.failures else ""
        body.append(f'<text class="tx" x="{WIDTH - RIGHT + 10}" y="{y + 4}">{failures}</text>')
    return _svg(WIDTH, height, f"{table.model}: ratio of FID to base per arm", body)


def _mark(cls: str, x: float, y: float) -> str:
    if cls == "helps":
        return f'<circle class="{cls}" cx="{x}" cy="{y}" r="5"/>'
    if cls == "hurts":
        return f'<rect class="{cls}" x="{x - 4.5}" y="{y - 4.5}" width="9" height="9"/>'
    return f'<circle class="{cls}" fill-opacity="0" stroke-width="2" cx="{x}" cy="{y}" r="4.5"/>'


def curves(points: pd.DataFrame, arms: Sequence[str]) -> str:
    """Small multiples of FID against G steps: each arm (thin: seeds, thick: geometric mean) over base's mean."""
    points = points[points["fid"].notna() & (points["fid"] > 0)]
    if points.empty:
        return ""
    top, bottom = points["fid"].max() * 1.1, points["fid"].min() / 1.1
    last = max(1, int(points["step"].max()))
    columns, w, h, pad = 4, 200, 130, 40
    rows = math.ceil(len(arms) / columns)
    body: list[str] = []

    def path(cls: str, part: pd.DataFrame, ox: float, oy: float) -> str:
        pairs = [
            f"{ox + pad + s / last * (w - pad - 12):.1f},"
            f"{oy + 22 + (1 - math.log(f / bottom) / math.log(top / bottom)) * (h - 50):.1f}"
            for s, f in zip(part["step"], part["fid"])
        ]
        return f'<polyline class="{cls}" points="{" ".join(pairs)}"/>'

    def mean(part: pd.DataFrame) -> pd.DataFrame:
        logs = part.assign(fid=np.log(part["fid"])).groupby("step", as_index=False)["fid"].mean()
        return logs.assign(fid=np.exp(logs["fid"]))

    base = mean(points[points["arm"] == BASE])
    for k, arm in enumerate(arms):
        ox, oy = (k % columns) * w, (k // columns) * h
        own = points[points["arm"] == arm]
        name = arm if len(arm) <= 26 else arm[:25] + "…"
        body.append(f'<text class="tx" x="{ox + pad}" y="{oy + 14}">{escape(name)}</text>')
        x0, x1, y0, y1 = ox + pad, ox + w - 12, oy + 22, oy + h - 28
        body.append(f'<path class="ax" fill="none" d="M{x0} {y0}V{y1}H{x1}"/>')
        body.append(f'<text class="tx" x="{x0 - 3}" y="{y0 + 8}" text-anchor="end">{number(top, 2)}</text>')
        body.append(f'<text class="tx" x="{x0 - 3}" y="{y1}" text-anchor="end">{number(bottom, 2)}</text>')
        body.append(f'<text class="tx" x="{x1}" y="{y1 + 14}" text-anchor="end">{last}</text>')
        body.append(path("line base", base, ox, oy))
        if arm != BASE:
            for _, seed in own.groupby("seed"):
                body.append(path("thin arm", seed, ox, oy))
            body.append(path("line arm", mean(own), ox, oy))
        else:
            for _, seed in own.groupby("seed"):
                body.append(path("thin base", seed, ox, oy))
    return _svg(columns * w, rows * h, "FID against generator steps, per arm", body)
