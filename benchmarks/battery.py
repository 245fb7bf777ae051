"""Trains each trick that touches D's batches, statistics or gradients where its paper favours it; none may collapse.

    python benchmarks/battery.py [--root runs/battery] [--workers 0]

A trick that fails in its paper's own setting says something of our set-up, not of the trick (experience replay once
failed for sharing a batch-norm batch, WGAN's clipping for the networks around it). Settings: sweeps/battery.yaml.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

STUDY = Path(__file__).parents[1] / "sweeps" / "battery.yaml"


def results(root: Path) -> list[dict]:
    """The finished runs of a root."""
    return [json.loads(path.read_text()) for path in sorted(root.glob("runs/*/result.json"))]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("runs/battery"))
    parser.add_argument("--workers", default="0", help="processes at once; 0: one per core or GPU")
    args = parser.parse_args()
    command = [sys.executable, "-m", "gan_ablate", "sweep", str(STUDY), "--root", str(args.root)]
    subprocess.run([*command, "--workers", args.workers], check=True)
    found = sorted(results(args.root), key=lambda r: r["recipe"]["arm"])
    base = next(r["metrics"]["fid"] for r in found if r["recipe"]["arm"] == "base")
    failed = [r for r in found if r["outcome"] != "ok"]
    for r in found:
        fid = r["metrics"].get("fid") or float("nan")
        print(f"{r['recipe']['arm']:28} {r['outcome']:12} {fid:8.1f}  x{fid / base:.2f}  {r['note']}")
    print(f"{len(found) - len(failed)} of {len(found)} alive")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
