"""`gan-ablate replicate`: fresh seeds for the arms that a study has decided, and how many of its verdicts hold."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from jsonargparse import Namespace

from gan_ablate.commands import add_run_options, add_trust, command, run_options, say
from gan_ablate.errors import InputError

if TYPE_CHECKING:
    from gan_ablate.findings.replication import Held, Replication

COLUMNS = ("arm", "verdict", "FID / base's", "on fresh seeds", "failed", "by itself", "holds")


def _replicate(args: Namespace) -> int:
    from gan_ablate.commands.sweep import budget
    from gan_ablate.findings.replication import compare
    from gan_ablate.results.frames import load
    from gan_ablate.store.unpack import opened
    from gan_ablate.sweep import display
    from gan_ablate.sweep.pool import Way
    from gan_ablate.sweep.replicate import plan, refuse_other_verdicts, replicate

    for name, low in (("workers", 0), ("threads", 0), ("per_gpu", 1)):
        if args[name] < low:
            raise InputError(f"--{name.replace('_', '-')} {args[name]}: needs a whole number of at least {low}")
    with opened([args.root]) as (place,):
        first = load(place)
    study, expansion = planned = plan(first, args.seeds, args.base_seeds)
    root = args.out or f"runs/{study.name}"
    way = Way(
        workers=args.workers or None, threads=args.threads or None, per_gpu=args.per_gpu, **budget(args.budget),
        options={**run_options(args), "group": study.name},
    )  # fmt: skip
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
    counts = f"{summary.done} done, {summary.failed} crashed, {summary.skipped} done before, {summary.left} left"
    page = f"gan-ablate report {args.root} --replication {root} shows it on the page"
    say(f"{counts}; {'the same command goes on from here; ' if summary.left else ''}{page}")
    return summary.exit_code


def table(found: Replication) -> Iterator[str]:
    """A line for each decided arm, and how many verdicts hold."""
    places = dict.fromkeys((a.model, a.dataset) for a in found.arms)
    for place in places:
        rows = [COLUMNS, *(_row(a, found.margin) for a in found.arms if (a.model, a.dataset) == place)]
        widths = [max(len(row[k]) for row in rows) for k in range(len(COLUMNS))]
        yield " on ".join(place)
        for row in rows:
            yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
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
    replicate.add_argument("--workers", type=int, default=0, help="runs at a time (0: one per core or GPU slot)")
    replicate.add_argument("--per-gpu", type=int, default=1, help="runs at a time on each GPU")
    replicate.add_argument("--threads", type=int, default=0, help="of each run (0: its part of the cores)")
    replicate.add_argument("--budget", default="", help="end after so long (2h) or so many runs (800runs)")
    replicate.add_argument("--dry-run", action="store_true", help="print the matrix of runs and leave")
    add_run_options(replicate, logger="none")
    add_trust(replicate, "the study")


COMMANDS = {"replicate": _replicate}
