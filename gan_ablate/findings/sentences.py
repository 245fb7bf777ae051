"""What a reader should take away, in a few sentences written from the verdicts by rule."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from gan_ablate.findings.budgets import AtBoth, at_both
from gan_ablate.findings.effects import effects, said_of
from gan_ablate.findings.points import over_points, said_of_points
from gan_ablate.findings.summaries import ArmSummary, ModelTable
from gan_ablate.findings.verdicts import NOT_TESTED
from gan_ablate.formatting import percent, some
from gan_ablate.outcomes import TINY
from gan_ablate.recipe import BASE
from gan_ablate.results.frames import Results
from gan_ablate.stats.two_part import FAVOURS

MOST = 4  # arms that a sentence names
Found = Sequence[tuple[str, ArmSummary]]  # (title of the model's table, arm)


def what_was_found(loaded: Results, tables: Sequence[ModelTable]) -> list[str]:
    """A study's findings in a few sentences: of a design of factors by their effects, of random points by how FID is
    spread over them and what moves it, of all others by its arms."""
    return effects_in_words(loaded, tables) or list(said_of_points(loaded, tables)) or sentences(tables)


def effects_in_words(loaded: Results, tables: Sequence[ModelTable]) -> list[str]:
    """What the factors do in a design that is judged by their effects; nothing of other designs."""
    told = [effects(loaded, t) for t in tables if t.by_effects]
    return [line for found in told if found for line in said_of(found)]


def sentences(tables: Sequence[ModelTable]) -> list[str]:
    """What helps, what harms, and how many arms do neither, at the first budget, then what changes at a second; none
    where no arm could be tested. Where there is no base: how FID is spread over the arms.

    An arm is named once, with all the models on which it has the verdict; first those that are so on most of them,
    certain ones before others, then by the size of the effect.
    """
    first = [t for t in tables if not t.budget]  # a second budget has few arms, chosen by their verdict
    found = [(t.title, a) for t in first for a in t.arms if a.arm != BASE and a.judged and a.verdict != NOT_TESTED]
    if not found:
        return [f"{t.title}: {' '.join(said)}" for t in first if t.base is None and (said := list(over_points(t)))]
    several = len(first) > 1
    better = [(title, a) for title, a in found if FAVOURS.get(a.verdict, 0) < 0]
    worse = [(title, a) for title, a in found if FAVOURS.get(a.verdict, 0) > 0]
    return [
        f"{_counted(len(better), len(found), 'helps')}{_named(better, several)}",
        f"{_counted(len(worse), len(found), 'harms')}{_named(worse, several)}",
        " ".join(_rest(found)),
        *_with_more_steps(at_both(tables), several),
    ]


def _counted(n: int, of: int, does: str) -> str:
    tests = f"{of} test{'s' * (of != 1)} of a trick on a model"
    return f"A trick {does} in {n} of {tests}" if n else f"No trick {does} in {tests}"


def _named(found: Found, several: bool) -> str:
    """`: conditional (dcgan −33 %, nsgan −38 %), max_pooling (dcgan −13 %) and 3 more.`"""
    groups: dict[str, list[tuple[str, ArmSummary]]] = defaultdict(list)
    for title, a in found:
        groups[a.arm].append((title, a))
    ordered = sorted(groups.items(), key=lambda item: _rank(a for _, a in item[1]))
    named = [f"{arm} ({', '.join(_effect(title, a, several) for title, a in rows)})" for arm, rows in ordered]
    return f": {some(named, MOST)}." if named else "."


def _rank(arms: Iterable[ArmSummary]) -> tuple[float, ...]:
    """Most models first, then most certain, then the largest effect (a failure counts as the largest)."""
    held = list(arms)
    size = [_size(a) for a in held]
    return -len(held), -sum(a.certain for a in held), -max(size)


def _size(a: ArmSummary) -> float:
    """How far log FID is from base's; infinite where the failures decide."""
    if a.verdict in ("rescues", "fails more") or not a.ratio.point > 0:
        return np.inf
    return float(abs(np.log(max(a.ratio.point, TINY))))


def _effect(title: str, a: ArmSummary, several: bool) -> str:
    said = _outcome(a, f"FID {percent(a.ratio.point)}")
    return f"{title}: {said}" if several else said


def _outcome(a: ArmSummary, fid: str) -> str:
    """What the verdict rests on: the failed runs, or `fid`."""
    runs = a.rests_on
    if a.verdict in ("rescues", "fails more") and runs is not None:
        return f"{runs.failed} of {runs.finished} runs fail"
    return fid


def _rest(found: Found) -> Iterator[str]:
    same = sum(a.verdict == "same" for _, a in found)
    open_ = sum(a.verdict == "undecided" for _, a in found)
    yield f"{same} of {len(found)} leave FID as it is, within the margin;"
    yield f"{open_} {'is' if open_ == 1 else 'are'} undecided." if open_ else "none is undecided."


def _with_more_steps(rows: Sequence[AtBoth], several: bool) -> Iterator[str]:
    """`At 4x the steps 12 of 40 verdicts change: relativistic (hurts, +43 %; then helps, −20 %) and 11 more.`

    First those that turn round, then those whose ratio to base moves most.
    """
    for budget in dict.fromkeys(row.table.budget for row in rows):
        decided = [row for row in rows if row.table.budget == budget and row.changed is not None]
        changed = sorted((row for row in decided if row.changed), key=lambda row: (not row.turns_round, -_moved(row)))
        if not changed:
            yield f"At {budget} the steps none of {len(decided)} verdicts changes."
            continue
        named = some([_then(row, several) for row in changed], MOST)
        yield f"At {budget} the steps {len(changed)} of {len(decided)} verdicts change: {named}."


def _moved(row: AtBoth) -> float:
    """How far log FID over base's moved from one budget to the other; infinite where a failure decides either."""
    if not np.isfinite([_size(row.first), _size(row.second)]).all():
        return np.inf
    return float(abs(np.log(row.second.ratio.point / row.first.ratio.point)))


def _then(row: AtBoth, several: bool) -> str:
    each = (f"{a.verdict}, {_outcome(a, percent(a.ratio.point))}" for a in (row.first, row.second))
    return f"{row.arm}{f' on {row.title}' if several else ''} ({'; then '.join(each)})"
