"""Commands that show, clean up and merge roots; those that only read take an archive in place of one."""

from __future__ import annotations

import sys
from typing import Any

from jsonargparse import Namespace

from gan_ablate.commands import add_trust, command, say
from gan_ablate.errors import InputError, unknown
from gan_ablate.untrusted import printable


def _status(args: Namespace) -> int:
    from gan_ablate.findings.stages import describe_stages, open_stages
    from gan_ablate.publishing import to_json
    from gan_ablate.store.status import overview, table, watch
    from gan_ablate.store.store import Store
    from gan_ablate.store.unpack import opened

    if args.watch and args.json:
        raise InputError("--watch and --json: give one of them")
    if not args.every >= 0.5:
        raise InputError(f"--every {args.every}: needs at least 0.5 seconds")
    with opened([args.root]) as (root,):
        if args.watch:
            Store.open(root)  # no root: said before the screen is taken
            _watch(lambda show: watch(lambda: overview(Store.open(root)), show, args.every))
            return 0
        seen = overview(Store.open(root))
        told = [] if args.json else describe_stages(open_stages(root))
        say(to_json(seen.to_dict()).decode() if args.json else "\n".join([table(seen), *[""] * bool(told), *told]))
    return 0


def _next(args: Namespace) -> int:
    from gan_ablate.findings.stages import describe_stages, open_stages
    from gan_ablate.publishing import to_json
    from gan_ablate.store.unpack import opened

    with opened([args.root]) as (root,):
        study = open_stages(root)
    if study is None:
        why = "not an adaptive study, and none of two budgets"
        raise InputError(f"{args.root}: {why}: `gan-ablate status {args.root}` says what is left")
    rows = study.missing()
    if args.json:
        print(to_json({"schema": 1, "runs": rows}).decode(), end="")
        return 0
    say("\n".join(describe_stages(study)))
    for row in rows:
        seeds = ", ".join(map(str, row["seeds"]))
        minutes = f"  about {row['minutes']:.1f} min" if row["minutes"] is not None else ""
        budget = f"@{row['budget']}" if "budget" in row else ""
        at = f" at {row['tuning']}" if row.get("tuning") else ""
        say(f"  {row['model']}{budget}/{row['arm']}{at}: seeds {seeds}{minutes}")
    say(f"{sum(len(row['seeds']) for row in rows)} runs; the sweep's own command trains them")
    return 0


def _watch(run: Any) -> None:
    """Redraws the table in a terminal, prints one after the other elsewhere; Ctrl-C ends it."""
    try:
        if not sys.stdout.isatty():
            run(lambda text: say(f"{text} \n"))
            return
        from rich.console import Console
        from rich.live import Live
        from rich.text import Text

        console = Console()
        with Live(console=console, auto_refresh=False, vertical_overflow="ellipsis") as live:
            run(lambda text: live.update(Text(_fitted(printable(text), console.height), no_wrap=True), refresh=True))
    except KeyboardInterrupt:
        pass


def _fitted(text: str, height: int) -> str:
    """Leaves out the middle of a table that is longer than the screen: totals and pace stay visible."""
    lines = text.splitlines()
    over = len(lines) - height + 1
    if over <= 0:
        return text
    keep = max(2, len(lines) - over - 4)
    return "\n".join([*lines[:keep], f"({len(lines) - keep - 3} lines more)", *lines[-3:]])


def _show(args: Namespace) -> int:
    from gan_ablate.store.show import describe_run, find_run
    from gan_ablate.store.unpack import opened, told

    with opened([args.root] if args.root else []) as roots:
        say(told(describe_run(find_run(args.run, *roots)), roots))
    return 0


def _merge(args: Namespace) -> int:
    from gan_ablate.store.merge import merge
    from gan_ablate.store.unpack import Unpacked, opened, told

    out = args.out or args.roots[0]
    with opened(args.roots) as roots:
        if not args.out and isinstance(roots[0], Unpacked):
            raise InputError(f"{out}: an archive cannot be joined into: give --out")
        done = merge(roots, out, say=lambda line: say(told(line, roots)))
    counts = f"{done['copied']} runs copied, {done['kept']} there before, {done['open']} not begun"
    print(f"{out}: {counts}" + (f", {done['skipped']} skipped" if done["skipped"] else ""))
    return int(done["skipped"] > 0)


def _gc(args: Namespace) -> int:
    from gan_ablate.store.gc import KINDS, describe_waste, find_waste, in_words, remove
    from gan_ablate.store.store import Store

    if args.yes and args.dry_run:
        raise InputError("--yes and --dry-run: give one of them")
    kinds = [kind.strip() for kind in args.what.split(",")]
    for kind in kinds:
        if kind not in KINDS:
            raise unknown("--what", kind, KINDS)
    store = Store.open(args.root)
    found = list(find_waste(store, kinds))
    say("\n".join(describe_waste(found)) or "nothing to remove")
    if not found:
        return 0
    if not args.yes:
        print(f"nothing was removed: the same command with --yes frees {in_words(sum(w.bytes for w in found))}")
        return 0
    gone = [waste for waste in found if remove(store, waste)]
    locked = f"; {len(found) - len(gone)} left alone, in use by now" if len(gone) < len(found) else ""
    print(f"removed {len(gone)}, freed {in_words(sum(w.bytes for w in gone))}{locked}")
    return 0


def add(subcommands: Any) -> None:
    status = command(
        subcommands, "status", "How far a sweep is, per model and arm.", "gan-ablate status runs/smoke --watch"
    )
    status.add_argument("root")
    status.add_argument("--watch", action="store_true", help="again and again, until nothing is left")
    status.add_argument("--every", type=float, default=2.0, help="seconds between two looks")
    status.add_argument("--json", action="store_true", help="one JSON object, for other programs")
    ahead = command(
        subcommands, "next", "What an adaptive or a tuned sweep trains next, and why.", "gan-ablate next runs/ablation"
    )
    ahead.add_argument("root")
    ahead.add_argument("--json", action="store_true", help="one JSON object, for other programs")
    show = command(
        subcommands, "show", "All about one run.", "gan-ablate show dcgan/label_smoothing/0 --root runs/ablation"
    )
    show.add_argument("run", help="a run id or its beginning, model/arm/seed, or the path of a run's folder")
    show.add_argument("--root", default=None, help="where to look (default: every root under runs/)")
    add_trust(show, "the run's recipe")
    merge = command(
        subcommands,
        "merge",
        "Join stores of one study, as from two machines; refuses runs that contradict each other.",
        "gan-ablate merge runs/here runs/there --out runs/both",
    )
    merge.add_argument("roots", nargs="+", help="roots of one study")
    merge.add_argument("--out", default="", help="the joined root, new or one of them (default: the first)")
    gc = command(
        subcommands,
        "gc",
        "What a root can do without, and with --yes its removal; runs being trained are never touched.",
        "gan-ablate gc runs/ablation --what checkpoints,temporaries --yes",
    )
    gc.add_argument("root")
    gc.add_argument("--what", default="checkpoints,temporaries,strays", help="which of them, with commas")
    gc.add_argument("--dry-run", action="store_true", help="only say what would go (as without --yes)")
    gc.add_argument("--yes", action="store_true", help="remove it")


COMMANDS = {"status": _status, "next": _next, "show": _show, "merge": _merge, "gc": _gc}
