"""What moved between two reports: verdicts, ratios, arms that are new or gone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from gan_ablate.errors import InputError
from gan_ablate.report import page, records
from gan_ablate.report.analysis import tables
from gan_ablate.report.frames import load
from gan_ablate.report.html import definitions, row, section, table
from gan_ablate.report.markdown import grid, safe
from gan_ablate.report.summaries import ALPHA, BASE
from gan_ablate.report.text import NOTHING, interval, number, p_value
from gan_ablate.stats.corrections import benjamini_hochberg
from gan_ablate.stats.intervals import NONE, Interval

KEYS = ["model", "dataset", "arm"]
INTERVALS = [f"{name}{end}" for name in ("ratio", "fid") for end in ("", "_low", "_high")]
NEEDED = [*KEYS, "metric", "verdict", *INTERVALS, "runs", "failures", "protocol"]
SAID = (
    "× base: ratio of FIDs, arm over base, in each report. B over A: how many times A's ratio B's is, with a 95 % "
    "interval from the two intervals (Zou and Donner 2008), as if no run stood in both: where some do, it is wider "
    "than need be. q: Benjamini and Hochberg's over all arms; this is exploration, not a declared family. Moved: q "
    "under 0.05."
)


@dataclass(frozen=True)
class Move:
    """One arm in both reports, or in one of them."""

    model: str
    dataset: str
    arm: str
    kind: str  # both | new | gone
    before: str  # verdict; empty where it is not there
    after: str
    ratio_before: Interval
    ratio_after: Interval
    change: Interval  # ratio after / ratio before; of base: FID after / FID before
    p: float
    q: float
    failed: tuple[str, str]
    same_protocol: bool

    @property
    def verdict_changed(self) -> bool:
        return self.kind == "both" and self.before != self.after

    @property
    def moved(self) -> bool:
        return self.q < ALPHA


def read(source: str | Path) -> pd.DataFrame:
    """A row per arm, of a root or of a report's folder. Raises `InputError` where it is neither."""
    path = Path(source)
    if (path / "study.yaml").exists():
        found = [records.arms(t) for t in tables(load(path))]
        return pd.concat(found, ignore_index=True)
    try:
        frame = pd.read_csv(path / "tables" / records.ALL, keep_default_na=False, dtype=str)
    except FileNotFoundError:
        raise InputError(f"{source}: neither a root (no study.yaml) nor a report (no tables/{records.ALL})") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path / 'tables' / records.ALL}: cannot be read: {' '.join(str(error).split())}") from None
    if lacking := [k for k in NEEDED if k not in frame.columns]:
        raise InputError(f"{path / 'tables' / records.ALL}: not a report's table: no column {lacking[0]}")
    for name in NEEDED:
        if name in (*INTERVALS, "runs", "failures"):
            frame[name] = pd.to_numeric(frame[name], errors="coerce")
    return frame


def moves(before: pd.DataFrame, after: pd.DataFrame) -> list[Move]:
    """Arms of either, those with a changed verdict first, then by how far they moved."""
    a, b = (_by_key(frame) for frame in (before, after))
    found = [_move(key, a.get(key), b.get(key)) for key in dict.fromkeys([*b, *a])]
    q = benjamini_hochberg([m.p for m in found])
    found = [replace(m, q=float(x)) for m, x in zip(found, q, strict=True)]
    return sorted(found, key=lambda m: (not m.verdict_changed, m.kind == "both", math.inf if math.isnan(m.p) else m.p))


def _by_key(frame: pd.DataFrame) -> dict[tuple[str, ...], dict[str, Any]]:
    """The first row of each arm: of the commonest protocol, as tables list them."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for line in frame[NEEDED].to_dict("records"):
        found.setdefault(tuple(str(line[k]) for k in KEYS), {str(k): v for k, v in line.items()})
    return found


def _move(key: tuple[str, ...], a: dict[str, Any] | None, b: dict[str, Any] | None) -> Move:
    like = "fid" if key[2] == BASE else "ratio"
    ratios = [_interval(x, "ratio") for x in (a, b)]
    same = bool(a and b and a["protocol"] == b["protocol"])
    # FIDs of two protocols cannot be compared; ratios to one's own base can
    comparable = a is not None and b is not None and (same or like == "ratio")
    change, p = quotient(_interval(b, like), _interval(a, like)) if comparable else (NONE, math.nan)
    failed = tuple(NOTHING if x is None else f"{number(x['failures'], 1)}/{number(x['runs'], 1)}" for x in (a, b))
    kind = "both" if a and b else "new" if b else "gone"
    said = [("" if x is None or pd.isna(x["verdict"]) else str(x["verdict"])) for x in (a, b)]
    return Move(
        model=key[0],
        dataset=key[1],
        arm=key[2],
        kind=kind,
        before=said[0],
        after=said[1],
        ratio_before=ratios[0],
        ratio_after=ratios[1],
        change=change,
        p=p,
        q=math.nan,
        failed=(failed[0], failed[1]),
        same_protocol=same,
    )


def _interval(line: dict[str, Any] | None, name: str) -> Interval:
    if line is None:
        return NONE
    values = [float(line[k]) for k in (name, f"{name}_low", f"{name}_high")]
    return Interval(*(v if math.isfinite(v) and v > 0 else math.nan for v in values))


def quotient(b: Interval, a: Interval) -> tuple[Interval, float]:
    """b / a of independent ratios with intervals, by square and add on the log scale (Zou and Donner 2008), and a
    two-sided p by the normal approximation. Bounds and p are NaN where either has no interval."""
    if math.isnan(a.point) or math.isnan(b.point):
        return NONE, math.nan
    d = math.log(b.point / a.point)
    if math.isnan(a.low + a.high + b.low + b.high):
        return Interval(math.exp(d), math.nan, math.nan), math.nan
    down = math.hypot(math.log(b.point / b.low), math.log(a.high / a.point))
    up = math.hypot(math.log(b.high / b.point), math.log(a.point / a.low))
    half = down if d > 0 else up  # the side that faces 1
    p = math.erfc(abs(d) / half * 1.959963984540054 / math.sqrt(2)) if half > 0 else float(d == 0)
    return Interval(math.exp(d), math.exp(d - down), math.exp(d + up)), p


def summary(found: Sequence[Move]) -> str:
    """One sentence."""
    changed = sum(m.verdict_changed for m in found)
    moved = sum(m.moved for m in found)
    new, gone = (sum(m.kind == k for m in found) for k in ("new", "gone"))
    both = len(found) - new - gone
    return (
        f"Of {both} arms in both, {changed} changed their verdict and {moved} moved their FID by more than noise; "
        f"{new} new, {gone} gone."
    )


HEADS = ["arm", "what", "verdict A", "verdict B", "× base, A", "× base, B", "B over A", "q", "failed A", "failed B"]


def _cells(m: Move) -> list[tuple[str, float | None]]:
    what = m.kind if m.kind != "both" else "verdict changed" if m.verdict_changed else "moved" if m.moved else "same"
    return [
        (what, {"verdict changed": 0, "moved": 1, "new": 2, "gone": 3}.get(what, 4)),
        (m.before or NOTHING, None),
        (m.after or NOTHING, None),
        (interval(m.ratio_before), m.ratio_before.point),
        (interval(m.ratio_after), m.ratio_after.point),
        (interval(m.change), m.change.point),
        (p_value(m.q), m.q),
        (m.failed[0], None),
        (m.failed[1], None),
    ]


def _name(m: Move) -> str:
    return f"{m.model} on {m.dataset}: {m.arm}"


def write(before: str | Path, after: str | Path, out: str | Path | None) -> Path:
    """compare.html, compare.md, tables/compare.csv in `out` (default: B's report folder); returns the page's path."""
    found = moves(read(before), read(after))
    root = Path(after)
    folder = Path(out) if out else root / "report" if (root / "study.yaml").exists() else root
    try:
        (folder / "tables").mkdir(parents=True, exist_ok=True)
        utf8: Any = {"encoding": "utf-8", "errors": "backslashreplace"}
        (folder / "tables" / "compare.csv").write_text(_csv(found), **utf8)
        (folder / "compare.md").write_text(_markdown(found, before, after), **utf8)
        (folder / "compare.html").write_text(_html(found, before, after), **utf8)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror or error}") from None
    return folder / "compare.html"


def _csv(found: Sequence[Move]) -> str:
    rows = [
        {"model": m.model, "dataset": m.dataset, "arm": m.arm, "kind": m.kind, "verdict_before": m.before}
        | {"verdict_after": m.after, "ratio_before": m.ratio_before.point, "ratio_after": m.ratio_after.point}
        | {"change": m.change.point, "change_low": m.change.low, "change_high": m.change.high, "p": m.p, "q": m.q}
        | {"same_protocol": m.same_protocol}
        for m in found
    ]
    return pd.DataFrame(rows).to_csv(index=False, lineterminator="\n")


def _warning(found: Sequence[Move]) -> str:
    other = [m for m in found if m.kind == "both" and not m.same_protocol]
    return (
        f"{len(other)} arms were measured or trained in another way in B: only their ratios to their own base are "
        "compared."
        if other
        else ""
    )


def _markdown(found: Sequence[Move], before: str | Path, after: str | Path) -> str:
    head = [f"# What moved: {safe(before)} (A) → {safe(after)} (B)", "", safe(summary(found)), ""]
    said = [f"> {safe(_warning(found))}", ""] if _warning(found) else []
    rows = grid(HEADS, ([_name(m), *(t for t, _ in _cells(m))] for m in found))
    return "\n".join([*head, *said, *rows, "", safe(SAID), ""])


def _html(found: Sequence[Move], before: str | Path, after: str | Path) -> str:
    title = "What moved"
    header = (
        f"<header><p class='kicker'>gan_ablate report · two reports compared</p><h1>{title}</h1>"
        f"<p class='lead'>{escape(summary(found))}</p>{definitions([('A', str(before)), ('B', str(after))])}</header>"
    )
    note = f"<p class='note' role='note'>{escape(_warning(found))}</p>" if _warning(found) else ""
    rows = (row(_name(m), _cells(m), m.after.replace(" ", "-") if m.verdict_changed else "") for m in found)
    listed = table("Every arm of A and of B, changed verdicts first", HEADS, rows)
    body = section("moved", "Arm by arm", SAID, [note, listed])
    return page.document(title, header, page.navigation([("moved", "Arm by arm")]), body)
