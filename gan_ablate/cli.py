"""The command line: parses and calls. Nothing here imports torch, only the commands that train or measure do."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

from jsonargparse import ArgumentError, ArgumentParser, Namespace

import gan_ablate
from gan_ablate import trust
from gan_ablate.commands import (
    Parser,
    archives,
    claims,
    dashboard,
    in_words,
    measure,
    replicate,
    report,
    store,
    sweep,
    train,
    verdicts,
    wandb,
)
from gan_ablate.errors import InputError
from gan_ablate.untrusted import printable

FAMILIES = (train, sweep, store, dashboard, archives, replicate, report, claims, measure, verdicts, wandb)
COMMANDS: dict[str, Callable[[Namespace], int]] = {k: v for family in FAMILIES for k, v in family.COMMANDS.items()}


def parser() -> ArgumentParser:
    """The whole command line."""
    top = Parser(
        prog="gan-ablate", description="Which GAN stability tricks really help, on my data, and how sure am I?"
    )
    top.add_argument("--version", action="version", version=gan_ablate.__version__)
    subcommands = top.add_subcommands(required=True, dest="command")
    for family in FAMILIES:
        family.add(subcommands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Parse, call, and turn bad input into one line and exit code 2."""
    try:
        args = parser().parse_args(list(argv) if argv is not None else None)
        with trust.for_a_while():
            trust.trust(*args[args.command].get("trust", ()))
            return COMMANDS[args.command](args[args.command])
    except (InputError, ArgumentError) as error:
        print(printable(f"gan-ablate: {in_words(error)}"), file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 0


def console() -> None:
    """Entry point of `gan-ablate`."""
    sys.exit(main())
