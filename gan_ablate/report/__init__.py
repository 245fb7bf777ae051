"""Reports from result files. No torch: a report builds in seconds.

`load(root)` gives tidy pandas frames for a notebook; `gan_ablate.stats` has the statistics that the report uses.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gan_ablate.findings.tables import ModelTable
    from gan_ablate.results.frames import Results

__all__ = ["compare", "load", "report", "tables"]


def load(root: str | Path) -> Results:
    """A root's runs and curves as tidy pandas frames. Raises `InputError` where there is no study."""
    from gan_ablate.results.frames import load as read

    return read(root)


def tables(loaded: Results) -> tuple[ModelTable, ...]:
    """Each arm against base, per model: what the report's tables say, as plain objects."""
    from gan_ablate.findings.tables import tables as find

    return find(loaded)


def report(roots: Sequence[str | Path], out: str | Path | None = None, partial: bool = False) -> Path:
    """Write report.html, report.md, tables/ and figures/; returns the path of the page.

    `partial`: the sweep is still running; arms without a run are left out, and no finished run is no error.
    Same input, same bytes. Raises `InputError` where there is nothing to report.
    """
    from gan_ablate.report.write import write

    return write(roots, out, partial)


def compare(before: str | Path, after: str | Path, out: str | Path | None = None) -> Path:
    """Write compare.html, compare.md and tables/compare.csv: what moved between two roots or reports.

    Returns the path of the page. Raises `InputError` where either is neither.
    """
    from gan_ablate.report.comparison import write

    return write(before, after, out)
