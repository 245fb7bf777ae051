"""Commands that look at what a root holds."""

from __future__ import annotations

from typing import Any

from jsonargparse import Namespace

from gan_ablate.commands import command


def _status(args: Namespace) -> int:
    from gan_ablate.sweep.store import Store

    print(f"{'model':10} {'arm':32} {'done':>5} {'running':>8} {'failed':>7} {'left':>5}")
    for row in Store.open(args.root).status():
        print(f"{row.model:10} {row.arm:32} {row.done:5} {row.running:8} {row.failed:7} {row.left:5}")
    return 0


def add(subcommands: Any) -> None:
    status = command(subcommands, "status", "How far a sweep is, per model and arm.", "gan-ablate status runs/smoke")
    status.add_argument("root")


COMMANDS = {"status": _status}
