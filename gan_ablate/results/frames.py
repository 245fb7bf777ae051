"""Results of roots: as typed runs, as tidy frames, and as tables in which like stands with like.

Runs that failed or are missing stay in all of them.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

import pandas as pd

from gan_ablate.errors import InputError
from gan_ablate.outcomes import METRICS, SIGNS
from gan_ablate.recipe import BASE
from gan_ablate.results.files import MEASURES, STABILITY, as_number, number
from gan_ablate.results.runs import LONGEST, MISSING, Reader, Run, read_run, setting
from gan_ablate.results.study_file import NAME, SINGLE_RUNS, StudyFile, read_study
from gan_ablate.study.cells import Tie
from gan_ablate.study.seed_plan import SeedPlan, plan_of
from gan_ablate.study.tuning import tune_of

KEYS = ("run_id", "model", "dataset", "arm", "seed")


@dataclass(frozen=True)
class Results:
    """One study's results.

    root: as it is called in what is printed. files: the folder that it is read from; of an archive another one.
    each: one typed run per cell, in the study's order.
    runs: one row per cell: model, dataset, arm, seed, budget, outcome, protocol, every metric at the final step (`fid`
        to `high_quality`), `best_fid`, `last_quarter_fall`, the stability card (`final_over_best`, `volatility`, ..),
        the step at which each sign of failure first showed (`sign_*`, NaN: never), seconds, bytes. NaN where unknown.
    curves: one row per evaluation of a run: run_id, model, dataset, arm, seed, step, the metrics, seconds.
    factors: arm -> {factor: level}; empty where the study has no factor design.
    """

    root: Path
    files: Path
    name: str
    version: str
    each: tuple[Run, ...]
    runs: pd.DataFrame
    curves: pd.DataFrame
    not_applicable: tuple[dict[str, str], ...]
    records: dict[str, Mapping[str, Any]]  # run_id -> result.json or failed.json
    problems: tuple[str, ...]  # files that cannot be read or are refused
    design: dict[str, Any] = field(default_factory=dict)
    factors: dict[str, dict[str, Any]] = field(default_factory=dict)
    source: Any = None  # the study as its author wrote it; only to be compared
    ties: dict[tuple[str, str, str], Tie] = field(default_factory=dict)  # by model, dataset, arm
    tuning: tuple[Run, ...] = ()  # tuning runs: they choose settings, and have no part in anything else here

    def health(self, run_ids: list[str] | None = None) -> pd.DataFrame:
        """Training health, one row per record of metrics.jsonl: run_id, model, dataset, arm, seed, step, and losses,
        answers and gradient norms under the names they were logged by. All runs, or those named. Not read by `load`.

        A value that was not finite when it was logged is NaN. Lines that cannot be read are left out.
        """
        rows: list[dict[str, Any]] = []
        for run in self.each:
            if run_ids is None or run.run_id in run_ids:
                keys = {k: getattr(run, k) for k in KEYS}
                rows += [
                    {**keys, **{k: math.nan if (x := number(v)) is None else x for k, v in row.items()}}
                    for row in run.health
                ]
        found = pd.DataFrame(rows, columns=None if rows else [*KEYS, "step"])
        return found.astype({"step": int}) if rows else found


def load(place: str | PathLike[str], read: Reader = read_run) -> Results:
    """Read a root. Raises `InputError` where there is no study, or one that cannot be used.

    place: its folder, or an archive that is open (`store.unpack.opened`), which is called by another name. read: of who
    looks at a root again and again, a `RunCache`.
    """
    root = Path(place)
    study = read_study(root)
    if not study.cells:
        raise InputError(f"{root / NAME}: not a study with cells in it: sweep the study again with this root")
    every = [read(root / "runs" / cell.run_id, cell) for cell in study.cells]
    each = [run for run in every if not run.tuning]
    if study.name == SINGLE_RUNS:  # only like may stand in a table with like
        each = [replace(run, protocol=setting(run.record) or run.protocol) for run in each]
    curves = [point for run in each for point in _points(run)]
    return Results(
        root=Path(getattr(place, "called", root)),
        files=root,
        name=study.name[:LONGEST],
        version=study.version[:LONGEST],
        each=tuple(each),
        runs=pd.DataFrame([_row(run) for run in each], columns=None if each else list(_row(every[0]))),
        curves=pd.DataFrame(curves, columns=[*KEYS, "step", *METRICS, "seconds"]),
        not_applicable=tuple({k: str(v)[:LONGEST] for k, v in vars(n).items()} for n in study.not_applicable),
        records={run.run_id: run.record for run in each if run.record},
        problems=tuple(f"{run.run_id}/{why}; the run counts as missing" for run in every for why in run.problems),
        design=_design(study),
        factors=_factors(study),
        source=study.source,
        ties={
            (c.model, c.dataset, c.arm): Tie(c.same_as_base, c.shares_weights)
            for c in study.cells
            if c.same_as_base or c.shares_weights
        },
        tuning=tuple(run for run in every if run.tuning),
    )


def _row(run: Run) -> dict[str, Any]:
    """One line of the frame of runs."""
    record = run.record
    measured = _metrics(record.get("metrics"))
    best, card, signs = (record.get(k) or {} for k in ("best", "stability", "signs"))
    best_fid = as_number(best.get("fid"))
    facts = {**record, "steps": (record.get("recipe") or {}).get("steps")}
    return {
        **{k: getattr(run, k) for k in KEYS},
        "budget": run.budget,
        "outcome": run.outcome,
        "protocol": run.protocol,
        **measured,
        "best_fid": best_fid,
        "best_step": as_number(best.get("step")),
        "final_over_best": measured["fid"] / best_fid if best_fid > 0 else math.nan,
        "last_quarter_fall": run.last_quarter_fall,
        **{k: as_number(card.get(k)) for k in STABILITY},
        **{f"sign_{k}": as_number(signs.get(k)) for k in SIGNS},  # G step at which it first showed; NaN: never
        "signs_asked": ",".join(k for k in SIGNS if k in signs),
        **{k: as_number(facts.get(k)) for k in MEASURES},
        "note": run.note,
    }


def _points(run: Run) -> list[dict[str, Any]]:
    """A run's evaluations, as lines of the frame of curves."""
    keys = {k: getattr(run, k) for k in KEYS}
    return [
        {**keys, "step": int(p["step"]), **_metrics(p), "seconds": as_number(p.get("seconds"))}
        for p in run.record.get("curve") or ()
    ]


def _metrics(source: Mapping[str, Any] | None) -> dict[str, float]:
    return {m: as_number((source or {}).get(m)) for m in METRICS}


def _factors(study: StudyFile) -> dict[str, dict[str, Any]]:
    """Arm label -> {factor: level}; arms whose levels are no scalars are left out."""
    return {
        str(arm): {str(k): v for k, v in levels.items()}
        for arm, levels in study.factors.items()
        if isinstance(levels, dict) and all(isinstance(v, str | int | float) for v in levels.values())
    }


def _design(study: StudyFile) -> dict[str, Any]:
    """The design's name and the levels of its factors in order, the low one first."""
    if not isinstance(name := study.design.get("name"), str):
        return {}
    levels = study.design.get("factors")
    plain = {
        str(k): [v for v in values if isinstance(v, str | int | float)]
        for k, values in (levels.items() if isinstance(levels, dict) else ())
        if isinstance(values, list)
    }
    return {"name": name[:LONGEST], "factors": plain}


@dataclass(frozen=True, eq=False)
class RunTable:
    """Runs of one root and budget that were measured alike on one dataset: only these may be compared."""

    study: str
    dataset: str
    protocol: str
    arms: Mapping[str, Mapping[str, Mapping[int, Run]]]  # model -> arm -> seed -> run
    skipped: Mapping[tuple[str, str], str] = field(default_factory=dict)  # (model, arm) -> why it is not applicable
    tied: frozenset[tuple[str, str]] = frozenset()  # (model, arm) that trains exactly as base: one training for both
    same: frozenset[tuple[str, str]] = frozenset()  # of these, those that sample as base too: base by construction
    plan: SeedPlan | None = None  # of an adaptive study
    budget: str = ""  # as `4x`; empty at the first
    tuned: frozenset[str] = frozenset()  # recipe fields that every arm, base too, has chosen for itself

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


def run_tables(loaded: Iterable[Results]) -> list[RunTable]:
    """The tables of all roots, in their order; a root given twice is read once.

    Runs without a measurement stand with the commonest protocol of their model, as in the report's tables, else of
    their dataset.
    """
    found: list[RunTable] = []
    for one in {one.files.resolve(): one for one in loaded}.values():
        for dataset, budget in dict.fromkeys((run.dataset, run.budget) for run in one.each):
            runs = [run for run in one.each if (run.dataset, run.budget) == (dataset, budget)]
            home = _commonest(runs)
            homes = {
                m: _commonest(r for r in runs if r.model == m) or home for m in dict.fromkeys(r.model for r in runs)
            }
            split: dict[str, dict[str, dict[str, dict[int, Run]]]] = {}
            for run in runs:
                models = split.setdefault(run.protocol or homes[run.model], {})
                models.setdefault(run.model, {}).setdefault(run.arm, {})[run.seed] = run
            skipped = {
                (n["model"], n["arm"]): n["reason"] for n in one.not_applicable if n.get("dataset", dataset) == dataset
            }
            tied = frozenset((m, arm) for (m, d, arm) in one.ties if d == dataset)
            same = frozenset((m, arm) for (m, d, arm), tie in one.ties.items() if d == dataset and tie.same_as_base)
            plan, tune = plan_of(one.source), tune_of(one.source)
            tuned = frozenset(tune.grid if tune else ())
            found += [
                RunTable(one.name, dataset, p, arms, skipped, tied, same, plan, budget, tuned)
                for p, arms in split.items()
            ]
    return found


def _commonest(runs: Iterable[Run]) -> str:
    """The protocol of most of the runs that were measured; empty where none was."""
    counts = Counter(run.protocol for run in runs if run.protocol)
    return counts.most_common(1)[0][0] if counts else ""
