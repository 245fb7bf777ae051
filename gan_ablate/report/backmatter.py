"""The sections after the arms: claims, signs of failure, protocol, what failed."""

# ruff: noqa: E501 - lines of HTML and CSS, and captions

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING, Any

from gan_ablate.formatting import NOTHING, interval, number, p_value
from gan_ablate.report import protocol
from gan_ablate.report.columns import SIGN_WORDS
from gan_ablate.report.html import definitions, disclosure, listing, row, section, table
from gan_ablate.report.svg import short

if TYPE_CHECKING:
    from gan_ablate.report.study import Study

SIGNS = (
    "Did a sign, shown in the first half of training, announce a failure? AUC is the chance that a failed run showed it and a "
    "good one did not, ties counted half: 0.5 says nothing, 1 tells all [95 % interval, Newcombe’s method 5]; p by the "
    "exact rank test, not corrected. Interval and p take runs of one arm as independent, though they tend to fail together: both are "
    "too sure of themselves. Crashed runs keep no record and are left out."
)
REASON, LISTED = 300, 500  # characters of a reason, and how many of them: 0.2 MB at the most
CLAIMS = (
    "Published claims put to the test on these runs, each with its evidence. Mixed: one part holds and another is contradicted. "
    "Inconclusive names the smallest effect that it could have missed, or how far the data still allow it to go."
)
CLEAREST = ("supported", "contradicted", "mixed", "inconclusive")


def claims(found: Sequence[Any]) -> str:
    """Verdicts of `gan_ablate.claims.judge`, those with data first; empty without any."""
    if not found:
        return ""
    tested = sorted((v for v in found if v.verdict != "not tested"), key=lambda v: CLEAREST.index(v.verdict))
    rest = [v for v in found if v.verdict == "not tested"]
    counts: dict[str, int] = {}
    for v in found:
        counts[v.verdict] = counts.get(v.verdict, 0) + 1
    parts = [f"<p>{escape(', '.join(f'{n} {word}' for word, n in sorted(counts.items())))}.</p>", *map(_claim, tested)]
    if rest:
        rows = (row(v.id, [(v.statement, None), (v.summary, None)]) for v in rest)
        parts.append(
            disclosure(
                f"{len(rest)} claims not tested here",
                table("Claims that these runs cannot speak of", ["claim", "statement", "why"], rows, "sorts wrap"),
            )
        )
    return section("claims", "The claims", CLAIMS, parts)


def _claim(v: Any) -> str:
    rows = (
        row(
            f"{e.model} on {e.dataset}",
            [
                (e.contrast, None),
                (f"{e.measure}, {e.expects}", None),
                (f"{interval(e.effect)} ({e.scale})", e.effect.point),
                (p_value(e.p_holm), e.p_holm),
                (e.says, None),
                (f"{e.n[0]}, {e.n[1]}" if e.n[1] else str(e.n[0]), None),
                (_pair(*(f"{r.point * 100:.0f} %" if r.point == r.point else NOTHING for r in e.failures)), None),
                (_pair(*(number(x) for x in e.coverage)), None),
                (_pair(*(number(x, 2) for x in e.volatility)), None),
                (e.note, None),
            ],
        )
        for e in v.evidence
    )
    heads = [
        "where", "contrast", "measure, expected", "effect [95 %]", "p (Holm)", "says", "runs", "failed", "modes", "volatility", "note",
    ]  # fmt: skip
    inner = f"<p>{escape(v.summary)}</p><p class='sub'>Source: {escape(v.source)}</p>" + table(
        f"Evidence for {v.id}", heads, rows, ""
    )
    kind = v.verdict.replace(" ", "-")
    head = f"<span class='tag {kind}'>{escape(v.verdict)}</span> {escape(v.statement)} <span class='soft'>{escape(v.id)}</span>"
    return f"<details class='claim'><summary>{head}</summary>{inner}</details>\n"


def _pair(a: str, b: str) -> str:
    return NOTHING if a == b == NOTHING else f"{a} v {b}"


def parts(study: Study, pre: str) -> Iterator[str]:
    """Signs, protocol and failures of one root."""
    rows = [
        row(
            f"{s.title}: {SIGN_WORDS.get(s.sign, s.sign)}",
            [
                (f"{s.failed[0]}/{s.failed[1]}", s.failed[0] / s.failed[1] if s.failed[1] else None),
                (f"{s.good[0]}/{s.good[1]}", s.good[0] / s.good[1] if s.good[1] else None),
                (str(s.ever), s.ever),
                (interval(s.area.value), s.area.value.point),
                (p_value(s.area.p), s.area.p),
            ],
        )
        for x in study.sections
        for s in x.signs
    ]
    if rows:
        heads = ["sign", "failed runs that showed it early", "good runs that did", "ever", "AUC", "p"]
        yield section(
            f"{pre}signs", "Signs of failure", SIGNS, [table("Signs in the first half, per model", heads, rows)]
        )
    loaded = study.loaded
    yield section(
        f"{pre}protocol",
        "Protocol",
        "",
        [
            *(f"<p>{escape(p)}</p>" for p in protocol.explanation(study.tables)),
            definitions(protocol.facts(loaded)),
            "<h3>Base recipes</h3>",
            "<ul class='plain'>" + "".join(f"<li>{escape(s)}</li>" for s in protocol.settings(loaded)) + "</ul>",
            "<h3>Again</h3>",
            f"<pre>{escape(chr(10).join(protocol.commands(loaded)))}</pre>",
        ],
    )
    reasons = listing((f"{n} ×", short(kind, REASON)) for kind, n in protocol.kinds(loaded))
    yield section(f"{pre}failures", "What failed and why", "", [reasons, _failures(protocol.failures(loaded))])


def _failures(failed: Sequence[tuple[str, str]]) -> str:
    """The list in short: the table of runs has the whole of every reason."""
    if not failed:
        return "<p>Nothing failed.</p>"
    shown = sorted(failed, key=lambda f: f[0] != "file")[:LISTED]  # files first: no table names them
    inner = listing((f"{run}:", short(said, REASON)) for run, said in shown)
    more = f"{len(failed) - len(shown)} more are not listed here. " if len(failed) > len(shown) else ""
    whole = f"<p class='sub'>{more}Each run stands with its whole reason in runs.csv under tables/.</p>"
    return disclosure(f"{len(failed)} runs or files", inner + whole)
