"""Prints FID per seed of each arm in two roots side by side, as a Markdown table.

    python benchmarks/mended.py BEFORE AFTER

docs/mended-tricks.md says how the two roots were made: one study, trained by the code before and after a change.
"""

from __future__ import annotations

import argparse
import json
from collections import defaultdict
from pathlib import Path

Cell = tuple[str, str]  # model, arm


def figures(root: Path) -> dict[Cell, dict[int, tuple[float, str]]]:
    """(model, arm) -> seed -> final FID and outcome, of the finished runs of a root."""
    found: dict[Cell, dict[int, tuple[float, str]]] = defaultdict(dict)
    for path in sorted(root.glob("runs/*/result.json")):
        result = json.loads(path.read_text())
        recipe, fid = result["recipe"], result["metrics"].get("fid")
        cell = recipe["model"], recipe["arm"]
        found[cell][recipe["seed"]] = (float("nan") if fid is None else fid, result["outcome"])
    return found


def shown(seeds: dict[int, tuple[float, str]]) -> str:
    """FIDs by seed; a run that failed carries its outcome."""
    return " / ".join(f"{fid:.0f}" + ("" if o == "ok" else f" ({o})") for _, (fid, o) in sorted(seeds.items())) or "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    args = parser.parse_args()
    before, after = figures(args.before), figures(args.after)
    print("| model | arm | before | after |\n|---|---|---|---|")
    for model, arm in sorted({*before, *after}, key=lambda cell: (cell[0], cell[1] != "base", cell[1])):
        print(f"| {model} | `{arm}` | {shown(before.get((model, arm), {}))} | {shown(after.get((model, arm), {}))} |")


if __name__ == "__main__":
    main()
