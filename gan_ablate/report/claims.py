"""The claims: published statements put to the test, each with its evidence, as a section and as a page of their own."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence

from gan_ablate.claims import Verdict
from gan_ablate.claims.verdict import VERDICTS, OnDataset
from gan_ablate.formatting import NOTHING, interval, number, p_value
from gan_ablate.report.section import Column, Document, Fold, Name, Only, Part, Section, Table, Text

CLAIMS = (
    "Published claims put to the test on these runs, each with its evidence. Of what their tests say at most 5 % are "
    "expected to be wrong; those marked certain hold all together with a probability of 95 %. Mixed: one part or one "
    "dataset supports it and another contradicts it. No difference: the FIDs are the same within the margin wherever "
    "the claim was tested. Inconclusive names the smallest effect that it could have missed, or how far the data still "
    "allow it to go."
)
CLEAREST = VERDICTS[:5]


def _word(v: Verdict | OnDataset) -> str:
    return v.verdict + ", certain" * v.certain


def _each(v: Verdict) -> str:
    return "; ".join(f"{d.dataset}: {_word(d)}" for d in v.datasets)


ID = Column("claim", lambda v: v.id, csv=("id",))
STATEMENT = Column("statement", lambda v: v.statement, csv=("statement",))
VERDICT = Column(
    "verdict", lambda v: v.verdict, csv=("verdict",), text=_word
)  # fmt: skip
SETTLES = Column("what would settle it", lambda v: v.settles, csv=("settles",))
ALL = (
    ID,
    STATEMENT,
    Column("source", lambda v: v.source, csv=("source",)),
    VERDICT,
    Column("", lambda v: str(v.certain), csv=("certain",)),
    Column("", _each, csv=("datasets",)),
    Column("evidence", lambda v: v.summary, csv=("summary",)),
    SETTLES,
    Column("", lambda v: v.smallest_missed, csv=("smallest_missed",)),
)
UNTESTED = (ID, STATEMENT, Column("why", lambda v: v.summary), SETTLES)
EVIDENCE = (
    Column("where", lambda e: f"{e.model} on {e.dataset}"),
    Column("contrast", lambda e: e.contrast),
    Column("measure, expected", lambda e: f"{e.measure}, {e.expects}"),
    Column("effect [95 %]", lambda e: f"{interval(e.effect)} ({e.scale})"),
    Column("q", lambda e: p_value(e.q)),
    Column("q of the same", lambda e: p_value(e.q_same)),
    Column("says", lambda e: e.says + ", certain" * e.certain),
    Column("runs", lambda e: f"{e.n[0]}, {e.n[1]}" if e.n[1] else str(e.n[0])),
    Column(
        "failed", lambda e: _pair(*(NOTHING if math.isnan(r.point) else f"{r.point * 100:.0f} %" for r in e.failures))
    ),
    Column("modes", lambda e: _pair(*map(number, e.coverage))),
    Column(
        "still improving",
        lambda e: ", ".join(e.still_improving),
        optional=True,
        key=lambda e: 1.0 if e.still_improving else math.nan,
    ),
    Column("volatility", lambda e: _pair(*(number(x, 2) for x in e.volatility))),
    Column(
        "what counts instead",
        lambda e: e.in_its_place and f"{e.in_its_place}, where both sides chose their settings",
        optional=True,
        key=lambda e: math.nan if e.counts else 1.0,
    ),
    Column("note", lambda e: "; ".join(filter(None, (e.told, e.note)))),
)


def claims(found: Sequence[Verdict]) -> Section:
    """Verdicts of `gan_ablate.claims.judge`, those with data first; no parts without any."""
    tested = sorted((v for v in found if v.verdict in CLEAREST), key=lambda v: CLEAREST.index(v.verdict))
    rest = [v for v in found if v.verdict not in CLEAREST]
    page: list[Part] = [Text(f"{counts(found)}."), *map(_claim, tested)]
    if rest:
        untested = Table("Claims that these runs cannot speak of", UNTESTED, rest, style="sorts wrap")
        page.append(Fold(f"{len(rest)} claims not tested here", (untested,)))
    listed = Table("Every claim and its verdict", ALL, found, Name("claims"))
    parts = (Only("page", page), Only("text", (listed,))) if found else ()
    return Section(Name("claims"), "Claims", "The claims", CLAIMS, parts, key=True)


def document(found: Sequence[Verdict], studies: Sequence[str]) -> Document:
    """A page of the claims alone: every claim with its verdict over all datasets and on each."""
    names = [d.dataset for d in found[0].datasets] if found else []
    each = [_on(k, name) for k, name in enumerate(names)] if len(names) > 1 else []
    evidence = Column("evidence", lambda v: v.summary)
    table = Table("Every claim and its verdict", (ID, STATEMENT, VERDICT, *each, evidence, SETTLES), found)
    tests = found[0].tests if found else 0
    lead = (
        f"{counts(found)}; {tests} tests, corrected together. A claim is supported over all datasets where at least "
        "one supports it and none contradicts it; mixed where they disagree. Where each side of a test chose its own "
        "settings in one study, that test counts in place of the same one at base's settings in another."
    )
    facts = [("studies", ", ".join(studies)), ("datasets", ", ".join(names))]
    section = Section(Name("claims"), "", "The claims", CLAIMS, (table,))
    heading = "What the runs say of the published claims"
    return Document("claims", "gan_ablate claims", heading, lead, (), (section,), facts)


def counts(found: Sequence[Verdict]) -> str:
    """`11 supported, 4 contradicted, ..`."""
    held = Counter(v.verdict for v in found)
    return ", ".join(f"{held[word]} {word}" for word in VERDICTS if held[word])


def _on(k: int, dataset: str) -> Column:
    return Column(f"on {dataset}", lambda v: _word(v.datasets[k]))


def _claim(v: Verdict) -> Fold:
    evidence = Table(f"Evidence for {v.id}", EVIDENCE, v.evidence, style="")
    each = [Text(f"{_each(v)}.", "sub")] if len(v.datasets) > 1 else []
    settles = [Text(f"What would settle it: {v.settles}.", "sub")] if v.settles else []
    parts: tuple[Part, ...] = (Text(v.summary), *each, *settles, Text(f"Source: {v.source}", "sub"), evidence)
    return Fold(v.statement, parts, v.verdict, v.id, "claim")


def _pair(a: str, b: str) -> str:
    return NOTHING if a == b == NOTHING else f"{a} v {b}"
