"""What the runner adds to the work: time per run, start-up beside many finished runs, memory of the sweeper.

`.venv/bin/python benchmarks/store.py [--runs 1000] [--finished 10000] [--folder /tmp/gan_ablate_store]`

Runs of zero steps: the run function returns at once, so all that is measured is claiming, forking, recording and
publishing. Targets: under 0.1 s per run, under 5 s, under 500 MB.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gan_ablate.publishing import to_json
from gan_ablate.recipe import SCHEMA, Recipe
from gan_ablate.store.store import Store
from gan_ablate.study.study import Expansion, Study
from gan_ablate.sweep import pool
from gan_ablate.sweep.display import Display

STUDY = Study(name="store")
POINT = {"fid": 38.80595, "kid": 0.7723284, "is_mean": 20.246025, "is_std": None, "modes": 52, "mode_kl": 0.41727}


def recipes(count: int) -> tuple[Recipe, ...]:
    """`count` cells: 100 arms, as many seeds as it takes."""
    base = Recipe().resolved()
    return tuple(replace(base, lr=1e-4 * (1 + k % 100), arm=f"arm {k % 100}", seed=k // 100) for k in range(count))


def zero_steps(recipe: Recipe, folder: Path, **_: Any) -> dict[str, Any]:
    """A run function whose result is as large as a real one."""
    curve = [{"step": 175 * k, **POINT, "seconds": 0.4} for k in range(9)]
    found = {"recipe": recipe.to_dict(), "outcome": "ok", "metrics": POINT, "curve": curve, "seconds": 0.0}
    return found | {"labels": dict.fromkeys(POINT, "figure@2048 (shapes classifier)"), "evaluation": {}, "signs": {}}


def sweep(root: Path, cells: Sequence[Recipe]) -> pool.Summary:
    return pool.sweep(
        STUDY, root, workers=2, threads=1, run="store:zero_steps", expansion=Expansion(tuple(cells)), display=Display()
    )


def measure(root: Path, count: int) -> dict[str, float]:
    """In a process of its own, so that memory is this sweep's."""
    cells = recipes(count)
    started, cpu = time.perf_counter(), time.process_time()
    summary = sweep(root, cells)
    seconds = time.perf_counter() - started
    assert summary.done + summary.skipped == count, summary
    return {
        "runs": count,
        "done": summary.done,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(time.process_time() - cpu, 2),
        "megabytes": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    }


def finish(root: Path, count: int) -> None:
    """`count` finished runs, written plainly: only reading them is measured."""
    store = Store.create(root, name=STUDY.name, source={}, recipes=(cells := recipes(count)))
    for cell, recipe in zip(store.cells, cells, strict=True):
        folder = store.folder(cell.run_id)
        folder.mkdir()
        record = {"schema": SCHEMA, "run_id": cell.run_id, **zero_steps(recipe, folder)}
        (folder / "result.json").write_bytes(to_json(record))
        (folder / "recipe.json").write_bytes(to_json({"recipe": recipe.to_dict()}))


def apart(root: Path, count: int) -> dict[str, Any]:
    words = [sys.executable, __file__, "--measure", "--folder", str(root), "--runs", str(count)]
    done = subprocess.run(words, stdout=subprocess.PIPE, check=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    return json.loads(done.stdout)


def status(root: Path) -> dict[str, float]:
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "gan_ablate", "status", str(root)], check=True, stdout=subprocess.DEVNULL)
    return {"seconds": round(time.perf_counter() - started, 2)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=1000)
    parser.add_argument("--finished", type=int, default=10_000)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/gan_ablate_store"))
    parser.add_argument("--measure", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.measure:
        print(json.dumps(measure(args.folder, args.runs)))
        return
    shutil.rmtree(args.folder, ignore_errors=True)
    one, few = apart(args.folder / "few", 1), apart(args.folder / "many", args.runs)
    per_run = (few["seconds"] - one["seconds"]) / (args.runs - 1)
    finish(args.folder / "finished", args.finished)
    print(json.dumps({
        "start-up and one run": one,
        "runs of zero steps": {**few, "seconds_per_run": round(per_run, 4)},
        "sweep with all finished": apart(args.folder / "finished", args.finished),
        "gan-ablate status there": status(args.folder / "finished"),
    }, indent=1))  # fmt: skip


if __name__ == "__main__":
    main()
