"""One run as its folder tells of it, typed: outcome, figures, curve, training health. Nothing here raises."""

from __future__ import annotations

import math
import os
import stat
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from gan_ablate.outcomes import MEANINGS, MEASURED, TINY
from gan_ablate.results.files import FAILURE, RESULT, as_number, find_record, number, protocol, read_log, read_measured
from gan_ablate.results.study_file import Cell

MISSING = "missing"  # the outcome of a run without a record
OUTCOMES = (*MEANINGS, MISSING)
LONGEST = 2000  # characters of a text: a traceback's last lines, a reason


@dataclass(frozen=True)
class Run:
    """One run as it ended. `record` is its result.json or failed.json, empty where the run is missing."""

    folder: Path
    model: str
    arm: str
    seed: int
    outcome: str  # one of OUTCOMES
    fid: float  # at the final step; NaN where there is none
    record: Mapping[str, Any]
    dataset: str = ""
    run_id: str = ""
    note: str = ""  # why it failed
    protocol: str = ""  # what its figures were measured with: tables never mix two of these; empty: not measured
    tuning: str = ""  # the setting that it tries, of a tuning run
    own_setting: bool = False  # of a tuning run: its arm's own setting
    budget: str = ""  # as `4x`: trained that often the study's steps; empty at the first budget
    problems: tuple[str, ...] = field(default=(), compare=False)  # files of its folder that cannot be used

    @property
    def failed(self) -> bool:
        return self.outcome not in ("ok", MISSING)

    @property
    def recipe(self) -> Mapping[str, Any]:
        return mapping(self.record.get("recipe"))

    @cached_property
    def tricks(self) -> dict[str, Mapping[str, Any]]:
        """Name -> parameters of the tricks that it was trained with."""
        listed = self.recipe.get("tricks")
        entries = [t for t in listed if isinstance(t, Mapping)] if isinstance(listed, list) else []
        return {str(t.get("name")): mapping(t.get("params")) for t in entries}

    def get(self, part: str, key: str) -> float | None:
        """A number of one part of the record (`metrics`, `stability`); `None` where it is not there or not finite."""
        return number(mapping(self.record.get(part)).get(key))

    @property
    def signs(self) -> Mapping[str, Any]:
        """The signs of failure that were asked of the run, each with the G step at which it showed, or `None`."""
        return mapping(self.record.get("signs"))

    @property
    def steps(self) -> float | None:
        """G steps that the run was to make."""
        made = number(self.record.get("g_steps"))
        return made if made and made > 0 and self.outcome in MEASURED else number(self.recipe.get("steps"))

    @property
    def curve(self) -> list[tuple[float, float]]:
        """(G step, FID) of every evaluation after the untrained one, in the order of the steps."""
        read = [(number(p.get("step")), number(p.get("fid"))) for p in self.points]
        return sorted((s, f) for s, f in read if s is not None and s > 0 and f is not None)

    @property
    def last_quarter_fall(self) -> float:
        """By how much log FID fell over the last quarter of training: from 75 % of the steps to the last evaluation.

        Between two evaluations log FID is interpolated linearly. NaN where none was made from the first step to 75 %.
        """
        if len(curve := self.curve) < 2:
            return math.nan
        (end, _), steps = curve[-1], [step for step, _ in curve]
        if steps[0] > 0.75 * end:
            return math.nan
        logs = [math.log(max(fid, TINY)) for _, fid in curve]
        return float(np.interp(0.75 * end, steps, logs)) - logs[-1]

    @property
    def points(self) -> list[Mapping[str, Any]]:
        """Every evaluation as it was recorded, the untrained one at step 0 included."""
        found = self.record.get("curve")
        return [p for p in found if isinstance(p, Mapping)] if isinstance(found, list) else []

    @cached_property
    def measured(self) -> Mapping[str, Any]:
        """Figures of the trained checkpoint, written by `gan-ablate measure`; empty where there are none."""
        return mapping(read_measured(self.folder).get("metrics"))

    @cached_property
    def health(self) -> list[dict[str, Any]]:
        """Training health: the records of metrics.jsonl, evaluations left out."""
        return [row for row in read_log(self.folder) if "evaluation" not in row]


def read_run(folder: Path, cell: Cell) -> Run:
    """The run of a cell, from its folder. A file that cannot be used counts as missing, and `problems` say why."""
    found = find_record(folder, cell.run_id)
    record = found.record
    outcome = record.get("outcome") or ("crashed" if record else MISSING)
    outcome = outcome if outcome in OUTCOMES else "crashed"
    note = str(record.get("note") or record.get("error") or "")[:LONGEST]
    fid = as_number((record.get("metrics") or {}).get("fid"))
    if outcome in MEASURED and math.isnan(fid):
        outcome, note = "diverged", f"{note}; no finite FID at the final step".removeprefix("; ")
    return Run(
        folder=folder,
        model=cell.model[:LONGEST],
        arm=cell.arm[:LONGEST],
        seed=cell.seed,
        outcome=outcome,
        fid=fid,
        record=record,
        dataset=cell.dataset[:LONGEST],
        run_id=cell.run_id,
        note=note,
        protocol=protocol(record),
        tuning=cell.tuning[:LONGEST],
        own_setting=cell.own_setting,
        budget=cell.budget[:LONGEST],
        problems=tuple(f"{name} {why}" for name, why in found.problems.items()),
    )


Reader = Callable[[Path, Cell], Run]  # `read_run`, or a `RunCache`


class RunCache:
    """Reads runs as `read_run` does, each again only once its cell or a file that ends it has changed.

    For who asks for the same runs again and again: a sweep whose study releases them step by step, the dashboard.
    """

    def __init__(self) -> None:
        self._held: dict[str, tuple[object, Run]] = {}  # by run id

    def __call__(self, folder: Path, cell: Cell) -> Run:
        now = cell, _facts(folder)  # before it is read: what changes meanwhile is read again
        held = self._held.get(cell.run_id)
        if held is not None and held[0] == now:
            return held[1]
        run = read_run(folder, cell)
        self._held[cell.run_id] = now, run
        return run


def _facts(folder: Path) -> tuple[object, ...]:
    """What differs once a folder's record does: is it a link; inode, size, times of the files that end a run."""
    found: list[object] = []
    for path in (folder, folder / RESULT, folder / FAILURE):
        try:
            s = os.lstat(path)
        except OSError:
            found.append(None)
            continue
        found.append(stat.S_ISLNK(s.st_mode) if path is folder else (s.st_ino, s.st_size, s.st_mtime_ns, s.st_ctime_ns))
    return tuple(found)


def setting(record: Mapping[str, Any]) -> str:
    """The protocol with the recipe's numbers: what only like with like may share."""
    if not record.get("evaluation"):
        return ""
    r = record["recipe"]
    shape = ", ".join(f"{k} {r.get(k)}" for k in ("architecture", "size", "channels", "width", "latent_dim", "steps"))
    rest = ", ".join(f"{k} {r.get(k)}" for k in ("batch_size", "lr", "beta1", "beta2", "precision"))
    return f"{protocol(record)}; {shape}, {rest}"


def mapping(value: object) -> Mapping[str, Any]:
    """A mapping; an empty one in place of anything else."""
    return value if isinstance(value, Mapping) else {}
