"""The section on fresh seeds: of each decided arm what a replication says of its verdict."""

from __future__ import annotations

import math

from gan_ablate.findings.replication import Held, Replication, known, percent_of
from gan_ablate.findings.verdicts import ORDER
from gan_ablate.formatting import place
from gan_ablate.report.protocol import quoted
from gan_ablate.report.section import Code, Column, Group, Items, Name, Section, Table, Text

SAID = (
    "The arms that this study has decided were trained once more, with base, on seeds that had no part in it. "
    "Helps, hurts: a verdict holds where the FID is on the same side of base’s again. Same: where the ratio is inside "
    "the margin again. Fails more, rescues: where the share of failed runs is on the same side of base’s again. Ratios "
    "of fresh seeds are the unbiased ones: an effect that was chosen because it was found tends to look larger than "
    "it is."
)


def replication(found: Replication) -> Section:
    """What share holds, and the table of arms."""
    n = sorted({a.fresh.finished for a in found.arms if a.known})
    base = sorted({a.fresh_base.finished for a in found.arms if a.known})
    runs = f"Fresh runs: {_range(n)} of each arm, {_range(base)} of base; seeds from {found.seeds[0]:,} on."
    shares = [(what, percent_of(share)) for what, share in found.shares()]
    first, fresh = (quoted(place(root)) for root in found.roots)
    again = f"python -m gan_ablate.report {first} --replication {fresh}"
    rows = sorted(found.arms, key=lambda a: (ORDER.index(a.verdict), known(a.ratio)))
    several = len({a.dataset for a in found.arms}) > 1
    columns = (
        Column("arm", lambda a: a.arm, "the decided arm", ("arm",)),
        Column("verdict", lambda a: a.verdict, "at first", ("verdict",), key=lambda a: ORDER.index(a.verdict)),
        Column("model", lambda a: f"{a.model} on {a.dataset}" if several else a.model, "what was trained"),
        Column("", lambda a: (a.model, a.dataset), csv=("model", "dataset")),
        Column("× base", lambda a: a.ratio, "in the first study [95 %]", ("ratio", "ratio_low", "ratio_high")),
        Column(
            "× base, fresh", lambda a: a.fresh_ratio, "on fresh seeds [95 %]",
            ("fresh_ratio", "fresh_low", "fresh_high"),
        ),
        Column(
            "failed, fresh", lambda a: a.fresh.failed / a.fresh.finished if a.fresh.finished else math.nan,
            "failed runs of the arm, and of base, on fresh seeds", ("fresh_failed",), _failed,
        ),
        Column("by itself", lambda a: a.fresh_verdict, "the verdict of the fresh seeds alone", ("fresh_verdict",)),
        Column(
            "holds", lambda a: {True: "yes", False: "no", None: "not known"}[a.holds(found.margin)],
            "see above", ("holds",), key=lambda a: {True: 0.0, False: 1.0, None: 2.0}[a.holds(found.margin)],
        ),
    )  # fmt: skip
    table = Table("Every decided arm on fresh seeds", columns, rows, Name("replication"), kind=_kind)
    return Section(
        Name("fresh-seeds"),
        "Fresh seeds",
        "Do the verdicts hold?",
        SAID,
        (Items(shares, "facts"), Text(runs), table, Group("Again", (Code((again,)),))),
    )


def _range(n: list[int]) -> str:
    return "none" if not n else f"{n[0]}" if len(n) == 1 else f"{n[0]} to {n[-1]}"


def _failed(a: Held) -> str:
    return f"{a.fresh.failed}/{a.fresh.finished}, base {a.fresh_base.failed}/{a.fresh_base.finished}"


def _kind(a: Held) -> str:
    return a.verdict.replace(" ", "-")
