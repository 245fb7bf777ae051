"""A root's results as tidy frames. Runs that failed or are missing stay in them."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from gan_ablate.errors import InputError
from gan_ablate.results import reading, result_file
from gan_ablate.results.reading import METRICS, UNREADABLE
from gan_ablate.untrusted import LONGEST_LOG, read_regular

KEYS = ("run_id", "model", "dataset", "arm", "seed")


@dataclass(frozen=True)
class Results:
    """One study's results.

    runs: one row per cell: model, dataset, arm, seed, outcome, protocol, every metric at the final step (`fid` to
        `high_quality`), `best_fid`, the stability card (`final_over_best`, `volatility`, `largest_d_gradient`, ..), the
        step at which each sign of failure first showed (`sign_*`, NaN: never), seconds, bytes. NaN where unknown.
    curves: one row per evaluation of a run: run_id, model, dataset, arm, seed, step, the metrics, seconds.
    factors: arm -> {factor: level}; empty where the study has no factor design.
    """

    root: Path
    name: str
    version: str
    runs: pd.DataFrame
    curves: pd.DataFrame
    not_applicable: tuple[dict[str, str], ...]
    records: dict[str, dict[str, Any]]  # run_id -> result.json or failed.json
    problems: tuple[str, ...]  # files that cannot be read or are refused
    design: dict[str, Any] = field(default_factory=dict)
    factors: dict[str, dict[str, Any]] = field(default_factory=dict)
    source: Any = None  # the study as its author wrote it; only to be compared
    ties: dict[tuple[str, str, str], reading.Tie] = field(default_factory=dict)  # by model, dataset, arm

    def health(self, run_ids: list[str] | None = None) -> pd.DataFrame:
        """Training health, one row per record of metrics.jsonl: run_id, model, dataset, arm, seed, step, and losses,
        answers and gradient norms under the names they were logged by. All runs, or those named. Not read by `load`.

        A value that was not finite when it was logged is NaN. Lines that cannot be read are left out.
        """
        rows: list[dict[str, Any]] = []
        wanted = self.runs if run_ids is None else self.runs[self.runs["run_id"].isin(run_ids)]
        for values in wanted[list(KEYS)].itertuples(index=False):
            keys = dict(zip(KEYS, values, strict=True))
            try:
                path = self.root / "runs" / keys["run_id"] / "metrics.jsonl"
                lines = read_regular(path, LONGEST_LOG).splitlines()
            except OSError:
                continue
            for line in lines:
                try:
                    read = json.loads(line)
                    if "evaluation" not in read:
                        rows.append({**keys, **{str(k): reading.number(v) for k, v in read.items()}})
                except UNREADABLE:
                    continue
        found = pd.DataFrame(rows, columns=None if rows else [*KEYS, "step"])
        return found.astype({"step": int}) if rows and not found["step"].isna().any() else found


def load(root: str | Path) -> Results:
    """Read a root. Raises `InputError` where there is no study, or one of another schema."""
    root = Path(root)
    study = reading.study(root)
    rows, curves, records, problems = [], [], {}, []
    home = (root / "runs").resolve()
    for cell in study["cells"]:
        folder = _folder(root, home, cell["run_id"])
        row, points, record = reading.row(cell, {}), [], None
        for name in ("result.json", "failed.json"):
            try:
                found = result_file.read(folder / name, cell["run_id"])
                row, points = reading.row(cell, found), reading.points(found)
                record = found
                break
            except FileNotFoundError:
                continue
            except result_file.Refused as error:
                problems.append(f"{cell['run_id']}/{name} is refused ({error}); the run counts as missing")
            except UNREADABLE as error:
                why = f" ({error.strerror})" if isinstance(error, OSError) else ""
                problems.append(f"{cell['run_id']}/{name} cannot be read{why}; the run counts as missing")
        rows.append(row)
        if record is None:
            continue
        records[row["run_id"]] = record
        keys = {k: row[k] for k in KEYS}
        curves += [{**keys, **p} for p in points]
    runs = pd.DataFrame(rows)
    if study["name"] == "train" and len(runs):
        # single runs of many settings share one root: only like may stand in a table with like
        runs["protocol"] = [reading.setting(records.get(r)) or p for r, p in zip(runs["run_id"], runs["protocol"])]
    return Results(
        root,
        study["name"],
        study["version"],
        runs,
        pd.DataFrame(curves, columns=[*KEYS, "step", *METRICS, "seconds"]),
        tuple(study["not_applicable"]),
        records,
        tuple(problems),
        study["design"],
        study["factors"],
        study["source"],
        study["ties"],
    )


def _folder(root: Path, home: Path, run_id: str) -> Path:
    """A run's folder. Raises `InputError` for an id that leads out of the root, by dots or by a link."""
    folder = root / "runs" / run_id
    try:
        linked = folder.is_symlink()
    except OSError as error:
        why = f"run id {run_id[:80]!r} cannot be a folder: {error.strerror}"
        raise InputError(f"{root / 'study.yaml'}: {why}") from None
    plain = run_id not in {"", ".", ".."} and not {"/", "\0"} & set(run_id) and not linked
    if not plain and ("\0" in run_id or folder.resolve().parent != home):
        raise InputError(f"{root / 'study.yaml'}: run id {run_id!r} leads out of the root")
    return folder
