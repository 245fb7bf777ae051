"""The arms of one model on one dataset: each against base, and any two of them, by the same test on the same runs."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from gan_ablate.findings.looks import Outcomes, look
from gan_ablate.recipe import BASE
from gan_ablate.stats.moderated import Prior
from gan_ablate.stats.more_seeds import ANY, Offer, more_seeds, offers_of_looks
from gan_ablate.stats.parts import MARGIN, Parts, Runs, prior_of
from gan_ablate.stats.two_part import Evidence, Verdict, decide, over_looks, weigh, with_seeds_to_decide
from gan_ablate.study.seed_plan import SeedPlan


@dataclass(frozen=True, eq=False)
class Compared:
    """What the runs of one model say. Of an adaptive study: what its looks have seen, and no run beyond."""

    verdicts: dict[str, Verdict]  # each arm against base, with its evidence
    runs: dict[str, Runs]  # what they rest on; base too
    rounds: tuple[dict[str, Runs], ...]  # what each look saw of every arm; without looks one round of all runs
    plan: SeedPlan | None
    under_way: str = ""  # how far the look is that some arms still lack seeds of

    def evidence(self, arm: str, control: str) -> Evidence | None:
        """Of an arm against another. Against base it is that of the arm's verdict; `None` where no look has been taken.

        Two arms are compared at those looks at which both had their seeds: each of them spends its weight, whichever
        of the two went on, so that the union bound over looks holds here too.
        """
        if control == BASE:
            return self.verdicts[arm].evidence if arm in self.verdicts else None
        held = [self.rounds[k] for k in self.looks_of(arm, control)]
        found = [weigh({arm: runs[arm]}, runs[control], prior=_prior(runs))[arm] for runs in held]
        return over_looks(found, self.plan.weights if self.plan else (1.0,)) if found else None

    def with_seeds_to_decide(self, margin: float = MARGIN) -> dict[str, Verdict]:
        """The verdicts, with what would decide the undecided ones."""
        if not self.verdicts:
            return {}
        arms = dict(self.rounds[-1])
        base, planned = arms.pop(BASE), len(self.runs) - 1
        # within a look under way some arms have this look behind them, others the one before
        offers = {a: self._offers(a) for a, v in self.verdicts.items() if v.verdict == "undecided"}
        told = {
            each: with_seeds_to_decide(self.verdicts, arms, base, planned, margin, offers=each)
            for each in set(offers.values())
        }
        return {a: told[offers[a]][a] if a in offers else v for a, v in self.verdicts.items()}

    def looks_of(self, *arms: str) -> list[int]:
        """The looks at which all of these arms had their seeds, from 0: not where one had been decided before."""
        return [
            k
            for k, held in enumerate(self.rounds)
            if all(a in held and (a == BASE or not self.plan or held[a].finished == self.plan.looks[k]) for a in arms)
        ]

    def seen(self, arm: str, control: str) -> tuple[Runs, Runs]:
        """The runs that a comparison rests on: those of its last look."""
        looks = self.looks_of(arm, control)
        held = self.rounds[looks[-1]] if looks else self.runs
        return held.get(arm, Runs(())), held.get(control, Runs(()))

    def more_seeds(self, arm: str, control: str, threshold: float, p_of: Callable[[Parts], float]) -> Offer | None:
        """The cheapest more seeds after which p_of the two's parts is under `threshold`; `None` where none do."""
        one, other = self.seen(arm, control)
        prior = _prior(self.rounds[-1]) if self.rounds else Prior(0.0, 1.0)
        return more_seeds({arm: one}, other, prior, threshold, p_of, self.offers(arm, control)).get(arm)

    def offers(self, arm: str, control: str) -> tuple[Offer, ...]:
        """More seeds that this study can still give the two, and of base what another study could."""
        looked = [self.verdicts[a].verdict for a in (arm, control) if a in self.verdicts]
        if self.plan is not None and (not looked or any(verdict != "undecided" for verdict in looked)):
            return ()
        offers = self._offers(*{arm, control} - {BASE})
        if control == BASE:
            return offers
        return tuple(Offer(o.seeds, o.seeds, o.weight) for o in offers if not o.base)  # both arms get them

    def _offers(self, *arms: str) -> tuple[Offer, ...]:
        """To arms that are open still, by the last look that saw them all."""
        if self.plan is None:
            return ANY
        if not (looks := self.looks_of(*arms)):
            return ()
        taken = looks[-1] + 1
        later = list(zip(self.plan.looks, self.plan.weights, strict=True))[taken:]
        return offers_of_looks(self.plan.looks[taken - 1], later)


def compare(held: Mapping[str, Outcomes], plan: SeedPlan | None, margin: float = MARGIN) -> Compared:
    """Every arm against base. held: log FIDs of base and of each arm, those without a run included; those that are base
    by construction left out. plan: of an adaptive study."""
    if plan is not None:
        looked = look(held, plan, margin)
        return Compared(looked.verdicts, looked.runs(held, plan), looked.rounds, plan, looked.under_way(plan))
    runs = {arm: Runs.of(own.values()) for arm, own in held.items()}
    base, arms = runs.get(BASE, Runs(())), {arm: own for arm, own in runs.items() if arm != BASE}
    begun = {arm: own for arm, own in arms.items() if own.finished}
    evidence = weigh(begun, base, margin) if base.finished else {}
    done = {arm: own for arm, own in runs.items() if own.finished}
    return Compared(decide(evidence, planned=len(arms)), runs, (done,), None)


def _prior(held: Mapping[str, Runs]) -> Prior:
    return prior_of({arm: own for arm, own in held.items() if arm != BASE}, held.get(BASE, Runs(())))
