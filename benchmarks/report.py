"""Seconds (wall, processor) and memory that a report takes on a root of N runs, interpreter start included.

python benchmarks/report.py [--runs 10000] [--repeat 3]
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from planted_runs import plant


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=10_000)
    parser.add_argument("--repeat", type=int, default=3)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        effects = {"base": 0.0, **{f"arm{i}": 0.05 * (i % 5 - 2) for i in range(args.runs // 15 - 1)}}
        root = plant(Path(folder), models=("dcgan", "nsgan", "wgan_gp"), effects=effects)
        walls, works, peaks = [], [], []
        for _ in range(args.repeat):
            began = time.perf_counter()
            command = [sys.executable, "-m", "gan_ablate.report", str(root)]
            child = subprocess.Popen(command, stdout=subprocess.DEVNULL)
            _, status, usage = os.wait4(child.pid, 0)
            if status:
                raise SystemExit("the report failed")
            walls.append(time.perf_counter() - began)
            works.append(usage.ru_utime + usage.ru_stime)
            peaks.append(usage.ru_maxrss * 1024)
        size = (root / "report" / "report.html").stat().st_size
        print(
            f"{15 * len(effects)} runs: {statistics.median(walls):.1f} s, {statistics.median(works):.1f} s of "
            f"processor (medians of {args.repeat}), {max(peaks) / 1e9:.2f} GB, page {size / 1e6:.1f} MB"
        )


if __name__ == "__main__":
    main()
