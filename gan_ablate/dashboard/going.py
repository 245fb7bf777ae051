"""A run that is being trained, as its folder tells of it. Nothing here raises."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from gan_ablate.results.files import json_lines, number, read_recipe
from gan_ablate.results.runs import Run, mapping
from gan_ablate.results.study_file import Cell
from gan_ablate.store.attempts import began, read_attempts
from gan_ablate.study.budgets import at

LONGEST = 16_000_000  # bytes of a log; a longer one is not read every few seconds


@dataclass(frozen=True)
class Going:
    """steps: G steps that it is to make, NaN where its recipe cannot be read. curve: (G step, FID) of its evaluations
    after the untrained one. started: of this attempt, seconds since 1970."""

    cell: Cell
    step: float
    steps: float
    curve: tuple[tuple[float, float], ...]
    started: float
    attempt: int


def read_going(folder: Path, cell: Cell) -> Going:
    """A run by its recipe, its log and its attempts."""
    rows = json_lines(folder / "metrics.jsonl", LONGEST)
    evaluations = [mapping(row.get("evaluation")) for row in rows if "evaluation" in row]
    read = {number(e.get("step")): number(e.get("fid")) for e in evaluations}
    curve = tuple(sorted((s, f) for s, f in read.items() if s and s > 0 and f is not None))
    step = max((s for row in rows if (s := number(row.get("step"))) is not None), default=0.0)
    try:
        steps = number(read_recipe(folder).get("steps"))
    except (OSError, ValueError, RecursionError):
        steps = None
    tried = read_attempts(folder)
    started = began(tried)
    nan = float("nan")
    return Going(cell, step, nan if steps is None else steps, curve, nan if started is None else started, len(tried))


def called(run: Cell | Run, most: int = 200) -> str:
    """`label_smoothing, seed 3`, with its budget or the setting that it tries. most: letters before the comma; a longer
    text loses its middle, since arms of one trick differ at their end."""
    setting = f" at {run.tuning}" if run.tuning else ""
    text = run.arm + at(run.budget) + setting
    half = (most - 1) // 2
    return f"{text if len(text) <= most else f'{text[:half]}…{text[half + 1 - most :]}'}, seed {run.seed}"
