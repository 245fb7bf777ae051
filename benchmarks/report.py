"""Seconds that a report takes on a root of N runs, interpreter start included.

python benchmarks/report.py [--runs 1000]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from test_report import plant


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1000)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        effects = {"base": 0.0, **{f"arm{i}": 0.0 for i in range(args.runs // 15 - 1)}}
        root = plant(Path(folder), models=("dcgan", "nsgan", "wgan_gp"), effects=effects)
        times = []
        for _ in range(5):
            began = time.perf_counter()
            subprocess.run([sys.executable, "-m", "gan_ablate.report", str(root)], check=True, capture_output=True)
            times.append(time.perf_counter() - began)
        print(
            f"{3 * 5 * len(effects)} runs: {sorted(times)[2]:.1f} s (median of 5; {min(times):.1f} to {max(times):.1f})"
        )


if __name__ == "__main__":
    main()
