"""Which checkpoints of a root the claims need measured, and by which metrics. No torch: this only plans."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from gan_ablate.claims.catalogue import registry
from gan_ablate.claims.claim import Contrast
from gan_ablate.claims.measures import MEASURES
from gan_ablate.claims.planned_tests import match
from gan_ablate.outcomes import MEASURED
from gan_ablate.recipe import MODEL_OF
from gan_ablate.results.files import read_measured
from gan_ablate.results.frames import Results, RunTable, run_tables
from gan_ablate.results.runs import Run

FILE = "measured.json"


class Job(NamedTuple):
    """One checkpoint and the metrics that some claim needs of it and nobody has measured yet."""

    run: Run
    metrics: tuple[str, ...]

    @property
    def checkpoint(self) -> Path:
        return self.run.folder / "checkpoints" / "last.ckpt"

    @property
    def name(self) -> str:
        return f"{self.run.model}/{self.run.arm}/{self.run.seed}"


def jobs(loaded: Results, fallbacks: bool = False) -> Iterator[Job]:
    """The checkpoints to measure. `fallbacks`: also for contrasts that arms of the study answer already.

    Runs that diverged or crashed have nothing to measure; nor has one whose checkpoint is gone.
    """
    wanted: dict[Path, tuple[Run, dict[str, None]]] = {}
    for table in run_tables([loaded]):
        for contrast in (c for claim in registry().values() for c in claim.contrasts if fallbacks or not c.fallback):
            for figure, run in _sides(contrast, table):
                held = wanted.setdefault(run.folder, (run, {}))[1]
                held.update({MEASURES[figure].measured_by: None} if run.measured.get(figure) is None else {})
    for run, metrics in wanted.values():
        job = Job(run, tuple(metrics))
        if metrics and run.outcome in MEASURED and job.checkpoint.is_file():
            yield job


def _sides(contrast: Contrast, table: RunTable) -> Iterator[tuple[str, Run]]:
    """The runs of both sides, each with the figure that only its checkpoint can give."""
    for letters, arm, figure in contrast.sides:
        if MEASURES[figure].measured_by:
            for model in (MODEL_OF[letter] for letter in letters):
                for label in match(table, model, arm):
                    yield from ((figure, run) for run in table.side(model, label).values())


def joined(folder: Path, found: dict[str, Any]) -> dict[str, Any]:
    """What to publish: figures that were there before stay, if they were measured alike."""
    before = read_measured(folder)
    alike = all(k in before and before[k] == found.get(k) for k in ("extractor_digest", "samples", "real_fingerprint"))
    return {**found, "metrics": {**before["metrics"], **found["metrics"]}} if before and alike else found
