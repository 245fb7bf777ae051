"""The runs of roots as tables in which like stands with like."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from gan_ablate.recipe import BASE
from gan_ablate.results.files import number
from gan_ablate.results.frames import Results
from gan_ablate.results.runs import MISSING, Run

__all__ = ["MISSING", "Run", "Table", "number", "tables"]


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
        for run, protocol in zip(one.each, one.runs["protocol"] if len(one.runs) else (), strict=True):
            cells.setdefault(run.dataset, []).append((str(protocol), run))
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
