"""Offline W&B runs, many of them, and what `wandb sync` finds of each afterwards.

`python benchmarks/wandb_offline.py --runs 100` keeps that many runs offline through our link, a few at a time so that
they disturb each other, then has `wandb sync`, wandb's own reader of these files, upload them all to a stand-in server
on the loopback address. A run is whole when all of its rows, its table and its end have come there. Also counted: files
that our own check took for whole, and folders left in the temporary folder. About 6 s of a core per run.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from wandb_server import Standin

from gan_ablate.uplink.client import Ended, Link

ROWS = 20  # of a run's history
LIMIT = 1800  # seconds for `wandb sync`


def keep(folder: Path, number: int) -> Ended:
    """One run of `ROWS` rows and a table, kept offline in `folder`."""
    folder.mkdir()
    link = Link(folder, {"project": "offline", "id": f"run{number}"}, mode="offline", resume=None)
    for step in range(ROWS):
        link.tell("log", row={"step": step, "number": number})
    link.tell("table", key="evaluations", columns=["step"], rows=[[step] for step in range(ROWS)])
    link.tell("summary", values={"outcome": "ok"})
    return link.finish()


def main() -> None:
    given = argparse.ArgumentParser(description=__doc__)
    given.add_argument("--runs", type=int, default=100)
    given.add_argument("--at-once", type=int, default=3)
    options = given.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root, temporary = Path(place, "runs"), Path(place, "temporary")
        root.mkdir()
        temporary.mkdir()
        os.environ["TMPDIR"], tempfile.tempdir = str(temporary), str(temporary)
        began = time.monotonic()
        with ThreadPoolExecutor(options.at_once) as pool:
            ended = list(pool.map(lambda k: keep(root / f"run{k}", k), range(options.runs)))
        seconds = time.monotonic() - began
        complete = sum(each.complete and each.mode == "offline" for each in ended)
        files = list(root.glob("*/wandb/offline-run-*/run-*.wandb"))
        smallest = min(path.stat().st_size for path in files)
        print(f"{options.runs} runs in {seconds:.0f} s: {complete} said to be whole, smallest file {smallest} bytes")
        print(f"folders left in the temporary folder: {len(list(temporary.iterdir()))}")
        whole = read_by_wandb([path.parent for path in files], root)
        print(f"whole as `wandb sync` read them: {whole} of {options.runs}")
    sys.exit(int(not whole == complete == options.runs))


def read_by_wandb(folders: list[Path], home: Path) -> int:
    """How many runs `wandb sync` brings to a server in full."""
    with Standin() as standin:
        environment = {**os.environ, **standin.environment(), "HOME": str(home), "WANDB_MODE": "online"}
        command = [sys.executable, "-m", "wandb", "sync", "--yes", *map(str, folders)]
        subprocess.run(
            command,
            env=environment,
            cwd=home,
            stdin=subprocess.DEVNULL,
            timeout=LIMIT,
            check=False,
            capture_output=True,
        )
        rows = Counter(number for number, _ in {(r["number"], r["step"]) for r in standin.history() if "number" in r})
        tables = sum("/media/table/evaluations" in name and name.startswith("/put/") for name, _ in standin.asked)
        ends = sum(body.get("complete") is True for body in standin.of("file_stream"))
    return min(sum(count == ROWS for count in rows.values()), tables, ends)


if __name__ == "__main__":
    main()
