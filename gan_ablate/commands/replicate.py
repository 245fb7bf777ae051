"""`gan-ablate replicate`: fresh seeds for the arms that a study has decided, and how many of its verdicts hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from gan_ablate.commands import add_run_options, add_trust, columns, command, say
from gan_ablate.commands.sweep import add_way_options

if TYPE_CHECKING:
    from gan_ablate.findings.replication import Held, Replication

COLUMNS = ("arm", "verdict", "FID / base's", "on fresh seeds", "failed", "by itself", "holds")


def _replicate(args: Namespace) -> int:
    from gan_ablate.commands.sweep import check_way, read_way
    from gan_ablate.findings.replication import compare
    from gan_ablate.results.frames import load
    from gan_ablate.store.unpack import opened
    from gan_ablate.sweep import display
    from gan_ablate.sweep.replicate import plan, refuse_other_verdicts, replicate

    check_way(args)
    with opened([args.root]) as (place,):
        first = load(place)
    study, expansion = planned = plan(first, args.seeds, args.base_seeds)
    root = args.out or f"runs/{study.name}"
    way = read_way(args, study.name)
    say(
        f"{len(study.source['decided'])} decided arms of {first.name} on {args.seeds} fresh seeds each, base on "
        f"{study.source['base_seeds']}: seeds from {study.seeds[0]:,} on"
    )
    if args.dry_run:
        say(display.matrix(expansion, root, workers=len(way.places())))
        refuse_other_verdicts(study, root)
        return 0
    summary = replicate(planned, root, **vars(way))
    say("\n".join(table(compare(first, load(root)))))
    page = f"gan-ablate report {args.root} --replication {root} shows it on the page"
    say(f"{summary.in_words}; {'the same command goes on from here; ' if summary.left else ''}{page}")
    return summary.exit_code


def table(found: Replication) -> Iterator[str]:
    """A line for each decided arm, and how many verdicts hold."""
    places = dict.fromkeys((a.model, a.dataset) for a in found.arms)
    for place in places:
        yield " on ".join(place)
        yield from columns([COLUMNS, *(_row(a, found.margin) for a in found.arms if (a.model, a.dataset) == place)])
        yield ""
    yield from lines(found)


def lines(found: Replication) -> Iterator[str]:
    """The shares, in words."""
    from gan_ablate.findings.replication import percent_of

    for what, share in found.shares():
        yield f"{what}: {percent_of(share)}"
    if found.open:
        yield f"{found.open} arms have no fresh run yet"


def _row(a: Held, margin: float) -> tuple[str, ...]:
    from gan_ablate.formatting import interval

    holds = {True: "yes", False: "no", None: "not known"}[a.holds(margin)]
    failed = f"{a.fresh.failed}/{a.fresh.finished} (base {a.fresh_base.failed}/{a.fresh_base.finished})"
    return a.arm, a.verdict, interval(a.ratio), interval(a.fresh_ratio), failed, a.fresh_verdict, holds


def add(subcommands: Any) -> None:
    replicate = command(
        subcommands,
        "replicate",
        "Train the arms that a study has decided on fresh seeds, and say how many of its verdicts hold.",
        "gan-ablate replicate reports/ablation/results.zip --seeds 5",
    )
    replicate.add_argument("root", help="the root of a study, or its archive")
    replicate.add_argument("--seeds", type=int, default=5, help="fresh seeds of each decided arm")
    replicate.add_argument("--base-seeds", type=int, default=None, help="fresh seeds of base (default: twice as many)")
    replicate.add_argument("--out", default="", metavar="ROOT", help="default: runs/<name of the study>-replication")
    add_way_options(replicate)
    replicate.add_argument("--dry-run", action="store_true", help="print the matrix of runs and leave")
    add_run_options(replicate, logger="none")
    add_trust(replicate, "the study")


COMMANDS = {"replicate": _replicate}
