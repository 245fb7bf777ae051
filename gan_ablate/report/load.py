"""A root's results as tidy frames. Runs that failed or are missing stay in them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import yaml

from gan_ablate.errors import InputError
from gan_ablate.recipe import SCHEMA

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
OUTCOMES = ("ok", "collapsed", "diverged", "crashed", "missing")
METRICS = ("fid", "kid", "is_mean", "is_std", "modes", "mode_kl")


@dataclass(frozen=True)
class Loaded:
    """One study's results.

    runs: one row per cell (model, dataset, arm, seed, outcome, protocol, the metrics, seconds, ...).
    curves: one row per evaluation of a run (run_id, model, arm, seed, step, the metrics).
    """

    root: Path
    name: str
    version: str
    runs: pd.DataFrame
    curves: pd.DataFrame
    not_applicable: tuple[dict[str, str], ...]
    records: dict[str, dict[str, Any]]  # run_id -> result.json or failed.json
    problems: tuple[str, ...]  # files that cannot be read


def load(root: str | Path) -> Loaded:
    """Read a root. Raises `InputError` where there is no study, or one of another schema."""
    root = Path(root)
    study = _study(root)
    rows, curves, records, problems = [], [], {}, []
    for cell in study["cells"]:
        record = None
        folder = root / "runs" / str(cell["run_id"])
        if folder.resolve().parent != (root / "runs").resolve():
            raise InputError(f"{root / 'study.yaml'}: run id {cell['run_id']!r} leads out of the root")
        for name in ("result.json", "failed.json"):
            try:
                record = json.loads((folder / name).read_bytes())
                if not isinstance(record, dict) or "recipe" not in record:
                    raise ValueError("not a result")
                break
            except FileNotFoundError:
                continue
            except ValueError:
                record = None
                problems.append(f"{cell['run_id']}/{name} cannot be read; the run counts as missing")
        row = _row(cell, record)
        rows.append(row)
        if record is None:
            continue
        records[row["run_id"]] = record
        keys = {k: row[k] for k in ("run_id", "model", "arm", "seed")}
        curves += [{**keys, "step": p["step"], **_metrics(p)} for p in record.get("curve", [])]
    runs = pd.DataFrame(rows)
    if study["name"] == "train" and len(runs):
        # single runs of many settings share one root: only like may stand in a table with like
        runs["protocol"] = [_setting(records.get(r)) or p for r, p in zip(runs["run_id"], runs["protocol"])]
    columns = ["run_id", "model", "arm", "seed", "step", *METRICS]
    return Loaded(
        root,
        str(study["name"]),
        str(study.get("version", "")),
        runs,
        pd.DataFrame(curves, columns=columns),
        tuple(study.get("not_applicable") or ()),
        records,
        tuple(problems),
    )


def _study(root: Path) -> dict[str, Any]:
    path = root / "study.yaml"
    if not root.is_dir():
        raise InputError(f"{root}: no such folder: give the root of a sweep, such as runs/ablation")
    try:
        study = yaml.load(path.read_bytes(), Loader=_Loader)
    except FileNotFoundError:
        raise InputError(f"{root}: no study here (no study.yaml): give the root of a sweep") from None
    except yaml.YAMLError as error:
        raise InputError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    if not isinstance(study, dict) or study.get("schema") != SCHEMA or not study.get("cells"):
        raise InputError(f"{path}: not a study of this version (schema {SCHEMA}) with cells in it")
    return study


def _metrics(source: dict[str, Any]) -> dict[str, float]:
    return {m: float("nan") if source.get(m) is None else float(source[m]) for m in METRICS}


def _row(cell: dict[str, Any], record: dict[str, Any] | None) -> dict[str, Any]:
    row = {k: cell[k] for k in ("run_id", "model", "dataset", "arm", "seed")}
    record = record or {}
    recipe = record.get("recipe", {})
    outcome = record.get("outcome") or ("crashed" if record else "missing")
    best = record.get("best") or {}
    return {
        **row,
        "outcome": outcome if outcome in OUTCOMES else "crashed",
        "protocol": protocol(record),
        **_metrics(record.get("metrics", {})),
        "best_fid": best.get("fid", float("nan")),
        "best_step": best.get("step"),
        "steps": recipe.get("steps"),
        "seconds": record.get("seconds", float("nan")),
        "train_seconds": record.get("train_seconds", float("nan")),
        "images_seen": record.get("images_seen"),
        "note": record.get("note") or record.get("error") or "",
    }


def protocol(record: dict[str, Any]) -> str:
    """What a run's figures were measured with: tables never mix two of these. Empty where nothing was measured."""
    e = record.get("evaluation")
    if not e:
        return ""
    digest, real = str(e["extractor_digest"])[:12], e["real_fingerprint"]
    data = f"{e['dataset']} {e['split']} split ({e['real_images']} real images, content {real})"
    return f"{record['labels']['fid']}, {data}, extractor {digest}"


def _setting(record: dict[str, Any] | None) -> str:
    if not record or not record.get("evaluation"):
        return ""
    r = record["recipe"]
    numbers = ", ".join(f"{k} {r[k]}" for k in ("architecture", "size", "channels", "width", "latent_dim", "steps"))
    rest = ", ".join(f"{k} {r[k]}" for k in ("batch_size", "lr", "beta1", "beta2", "precision"))
    return f"{protocol(record)}; {numbers}, {rest}"
