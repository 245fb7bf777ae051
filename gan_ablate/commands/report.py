"""`gan-ablate report` and `gan-ablate tricks`: pages and tables, without torch."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from gan_ablate.commands import command, say
from gan_ablate.errors import InputError
from gan_ablate.trust import trust_typed


def _report(args: Namespace) -> int:
    from gan_ablate.report import compare, report
    from gan_ablate.store.unpack import Unpacked, opened

    if bool(args.roots) == bool(args.compare):
        raise InputError("give the roots to report on, or --compare with two roots or reports")
    if args.compare and args.partial:
        raise InputError("--compare and --partial: give one of them")
    if args.compare and args.figures:
        raise InputError("--compare and --figures: give one of them")
    if args.replication and (args.compare or len(args.roots) != 1):
        raise InputError("--replication: fresh seeds are of one study: give its root alone")
    with opened(args.compare or args.roots) as roots, opened([args.replication] * bool(args.replication)) as fresh:
        if args.compare:
            before, after = roots
            out = args.out or (_beside(args.compare[1]) if isinstance(after, Unpacked) else None)
            say(compare(before, after, out))
            return 0
        # who pipes the path on should hear of an unfinished root too
        out = args.out or _beside(args.roots[0])
        tell = lambda line: print(line, file=sys.stderr)  # noqa: E731
        page = report(roots, out, args.partial, tell, next(iter(fresh), None), for_papers=args.figures)
    print(page)
    return 0


def _beside(root: str) -> Path:
    """Where a report goes by default: into the root, or for an archive into a folder beside it."""
    path = Path(root)
    return path.with_name(f"{path.stem}-report") if path.is_file() else path / "report"


def _tricks(args: Namespace) -> int:
    from gan_ablate.tricks import listing

    trust_typed(args.name)
    whole = listing.markdown() if args.markdown else listing.table()
    print(listing.one(args.name) if args.name else whole)
    return 0


def add(subcommands: Any) -> None:
    report = command(
        subcommands, "report", "Write report.html, report.md and tables of a sweep.", "gan-ablate report runs/smoke"
    )
    report.add_argument("roots", nargs="*", help="roots of sweeps, such as runs/ablation, or archives")
    report.add_argument(
        "--out", default=None, help="folder to write to (default: ROOT/report; of an archive FILE-report)"
    )
    report.add_argument(
        "--partial", action="store_true", help="of a sweep still running: arms that have not begun are left out"
    )
    report.add_argument(
        "--figures", action="store_true", help="forest plots for papers too: figures/forest-<model>.pdf and .png"
    )
    report.add_argument(
        "--replication", default=None, metavar="ROOT", help="fresh seeds of its decided arms: gan-ablate replicate"
    )
    report.add_argument(
        "--compare",
        nargs=2,
        type=str,
        default=None,
        metavar=("A", "B"),
        help="what moved from A to B, each a root or the folder of a report",
    )

    tricks = command(
        subcommands, "tricks", "The table of tricks, or what one of them changes.", "gan-ablate tricks instance_noise"
    )
    tricks.add_argument("name", nargs="?", default="")
    tricks.add_argument("--markdown", action="store_true", help="the table as in docs/tricks.md")


COMMANDS = {"report": _report, "tricks": _tricks}
