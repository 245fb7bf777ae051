"""`--config FILE`: options from a YAML file, read as strictly as a study; what stands on the command line wins.

jsonargparse checks the types and does `--print_config`. A file may come from anybody: it does not say what is trusted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from jsonargparse import ActionConfigFile, ArgumentParser

from gan_ablate.errors import InputError, unknown
from gan_ablate.study.strict_yaml import read_yaml

NOT_IN_FILES = ("config", "trust", "help", "print_config")


class ReadConfig(ActionConfigFile):
    """Hands jsonargparse the file's data. Several files are applied in their order."""

    def __call__(self, parser: Any, cfg: Any, values: Any, option_string: str | None = None) -> None:
        known = [action.dest for action in parser._actions if action.dest not in NOT_IN_FILES]
        super().__call__(parser, cfg, json.dumps(read_options(str(values), known)), option_string)


def read_options(path: str, known: list[str]) -> dict[str, Any]:
    """Option (with underscores) -> value. Raises `InputError` for what is no mapping of `known` options."""
    data = read_yaml(path, "config")
    if not isinstance(data, Mapping) or not data:
        raise InputError(f"{path}: a config is a mapping of options to values, as lr: 0.001; --print_config shows all")
    found: dict[str, Any] = {}
    for key, value in data.items():
        name = str(key).replace("-", "_")
        if name == "trust":  # --print_config prints it
            if value:
                raise InputError(f"{path}: trust: whom you trust is yours to say: --trust on the command line")
            continue
        if name not in known:
            raise unknown("option", key, known, path)
        if name in found:
            raise InputError(f"{path}: {name} stands twice: keep one of them")
        found[name] = value
    return found


def add_config(command: ArgumentParser) -> None:
    """`--config` and `--print_config`."""
    command.add_argument(
        "--config", action=ReadConfig, help="YAML file of these options, as --print_config prints it; options on the "
        "command line win; modules of yours that it names need --trust",
    )  # fmt: skip
