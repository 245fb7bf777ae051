"""What is sent to W&B about a run, the same during training and from its folder afterwards. No torch here."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from gan_ablate.outcomes import METRICS
from gan_ablate.publishing import publish, to_json
from gan_ablate.recipe import Recipe
from gan_ablate.results.files import read_log
from gan_ablate.untrusted import read_regular
from gan_ablate.uplink.client import Ended

TAG = 64  # characters that W&B allows in a tag
TRAIN, EVAL = "train/", "eval/"  # what W&B's pages group figures by
TIMED = f"{EVAL}seconds"  # which every evaluation has, and nothing else
# what a run's summary keeps of a figure's history; the last value is in `final/*`
SUMMARIES = {f"{EVAL}{k}": {"lower": "min", "higher": "max"}[v] for k, v in METRICS.items() if v != "neither"}
MARKER = "wandb.json"  # in a run's folder: where it was uploaded to, and up to which evaluation


def group(recipe: Recipe) -> str:
    """The recipe without its seed: equal for runs that differ in the seed alone, and for no others."""
    digest = hashlib.sha256(replace(recipe, seed=0).canonical_json().encode()).hexdigest()[:8]
    return f"{recipe.model}/{recipe.arm}"[:100] + f" {digest}"


def tags(recipe: Recipe) -> list[str]:
    """Model, arm, dataset, and every trick by name and with its parameters."""
    dataset = Path(recipe.dataset).name or recipe.dataset
    tricks = [text for trick in recipe.tricks for text in (trick.name, str(trick))]
    return list(dict.fromkeys(text[:TAG] for text in (recipe.model, recipe.arm, dataset, *tricks)))


def init(recipe: Recipe, project: str) -> dict[str, Any]:
    """Arguments of `wandb.init` for a run. `WANDB_PROJECT` wins over the study's name, `project`."""
    return {
        "project": os.environ.get("WANDB_PROJECT") or project,
        "id": recipe.run_id,
        "name": f"{recipe.model}/{recipe.arm}/{recipe.seed}",
        "group": group(recipe),
        "job_type": "train",
        "tags": tags(recipe),
        "config": {**recipe.to_dict(), "run_id": recipe.run_id},
    }


def study(name: str, root: Path, project: str) -> dict[str, Any]:
    """Arguments of `wandb.init` for the run that has a study's verdicts; its id is the root's."""
    digest = hashlib.sha256(f"{name}/{root}".encode()).hexdigest()[:16]
    known = {"id": f"study-{digest}", "name": f"verdicts of {name}"[:100], "job_type": "report"}
    return {"project": os.environ.get("WANDB_PROJECT") or project, **known, "config": {"study": name}}


def report(root: Path, wandb_id: str) -> list[dict[str, Any]]:
    """The files of a root's report as the message of an artifact; none where it has no report."""
    folder = root / "report"
    files = {str(p.relative_to(folder)): str(p) for p in sorted(folder.rglob("*")) if p.is_file()}
    return [{"name": f"report-{wandb_id}", "type": "report", "files": files}] if files else []


def history(folder: Path) -> list[dict[str, Any]]:
    """The rows of `metrics.jsonl` as W&B gets them, in their order."""
    told = ((held, held.get("evaluation")) for held in read_log(folder))
    return [row(point if isinstance(point, dict) else held, held["step"]) for held, point in told]


def row(values: Mapping[str, Any], step: int | None) -> dict[str, Any]:
    """One row: what has a value, as `train/d_loss` or, of an evaluation, `eval/fid`; and the G step."""
    kept = {k: v for k, v in values.items() if v is not None and k != "step"}
    prefix = EVAL if "seconds" in kept else TRAIN
    return {"step": step, **{prefix + k: v for k, v in kept.items()}}


def images(folder: Path, row: Mapping[str, Any]) -> dict[str, str]:
    """The sample grid of an evaluation, as `{"eval/samples": path}`."""
    path = folder / "samples" / f"step_{int(row['step'] or 0):06d}.png"
    return {f"{EVAL}samples": str(path)} if TIMED in row and path.exists() else {}


def table(rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """The final table: one line per evaluation, each figure a column."""
    points = [{k.removeprefix(EVAL): v for k, v in r.items()} for r in rows if TIMED in r]
    return table_of("evaluations", points)


def table_of(key: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The message of a table: one line per row, each key a column."""
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return {"key": key, "columns": columns, "rows": [[row.get(c) for c in columns] for row in rows]}


def artifacts(folder: Path, run_id: str) -> list[dict[str, Any]]:
    """A run's checkpoint and its sample grids as the messages of W&B's artifacts; those that it has."""
    folder = folder.resolve()
    files = {
        "model": {p.name: str(p) for p in (folder / "checkpoints").glob("last.ckpt")},
        "samples": {p.name: str(p) for p in sorted((folder / "samples").glob("*.png"))},
    }
    return [{"name": f"{kind}-{run_id}", "type": kind, "files": found} for kind, found in files.items() if found]


def summary(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a `result.json` or `failed.json` says of a whole run."""
    if "error" in record:
        return {"outcome": "crashed", "error": str(record["error"])[:1000], "run_id": record["run_id"]}
    plain = (
        "run_id",
        "outcome",
        "diverged_at",
        "note",
        "g_steps",
        "d_steps",
        "images_seen",
        "seconds",
        "train_seconds",
    )
    found = {key: record[key] for key in plain if record.get(key) is not None}
    final = {f"final/{k}": v for k, v in record["metrics"].items() if v is not None}
    best = {f"best/{k}": v for k, v in (record.get("best") or {}).items() if v is not None}
    return {**found, **final, **best, "labels": record.get("labels", {})}


def target(mode: str, project: str) -> dict[str, str]:
    """Where a run is uploaded to: two servers or projects are two targets."""
    at = {"server": os.environ.get("WANDB_BASE_URL", ""), "entity": os.environ.get("WANDB_ENTITY", "")}
    project = os.environ.get("WANDB_PROJECT") or project
    return {"mode": mode, **(at if mode == "online" else {}), "project": project}


def marked(folder: Path, target: Mapping[str, str], last_step: int) -> bool:
    """Whether all of a run was uploaded there before."""
    return any(each["target"] == target and each["last_step"] == last_step for each in _uploads(folder))


def mark(folder: Path, target: Mapping[str, str], last_step: int, ended: Ended) -> None:
    """Remembers an upload. Raises `OSError`."""
    held = [each for each in _uploads(folder) if each["target"] != target]
    publish(folder / MARKER, to_json([*held, {"target": target, "wandb_id": ended.id, "last_step": last_step}]))


def _uploads(folder: Path) -> list[dict[str, Any]]:
    """The uploads that a run's folder remembers; none where they cannot be read."""
    try:
        held = json.loads(read_regular(folder / MARKER))
        return [each for each in held if {"target", "last_step"} <= set(each)]
    except (OSError, ValueError, TypeError):
        return []
