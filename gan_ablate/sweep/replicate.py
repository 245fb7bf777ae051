"""Carries out a replication: the decided arms of a study and their bases on fresh seeds, as a plain study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from gan_ablate.errors import InputError
from gan_ablate.findings.replication import REPLICATES, decided, first_fresh_seed, fresh_recipes
from gan_ablate.results.frames import Results
from gan_ablate.results.study_file import NAME, read_study
from gan_ablate.study.entries import MOST_SEEDS
from gan_ablate.study.study import Expansion, Study, check_name
from gan_ablate.sweep.pool import sweep
from gan_ablate.sweep.summary import Summary

BASE_SHARE = 2  # seeds of base for each of an arm: its error is in every ratio (docs/verdicts.md)
DECIDED = "decided"  # key of the source: the verdicts that are put to the test


def plan(first: Results, seeds: int, base_seeds: int | None = None) -> tuple[Study, Expansion]:
    """The study and its runs. base_seeds: `BASE_SHARE` x seeds where `None`. Raises `InputError`."""
    base_seeds = BASE_SHARE * seeds if base_seeds is None else base_seeds
    for name, value in (("seeds", seeds), ("base-seeds", base_seeds)):
        if not 2 <= value <= MOST_SEEDS:
            raise InputError(f"--{name} {value}: needs a whole number of 2 to {MOST_SEEDS:,}")
    name, arms = f"{first.name}-replication", decided(first)
    check_name(name, str(first.root))
    start = first_fresh_seed(first)
    fresh = range(start, start + max(seeds, base_seeds))
    source = {
        "name": name,
        REPLICATES: first.name,
        "seeds": list(fresh),
        "arm_seeds": seeds,
        "base_seeds": base_seeds,
        DECIDED: [[*one.place, one.judged.verdict] for one in arms],
    }
    recipes = fresh_recipes(first, arms, seeds, base_seeds)
    return Study(name=name, seeds=tuple(fresh), source=source), Expansion(recipes)


def replicate(planned: tuple[Study, Expansion], root: str | Path, **way: Any) -> Summary:
    """Trains what is left of it. Raises `InputError` for a root that was begun for other verdicts."""
    study, expansion = planned
    refuse_other_verdicts(study, root)
    return sweep(study, root, expansion=expansion, **way)


def refuse_other_verdicts(study: Study, root: str | Path) -> None:
    """Raises `InputError` where the first study has decided otherwise since: which verdicts are put to the test must
    not depend on how the test goes."""
    if (Path(root) / NAME).exists():
        begun = read_study(Path(root))
        if begun.name == study.name and begun.source.get(DECIDED) != study.source[DECIDED]:
            raise InputError(
                f"{root}: was begun for other verdicts of {study.source[REPLICATES]!r}, which has gone on since: give "
                "another --out (runs that both need are brought by gan-ablate merge), or an archive of its old state"
            )
