"""The one exception for bad input: the command line prints it as one line and exits with 2."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


class InputError(ValueError):
    """Something the user gave cannot be used. The message is one line: what, where, what would be right."""


def unknown(kind: str, name: object, known: Iterable[str], where: str = "") -> InputError:
    """An `InputError` for a name nobody registered, with the nearest registered names.

    >>> str(unknown("trick", "label_smothing", ["label_smoothing", "n_critic"]))
    "unknown trick 'label_smothing': did you mean 'label_smoothing'?"
    """
    known = sorted(known)
    name = name if len(str(name)) <= 80 else f"{str(name)[:80]}.."
    close = get_close_matches(str(name), known, n=3, cutoff=0.55)
    hint = f"did you mean {' or '.join(map(repr, close))}?" if close else f"known: {', '.join(known)}"
    return InputError(f"{where + ': ' if where else ''}unknown {kind} {name!r}: {hint}")


def in_one_line(error: object) -> str:
    """An error's text on one line; the name of its type where it has none."""
    return " ".join(str(error).split()) or type(error).__name__
