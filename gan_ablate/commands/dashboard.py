"""`gan-ablate dashboard`: a root's page on this machine alone, while a sweep runs or after it, without torch."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import Any

from jsonargparse import Namespace

from gan_ablate.commands import command, say
from gan_ablate.errors import InputError

NICE = 10  # the sweep goes first


def _dashboard(args: Namespace) -> int:
    from gan_ablate.dashboard.server import Server
    from gan_ablate.dashboard.watched import Watched

    if not 0 <= args.port <= 65535:
        raise InputError(f"--port {args.port}: a port is a number from 1 to 65535, or 0 for any that is free")
    with suppress(KeyboardInterrupt):
        try:
            watched = Watched(args.root)
        except OSError as error:
            raise InputError(f"{args.root}: cannot be read: {error.strerror or error}") from None
        with Server(watched, args.port) as server:
            os.nice(NICE)
            say(f"{server.url}  {watched.root}, read only; Ctrl-C ends it")
            server.serve_forever()
    return 0


def add(subcommands: Any) -> None:
    dashboard = command(
        subcommands, "dashboard", "A page of a sweep on this machine alone, that updates itself while it runs.",
        "gan-ablate dashboard runs/ablation",
    )  # fmt: skip
    dashboard.add_argument("root")
    dashboard.add_argument("--port", type=int, default=8765, help="of 127.0.0.1 (0: any that is free)")


COMMANDS = {"dashboard": _dashboard}
