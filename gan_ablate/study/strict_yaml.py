"""Reads YAML that a person wrote, strictly: one clear line with file, line and column for each mistake."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from gan_ablate.errors import InputError, in_one_line

MAX_BYTES = 1_000_000
MAX_DEPTH = 20
_Base: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Loader(_Base):
    """The safe loader with the numbers of YAML 1.2 and without dates: YAML 1.1 reads `1:30` as 90, `010` as 8 and
    `1e-4` as a text. A number with leading zeros is a text, since JSON has no such numbers."""


_TAG = "tag:yaml.org,2002:"
_Loader.yaml_implicit_resolvers = {
    first: [each for each in resolvers if each[0].removeprefix(_TAG) not in ("timestamp", "int", "float")]
    for first, resolvers in _Base.yaml_implicit_resolvers.items()
}
_WHOLE, _POWER = r"(0|[1-9][0-9]*)", r"([eE][-+]?[0-9]+)?"
for _kind, _pattern in {
    "int": rf"[-+]?{_WHOLE}|0o[0-7]+|0x[0-9a-fA-F]+",
    "float": rf"[-+]?({_WHOLE}(\.[0-9]*)?{_POWER}|\.[0-9]+{_POWER}|\.(inf|Inf|INF))|\.(nan|NaN|NAN)",
}.items():
    _Loader.add_implicit_resolver(_TAG + _kind, re.compile(f"^({_pattern})$"), list("-+.0123456789"))


def read_yaml(path: str | Path, what: str = "study") -> Any:
    """The plain data of one YAML file, meant as a `what`. Raises `InputError` with the place of the first mistake.

    Refused besides broken syntax: over 1 MB, several documents, duplicate keys (YAML would silently keep the
    last), and anchors or aliases (a few lines of them can expand to gigabytes).
    """
    path = Path(path)
    try:
        with open(path, "rb") as file:  # may be a pipe: `<(..)` of a shell
            held = file.read(MAX_BYTES + 1)
        if len(held) > MAX_BYTES:
            raise InputError(
                f"{path}: {max(len(held), path.stat().st_size):,} bytes; a {what} has at most {MAX_BYTES:,}"
            )
        text = held.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(f"{path}: not UTF-8 text (byte {error.start}); a {what} is a YAML file") from None
    except (OSError, ValueError) as error:  # the latter for a path with a NUL
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: {getattr(error, 'strerror', '') or error}; expected a {what} in YAML") from None
    try:
        _check_events(text, path)
        node = yaml.compose(text, Loader=_Loader)
        if node is None:
            return None
        _check_keys(node, path)
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = _place(path, mark) if mark else str(path)
        raise InputError(f"{place}: broken YAML: {in_one_line(error.problem or error.context)}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: broken YAML: {in_one_line(error)}") from None


def _check_events(text: str, path: Path) -> None:
    """Refuses anchors, aliases and deep nesting before anything is built from them."""
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
            raise InputError(f"{_place(path, event.start_mark)}: anchors (&) and aliases (*) are not allowed")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
            if depth > MAX_DEPTH:
                raise InputError(f"{_place(path, event.start_mark)}: nested more than {MAX_DEPTH} levels deep")
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1


def _check_keys(node: yaml.Node, path: Path) -> None:
    if isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            if isinstance(key, yaml.ScalarNode):
                if key.value in seen:
                    raise InputError(f"{_place(path, key.start_mark)}: key {key.value!r} is given twice")
                seen.add(key.value)
            _check_keys(value, path)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_keys(item, path)


def _place(path: Path, mark: Any) -> str:
    return f"{path}, line {mark.line + 1}, column {mark.column + 1}"
