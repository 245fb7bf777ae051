"""Trains each trick that touches D's batches, statistics or gradients where its paper favours it; none may collapse.

    python benchmarks/battery.py [--root runs/battery] [--workers 0]

A trick that fails in its paper's own setting says something of our set-up, not of the trick (experience replay once
failed for sharing a batch-norm batch, WGAN's clipping for the networks around it). Settings: sweeps/battery.yaml.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from gan_ablate.recipe import BASE
from gan_ablate.results.frames import load

STUDY = Path(__file__).parents[1] / "sweeps" / "battery.yaml"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("runs/battery"))
    parser.add_argument("--workers", default="0", help="processes at once; 0: one per core or GPU")
    args = parser.parse_args()
    command = [sys.executable, "-m", "gan_ablate", "sweep", str(STUDY), "--root", str(args.root)]
    subprocess.run([*command, "--workers", args.workers], check=True)
    runs = sorted(load(args.root).each, key=lambda run: run.arm)  # of the study: a root may hold runs of an earlier one
    base = next(run.fid for run in runs if run.arm == BASE)
    failed = [run for run in runs if run.outcome != "ok"]
    for run in runs:
        print(f"{run.arm:28} {run.outcome:12} {run.fid:8.1f}  x{run.fid / base:.2f}  {run.note}")
    print(f"{len(runs) - len(failed)} of {len(runs)} alive")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
