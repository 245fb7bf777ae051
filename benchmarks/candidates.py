"""What roots say of their datasets as ground for a study: Markdown tables of bases, and of arms with known effects.

    python benchmarks/candidates.py ROOT... [--picture FILE]

docs/embedded.md has what it printed of `sweeps/candidates.yaml`, and why the embedded study stands where it does.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

from PIL import Image

from gan_ablate.findings.rows import mean
from gan_ablate.findings.summaries import ArmSummary, ModelTable
from gan_ablate.findings.tables import tables
from gan_ablate.formatting import number, percent
from gan_ablate.recipe import BASE
from gan_ablate.results.frames import Results, load


def bases(found: list[ModelTable]) -> Iterator[str]:
    """A row for the base of each model and dataset."""
    yield "| dataset | model | alive | FID | sd of log FID | fall, last quarter | precision | good samples | s a run |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for table in found:
        base = table.base
        if base is None or not base.runs:
            continue
        yield (
            f"| {table.dataset} | {table.model} | {base.runs - base.failures} of {base.runs} "
            f"| {number(base.fid.point)} | {base.spread:.2f} | {base.fall.mean:+.2f} | {base.means['precision']:.2f} "
            f"| {base.means['high_quality']:.2f} | {mean(table.groups[BASE]['seconds']):.0f} |"
        )


def effects(found: list[ModelTable]) -> Iterator[str]:
    """A row per arm, a column per model and dataset: FID against base's, and its verdict."""
    names = list(dict.fromkeys(a.arm for t in found for a in t.arms if a.arm != BASE))
    heads = [f"{t.model}, {t.dataset}" for t in found]
    yield f"| arm | {' | '.join(heads)} |"
    yield "|---|" + "---|" * len(heads)
    for name in names:
        cells = (next((cell(a) for a in t.arms if a.arm == name), "") for t in found)
        yield f"| `{name}` | {' | '.join(cells)} |"


def cell(a: ArmSummary) -> str:
    failed = f", {a.failures}/{a.runs} failed" if a.failures else ""
    return f"{percent(a.ratio.point)} {a.verdict}{failed}"


def side_by_side(roots: list[Results], model: str, side: int = 400, gap: int = 12) -> Image.Image:
    """Samples of base at the end of its first run, one grid for each dataset, in the order of the roots."""
    grids: dict[str, Path] = {}
    for root in roots:
        for run in root.each:
            grid = root.files / "runs" / run.run_id / "samples" / "final.png"
            if (run.model, run.arm) == (model, BASE) and grid.exists():
                grids.setdefault(run.dataset, grid)
    whole = Image.new("RGB", (len(grids) * (side + gap) - gap, side), "white")
    for place, grid in enumerate(grids.values()):
        whole.paste(Image.open(grid).resize((side, side), Image.Resampling.NEAREST), (place * (side + gap), 0))
    return whole


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("roots", nargs="+")
    parser.add_argument("--picture", default="", help="where to put the samples of dcgan's base on each dataset")
    args = parser.parse_args()
    roots = [load(root) for root in args.roots]
    found = [table for root in roots for table in tables(root) if table.base and table.base.runs]
    print("\n".join([*bases(found), "", *effects(found)]))
    if args.picture:
        side_by_side(roots, "dcgan").save(args.picture, optimize=True)


if __name__ == "__main__":
    main()
