"""Damages a stopped run's files in many ways and goes on with it: what comes out must equal the undisturbed run's.

`.venv/bin/python benchmarks/damage.py [--flips 200] [--others 20] [--seed 0] [--folder /tmp/damage]`

A round copies a run that was stopped at step 14 of 20 (checkpoints of steps 12 and 14 lie there), does one harm, and
calls `carry_out` again. The harms: one random bit of `last.ckpt` flipped; one of it and one of `previous.ckpt`; the
checkpoint of another seed in its place; `metrics.jsonl` cut short, or one bit of it flipped. Equal means: the result in
each field but the circumstances (`gan_ablate.store.merge.essence`), all final weights, bit for bit, and the log.
"""

from __future__ import annotations

import argparse
import io
import json
import random
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gan_ablate.evaluate.callback import EvaluationCallback
from gan_ablate.recipe import Evaluation, Recipe
from gan_ablate.results.files import json_lines
from gan_ablate.run.carry_out import Stopped, carry_out
from gan_ablate.store.merge import differing

RECIPE = Recipe(
    dataset="ring",
    size=1,
    channels=2,
    width=4,
    steps=20,
    batch_size=8,
    precision="fp32",
    tricks=("generator_ema:decay=0.9",),
    evaluation=Evaluation(samples=64, points=2),
)
STOP = 14  # steps after which the run that is damaged was stopped
LAST, BEFORE, LOG = "checkpoints/last.ckpt", "checkpoints/previous.ckpt", "metrics.jsonl"


def flip(path: Path, draw: random.Random) -> None:
    """One bit of a file, drawn evenly."""
    data = bytearray(path.read_bytes())
    bit = draw.randrange(8 * len(data))
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


def flip_both(folder: Path, draw: random.Random) -> None:
    flip(folder / LAST, draw)
    flip(folder / BEFORE, draw)


def cut(path: Path, draw: random.Random) -> None:
    path.write_bytes(path.read_bytes()[: draw.randrange(path.stat().st_size)])


# name -> what is done to the copy of the stopped run; `foreign` is the same run of another seed, stopped likewise
HARMS: dict[str, Callable[[Path, Path, random.Random], object]] = {
    "bit of last.ckpt": lambda folder, foreign, draw: flip(folder / LAST, draw),
    "bit of both": lambda folder, foreign, draw: flip_both(folder, draw),
    "foreign last.ckpt": lambda folder, foreign, draw: shutil.copy(foreign / LAST, folder / LAST),
    "log cut short": lambda folder, foreign, draw: cut(folder / LOG, draw),
    "bit of the log": lambda folder, foreign, draw: flip(folder / LOG, draw),
}


@contextmanager
def no_pictures() -> Iterator[None]:
    """They take most of the time of so small a run."""
    kept = EvaluationCallback._save_samples
    EvaluationCallback._save_samples = lambda *_: None  # type: ignore[assignment,misc,method-assign]
    try:
        yield
    finally:
        EvaluationCallback._save_samples = kept  # type: ignore[method-assign]


def stopped(recipe: Recipe, folder: Path) -> Path:
    steps: list[int] = []
    try:
        stop = lambda: bool(steps.append(1)) or len(steps) == STOP  # noqa: E731
        carry_out(recipe, folder, threads=1, step="eager", should_stop=stop)
    except Stopped:
        return folder
    raise AssertionError("it did not stop")


def weights(folder: Path) -> dict[str, torch.Tensor]:
    return torch.load(folder / LAST, map_location="cpu", weights_only=True)["state_dict"]


def lines(folder: Path) -> list[dict[str, Any]]:
    rows = json_lines(folder / LOG)
    for row in rows:
        row.get("evaluation", {}).pop("seconds", None)
    return rows


def equal(folder: Path, result: dict[str, Any], reference: Path, expected: dict[str, Any]) -> bool:
    a, b = weights(folder), weights(reference)
    same = a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)
    return same and lines(folder) == lines(reference) and not differing(result, expected)


def damage(folder: Path, flips: int, others: int, seed: int) -> dict[str, Any]:
    """The whole of it: per harm, how the run went on and how often what came out was another result."""
    shutil.rmtree(folder, ignore_errors=True)
    draw, said = random.Random(seed), io.StringIO()
    rounds = [name for k, name in enumerate(HARMS) for _ in range(flips // 2 if k < 2 else others)]
    went_on: dict[str, Counter[str]] = {name: Counter() for name in HARMS}
    with no_pictures(), redirect_stderr(said):
        expected = carry_out(RECIPE, folder / "unbroken", threads=1)
        pattern = stopped(RECIPE, folder / "stopped")
        foreign = stopped(replace(RECIPE, seed=1), folder / "foreign")
        for name in rounds:
            work = folder / "work"
            shutil.rmtree(work, ignore_errors=True)
            shutil.copytree(pattern, work)
            HARMS[name](work, foreign, draw)
            try:
                result = carry_out(RECIPE, work, threads=1)
            except Exception as error:
                went_on[name][f"crashed: {type(error).__name__}"] += 1
                continue
            refused = len(list((work / "checkpoints").glob("*.refused")))
            how = ["from last.ckpt", "from previous.ckpt", "from the start"][refused]
            went_on[name][how if equal(work, result, folder / "unbroken", expected) else "ANOTHER RESULT"] += 1
    shutil.rmtree(folder)
    wrong = sum(n for counts in went_on.values() for how, n in counts.items() if not how.startswith("from"))
    return {"rounds": len(rounds), "wrong": wrong, "went on": {name: dict(counts) for name, counts in went_on.items()}}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, value in (("flips", 200), ("others", 20), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--folder", type=Path, default=Path("/tmp/gan_ablate_damage"))
    args = parser.parse_args()
    began = time.monotonic()
    found = damage(args.folder, args.flips, args.others, args.seed)
    print(json.dumps({**found, "seconds": round(time.monotonic() - began)}, indent=1))
    return int(found["wrong"] > 0)


if __name__ == "__main__":
    sys.exit(main())
