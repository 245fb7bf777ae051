"""Which of several tests of one question count: no run twice, and settings of each side's own before those of base."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from gan_ablate.claims.planned_tests import Arms, PlannedTest
from gan_ablate.claims.verdict import Evidence

Sides = tuple[set[tuple[str, str]], ...]  # the runs of treatment and control: (run id, FID)


def once(row: Sequence[PlannedTest]) -> list[PlannedTest]:
    """No run is evidence twice: of the same test on tables that share at least half of each side's runs, that with
    most runs stays. One recipe that was trained twice, on two machines, and ended at two FIDs makes two runs."""
    held: dict[tuple[object, ...], list[tuple[PlannedTest, Sides]]] = {}
    for t in row:
        if not t.missing:
            held.setdefault(_asked(t), []).append((t, tuple(_runs(t, side) for side in t.measure.sides(t))))
    repeats: set[PlannedTest] = set()
    for same in held.values():
        kept: list[Sides] = []
        for t, sides in sorted(same, key=lambda each: -sum(map(len, each[1]))):
            if any(all(2 * len(a & b) >= len(a) for a, b in zip(sides, other)) for other in kept):
                repeats.add(t)
            else:
                kept.append(sides)
    return [t for t in row if t not in repeats]


def _asked(t: PlannedTest) -> tuple[object, ...]:
    return t.contrast, t.measure.label, t.table.dataset, t.model, t.control_model, t.treatment, t.control


def at_own_settings(row: Sequence[PlannedTest], evidence: Sequence[Evidence]) -> Iterator[Evidence]:
    """The evidence of a claim's tests, where that at base's settings does not count beside the same test of a study in
    which each side chose its own (`tune:`): a setting that was chosen for base alone favours base.

    It counts on where the other is open and its interval does not leave out this one's effect: then nothing speaks
    against it. Their recipes are the same but for what was chosen. A figure of all arms of a model has no sides.
    """
    chosen = [(t, e) for t, e in zip(row, evidence) if t.table.tuned and e.says != "not tested"]
    for t, e in zip(row, evidence):
        same = ((own, found) for own, found in chosen if not t.table.tuned and _same_but_for_settings(t, own))
        study = next((found.study for _, found in same if found.says != "open" or _leaves_out(found, e)), "")
        yield replace(e, in_its_place=study)


def _leaves_out(found: Evidence, other: Evidence) -> bool:
    low, high, told = found.effect.low, found.effect.high, other.effect.point
    return found.scale == other.scale and (told < low or told > high)


def _same_but_for_settings(test: PlannedTest, chosen: PlannedTest) -> bool:
    if _asked(test) != _asked(chosen) or test.table.budget != chosen.table.budget:
        return False
    sides = [side for t in (test, chosen) for side in (t.treatment_runs, t.control_runs)]
    return all(sides) and _settings(test, chosen) == _settings(chosen, chosen)


def _settings(test: PlannedTest, chosen: PlannedTest) -> list[dict[str, object]]:
    """What both sides were trained with, but for what `chosen` let them choose; their tricks by name."""
    left_out = {"seed", "tricks", *chosen.table.tuned}
    runs = [next(iter(side.values())) for side in (test.treatment_runs, test.control_runs)]
    return [{**{k: v for k, v in r.recipe.items() if k not in left_out}, "tricks": sorted(r.tricks)} for r in runs]


def _runs(test: PlannedTest, arms: Arms) -> set[tuple[str, str]]:
    return {(run.run_id, str(run.fid)) for arm in arms for run in test.table.side(*arm).values()}
