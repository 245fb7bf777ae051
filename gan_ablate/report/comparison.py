"""What moved between two reports: verdicts, ratios, arms that are new or gone."""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from gan_ablate.errors import InputError, in_one_line
from gan_ablate.findings.summaries import IS_BASE
from gan_ablate.findings.tables import tables
from gan_ablate.findings.verdicts import ORDER
from gan_ablate.formatting import NOTHING, number, p_value, place
from gan_ablate.publishing import put, refusing
from gan_ablate.recipe import BASE
from gan_ablate.report.arm_columns import ALL, all_arms
from gan_ablate.report.section import Column, Document, Name, Section, Table, Text
from gan_ablate.report.study import ArmRow
from gan_ablate.report.table_files import frame, unguarded
from gan_ablate.report.write import encoded, files
from gan_ablate.results.frames import load
from gan_ablate.stats.corrections import ALPHA, benjamini_hochberg
from gan_ablate.stats.intervals import NONE, Interval, quotient
from gan_ablate.study.budgets import at
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
    a: Mapping[str, Any] | None  # its line in each report
    b: Mapping[str, Any] | None
    change: Interval = NONE  # ratio after / ratio before; of base: FID after / FID before
    p: float = math.nan
    q: float = math.nan

    @property
    def kind(self) -> str:
        return "both" if self.a and self.b else "new" if self.b else "gone"

    @property
    def before(self) -> str:
        """The verdict in A; empty where the arm is not there."""
        return _verdict(self.a)

    @property
    def after(self) -> str:
        return _verdict(self.b)

    @property
    def same_protocol(self) -> bool:
        return bool(self.a and self.b and self.a["protocol"] == self.b["protocol"])

    @property
    def verdict_changed(self) -> bool:
        return self.kind == "both" and self.before != self.after

    @property
    def moved(self) -> bool:
        return self.q < ALPHA

    @property
    def rank(self) -> int:
        """Its place in the table: what moved, what is new or gone, what has another verdict, the rest."""
        return 0 if self.moved else 1 if self.kind != "both" else 2 if self.verdict_changed else 3

    @property
    def what(self) -> str:
        """In words."""
        changes = ", ".join(w for w, so in (("moved", self.moved), ("verdict changed", self.verdict_changed)) if so)
        return self.kind if self.kind != "both" else changes or "unmoved"


def read_arms(source: str | PathLike[str]) -> pd.DataFrame:
    """A row per arm, of a root or of a report's folder. Raises `InputError` where it is neither."""
    path = Path(source)
    if (path / "study.yaml").exists():
        loaded = load(path)
        return _by_budget(frame(all_arms(ArmRow(a, t, loaded.name) for t in tables(loaded) for a in t.arms)))
    table = path / "tables" / f"{ALL}.csv"
    try:
        text = read_regular(table)
        found = pd.read_csv(io.BytesIO(text), keep_default_na=False, dtype=str)
    except FileNotFoundError:
        raise InputError(f"{source}: neither a root (no study.yaml) nor a report (no tables/{ALL}.csv)") from None
    except (OSError, ValueError) as error:
        raise InputError(f"{table}: cannot be read: {in_one_line(error)}") from None
    if lacking := [k for k in (*TEXTS, *NUMBERS) if k not in found.columns]:
        raise InputError(f"{table}: not a report's table: no column {lacking[0]}")
    found = _by_budget(found).reindex(columns=["study", *TEXTS, *NUMBERS, *LATER], fill_value="")
    for name in ("study", *TEXTS):
        found[name] = found[name].map(unguarded)
    for name in (*NUMBERS, *LATER):
        found[name] = pd.to_numeric(found[name], errors="coerce")
    if unknown := sorted(set(found["verdict"]) - {"", *ORDER, IS_BASE}):
        raise InputError(f"{table}: not a report's table: verdict {unknown[0][:80]!r}")
    return found


def _by_budget(found: pd.DataFrame) -> pd.DataFrame:
    """Arms at a second budget are called by it beside their dataset: they are other arms than those of the first."""
    if "budget" not in found.columns:
        return found
    called = [f"{dataset}{at(unguarded(str(b)))}" for dataset, b in zip(found["dataset"], found["budget"], strict=True)]
    return found.assign(dataset=called)


def moves(before: pd.DataFrame, after: pd.DataFrame) -> list[Move]:
    """Arms of either: those that moved, those that are new or gone, those whose verdict changed, each by p."""
    alone = all(frame["study"].nunique() <= 1 for frame in (before, after))  # then its name may be another one in B
    a, b = (_by_key(frame.assign(study="") if alone else frame) for frame in (before, after))
    found = [_move(key, a.get(key), b.get(key)) for key in dict.fromkeys([*b, *a])]
    q = benjamini_hochberg([m.p for m in found])
    found = [replace(m, q=float(x)) for m, x in zip(found, q, strict=True)]
    return sorted(found, key=lambda m: (m.rank, math.inf if math.isnan(m.p) else m.p))


def _by_key(frame: pd.DataFrame) -> dict[tuple[str, ...], dict[str, Any]]:
    """The first row of each arm: of the commonest protocol, as tables list them."""
    found: dict[tuple[str, ...], dict[str, Any]] = {}
    for line in frame[[*KEYS, *TEXTS[3:], *NUMBERS, *LATER]].to_dict("records"):
        found.setdefault(tuple(str(line[k]) for k in KEYS), {str(k): v for k, v in line.items()})
    return found


def _move(key: tuple[str, ...], a: dict[str, Any] | None, b: dict[str, Any] | None) -> Move:
    like = "fid" if key[-1] == BASE else "ratio"
    move = Move(key[0], key[1], key[2], key[3], a, b)
    # FIDs of two protocols cannot be compared; ratios to one's own base can
    if a is None or b is None or (like == "fid" and not move.same_protocol):
        return move
    dofs = [float(line[f"{like}_dof"]) for line in (b, a)]
    change, p = quotient(_interval(b, like), _interval(a, like), dofs)
    return replace(move, change=change, p=p)


def _verdict(line: Mapping[str, Any] | None) -> str:
    return "" if line is None or pd.isna(line["verdict"]) else str(line["verdict"])


def _failed(line: Mapping[str, Any] | None) -> str:
    return NOTHING if line is None else f"{number(line['failures'], 1)}/{number(line['runs'], 1)}"


def _interval(line: Mapping[str, Any] | None, name: str) -> Interval:
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


COLUMNS = (
    Column(
        "arm",
        lambda m: (m.study, m.model, m.dataset, m.arm),
        csv=("study", "model", "dataset", "arm"),
        text=lambda m: f"{m.study} · {m.model} on {m.dataset}: {m.arm}".removeprefix(" · "),
    ),
    Column("what", lambda m: m.kind, "", ("kind",), lambda m: m.what, lambda m: m.rank),
    Column("verdict A", lambda m: m.before, "", ("verdict_before",), lambda m: m.before or NOTHING),
    Column("verdict B", lambda m: m.after, "", ("verdict_after",), lambda m: m.after or NOTHING),
    Column("× base, A", lambda m: _interval(m.a, "ratio"), csv=("ratio_before",)),
    Column("× base, B", lambda m: _interval(m.b, "ratio"), csv=("ratio_after",)),
    Column("B over A", lambda m: m.change, csv=("change", "change_low", "change_high")),
    Column("", lambda m: m.p, csv=("p",)),
    Column("q", lambda m: m.q, "", ("q",), lambda m: p_value(m.q)),
    Column("failed A", lambda m: _failed(m.a)),
    Column("failed B", lambda m: _failed(m.b)),
    Column("", lambda m: m.same_protocol, csv=("same_protocol",)),
)


def compare(before: str | PathLike[str], after: str | PathLike[str], out: str | Path | None = None) -> Path:
    """Writes compare.html, compare.md and tables/compare.csv to `out` (default: the report folder of `after`): what
    moved between two roots or reports. Returns the path of the page. Raises `InputError` where either is neither."""
    found = moves(read_arms(before), read_arms(after))
    root = Path(after)
    folder = Path(out) if out else root / "report" if (root / "study.yaml").exists() else root
    table = Table(
        "Every arm of A and of B, what moved first",
        COLUMNS,
        found,
        Name("compare"),
        kind=lambda m: m.after.replace(" ", "-") if m.moved else "",
    )
    document = Document(
        title="What moved",
        kicker="gan_ablate report · two reports compared",
        heading="What moved",
        lead=summary(found),
        notes=(),
        facts=[("A", place(str(before))), ("B", place(str(after)))],
        sections=[Section(Name("moved"), "Arm by arm", "Arm by arm", SAID, [*_warnings(found), table])],
    )
    with refusing(folder, any_error=True):
        (folder / "tables").mkdir(parents=True, exist_ok=True)
        for name, text in files(document, "compare"):
            put(folder / name, encoded(text))
    return folder / "compare.html"


def _warnings(found: Sequence[Move]) -> Iterator[Text]:
    if other := sum(m.kind == "both" and not m.same_protocol for m in found):
        yield Text(
            f"{other} arms were measured or trained in another way in B: only their ratios to their own base are "
            "compared.",
            "note",
        )
    if untold := sum(math.isnan(m.p) and not math.isnan(m.change.low) for m in found):
        yield Text(
            f"{untold} arms have no q: an older version wrote A or B without degrees of freedom. Report it again.",
            "note",
        )
