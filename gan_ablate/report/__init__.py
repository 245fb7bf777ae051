"""Reports from result files. No torch: a report builds in seconds."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gan_ablate.report.frames import Loaded

__all__ = ["load", "report"]


def load(root: str | Path) -> Loaded:
    """A root's runs and curves as tidy pandas frames. Raises `InputError` where there is no study."""
    from gan_ablate.report.frames import load as read

    return read(root)


def report(roots: Sequence[str | Path], out: str | Path | None = None) -> Path:
    """Write report.html, report.md, tables/ and figures/; returns the path of the page.

    Same input, same bytes. Raises `InputError` where there is nothing to report.
    """
    from gan_ablate.report.write import write

    return write(roots, out)
