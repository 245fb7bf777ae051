"""`gan-ablate report` and `gan-ablate tricks`: pages and tables, without torch."""

from __future__ import annotations

from typing import Any

from jsonargparse import Namespace

from gan_ablate.commands import command


def _report(args: Namespace) -> int:
    from gan_ablate.report import report

    print(report(args.roots, args.out))
    return 0


def _tricks(args: Namespace) -> int:
    from gan_ablate.tricks import listing

    whole = listing.markdown() if args.markdown else listing.table()
    print(listing.one(args.name) if args.name else whole)
    return 0


def add(subcommands: Any) -> None:
    report = command(
        subcommands, "report", "Write report.html, report.md and tables of a sweep.", "gan-ablate report runs/smoke"
    )
    report.add_argument("roots", nargs="+")
    report.add_argument("--out", default=None, help="folder to write to (default: ROOT/report)")

    tricks = command(
        subcommands, "tricks", "The table of tricks, or what one of them changes.", "gan-ablate tricks instance_noise"
    )
    tricks.add_argument("name", nargs="?", default="")
    tricks.add_argument("--markdown", action="store_true", help="the table as in docs/tricks.md")


COMMANDS = {"report": _report, "tricks": _tricks}
