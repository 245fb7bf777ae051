"""A root's results as tidy frames. Runs that failed or are missing stay in them."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import pandas as pd
import yaml

from gan_ablate.errors import InputError
from gan_ablate.recipe import SCHEMA

_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
OUTCOMES = ("ok", "collapsed", "diverged", "crashed", "missing")
UNREADABLE = (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError)
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
    home = (root / "runs").resolve()
    for cell in study["cells"]:
        folder = root / "runs" / cell["run_id"]
        if folder.resolve().parent != home:
            raise InputError(f"{root / 'study.yaml'}: run id {cell['run_id']!r} leads out of the root")
        row, points, record = _row(cell, {}), [], None
        for name in ("result.json", "failed.json"):
            try:
                found = _record(folder / name)
                row, points = _row(cell, found), _points(found)
                record = found
                break
            except FileNotFoundError:
                continue
            except UNREADABLE:
                problems.append(f"{cell['run_id']}/{name} cannot be read; the run counts as missing")
        rows.append(row)
        if record is None:
            continue
        records[row["run_id"]] = record
        keys = {k: row[k] for k in ("run_id", "model", "arm", "seed")}
        curves += [{**keys, **p} for p in points]
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
        tuple(study["not_applicable"]),
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
    try:
        cells = [
            {**{k: str(c[k]) for k in ("run_id", "model", "dataset", "arm")}, "seed": int(c["seed"])}
            for c in study["cells"]
        ]
        skipped = [
            {k: str(n[k]) for k in ("model", "dataset", "arm", "reason")} for n in study.get("not_applicable") or ()
        ]
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{path}: each cell needs a run_id, model, dataset, arm and whole-number seed, each arm that is not "
            "applicable a model, dataset, arm and reason"
        ) from None
    unique = list({c["run_id"]: c for c in cells}.values())  # a run that is listed twice is one run
    return {**study, "name": study.get("name", root.name), "cells": unique, "not_applicable": skipped}


def _record(path: Path) -> dict[str, Any]:
    """A result.json or failed.json. Raises one of `UNREADABLE` where it is not one."""
    record = json.loads(path.read_bytes())
    if not isinstance(record, dict) or not isinstance(record.get("recipe"), dict):
        raise ValueError("not a result")
    return cast(dict[str, Any], record)


def _number(value: object) -> float:
    """NaN for what is not there or not finite: an infinite FID is no score."""
    x = math.nan if value is None else float(cast(Any, value))
    return x if math.isfinite(x) else math.nan


def _metrics(source: dict[str, Any] | None) -> dict[str, float]:
    return {m: _number((source or {}).get(m)) for m in METRICS}


def _points(record: dict[str, Any]) -> list[dict[str, float]]:
    return [{"step": int(p["step"]), **_metrics(p)} for p in record.get("curve") or ()]


def _row(cell: dict[str, Any], record: dict[str, Any]) -> dict[str, Any]:
    recipe = record.get("recipe") or {}
    outcome = record.get("outcome") or ("crashed" if record else "missing")
    metrics, note = _metrics(record.get("metrics")), str(record.get("note") or record.get("error") or "")
    if outcome == "ok" and math.isnan(metrics["fid"]):
        outcome, note = "crashed", f"{note}; no finite FID at the final step".removeprefix("; ")
    best = record.get("best") or {}
    return {
        **cell,
        "outcome": outcome if outcome in OUTCOMES else "crashed",
        "protocol": protocol(record),
        **metrics,
        "best_fid": _number(best.get("fid")),
        "best_step": best.get("step"),
        "steps": recipe.get("steps"),
        "seconds": _number(record.get("seconds")),
        "train_seconds": _number(record.get("train_seconds")),
        "images_seen": record.get("images_seen"),
        "note": note,
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
    numbers = ", ".join(f"{k} {r.get(k)}" for k in ("architecture", "size", "channels", "width", "latent_dim", "steps"))
    rest = ", ".join(f"{k} {r.get(k)}" for k in ("batch_size", "lr", "beta1", "beta2", "precision"))
    return f"{protocol(record)}; {numbers}, {rest}"
