"""What a budget decides of a kept adaptive study: its sweep is played again, each run's result taken from the archive.

    python benchmarks/budget.py [reports/ablation/results.zip] [--hours 1 2 3 4] [--workers 2] [--speed 1]

The sweep is the real one, with its looks and its order; only nothing is trained. A run costs the seconds that its
result says it took, divided by `--speed`: 2 for a machine that would have been twice as fast. Prints, per budget, the
runs that fit in it, and per model how many arms are decided, and how many of all these early, by a look under way.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from gan_ablate.recipe import Recipe

KEPT, ORDER = "GAN_ABLATE_KEPT_RUNS", "GAN_ABLATE_KEPT_ORDER"  # for the run processes: folder of runs, file of ids


def kept(recipe: Recipe, folder: Path, **_: Any) -> dict[str, Any]:
    """The run's result of the kept study, as if it had been trained now."""
    with open(os.environ[ORDER], "a") as file:
        file.write(f"{recipe.run_id}\n")
    result: dict[str, Any] = json.loads((Path(os.environ[KEPT]) / recipe.run_id / "result.json").read_text())
    return result


def play(study: Any, root: Path, runs: int | None) -> list[str]:
    """Sweeps the study in `root` for so many runs (None: to its end); returns the ids of its runs in their order."""
    from gan_ablate.sweep.display import Display
    from gan_ablate.sweep.pool import sweep

    order = root.with_suffix(".order")
    order.write_text("")
    os.environ[ORDER] = str(order)
    if stopped := sweep(study, root, run="budget:kept", workers=1, budget_runs=runs, display=Display()).stopped:
        raise SystemExit(128 + stopped)
    return order.read_text().split()


def decided(root: Path) -> dict[str, tuple[int, int, int]]:
    """Per model, how many arms are decided, how many of these early, and how many it has in all."""
    from gan_ablate.findings.tables import tables
    from gan_ablate.results.frames import load

    found = [table.verdicts for table in tables(load(root)) if table.verdicts is not None]
    own = {table.title: [v for v in table.arms.values() if v.verdict != "undecided"] for table in found}
    return {t.title: (len(own[t.title]), sum(v.early for v in own[t.title]), len(t.runs)) for t in found}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archive", nargs="?", type=Path, default=Path("reports/ablation/results.zip"))
    parser.add_argument("--hours", nargs="+", type=float, default=[1.0, 2.0, 3.0, 4.0])
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--speed", type=float, default=1.0)
    args = parser.parse_args()

    from gan_ablate.store.unpack import unpack
    from gan_ablate.study.study import load_study

    folder = Path(tempfile.mkdtemp())
    unpack(args.archive, folder / "kept")
    os.environ[KEPT] = str(folder / "kept" / "runs")
    study = load_study(args.archive.resolve().parent.name)
    order = play(study, folder / "all", None)
    results = [json.loads((folder / "kept" / "runs" / run / "result.json").read_text()) for run in order]
    seconds = [result["seconds"] / args.speed for result in results]
    print(f"{study.name}: {len(order)} runs, {sum(seconds) / 3600:.1f} hours of one core")
    arms = {model: count for model, (*_, count) in decided(folder / "all").items()}
    for hours in args.hours:
        spent, runs = 0.0, 0
        while runs < len(order) and spent + seconds[runs] <= hours * 3600 * args.workers:
            spent, runs = spent + seconds[runs], runs + 1
        root = folder / f"hours-{hours:g}"
        play(study, root, runs)
        found = decided(root)
        of = ", ".join(f"{model} {found[model][0]} of {count}" for model, count in arms.items())
        total, early = (sum(found[model][k] for model in arms) for k in (0, 1))
        print(
            f"{hours:g} h on {args.workers} workers: {runs} runs, {total} of {sum(arms.values())} arms decided ({of}), "
            f"{early} of them early",
            flush=True,
        )
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
