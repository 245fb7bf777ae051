"""The runs of a root as tables in which like stands with like."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

from gan_ablate.outcomes import MEASURED
from gan_ablate.recipe import BASE
from gan_ablate.results.frames import Results
from gan_ablate.untrusted import LONGEST_LOG, read_regular

MISSING = "missing"


@dataclass(frozen=True)
class Run:
    """One run as it ended. `record` is its result.json or failed.json, empty where the run is missing."""

    folder: Path
    model: str
    arm: str
    seed: int
    outcome: str
    fid: float  # final; NaN where there is none
    record: Mapping[str, Any]

    @property
    def failed(self) -> bool:
        return self.outcome not in ("ok", MISSING)

    @property
    def recipe(self) -> Mapping[str, Any]:
        return _mapping(self.record.get("recipe"))

    @property
    def tricks(self) -> dict[str, Mapping[str, Any]]:
        """Name -> parameters of the tricks that it was trained with."""
        listed = self.recipe.get("tricks")
        entries = [t for t in listed if isinstance(t, Mapping)] if isinstance(listed, list) else []
        return {str(t.get("name")): _mapping(t.get("params")) for t in entries}

    def get(self, part: str, key: str) -> float | None:
        """A number of one part of the record (`metrics`, `stability`); `None` where it is not there or not finite."""
        return number(_mapping(self.record.get(part)).get(key))

    @property
    def signs(self) -> Mapping[str, Any]:
        """The signs of failure that were asked of the run, each with the G step at which it showed, or `None`."""
        return _mapping(self.record.get("signs"))

    @property
    def steps(self) -> float | None:
        """G steps that the run was to make."""
        made = number(self.record.get("g_steps"))
        return made if made and made > 0 and self.outcome in MEASURED else number(self.recipe.get("steps"))

    @property
    def curve(self) -> list[tuple[float, float]]:
        """(G step, FID) of every evaluation after the untrained one, in the order of the steps."""
        points = self.record.get("curve")
        entries = [p for p in points if isinstance(p, Mapping)] if isinstance(points, list) else []
        read = [(number(p.get("step")), number(p.get("fid"))) for p in entries]
        return sorted((s, f) for s, f in read if s is not None and s > 0 and f is not None)

    @cached_property
    def measured(self) -> Mapping[str, Any]:
        """Figures of the trained checkpoint, written by `gan-ablate measure`; empty where there are none."""
        try:
            return _mapping(_mapping(json.loads(read_regular(self.folder / "measured.json"))).get("metrics"))
        except (OSError, ValueError, RecursionError):
            return {}

    @cached_property
    def health(self) -> list[dict[str, Any]]:
        """Training health: the records of metrics.jsonl that have a step, evaluations left out."""
        try:
            text = read_regular(self.folder / "metrics.jsonl", LONGEST_LOG)
        except OSError:
            return []
        return [row for row in _lines(text) if isinstance(row, dict) and _is_health(row)]


@dataclass(frozen=True)
class Table:
    """Runs of one root that were measured alike on one dataset: only these may be compared."""

    study: str
    dataset: str
    protocol: str
    arms: Mapping[str, Mapping[str, Mapping[int, Run]]]  # model -> arm -> seed -> run
    skipped: Mapping[tuple[str, str], str] = field(default_factory=dict)  # (model, arm) -> why it is not applicable
    tied: frozenset[tuple[str, str]] = frozenset()  # (model, arm) that trains exactly as base: one training for both

    def side(self, model: str, arm: str) -> dict[int, Run]:
        """The runs carried out, by seed."""
        return {s: r for s, r in self.arms.get(model, {}).get(arm, {}).items() if r.outcome != MISSING}

    def one_training(self, model: str, *arms: str) -> bool:
        """Whether arms sample from the same trained weights: their seeds are pairs by construction."""
        return all(arm == BASE or (model, arm) in self.tied for arm in arms)

    def points(self, *models: str) -> list[str]:
        """The points of a random design that all of these models have."""
        found = [[a for a in self.arms.get(model, {}) if a.startswith("point-")] for model in models]
        return [a for a in found[0] if all(a in others for others in found)]


def tables(loaded: Iterable[Results]) -> list[Table]:
    """The tables of all roots, in their order; a root given twice is read once.

    Runs without a measurement stand with the commonest protocol of their dataset.
    """
    found: list[Table] = []
    for one in {Path(one.root).resolve(): one for one in loaded}.values():
        cells: dict[str, list[tuple[str, Run]]] = {}
        columns = ("run_id", "model", "dataset", "arm", "seed", "outcome", "protocol", "fid")
        for row in one.runs[list(columns)].to_dict("records") if len(one.runs) else ():
            run = Run(
                folder=Path(one.root) / "runs" / str(row["run_id"]),
                model=str(row["model"]),
                arm=str(row["arm"]),
                seed=int(row["seed"]),
                outcome=str(row["outcome"]),
                fid=float(row["fid"]) if number(row["fid"]) is not None else math.nan,
                record=one.records.get(str(row["run_id"])) or {},
            )
            cells.setdefault(str(row["dataset"]), []).append((str(row["protocol"] or ""), run))
        for dataset, entries in cells.items():
            counts = Counter(protocol for protocol, _ in entries if protocol)
            home = counts.most_common(1)[0][0] if counts else ""
            split: dict[str, dict[str, dict[str, dict[int, Run]]]] = {}
            for protocol, run in entries:
                models = split.setdefault(protocol or home, {})
                models.setdefault(run.model, {}).setdefault(run.arm, {})[run.seed] = run
            skipped = {
                (n["model"], n["arm"]): n["reason"] for n in one.not_applicable if n.get("dataset", dataset) == dataset
            }
            tied = frozenset((m, arm) for (m, d, arm) in one.ties if d == dataset)
            found += [Table(one.name, dataset, protocol, arms, skipped, tied) for protocol, arms in split.items()]
    return found


def number(value: object) -> float | None:
    """A finite number, or `None`."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return float(value) if math.isfinite(value) else None


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _is_health(row: Mapping[str, Any]) -> bool:
    return "evaluation" not in row and number(row.get("step")) is not None


def _lines(text: bytes) -> list[Any]:
    """JSON lines, at once where all are whole; a line that was cut short when the process died is left out."""
    try:
        return list(json.loads(b"[" + b",".join(text.splitlines()) + b"]"))
    except (ValueError, RecursionError):
        pass
    found = []
    for line in text.splitlines():
        try:
            found.append(json.loads(line))
        except (ValueError, RecursionError):
            continue
    return found
