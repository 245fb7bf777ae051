"""What moved between two reports: verdicts, ratios, arms that are new or gone."""

from __future__ import annotations

import io
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from gan_ablate.errors import InputError
from gan_ablate.findings.summaries import ALPHA, BASE, VERDICTS
from gan_ablate.findings.tables import tables
from gan_ablate.formatting import NOTHING, interval, number, p_value, place
from gan_ablate.report import page, records
from gan_ablate.report.folder import put
from gan_ablate.report.html import definitions, row, section, table
from gan_ablate.report.markdown import grid, safe
from gan_ablate.results.frames import load
from gan_ablate.stats.corrections import benjamini_hochberg
from gan_ablate.stats.intervals import NONE, Interval, quotient
from gan_ablate.untrusted import read_regular

KEYS = ["study", "model", "dataset", "arm"]
INTERVALS = [f"{name}{end}" for name in ("ratio", "fid") for end in ("", "_low", "_high")]
NUMBERS = [*INTERVALS, "runs", "failures"]
TEXTS = ["model", "dataset", "arm", "metric", "verdict", "protocol"]
LATER = ["ratio_dof", "fid_dof"]  # columns that a report of an older version lacks
SAID = (
    "× base: ratio of FIDs, arm over base, in each report. B over A: how many times A's ratio B's is, with a 95 % "
    "interval from the two intervals, side by side (Zou and Donner 2008) and their degrees of freedom together (Welch "
    "and Satterthwaite), as if no run stood in both: where some do, it is wider than need be. q: Benjamini and "
    "Hochberg's over all arms; this is exploration, not a declared family. Moved: q under 0.05, and only that is "
    "coloured. Verdict changed: A and B say different things, which is no evidence of a change by itself: the "
    "difference between significant and not significant need not be significant (Gelman and Stern 2006)."
)


@dataclass(frozen=True)
class Move:
    """One arm in both reports, or in one of them."""

    study: str  # empty where each report has just one
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
        loaded = load(path)
        return pd.concat([records.arms(t) for t in tables(loaded)], ignore_index=True).assign(study=loaded.name)
    try:
        text = read_regular(path / "tables" / records.ALL)
        frame = pd.read_csv(io.BytesIO(text), keep_default_na=False, dtype=str)
    except FileNotFoundError:
        raise InputError(f"{source}: neither a root (no study.yaml) nor a report (no tables/{records.ALL})") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{path / 'tables' / records.ALL}: cannot be read: {' '.join(str(error).split())}") from None
    if lacking := [k for k in (*TEXTS, *NUMBERS) if k not in frame.columns]:
        raise InputError(f"{path / 'tables' / records.ALL}: not a report's table: no column {lacking[0]}")
    frame = frame.reindex(columns=["study", *TEXTS, *NUMBERS, *LATER], fill_value="")
    for name in ("study", *TEXTS):
        frame[name] = frame[name].map(records.unguarded)
    for name in (*NUMBERS, *LATER):
        frame[name] = pd.to_numeric(frame[name], errors="coerce")
    if unknown := sorted(set(frame["verdict"]) - {"", *VERDICTS}):
        raise InputError(f"{path / 'tables' / records.ALL}: not a report's table: verdict {unknown[0][:80]!r}")
    return frame


def moves(before: pd.DataFrame, after: pd.DataFrame) -> list[Move]:
    """Arms of either: those that moved, those that are new or gone, those whose verdict changed, each by p."""
    alone = all(frame["study"].nunique() <= 1 for frame in (before, after))  # then its name may be another one in B
    a, b = (_by_key(frame.assign(study="") if alone else frame) for frame in (before, after))
    found = [_move(key, a.get(key), b.get(key)) for key in dict.fromkeys([*b, *a])]
    q = benjamini_hochberg([m.p for m in found])
    found = [replace(m, q=float(x)) for m, x in zip(found, q, strict=True)]
    return sorted(found, key=lambda m: (_rank(m), math.inf if math.isnan(m.p) else m.p))


def _rank(m: Move) -> int:
    return 0 if m.moved else 1 if m.kind != "both" else 2 if m.verdict_changed else 3


def _by_key(frame: pd.DataFrame) -> dict[tuple[str, ...], dict[str, Any]]:
    """The first row of each arm: of the commonest protocol, as tables list them."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for line in frame[[*KEYS, *TEXTS[3:], *NUMBERS, *LATER]].to_dict("records"):
        found.setdefault(tuple(str(line[k]) for k in KEYS), {str(k): v for k, v in line.items()})
    return found


def _move(key: tuple[str, ...], a: dict[str, Any] | None, b: dict[str, Any] | None) -> Move:
    like = "fid" if key[-1] == BASE else "ratio"
    ratios = [_interval(x, "ratio") for x in (a, b)]
    same = bool(a and b and a["protocol"] == b["protocol"])
    # FIDs of two protocols cannot be compared; ratios to one's own base can
    comparable = a is not None and b is not None and (same or like == "ratio")
    dofs = [float(x[f"{like}_dof"]) if x else math.nan for x in (b, a)]
    change, p = quotient(_interval(b, like), _interval(a, like), dofs) if comparable else (NONE, math.nan)
    failed = tuple(NOTHING if x is None else f"{number(x['failures'], 1)}/{number(x['runs'], 1)}" for x in (a, b))
    kind = "both" if a and b else "new" if b else "gone"
    said = [("" if x is None or pd.isna(x["verdict"]) else str(x["verdict"])) for x in (a, b)]
    return Move(
        study=key[0],
        model=key[1],
        dataset=key[2],
        arm=key[3],
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


def summary(found: Sequence[Move]) -> str:
    """One sentence."""
    changed = sum(m.verdict_changed for m in found)
    moved = sum(m.moved for m in found)
    new, gone = (sum(m.kind == k for m in found) for k in ("new", "gone"))
    both = len(found) - new - gone
    return (
        f"Of {both} arms in both, {moved} moved their FID by more than noise and {changed} have another verdict; "
        f"{new} new, {gone} gone."
    )


HEADS = ["arm", "what", "verdict A", "verdict B", "× base, A", "× base, B", "B over A", "q", "failed A", "failed B"]


def _cells(m: Move) -> list[tuple[str, float | None]]:
    changes = ", ".join(w for w, so in (("moved", m.moved), ("verdict changed", m.verdict_changed)) if so)
    return [
        (m.kind if m.kind != "both" else changes or "same", _rank(m)),
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
    return f"{m.study} · {m.model} on {m.dataset}: {m.arm}".removeprefix(" · ")


def write(before: str | Path, after: str | Path, out: str | Path | None) -> Path:
    """compare.html, compare.md, tables/compare.csv in `out` (default: B's report folder); returns the page's path."""
    found = moves(read(before), read(after))
    root = Path(after)
    folder = Path(out) if out else root / "report" if (root / "study.yaml").exists() else root
    try:
        (folder / "tables").mkdir(parents=True, exist_ok=True)
        put(folder / "tables" / "compare.csv", _csv(found))
        put(folder / "compare.md", _markdown(found, place(before), place(after)))
        put(folder / "compare.html", _html(found, place(before), place(after)))
    except OSError as error:
        raise InputError(f"{folder}: cannot be written: {error.strerror or error}") from None
    return folder / "compare.html"


def _csv(found: Sequence[Move]) -> str:
    rows = [
        {"study": m.study, "model": m.model, "dataset": m.dataset, "arm": m.arm, "kind": m.kind}
        | {"verdict_before": m.before, "verdict_after": m.after}
        | {"ratio_before": m.ratio_before.point, "ratio_after": m.ratio_after.point}
        | {"change": m.change.point, "change_low": m.change.low, "change_high": m.change.high, "p": m.p, "q": m.q}
        | {"same_protocol": m.same_protocol}
        for m in found
    ]
    return records.csv(pd.DataFrame(rows))


def _warning(found: Sequence[Move]) -> str:
    other = sum(m.kind == "both" and not m.same_protocol for m in found)
    untold = sum(math.isnan(m.p) and not math.isnan(m.change.low) for m in found)
    said = [
        f"{other} arms were measured or trained in another way in B: only their ratios to their own base are compared."
        if other
        else "",
        f"{untold} arms have no q: an older version wrote A or B without degrees of freedom. Report it again."
        if untold
        else "",
    ]
    return " ".join(filter(None, said))


def _markdown(found: Sequence[Move], before: str, after: str) -> str:
    head = [f"# What moved: {safe(before)} (A) → {safe(after)} (B)", "", safe(summary(found)), ""]
    said = [f"> {safe(_warning(found))}", ""] if _warning(found) else []
    rows = grid(HEADS, ([_name(m), *(t for t, _ in _cells(m))] for m in found))
    return "\n".join([*head, *said, *rows, "", safe(SAID), ""])


def _html(found: Sequence[Move], before: str, after: str) -> str:
    title = "What moved"
    header = (
        f"<header><p class='kicker'>gan_ablate report · two reports compared</p><h1>{title}</h1>"
        f"<p class='lead'>{escape(summary(found))}</p>{definitions([('A', before), ('B', after)])}</header>"
    )
    note = f"<p class='note' role='note'>{escape(_warning(found))}</p>" if _warning(found) else ""
    rows = (row(_name(m), _cells(m), m.after.replace(" ", "-") if m.moved else "") for m in found)
    listed = table("Every arm of A and of B, what moved first", HEADS, rows)
    body = section("moved", "Arm by arm", SAID, [note, listed])
    return page.document(title, header, page.navigation([("moved", "Arm by arm")]), body)
