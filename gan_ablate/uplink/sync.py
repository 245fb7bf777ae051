"""Uploads a store to W&B afterwards. No torch here, and nothing that was uploaded is uploaded again."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gan_ablate.publishing import refusing
from gan_ablate.recipe import Recipe
from gan_ablate.results.study_file import SINGLE_RUNS, Cell
from gan_ablate.store.store import Store
from gan_ablate.uplink import payload
from gan_ablate.uplink.client import Link

OF_SINGLE_RUNS = {SINGLE_RUNS: "gan_ablate"}  # the project that `gan-ablate train --wandb` uses


@dataclass
class Synced:
    """Counts of one call. `trouble`: why it ended early, in one line."""

    uploaded: int = 0
    before: int = 0
    unfinished: int = 0
    trouble: str = ""


def sync(
    root: str | Path,
    *,
    mode: str = "online",
    project: str = "",
    again: bool = False,
    tell: Callable[[str], None] = lambda line: None,
) -> Synced:
    """Uploads every finished run of a root: recipe, curves, sample grids, table of evaluations, result.

    A run's W&B id is its run id, so a run that W&B has in part is replaced and none is there twice; `wandb.json` in its
    folder remembers the upload. Ends at the first run that the server does not take. Raises `InputError` for a root
    without a study or one that cannot be written.
    """
    store = Store.open(root)
    target = payload.target(mode, project or OF_SINGLE_RUNS.get(store.name, store.name))
    counts = Synced()
    for cell in store.cells:
        if store.finished(cell.run_id, warn=False) is None:
            counts.unfinished += 1
            continue
        with store.claim(cell.run_id) as claim:  # two uploads, or one and a `--retry-crashed`, must not meet
            record = store.finished(cell.run_id) if claim is not None else None
            if record is None:
                counts.unfinished += 1
                continue
            last = _last_step(record)
            folder = store.folder(cell.run_id)
            if not again and payload.marked(folder, target, last):
                counts.before += 1
                continue
            counts.trouble = _upload(cell, record, folder, target, last)
        if counts.trouble:
            break
        counts.uploaded += 1
        tell(f"{cell.model}/{cell.arm}/{cell.seed}: {mode}, {counts.uploaded} uploaded")
    return counts


def _upload(cell: Cell, record: dict[str, Any], folder: Path, target: dict[str, str], last: int) -> str:
    """One run; the line of what went wrong, or nothing."""
    recipe = Recipe.from_dict({**record["recipe"], "arm": cell.arm})
    rows = payload.history(folder)
    with refusing(folder, any_error=True):
        begin = payload.init(recipe, target["project"])
        link = Link(folder, begin, mode=target["mode"], resume=None, fallback=False, agent=False)
        for row in rows:
            link.tell("log", row=row, images=payload.images(folder, row))
        link.tell("table", **payload.table(rows))
        link.tell("summary", values=payload.summary(record))
        ended = link.finish(int("error" in record))
        if not ended.complete:
            return f"{recipe.model}/{recipe.arm}/{recipe.seed}: {ended.error}"
        payload.mark(folder, target, last, ended)
    return ""


def _last_step(record: dict[str, Any]) -> int:
    """The step of the last evaluation; of a run without any, -1."""
    curve = record.get("curve") or []
    return int(curve[-1]["step"]) if curve else -1
