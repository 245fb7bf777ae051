"""Do verdicts hold on seeds that had no part in them? Which runs that takes, and what came of them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

from gan_ablate import tricks
from gan_ablate.errors import InputError
from gan_ablate.findings.summaries import ModelTable
from gan_ablate.findings.tables import tables
from gan_ablate.recipe import BASE, LARGEST_WHOLE, Recipe, run_id_of
from gan_ablate.results.frames import Results
from gan_ablate.results.study_file import SINGLE_RUNS
from gan_ablate.stats.intervals import NONE, Interval
from gan_ablate.stats.two_part import FAVOURS, MARGIN, VERDICTS, Runs, Verdict
from gan_ablate.study.entries import MOST_SEEDS
from gan_ablate.study.seed_plan import plan_of

REPLICATES = "replicates"  # key of a replication's source: the name of the first study
DECIDED = tuple(verdict for verdict in VERDICTS if verdict != "undecided")


class DecidedArm(NamedTuple):
    """An arm with a verdict, in the first study's table."""

    table: ModelTable
    arm: str
    judged: Verdict

    @property
    def place(self) -> tuple[str, str, str]:
        return self.table.model, self.table.dataset, self.arm


def decided(first: Results) -> list[DecidedArm]:
    """The arms that a study has decided, at its first budget, in the order of its tables; one of two protocols counts
    in the commoner.

    Raises `InputError` for a root of single runs and where nothing is decided.
    """
    if first.name == SINGLE_RUNS:
        raise InputError(f"{first.root}: single runs, and no study of arms over seeds: there are no verdicts to hold")
    found: dict[tuple[str, str, str], DecidedArm] = {}
    early = 0
    for table in tables(first):
        for arm, judged in table.verdicts.arms.items() if table.verdicts and not table.budget else ():
            early += judged.early
            if judged.verdict in DECIDED and not judged.early:
                one = DecidedArm(table, arm, judged)
                found.setdefault(one.place, one)
    if not found and early:
        raise InputError(f"{first.root}: its verdicts are early, of a look under way: sweep until the look is whole")
    if not found:
        raise InputError(f"{first.root}: no arm is decided (gan-ablate verdicts says what that takes): nothing to hold")
    return list(found.values())


def first_fresh_seed(first: Results) -> int:
    """A seed from which on the study has used none, and will not: a number of seeds means those under `MOST_SEEDS`,
    so only a list of seeds can go beyond."""
    plan = plan_of(first.source)
    listed = first.source.get("seeds") if isinstance(first.source, dict) else None
    named = [s for s in listed if isinstance(s, int)] if isinstance(listed, list) else []
    used = [
        *(run.seed for run in (*first.each, *first.tuning)),
        *named,
        *((plan.base - 1, plan.looks[-1] - 1) if plan else ()),
    ]
    return max(MOST_SEEDS, max(used) + 1)


def fresh_recipes(first: Results, arms: Sequence[DecidedArm], seeds: int, base_seeds: int) -> tuple[Recipe, ...]:
    """The runs of a replication, seed by seed: the decided arms and their bases on fresh seeds.

    Raises `InputError` for a recipe that this version cannot carry out, and where there are no such seeds.
    """
    start = first_fresh_seed(first)
    if start + max(seeds, base_seeds) > LARGEST_WHOLE:
        raise InputError(f"{first.root}: its seeds go up to {start - 1:,}, and leave no fresh ones")
    bases = [DecidedArm(table, BASE, arms[0].judged) for table in {id(a.table): a.table for a in arms}.values()]
    known = [(_recipe(first, one), base_seeds if one.arm == BASE else seeds) for one in (*bases, *arms)]
    return tuple(
        replace(recipe, seed=start + k) for k in range(max(seeds, base_seeds)) for recipe, most in known if k < most
    )


def _recipe(first: Results, one: DecidedArm) -> Recipe:
    """The recipe of an arm, as its runs have it."""
    run_id, held = _held(first, one)
    recipe = tricks.complete(Recipe.from_dict({**held, "arm": one.arm}, f"{first.root}: run {run_id}"))
    if recipe.run_id != run_id:
        raise InputError(f"{first.root}: run {run_id} ({'/'.join(one.place)}): this version reads another recipe in it")
    return recipe


def _held(first: Results, one: DecidedArm) -> tuple[str, dict[str, Any]]:
    """(run id, recipe as plain data) of an arm's first run with a record: it has one, else it had no verdict."""
    found = next(r for r in map(str, one.table.groups[one.arm]["run_id"]) if r in first.records)
    return found, dict(first.records[found]["recipe"])


@dataclass(frozen=True)
class Held:
    """One decided arm, and what fresh seeds say of it."""

    model: str
    dataset: str
    arm: str
    verdict: str
    ratio: Interval  # FID / base's in the first study
    fresh_verdict: str  # empty where none of its fresh runs is finished
    fresh_ratio: Interval
    fresh: Runs
    fresh_base: Runs

    @property
    def known(self) -> bool:
        """Whether the fresh seeds can say anything: both sides have finished runs."""
        return self.fresh.finished > 0 and self.fresh_base.finished > 0

    @property
    def same_sign(self) -> bool | None:
        """Whether the arm is again on the verdict's side of base: by FID of helps and hurts, by the share of failed
        runs of the other two. `None` for same, which claims no side, and where nothing is known."""
        if not self.known or self.verdict == "same":
            return None
        if self.verdict in ("helps", "hurts"):
            return self.fresh_ratio.point < 1 if self.verdict == "helps" else self.fresh_ratio.point > 1
        more = self.fresh.failed * self.fresh_base.finished - self.fresh_base.failed * self.fresh.finished
        return more < 0 if self.verdict == "rescues" else more > 0

    def again(self, margin: float) -> bool | None:
        """Whether the ratio is again inside the margin (same), or again outside on its side (helps and hurts that were
        outside in the first study). `None` for the others, and where nothing is known."""
        if not self.known or self.verdict not in ("same", "helps", "hurts"):
            return None
        if self.verdict == "same":
            return 1 / margin <= self.fresh_ratio.point <= margin
        far = {"helps": lambda r: r < 1 / margin, "hurts": lambda r: r > margin}[self.verdict]
        return far(self.fresh_ratio.point) if far(self.ratio.point) else None

    def holds(self, margin: float) -> bool | None:
        """Same: again inside the margin. The others: again on their side of base."""
        return self.again(margin) if self.verdict == "same" else self.same_sign

    @property
    def turned(self) -> bool:
        """Whether the fresh seeds by themselves give the opposite verdict."""
        return FAVOURS.get(self.verdict, 0) * FAVOURS.get(self.fresh_verdict, 0) < 0


@dataclass(frozen=True)
class Replication:
    """Every decided arm of a study on fresh seeds."""

    roots: tuple[Path, Path]  # of the first study and of the fresh runs, as they are called
    margin: float
    arms: tuple[Held, ...]
    seeds: tuple[int, ...]  # fresh ones, of base too

    def share(self, found: Sequence[bool | None]) -> tuple[int, int]:
        """(how many hold, of how many that are known)."""
        known = [x for x in found if x is not None]
        return sum(known), len(known)

    def shares(self) -> Iterator[tuple[str, tuple[int, int]]]:
        """(what holds, its share)."""
        yield "verdicts hold", self.share([a.holds(self.margin) for a in self.arms])
        yield "same side of base again", self.share([a.same_sign for a in self.arms])
        far = [a.again(self.margin) for a in self.arms if a.verdict in ("helps", "hurts")]
        yield "outside the margin again (helps, hurts)", self.share(far)
        yield (
            "inside the margin again (same)",
            self.share([a.again(self.margin) for a in self.arms if a.verdict == "same"]),
        )
        turned = [a.turned for a in self.arms if a.known and a.verdict in FAVOURS]
        yield "turned into the opposite verdict", self.share(turned)

    @property
    def open(self) -> int:
        """Arms of which, or of whose base, no fresh run is finished."""
        return sum(not a.known for a in self.arms)


def compare(first: Results, second: Results) -> Replication:
    """What the fresh runs of `second` say of the verdicts of `first`. Raises `InputError` where it is no replication of
    it: by name, by its runs' recipes, by seeds that both have, or by what its FID was measured with."""
    source = second.source if isinstance(second.source, dict) else {}
    if source.get(REPLICATES) != first.name:
        raise InputError(f"{second.root}: no replication of study {first.name!r}: gan-ablate replicate makes one")
    if shared := {run.run_id for run in first.each} & {run.run_id for run in second.each}:
        raise InputError(f"{second.root}: {len(shared)} of its runs are runs of {first.root}: they are not fresh")
    fresh = tables(second)
    arms = tuple(_held_on(one, first, second, fresh) for one in decided(first))
    return Replication((first.root, second.root), MARGIN, arms, tuple(sorted({run.seed for run in second.each})))


def _held_on(one: DecidedArm, first: Results, second: Results, fresh: Sequence[ModelTable]) -> Held:
    model, dataset, arm = one.place
    here = [t for t in fresh if (t.model, t.dataset) == (model, dataset) and arm in t.groups]
    alike = next((t for t in here if t.protocol in (one.table.protocol, "")), None)
    if here and alike is None:
        raise InputError(f"{second.root}: {model} was measured with {here[0].protocol}; first: {one.table.protocol}")
    found = alike.verdicts if alike else None
    if found is None or alike is None or arm not in found.arms:
        return Held(model, dataset, arm, one.judged.verdict, one.judged.evidence.ratio, "", NONE, Runs(()), Runs(()))
    for name in (BASE, arm):
        _, held = _held(first, one._replace(arm=name))
        for seed, run_id in zip(alike.groups[name]["seed"], alike.groups[name]["run_id"], strict=True):
            if run_id_of({**held, "seed": int(seed)}) != run_id:
                raise InputError(f"{second.root}: {model}/{name}/{seed} has another recipe than in {first.root}")
    return Held(
        model, dataset, arm, one.judged.verdict, one.judged.evidence.ratio, found.arms[arm].verdict,
        found.arms[arm].evidence.ratio, found.runs[arm], found.base,
    )  # fmt: skip


def percent_of(share: tuple[int, int]) -> str:
    """`31 of 32 (97 %)`; `none to tell by` of none."""
    k, n = share
    return f"{k} of {n} ({100 * k / n:.0f} %)" if n else "none to tell by"


def known(ratio: Interval) -> float:
    """For an order: NaN goes last."""
    return math.inf if math.isnan(ratio.point) else ratio.point
