"""`gan-ablate verdicts`: what the runs of a root say of each arm, in the terminal or as JSON, without torch."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from gan_ablate.commands import columns, command, say
from gan_ablate.errors import InputError

if TYPE_CHECKING:
    from gan_ablate.findings.verdicts import Verdicts
    from gan_ablate.stats.two_part import Verdict

LEGEND = (
    "Of a table's verdicts at most 5 % are expected to be wrong (Benjamini-Hochberg). Those with ! are certain: the",
    "probability that any of them is wrong is at most 5 % (Holm). same: within the margin. fails more, rescues: by the",
    "share of runs that fail. still improving: log FID fell by over 0.1 in the last quarter of training.",
)
COLUMNS = ("arm", "verdict", "FID / base's", "95 %", "q", "failed", "to decide", "settled")


def _verdicts(args: Namespace) -> int:
    from gan_ablate.findings.sentences import effects_in_words
    from gan_ablate.findings.tables import tables
    from gan_ablate.findings.verdicts import SCHEMA, records
    from gan_ablate.publishing import to_json
    from gan_ablate.results.frames import load
    from gan_ablate.stats.two_part import MARGIN
    from gan_ablate.store.unpack import opened
    from gan_ablate.study.seed_plan import plan_of

    margin = MARGIN if args.margin is None else args.margin
    if not margin > 1:
        raise InputError(f"--margin {margin:g}: the margin of 'same' is a ratio over 1, as 1.25")
    with opened(args.roots) as roots:
        loaded = [load(root) for root in roots]
    for results in loaded:
        if margin != MARGIN and plan_of(results.source):
            raise InputError(f"{results.root}: --margin: an adaptive study stopped its arms by a margin of {MARGIN:g}")
    told = [(results, tables(results, margin)) for results in loaded]
    found = [v for _, each in told for t in each if (v := t.verdicts) is not None]
    if args.json:
        print(to_json({"schema": SCHEMA, "arms": records(found)}).decode(), end="")
    else:
        factors = [line for results, each in told for line in effects_in_words(results, each)]
        judged = [line for table in found for line in _table(table)]
        none = "no arm called base, so there is nothing to compare with"
        say("\n".join([*factors, *judged, *(LEGEND if judged else ())]) or none)
    return 0


def _table(table: Verdicts) -> Iterator[str]:
    """One model on one dataset."""
    counts = ", ".join(f"{n} {name}" for name, n in table.counts.items())
    yield f"{table.title}, {table.protocol.partition(',')[0]}: {counts}"
    if table.objection:
        yield f"  {table.objection}: it cannot carry verdicts of 'helps'"
    for said in filter(None, (table.early, table.unsettled, table.base_is_the_limit)):
        yield f"  {said}"
    yield from columns([COLUMNS, *(_row(arm, verdict, table) for arm, verdict in table.arms.items())])
    yield ""


def _row(arm: str, verdict: Verdict, table: Verdicts) -> tuple[str, ...]:
    from gan_ablate.findings.settled import MARK
    from gan_ablate.findings.verdicts import to_decide
    from gan_ablate.formatting import number, p_value

    e, runs = verdict.evidence, table.runs[arm]
    q = verdict.q_same if verdict.verdict == "same" else verdict.q
    interval = f"[{number(e.ratio.low)}, {number(e.ratio.high)}]" if not math.isnan(e.ratio.point) else ""
    said = verdict.verdict + "!" * verdict.certain + ", early" * verdict.early
    return (
        arm, said, number(e.ratio.point), interval, p_value(q),
        f"{runs.failed}/{runs.finished}", to_decide(verdict, table.minutes[arm]),
        MARK * table.falls[arm].still_improving,
    )  # fmt: skip


def add(subcommands: Any) -> None:
    verdicts = command(
        subcommands, "verdicts", "What the runs say of each arm: helps, hurts, fails more, rescues, same, undecided.",
        "gan-ablate verdicts runs/smoke",
    )  # fmt: skip
    verdicts.add_argument("roots", nargs="+", help="roots of sweeps, such as runs/ablation, or archives")
    verdicts.add_argument("--margin", type=float, default=None, help="of same: a ratio of FIDs (default: 1.25)")
    verdicts.add_argument("--json", action="store_true", help="as JSON (docs/verdicts.md)")


COMMANDS = {"verdicts": _verdicts}
