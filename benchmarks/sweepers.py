"""How a root bears many sweepers: claims, files and time per run, with 1, 10, 100 and 1,000 of them on one root.

    python benchmarks/sweepers.py [--sweepers 1 10 100 1000] [--runs-each 5] [--seconds 2] [--folder /tmp/sweepers]

Each sweeper is a process that does what a machine's sweeper with one worker does to the store, by the same code: the
queue of runs, claims, attempts, results. Nothing is trained: a run sleeps, so that all sweepers hold runs at a time. It
sleeps longer where they are many, since they share this machine's cores here. The root lies on a local disk:
a network's latency comes on top, for each file operation.
"""

from __future__ import annotations

import argparse
import multiprocessing
import shutil
import sys
import time
from multiprocessing.synchronize import Barrier
from pathlib import Path
from typing import Any

from store import STUDY, recipes, zero_steps

from gan_ablate.recipe import Recipe
from gan_ablate.store.store import Store
from gan_ablate.sweep.run_queue import Job, RunQueue


def sweep(root: Path, cells: tuple[Recipe, ...], seconds: float, start: Barrier, found: Any) -> None:
    """One sweeper: carries out what it gets, until all runs are finished; tells how many those were."""
    operations = 0

    def count(event: str, _: Any) -> None:
        nonlocal operations
        operations += event in ("open", "os.rename", "os.mkdir", "os.remove", "os.listdir", "os.scandir")

    store = Store.open(root)
    queue = RunQueue(store, places=1)
    start.wait()
    sys.addaudithook(count)
    began, cpu = time.perf_counter(), time.process_time()
    known = store.begun()
    for recipe in cells:
        queue.add(Job(recipe, recipe.run_id), store.finished(recipe.run_id) if recipe.run_id in known else None)
    done = refused = 0
    while len(queue):
        queue.look_at_held()
        if (job := queue.next(lambda job: True)) is None:
            time.sleep(0.2)
            continue
        with store.claim(job.run_id) as claim:
            if claim is None:
                refused += 1
                queue.hold(job)
            elif claim.finished() is None:
                folder = claim.prepare(job.recipe)
                time.sleep(seconds)
                claim.publish_result(zero_steps(job.recipe, folder))
                done += 1
    found.put((done, refused, operations, time.process_time() - cpu, time.perf_counter() - began))


def measure(folder: Path, count: int, runs_each: int, seconds: float) -> dict[str, float]:
    """`count` sweepers on a new root with `runs_each` runs for each of them."""
    shutil.rmtree(folder, ignore_errors=True)
    cells = recipes(count * runs_each)
    Store.create(folder, name=STUDY.name, source={}, recipes=cells)
    fork = multiprocessing.get_context("fork")
    start, found = fork.Barrier(count + 1), fork.SimpleQueue()
    sweepers = [fork.Process(target=sweep, args=(folder, cells, seconds, start, found)) for _ in range(count)]
    for each in sweepers:
        each.start()
    start.wait()
    rows = [found.get() for _ in sweepers]
    for each in sweepers:
        each.join()
    done, refused, operations, cpu, _ = (sum(column) for column in zip(*rows, strict=True))
    assert done == len(cells), (done, len(cells))  # each run once
    longest = max(row[-1] for row in rows)
    return {
        "sweepers": count,
        "runs": done,
        "claims_refused_per_run": round(refused / done, 2),
        "file_operations_per_run": round(operations / done, 1),
        "cpu_ms_per_run": round(1000 * cpu / done, 1),
        "wall_over_ideal": round(longest / (runs_each * seconds), 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sweepers", type=int, nargs="+", default=[1, 10, 100, 1000])
    parser.add_argument("--runs-each", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of a run, times 1 + sweepers / 50")
    parser.add_argument("--folder", type=Path, default=Path("/tmp/sweepers"))
    args = parser.parse_args()
    for count in args.sweepers:
        print(measure(args.folder, count, args.runs_each, args.seconds * (1 + count / 50)), flush=True)
    shutil.rmtree(args.folder, ignore_errors=True)


if __name__ == "__main__":
    main()
