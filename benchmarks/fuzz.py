"""Kills sweepers, servers and workers at random moments, and compares what comes out with an undisturbed sweep.

`.venv/bin/python benchmarks/fuzz.py [--runs 300] [--kills 60] [--sweepers 3] [--seed 0] [--folder /tmp/fuzz]`

Several sweepers compete for one root. Every run must end with exactly one valid result that equals the undisturbed
one in each field but times, memory, versions, hardware and the number of goes (`gan_ablate.store.merge.essence`).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from gan_ablate.outcomes import MEANINGS
from gan_ablate.store import attempts
from gan_ablate.store.gc import find_waste
from gan_ablate.store.merge import differing
from gan_ablate.store.store import Store

MIX = {"worker": 0.7, "sweeper": 0.2, "server": 0.1}  # who is killed, by how often
ENDS = [word for word in MEANINGS if word != "crashed"]  # of a run that was carried out
LULL = 0.8  # seconds between kills, on average
ARMS = ["generator_ema", "generator_dropout", "experience_replay:size=32,kept=8", "n_critic:n=3"]
BASE = {"dataset": "ring", "size": 1, "channels": 2, "width": 8, "steps": 156, "batch_size": 8, "precision": "fp32"}
BASE |= {"evaluation": {"samples": 64, "points": 2}}


def study(folder: Path, runs: int) -> Path:
    """A study of about a second per run, on the three models: as many seeds as it takes, and no run over."""
    plan = {
        "name": "fuzz",
        "beyond_catalogue": True,
        "base": BASE,
        "models": ["dcgan", "nsgan", "wgan_gp"],
        "arms": ARMS,
        "seeds": -(-runs // (3 * (1 + len(ARMS)))),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "fuzz.yaml"
    path.write_text(yaml.safe_dump(plan))
    return path


def sweeper(plan: Path, root: Path, *more: str) -> subprocess.Popen[bytes]:
    words = [sys.executable, "-m", "gan_ablate", "sweep", str(plan), "--root", str(root), "--accelerator", "cpu", *more]
    with open(root.with_suffix(".log"), "ab") as log:
        return subprocess.Popen(words, stdout=log, stderr=log, env={**os.environ, "OMP_NUM_THREADS": "1"})


def children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


@dataclass
class Fuzz:
    """Sweepers on one root, and what was done to them."""

    plan: Path
    root: Path
    count: int
    draw: random.Random
    killed: Counter[str] = field(default_factory=Counter)
    starts: int = 0
    alive: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.kind = self.next_kind()  # of the process that is killed next

    def next_kind(self) -> str:
        return self.draw.choices(list(MIX), list(MIX.values()))[0]

    def keep_up(self) -> None:
        """A sweeper for each that died or left."""
        self.alive = [s for s in self.alive if s.poll() is None]
        while len(self.alive) < self.count:
            self.starts += 1
            self.alive.append(sweeper(self.plan, self.root, "--workers", "1", "--retry-crashed"))

    def strike(self) -> None:
        """Kills one process of the kind that was drawn, or waits: a sweeper's server and workers come up after it."""
        victims = {"sweeper": [s.pid for s in self.alive if s.poll() is None]}
        victims["server"] = [child for pid in victims["sweeper"] for child in children(pid)]
        victims["worker"] = [child for pid in victims["server"] for child in children(pid)]
        if victims[self.kind]:
            with suppress(ProcessLookupError):
                os.kill(self.draw.choice(victims[self.kind]), signal.SIGKILL)
                self.killed[self.kind] += 1
                self.kind = self.next_kind()

    def finished(self) -> int:
        return sum(1 for _ in self.root.glob("runs/*/result.json"))

    def run(self, total: int, kills: int, deadline: float) -> None:
        """Kills spread over the whole sweep: the k-th comes when k / kills of three fifths of it are done.

        The more kills are due, the shorter the lull before the next: a fast machine gets as many as a slow one.
        """
        try:
            while (done := self.finished()) < total and time.monotonic() < deadline:
                self.keep_up()
                due = kills * min(1.0, done / total / 0.6 + 0.02) - sum(self.killed.values())
                time.sleep(self.draw.expovariate((1 + max(0.0, due)) / LULL))
                if due > 0:
                    self.strike()
        finally:
            for each in self.alive:
                each.kill()
                each.wait()


def problems(root: Path, reference: Path) -> list[str]:
    """What is wrong with the fuzzed root, one line each."""
    wrong = []
    one, two = Store.open(root), Store.open(reference)
    if {c.run_id for c in one.cells} != {c.run_id for c in two.cells}:
        wrong.append("the two studies differ")
    for cell in two.cells:
        name, folder = f"{cell.model}/{cell.arm}/{cell.seed} ({cell.run_id})", one.folder(cell.run_id)
        result, expected = one.finished(cell.run_id), two.finished(cell.run_id)
        if result is None or expected is None:
            wrong.append(f"{name}: no result" + ("" if expected else " in the undisturbed sweep"))
            continue
        if names := differing(result, expected):
            wrong.append(f"{name}: differs in {', '.join(names)}")
        ends = [a.get("outcome") in ENDS for a in attempts.read_attempts(folder)]
        if sum(ends) > 1 or True in ends[:-1]:
            wrong.append(f"{name}: finished, then tried again")
        if (folder / "result.json.corrupt").exists():
            wrong.append(f"{name}: a damaged result was found")
    extra = {p.name for p in (root / "runs").iterdir()} - {c.run_id for c in two.cells}
    return wrong + [f"{name}: nobody asked for it" for name in sorted(extra)]


def fuzz(folder: Path, runs: int, kills: int, sweepers: int, seed: int, seconds: float) -> dict:  # noqa: PLR0917
    """The whole of it; returns counts and the problems found."""
    shutil.rmtree(folder, ignore_errors=True)
    plan, began = study(folder, runs), time.monotonic()
    fuzzed, reference = folder / "fuzzed", folder / "reference"
    code = sweeper(plan, reference, "--workers", "2").wait()
    undisturbed = time.monotonic() - began
    total = len(Store.open(reference).cells)
    each = Fuzz(plan, fuzzed, sweepers, random.Random(seed))
    each.run(total, kills, time.monotonic() + seconds)
    last = sweeper(plan, fuzzed, "--workers", "2", "--retry-crashed").wait()
    tried = [len(attempts.read_attempts(f)) for f in (fuzzed / "runs").iterdir()]
    resumed = [Store(fuzzed).finished(c.run_id) or {} for c in Store.open(fuzzed).cells]
    return {
        "runs": total,
        "kills": dict(each.killed),
        "sweepers_started": each.starts,
        "attempts": sum(tried),
        "runs_tried_again": sum(n > 1 for n in tried),
        "runs_resumed_from_a_checkpoint": sum(bool(r.get("resumed")) for r in resumed),
        "left_behind": Counter(w.kind for w in find_waste(Store.open(fuzzed), ["temporaries", "strays"])),
        "exit_codes": {"undisturbed": code, "last": last},
        "seconds": {"undisturbed": round(undisturbed), "all": round(time.monotonic() - began)},
        "problems": problems(fuzzed, reference),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("runs", 300), ("kills", 60), ("sweepers", 3), ("seed", 0), ("seconds", 900)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/gan_ablate_fuzz"))
    args = parser.parse_args()
    found = fuzz(args.folder, args.runs, args.kills, args.sweepers, args.seed, args.seconds)
    print(json.dumps(found, indent=1))
    return int(bool(found["problems"]) or sum(found["kills"].values()) < args.kills)


if __name__ == "__main__":
    sys.exit(main())
