"""study.yaml and result.json as checked plain data. What a stranger wrote there can spoil nothing but its own row."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, cast

import yaml

from gan_ablate.errors import InputError
from gan_ablate.outcomes import MEANINGS, MEASURED
from gan_ablate.recipe import SCHEMA
from gan_ablate.untrusted import load_yaml, read_regular

OUTCOMES = (*MEANINGS, "missing")
UNREADABLE = (OSError, ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError)
METRICS = (
    "fid", "kid", "is_mean", "is_std", "precision", "recall", "density", "coverage", "modes", "assigned_modes",
    "high_quality", "mode_kl",
)  # fmt: skip
STABILITY = ("volatility", "largest_d_gradient", "largest_g_gradient", "early_g_gradient")
SIGNS = ("d_loss_near_zero", "gradient_over_100", "d_loss_spikes", "g_loss_falls")  # evaluate.health's, in its order
LONGEST = 2000  # characters of a text: a traceback's last lines, a reason


class Tie(NamedTuple):
    """What an arm shares with base by construction."""

    same_as_base: str = ""  # why it trains and samples exactly as base; empty where it does not
    shares_weights: bool = False  # it trains exactly as base: its seeds and base's are pairs


def study(root: Path) -> dict[str, Any]:
    """study.yaml with its cells checked. Raises `InputError` where there is none, or one that cannot be used."""
    path = root / "study.yaml"
    if not root.is_dir():
        raise InputError(f"{root}: no such folder: give the root of a sweep, such as runs/ablation")
    try:
        read = load_yaml(read_regular(path))
    except FileNotFoundError:
        raise InputError(f"{root}: no study here (no study.yaml): give the root of a sweep") from None
    except (yaml.YAMLError, ValueError, OSError, RecursionError) as error:
        raise InputError(f"{path}: cannot be read: {' '.join(str(error).split())}") from None
    if read is None:
        raise InputError(f"{path}: is empty: sweep the study again with this root; finished runs are kept")
    if not isinstance(read, dict) or read.get("schema") != SCHEMA or not read.get("cells"):
        raise InputError(f"{path}: not a study of this version (schema {SCHEMA}) with cells in it")
    try:
        cells = [
            {**{k: text(c[k]) for k in ("run_id", "model", "dataset", "arm")}, "seed": int(c["seed"])}
            for c in read["cells"]
        ]
        skipped = [
            {k: text(n[k]) for k in ("model", "dataset", "arm", "reason")} for n in read.get("not_applicable") or ()
        ]
        named = {k: text(read.get(k) or default) for k, default in (("name", root.name), ("version", "?"))}
    except (KeyError, TypeError, ValueError, OverflowError):
        raise InputError(
            f"{path}: each cell needs a run_id, model, dataset, arm and whole-number seed, each arm that is not "
            "applicable a model, dataset, arm and reason"
        ) from None
    unique = list({c["run_id"]: c for c in cells}.values())  # a run that is listed twice is one run
    more = {"design": design(read), "factors": factors(read), "source": read.get("source"), "ties": ties(read)}
    return {**named, "cells": unique, "not_applicable": skipped, **more}


def text(value: object) -> str:
    """A scalar as text. Raises `TypeError` for anything else: printing a nest of YAML aliases could take for ever."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise TypeError("not a scalar")
    return str(value)[:LONGEST]


def ties(read: Mapping[str, Any]) -> dict[tuple[str, str, str], Tie]:
    """(model, dataset, arm) -> what it shares with base by construction; nothing where a study says nothing of it."""
    found = {}
    for cell in read["cells"]:
        why = cell.get("same_as_base")
        tie = Tie(text(why) if isinstance(why, str) else "", cell.get("shares_weights") is True)
        if tie != Tie():
            found[text(cell["model"]), text(cell["dataset"]), text(cell["arm"])] = tie
    return found


def factors(read: Mapping[str, Any]) -> dict[str, dict[str, Any]]:
    """Arm label -> {factor: level}; arms whose levels are no scalars are left out."""
    found = {}
    given = read.get("factors")
    for arm, levels in given.items() if isinstance(given, dict) else ():
        if isinstance(levels, dict) and all(isinstance(v, str | int | float) for v in levels.values()):
            found[str(arm)] = {str(k): v for k, v in levels.items()}
    return found


def design(read: Mapping[str, Any]) -> dict[str, Any]:
    """The design's name and the levels of its factors in order, the low one first."""
    given = read.get("design")
    if not isinstance(given, dict) or not isinstance(given.get("name"), str):
        return {}
    levels = given.get("factors")
    plain = {
        str(k): [v for v in values if isinstance(v, str | int | float)]
        for k, values in (levels.items() if isinstance(levels, dict) else ())
        if isinstance(values, list)
    }
    return {"name": given["name"][:LONGEST], "factors": plain}


def number(value: object) -> float:
    """NaN for what is not there or not finite: an infinite FID is no score."""
    x = math.nan if value is None or isinstance(value, bool) else float(cast(Any, value))
    return x if math.isfinite(x) else math.nan


def metrics(source: Mapping[str, Any] | None) -> dict[str, float]:
    return {m: number((source or {}).get(m)) for m in METRICS}


def points(read: Mapping[str, Any]) -> list[dict[str, float]]:
    """A run's evaluations."""
    return [
        {"step": int(p["step"]), **metrics(p), "seconds": number(p.get("seconds"))} for p in read.get("curve") or ()
    ]


def row(cell: Mapping[str, Any], read: Mapping[str, Any]) -> dict[str, Any]:
    """One line of the frame of runs."""
    recipe = read.get("recipe") or {}
    outcome = read.get("outcome") or ("crashed" if read else "missing")
    measured, note = metrics(read.get("metrics")), str(read.get("note") or read.get("error") or "")[:LONGEST]
    if outcome in MEASURED and math.isnan(measured["fid"]):
        outcome, note = "diverged", f"{note}; no finite FID at the final step".removeprefix("; ")
    best, card, signs = (read.get(k) or {} for k in ("best", "stability", "signs"))
    best_fid = number(best.get("fid"))
    return {
        **cell,
        "outcome": outcome if outcome in OUTCOMES else "crashed",
        "protocol": protocol(read),
        **measured,
        "best_fid": best_fid,
        "best_step": number(best.get("step")),
        "final_over_best": measured["fid"] / best_fid if best_fid > 0 else math.nan,
        **{k: number(card.get(k)) for k in STABILITY},
        **{f"sign_{k}": number(signs.get(k)) for k in SIGNS},  # G step at which it first showed; NaN: never
        "signs_asked": ",".join(k for k in SIGNS if k in signs),
        "steps": number(recipe.get("steps")),
        "seconds": number(read.get("seconds")),
        "train_seconds": number(read.get("train_seconds")),
        "evaluation_seconds": number(read.get("evaluation_seconds")),
        "images_seen": number(read.get("images_seen")),
        "peak_memory_bytes": number(read.get("peak_memory_bytes")),
        "resumed": number(read.get("resumed")),
        "diverged_at": number(read.get("diverged_at")),
        "note": note,
    }


def protocol(read: Mapping[str, Any]) -> str:
    """What a run's figures were measured with: tables never mix two of these. Empty where nothing was measured."""
    e = read.get("evaluation")
    if not e:
        return ""
    digest, real = str(e["extractor_digest"])[:12], e["real_fingerprint"]
    data = f"{e['dataset']} {e['split']} split ({e['real_images']} real images, content {real})"
    space, rule = e.get("prdc_space"), e.get("modes_by")  # results of before these two were said have neither
    rest = (f", PRDC by {space}" if space else "") + (f", modes by {rule}" if rule else "")
    return f"{read['labels']['fid']}, {data}, extractor {digest}{rest}"


def setting(read: Mapping[str, Any] | None) -> str:
    """The protocol with the recipe's numbers: what only like with like may share."""
    if not read or not read.get("evaluation"):
        return ""
    r = read["recipe"]
    shape = ", ".join(f"{k} {r.get(k)}" for k in ("architecture", "size", "channels", "width", "latent_dim", "steps"))
    rest = ", ".join(f"{k} {r.get(k)}" for k in ("batch_size", "lr", "beta1", "beta2", "precision"))
    return f"{protocol(read)}; {shape}, {rest}"
