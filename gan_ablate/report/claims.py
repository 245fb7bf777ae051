"""The section of the claims: published statements put to the test, each with its evidence."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from gan_ablate.claims import Verdict
from gan_ablate.formatting import NOTHING, interval, number, p_value
from gan_ablate.report.section import Column, Fold, Name, Only, Part, Section, Table, Text

CLAIMS = (
    "Published claims put to the test on these runs, each with its evidence. Mixed: one part holds and another is "
    "contradicted. Inconclusive names the smallest effect that it could have missed, or how far the data still allow "
    "it to go."
)
CLEAREST = ("supported", "contradicted", "mixed", "inconclusive")
ALL = (
    Column("claim", lambda v: v.id, csv=("id",)),
    Column("statement", lambda v: v.statement, csv=("statement",)),
    Column("source", lambda v: v.source, csv=("source",)),
    Column("verdict", lambda v: v.verdict, csv=("verdict",)),
    Column("evidence", lambda v: v.summary, csv=("summary",)),
    Column("", lambda v: v.smallest_missed, csv=("smallest_missed",)),
)
UNTESTED = (ALL[0], ALL[1], Column("why", lambda v: v.summary))
EVIDENCE = (
    Column("where", lambda e: f"{e.model} on {e.dataset}"),
    Column("contrast", lambda e: e.contrast),
    Column("measure, expected", lambda e: f"{e.measure}, {e.expects}"),
    Column("effect [95 %]", lambda e: f"{interval(e.effect)} ({e.scale})"),
    Column("p (Holm)", lambda e: p_value(e.p_holm)),
    Column("says", lambda e: e.says),
    Column("runs", lambda e: f"{e.n[0]}, {e.n[1]}" if e.n[1] else str(e.n[0])),
    Column(
        "failed", lambda e: _pair(*(NOTHING if math.isnan(r.point) else f"{r.point * 100:.0f} %" for r in e.failures))
    ),
    Column("modes", lambda e: _pair(*map(number, e.coverage))),
    Column("volatility", lambda e: _pair(*(number(x, 2) for x in e.volatility))),
    Column("note", lambda e: e.note),
)


def claims(found: Sequence[Verdict]) -> Section:
    """Verdicts of `gan_ablate.claims.judge`, those with data first; no parts without any."""
    tested = sorted((v for v in found if v.verdict in CLEAREST), key=lambda v: CLEAREST.index(v.verdict))
    rest = [v for v in found if v.verdict not in CLEAREST]
    counts = Counter(v.verdict for v in found)
    page: list[Part] = [
        Text(f"{', '.join(f'{n} {word}' for word, n in sorted(counts.items()))}."),
        *map(_claim, tested),
    ]
    if rest:
        untested = Table("Claims that these runs cannot speak of", UNTESTED, rest, style="sorts wrap")
        page.append(Fold(f"{len(rest)} claims not tested here", (untested,)))
    listed = Table("Every claim and its verdict", ALL, found, Name("claims"))
    parts = (Only("page", page), Only("text", (listed,))) if found else ()
    return Section(Name("claims"), "Claims", "The claims", CLAIMS, parts, key=True)


def _claim(v: Verdict) -> Fold:
    evidence = Table(f"Evidence for {v.id}", EVIDENCE, v.evidence, style="")
    parts = (Text(v.summary), Text(f"Source: {v.source}", "sub"), evidence)
    return Fold(v.statement, parts, v.verdict, v.id, "claim")


def _pair(a: str, b: str) -> str:
    return NOTHING if a == b == NOTHING else f"{a} v {b}"
