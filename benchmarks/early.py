"""How many verdicts does a look give before its last arm has its seeds, and does the whole look take any of them back?

    python benchmarks/early.py [reports/ablation/results.zip ...] [--orders 5] [--every 1]

A look at each table of kept adaptive studies is taken again, arm by arm: in the study's order, in which a sweep trains
them, then in random ones. Prints, per look: its arms, how many it decides, how many were decided before its last arm
had its seeds, and which arms ever had an early verdict that was another one than that of the whole look; then, over all
looks, the share of early verdicts that were others, counted each time that one is on show. `--every 5`: looked at after
every fifth arm only.
"""

from __future__ import annotations

import argparse
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gan_ablate.findings.looks import Looked, Outcomes, Place, look, open_root, outcomes_of
from gan_ablate.recipe import BASE
from gan_ablate.stats.two_part import FAVOURS
from gan_ablate.store.unpack import opened
from gan_ablate.study.seed_plan import SeedPlan

SHOWN = 6  # arms that a line names


@dataclass
class Found:
    """One look at one table, over all orders."""

    arms: int
    decided: int  # by the whole look
    early: list[int]  # of each order: decided before the look's last arm had its seeds
    changed: dict[str, tuple[str, str]]  # arm -> an early verdict, and another one of the whole look
    shown: int = 0  # early verdicts, each counted after every arm that came
    others: int = 0  # of these, another one than that of the whole look

    @property
    def turned(self) -> list[str]:
        """Arms that an early verdict put on the other side of base."""
        return [arm for arm, (one, other) in self.changed.items() if FAVOURS.get(one, 0) * FAVOURS.get(other, 0) < 0]


def after(outcomes: Mapping[str, Outcomes], plan: SeedPlan, taken: int, there: Sequence[str], before: Looked | None):
    """The looks when `there` have their seeds of look `taken` (from 0), and the others those of the looks before."""
    seeds = dict(before.seeds) if before else {}
    had = dict.fromkeys(before.open if before else outcomes, plan.looks[taken - 1] if taken else 0)
    seeds |= had | dict.fromkeys(there, plan.looks[taken]) | {BASE: plan.base}
    held = {arm: {s: own[s] for s in plan.first(seeds[arm]) if s in own} for arm, own in outcomes.items()}
    return look(held, plan)


def looks(outcomes: Mapping[str, Outcomes], plan: SeedPlan, orders: int, every: int) -> Iterator[Found]:
    """Each look that the runs of one table allow."""
    before: Looked | None = None
    for taken in range(len(plan.looks)):
        open_ = list(before.open) if before else [arm for arm in outcomes if arm != BASE]
        whole = after(outcomes, plan, taken, open_, before)
        if whole.look <= taken:
            return
        said = {arm: whole.verdicts[arm].verdict for arm in open_}
        found = Found(len(open_), sum(v != "undecided" for v in said.values()), [], {})
        for k in range(orders):
            order = open_ if not k else random.Random(k).sample(open_, len(open_))
            last: dict[str, str] = {}
            for n in range(every, len(open_), every):
                verdicts = after(outcomes, plan, taken, order[:n], before).verdicts
                last = {a: v.verdict for a, v in verdicts.items() if v.early}
                others = {a: (v, said[a]) for a, v in last.items() if v != said[a]}
                found.changed |= others
                found.shown, found.others = found.shown + len(last), found.others + len(others)
            found.early.append(len(last))
        yield found
        before = whole
        if not whole.open:
            return


def tables(archive: Path) -> Iterator[tuple[Place, Mapping[str, Outcomes], SeedPlan]]:
    with opened([archive]) as roots:
        study = open_root(roots[0])
        if study is None or len(study.plan.looks) < 2:
            return
        for place, own in outcomes_of(study.runs).items():
            if place in study.looks:
                yield place, {a: own[a] for a in own if a in study.looks[place].seeds}, study.plan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archives", nargs="*", type=Path, default=sorted(Path("reports").glob("*/results.zip")))
    parser.add_argument("--orders", type=int, default=5)
    parser.add_argument("--every", type=int, default=1)
    args = parser.parse_args()
    all_: list[Found] = []
    for archive in args.archives:
        for place, outcomes, plan in tables(archive):
            for taken, f in enumerate(looks(outcomes, plan, args.orders, args.every), start=1):
                all_.append(f)
                name = f"{archive.parent.name} {' '.join(filter(None, place))}"
                changed = [f"{arm} ({one}, then {other})" for arm, (one, other) in f.changed.items()]
                print(
                    f"{name}, look {taken}: {f.arms} arms, {f.decided} decided by the whole look, before its last arm "
                    f"{min(f.early)} to {max(f.early)}; {len(changed)} ever changed: {'; '.join(changed[:SHOWN])}",
                    flush=True,
                )
    shown, others = sum(f.shown for f in all_), sum(f.others for f in all_)
    print(
        f"{len(all_)} looks, {sum(f.arms for f in all_)} arms, {sum(f.decided for f in all_)} decided; ever changed: "
        f"{sum(len(f.changed) for f in all_)}, of these to the other side of base: {sum(len(f.turned) for f in all_)}; "
        f"of early verdicts on show {others / max(1, shown):.1%} were others than the whole look's"
    )


if __name__ == "__main__":
    main()
