"""The commands of `gan-ablate`, one file per family: each has `add(subcommands)` and `COMMANDS`, name -> function.

Nothing here imports torch at module level: only the functions of commands that train or measure do.
"""

from __future__ import annotations

import gc
import os
import re
from argparse import SUPPRESS, Action
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from jsonargparse import ArgumentParser, DefaultHelpFormatter, Namespace

from gan_ablate.errors import InputError, in_one_line, unknown
from gan_ablate.untrusted import printable

STEP_MODES = ("auto", "captured", "eager")
RUN_OPTIONS = ("data_root", "weights", "accelerator", "step", "wandb", "wandb_artifacts", "logger")
WANDBS_WORDS = {"run": "online", "dryrun": "offline"}  # older ones, which WANDB_MODE may still have


KINDS = {"int": "a whole number", "float": "a number", "str": "a text"}
WRONG_TYPE = re.compile(r"""Parser key "([\w.]+)": Expected an? <class '(int|float|str)'>\. Got value: (.*)""", re.S)


class Help(DefaultHelpFormatter):
    """Names a default where there is one to name, and no types: the text and the error line say what is right."""

    def _get_help_string(self, action: Action) -> str:
        text = action.help or ""
        if action.default is SUPPRESS:
            return str(super()._get_help_string(action))
        if (
            action.default is False
            or action.default in (None, "", [])
            or not action.option_strings
            or "default" in text
        ):
            return text
        return f"{text} (default: %(default)s)"


class Parser(ArgumentParser):
    """Bad arguments raise `InputError`: one line, and exit code 2."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, formatter_class=Help, **kwargs)

    def error(self, message: str, ex: Exception | None = None) -> Any:
        raise InputError(in_words(message))


def in_words(error: object) -> str:
    """The parser's message on one line; of a value of the wrong type in terms of the command line."""
    if found := WRONG_TYPE.search(str(error)):
        name, kind, value = found.groups()
        return in_one_line(f"--{name.replace('_', '-')} {value}: needs {KINDS[kind]}")
    return in_one_line(error)


def command(subcommands: Any, name: str, help: str, example: str) -> ArgumentParser:
    """A new subcommand whose help ends in an example that can be copied."""
    parser = Parser(description=f"{help} Example: {example}", exit_on_error=True)
    subcommands.add_subcommand(name, parser, help=help)
    return parser


def say(text: object) -> None:
    """Prints text that others may have written, with control characters escaped."""
    print(printable(str(text)), flush=True)


def columns(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Rows of cells as lines with their columns under each other, two spaces in."""
    widths = [max(map(len, cells)) for cells in zip(*rows, strict=True)]
    for row in rows:
        yield "  " + "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


@contextmanager
def importing() -> Iterator[None]:
    """For imports of torch and lightning: they make a million objects and hardly any garbage; to look for it on the way
    takes a fifth of their time."""
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.unfreeze()  # both: what was imported counts as old, and is looked through seldom
        gc.enable()


def add_trust(command: ArgumentParser, where: str) -> None:
    """`--trust`; `cli.main` gives the permission before the command begins."""
    command.add_argument(
        "--trust", action="append", default=[], metavar="MODULE", help=f"a module of yours that {where} may name: it "
        "is imported, which runs it; may be repeated",
    )  # fmt: skip


def add_study(command: ArgumentParser, root: str) -> None:
    """The study of a command, and `--root`, which `root` explains."""
    command.add_argument("study", help="a YAML file, or the name of a shipped study, as smoke (sweeps/)")
    command.add_argument("--root", default="", help=f"{root} (default: runs/<name of the study>)")


def add_files(command: ArgumentParser) -> None:
    """Options for the places of files that do not come with the suite."""
    command.add_argument("--data-root", type=str, default=None, help="where torchvision's dataset files lie")
    command.add_argument("--weights", type=str, default=None, help="path of the weights file of the extractor")


def add_run_options(command: ArgumentParser, logger: str, wandb: str = "disabled") -> None:
    """The options of commands that carry out runs."""
    add_files(command)
    command.add_argument("--accelerator", type=str, default="auto", help="auto, cpu or gpu")
    command.add_argument(
        "--step", type=str, default="auto", help="captured: as CUDA graphs; eager: one by one; auto: captured where a "
        "check passes (results do not depend on it)",
    )  # fmt: skip
    command.add_argument(
        "--wandb", type=str, default="", help=f"online, offline or disabled (default: WANDB_MODE, or {wandb})"
    )
    command.add_argument(
        "--wandb-artifacts", type=str, default="none", help="all: checkpoint and sample grids are uploaded too; or none"
    )
    command.add_argument("--logger", type=str, default=logger, help="csv, tensorboard or none")


def wandb_mode(given: str, usual: str) -> str:
    """The mode that an option gives, else WANDB_MODE, else the usual one. An option wins, as in `wandb.init`."""
    told = os.environ.get("WANDB_MODE", "")
    return given or WANDBS_WORDS.get(told, told) or usual


def read_artifacts(word: str, option: str) -> bool:
    """Whether artifacts are wanted. Raises `InputError` for another word than all or none."""
    if word not in ("none", "all"):
        raise unknown(option, word, ("none", "all"))
    return word == "all"


def run_options(args: Namespace, wandb: str = "disabled", environment: bool = True) -> dict[str, Any]:
    """The arguments of `run.carry_out` from these options. Raises `InputError` for a choice that does not exist.

    wandb: the mode where neither `--wandb` nor, if `environment` counts, WANDB_MODE says one.
    """
    from gan_ablate.run.loggers import LOGGERS, WANDB_MODES

    mode = wandb_mode(args.wandb, wandb) if environment else args.wandb or wandb
    if mode not in WANDB_MODES:
        raise unknown("--wandb" if args.wandb else "WANDB_MODE", mode, WANDB_MODES)
    choices = {"logger": LOGGERS, "accelerator": ("auto", "cpu", "gpu"), "step": STEP_MODES}
    for name, options in choices.items():
        if args[name] not in options:
            raise unknown(f"--{name}", args[name], options)
    artifacts = read_artifacts(args.wandb_artifacts, "--wandb-artifacts")
    return {**{name: args[name] for name in RUN_OPTIONS}, "wandb": mode, "wandb_artifacts": artifacts}
