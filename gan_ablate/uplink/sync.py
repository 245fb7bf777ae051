"""Uploads a store to W&B afterwards. No torch here, and nothing that was uploaded is uploaded again."""

from __future__ import annotations

from collections import Counter
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
    artifacts: bool = False,
    verdicts: Callable[[Path], list[dict[str, Any]]] = lambda root: [],
    tell: Callable[[str], None] = lambda line: None,
) -> Synced:
    """Uploads every finished run of a root: recipe, curves, sample grids, table of evaluations, result.

    A run's W&B id is its run id, so a run that W&B has in part is replaced and none is there twice; `wandb.json` in its
    folder remembers the upload. The verdicts of a study are a run of their own, whose id is the root's. Ends at the
    first run that the server does not take. Raises `InputError` for a root without a study or one that cannot be
    written.

    artifacts: whether checkpoints and sample grids are uploaded, and the report where the root has one.
    verdicts: root -> the rows of the study's table.
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
            counts.trouble = _upload(cell, record, folder, target, last, artifacts)
        if counts.trouble:
            return counts
        counts.uploaded += 1
        tell(f"{cell.model}/{cell.arm}/{cell.seed}: {mode}, {counts.uploaded} uploaded")
    finished = counts.uploaded + counts.before
    if (again or not payload.marked(store.root, target, finished)) and (rows := verdicts(store.root)):
        counts.trouble = _upload_study(store, rows, target, finished, artifacts)
        if not counts.trouble:
            tell(f"verdicts of {store.name}: {mode}, a table of {len(rows)} arms")
    return counts


def _upload_study(
    store: Store, rows: list[dict[str, Any]], target: dict[str, str], finished: int, artifacts: bool
) -> str:
    """The verdicts of a root as a run with a table, and its report; the line of what went wrong, or nothing."""
    root = store.root.resolve()
    with refusing(root, any_error=True):
        begin = payload.study(store.name, root, target["project"])
        link = Link(root, begin, mode=target["mode"], resume=None, fallback=False, agent=False)
        link.tell("table", **payload.table_of("verdicts", rows))
        link.tell("summary", values={"runs": finished, **Counter(row["verdict"] for row in rows)})
        for artifact in payload.report(root, begin["id"]) if artifacts else ():
            link.tell("artifact", **artifact)
        ended = link.finish(0)
        if not ended.complete:
            return f"verdicts of {store.name}: {ended.error}"
        payload.mark(root, target, finished, ended)
    return ""


def _upload(  # noqa: PLR0917
    cell: Cell, record: dict[str, Any], folder: Path, target: dict[str, str], last: int, artifacts: bool
) -> str:
    """One run; the line of what went wrong, or nothing."""
    recipe = Recipe.from_dict({**record["recipe"], "arm": cell.arm})
    rows = payload.history(folder)
    with refusing(folder, any_error=True):
        begin = payload.init(recipe, target["project"])
        link = Link(
            folder, begin, mode=target["mode"], resume=None, fallback=False, agent=False, summaries=payload.SUMMARIES
        )  # fmt: skip
        for row in rows:
            link.tell("log", row=row, images=payload.images(folder, row))
        link.tell("table", **payload.table(rows))
        link.tell("summary", values=payload.summary(record))
        for artifact in payload.artifacts(folder, recipe.run_id) if artifacts else ():
            link.tell("artifact", **artifact)
        ended = link.finish(int("error" in record))
        if not ended.complete:
            return f"{recipe.model}/{recipe.arm}/{recipe.seed}: {ended.error}"
        payload.mark(folder, target, last, ended)
    return ""


def _last_step(record: dict[str, Any]) -> int:
    """The step of the last evaluation; of a run without any, -1."""
    curve = record.get("curve") or []
    return int(curve[-1]["step"]) if curve else -1
