"""Wall time of the smoke grid with one worker against two, in turn, each in a fresh root.

    python benchmarks/pool.py [--rounds 3] [--study sweeps/smoke.yaml] [--steps N]

The promise: two workers on two cores need at most 0.6 of the time of one. Rounds are interleaved, so that what else the
machine does meets both; `busy` is the share of all cores that other processes used meanwhile, from /proc/stat.
Where that is more than a little, wall times say nothing; the last line then says what CPU times alone allow: start-up S
(imports, on one core whatever the workers), then the rest W over the workers: (S + W2 / 2) / (S + W1).
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROMISED = 0.6


def cpu_seconds() -> float:
    """CPU time that the whole machine has spent since it started, idle and waiting left out."""
    numbers = [int(n) for n in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(numbers) - numbers[3] - numbers[4]) / os.sysconf("SC_CLK_TCK")


def own_seconds() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def sweep(study: str, workers: int, more: list[str]) -> tuple[float, float, float]:
    """Wall seconds, own CPU seconds, and the share of all cores that others used meanwhile."""
    with tempfile.TemporaryDirectory() as root:
        command = [sys.executable, "-m", "gan_ablate", "sweep", study, "--root", root, "--workers", str(workers), *more]
        start, all_before, own_before = time.perf_counter(), cpu_seconds(), own_seconds()
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        wall, own = time.perf_counter() - start, own_seconds() - own_before
        others = max(0.0, cpu_seconds() - all_before - own) / (wall * (os.cpu_count() or 1))
    return wall, own, others


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--study", default=str(Path(__file__).parents[1] / "sweeps" / "smoke.yaml"))
    args, more = parser.parse_known_args()
    walls: dict[int, list[float]] = {1: [], 2: []}
    owns: dict[int, list[float]] = {1: [], 2: []}
    before = own_seconds()
    subprocess.run([sys.executable, "-c", "import gan_ablate.run.carry_out"], check=True)
    start_up = own_seconds() - before
    for number in range(args.rounds):
        for workers in (1, 2) if number % 2 == 0 else (2, 1):
            wall, own, others = sweep(args.study, workers, more)
            walls[workers].append(wall)
            owns[workers].append(own)
            print(f"{workers} workers: {wall:6.1f} s  own CPU {own:6.1f} s  busy with others {others:4.0%}", flush=True)
    one, two = (statistics.median(walls[n]) for n in (1, 2))
    print(f"median {one:.1f} s and {two:.1f} s: {two / one:.2f} of the time (promised: {PROMISED})")
    first, second = (statistics.median(owns[n]) for n in (1, 2))
    bound = (start_up + (second - start_up) / 2) / first
    print(f"start-up {start_up:.1f} s of CPU; by CPU times alone at best {bound:.2f}")
    return int(two / one > PROMISED)


if __name__ == "__main__":
    sys.exit(main())
