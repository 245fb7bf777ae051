"""Which modules beside this package may be imported by name: those that the user named, and no others.

A name may come from anywhere: a study, a checkpoint, a root that somebody else wrote. To import a module is to run it.
So a name that stands in a file is followed only into a module that the user typed himself (`--trick`, `--arms`,
`--extractor`, `--trust`), or that the program has imported already.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

from gan_ablate.errors import InputError

_trusted: dict[str, None] = {}  # modules and packages, in the order in which they were named


def trust(*modules: str) -> None:
    """Permits the import of these modules, and of what lies in them. Raises `InputError` for what is no module's name.

    `mytricks`, `package.module`, and also the path of a thing in one: `mytricks.LogitPenalty`, `mymodels:Encoder`.
    """
    for module in modules:
        if not _is_path(module):
            raise InputError(f"--trust {module!r}: needs the name of a module, as in --trust mytricks")
        _trusted[module.replace(":", ".")] = None


def trust_typed(name: str) -> None:
    """Permits the module of an import path that the user typed; other names and patterns permit nothing."""
    if _is_path(name) and {".", ":"} & set(name):
        trust(name)


def trusted() -> tuple[str, ...]:
    """What is permitted so far: for processes that are started to do a part of the work."""
    return tuple(_trusted)


@contextmanager
def for_a_while() -> Iterator[None]:
    """A command: what is permitted in it is forgotten after it."""
    before = dict(_trusted)
    try:
        yield
    finally:
        _trusted.clear()
        _trusted.update(before)


def require(path: str, what: str) -> None:
    """Raises `InputError` unless the module of `package.module:attribute` may be imported. Imports nothing."""
    module, _, attribute = path.partition(":")
    if not _is_path(module) or not attribute.replace(".", "").isidentifier():
        raise InputError(f"{what}: is no import path, as in package.module:attribute")
    if module in sys.modules:
        trust(module)  # the program imported it: so may those that work for it
    elif not any(f"{path.replace(':', '.')}.".startswith(f"{each}.") for each in _trusted):
        raise InputError(
            f"{what}: the module {module} is imported only with your permission: --trust {module} gives it "
            "(in Python: import it first)"
        )


def load(path: str, what: str) -> Any:
    """What lies at `package.module:attribute`, imported but not called.

    Raises `InputError` for a module that the user has not permitted, one that cannot be imported, and an attribute
    that it has not. `what` begins the line.
    """
    require(path, what)
    module, _, attribute = path.partition(":")
    sys.path.insert(0, "")  # a user's own module lies in the working directory
    try:
        found: Any = import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except Exception as error:  # whatever the module does when it is imported
        kind = "" if isinstance(error, ImportError | AttributeError) else f"{type(error).__name__}: "
        raise InputError(f"{what}: cannot import {attribute} from {module}: {kind}{error}") from error
    finally:
        sys.path.remove("")
    return found


def _is_path(name: str) -> bool:
    return all(part.isidentifier() for part in name.replace(":", ".", 1).split("."))
