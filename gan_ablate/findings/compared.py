"""The arms of one model on one dataset: each against base, and any two of them, by the same test on the same runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from gan_ablate.findings.looks import Outcomes, look
from gan_ablate.recipe import BASE
from gan_ablate.stats.moderated import Prior
from gan_ablate.stats.more_seeds import ANY, Offer, offers_of_looks
from gan_ablate.stats.parts import MARGIN, Runs, prior_of
from gan_ablate.stats.two_part import Evidence, Verdict, decide, over_looks, weigh
from gan_ablate.study.seed_plan import SeedPlan


@dataclass(frozen=True, eq=False)
class Compared:
    """What the runs of one model say. Of an adaptive study: what its looks have seen, and no run beyond."""

    verdicts: dict[str, Verdict]  # each arm against base, with its evidence
    runs: dict[str, Runs]  # what they rest on; base too
    rounds: tuple[dict[str, Runs], ...]  # what each look saw of every arm; without looks one round of all runs
    plan: SeedPlan | None

    def evidence(self, arm: str, control: str) -> Evidence | None:
        """Of an arm against another. Against base it is that of the arm's verdict; `None` where no look has been taken.

        Two arms are compared at those looks at which both had their seeds: each of them spends its weight, whichever
        of the two went on, so that the union bound over looks holds here too.
        """
        if control == BASE:
            return self.verdicts[arm].evidence if arm in self.verdicts else None
        found = [
            weigh({arm: held[arm]}, held[control], prior=_prior(held))[arm]
            for k, held in enumerate(self.rounds)
            if self._took_part(arm, k) and self._took_part(control, k)
        ]
        return over_looks(found, self.plan.weights if self.plan else (1.0,)) if found else None

    def seen(self, *arms: str) -> tuple[Runs, ...]:
        """The runs that a comparison of these arms rests on last."""
        held = [r for k, r in enumerate(self.rounds) if all(self._took_part(arm, k) for arm in arms)]
        return tuple((held[-1] if held else self.runs).get(arm, Runs(())) for arm in arms)

    @property
    def prior(self) -> Prior:
        """How the variances of all arms are spread, over the runs of the last look."""
        return _prior(self.rounds[-1] if self.rounds else self.runs)

    def offers(self, *arms: str) -> tuple[Offer, ...]:
        """More seeds that this study can still give to these arms."""
        if self.plan is None:
            return ANY
        if not self.rounds or any(self.verdicts[a].verdict != "undecided" for a in arms if a in self.verdicts):
            return ()
        taken = len(self.rounds)
        return offers_of_looks(self.plan.looks[taken - 1], [*zip(self.plan.looks, self.plan.weights)][taken:])

    def _took_part(self, arm: str, k: int) -> bool:
        """Whether an arm had its seeds at look k: not where it had been decided before."""
        held = self.rounds[k].get(arm)
        return held is not None and (arm == BASE or self.plan is None or held.finished == self.plan.looks[k])


def compare(held: Mapping[str, Outcomes], plan: SeedPlan | None, margin: float = MARGIN) -> Compared:
    """Every arm against base. held: log FIDs of base and of each arm, those without a run included; those that are base
    by construction left out. plan: of an adaptive study."""
    if plan is not None:
        looked = look(held, plan, margin)
        return Compared(looked.verdicts, looked.runs(held), looked.rounds, plan)
    runs = {arm: Runs.of(own.values()) for arm, own in held.items()}
    base, arms = runs.get(BASE, Runs(())), {arm: own for arm, own in runs.items() if arm != BASE}
    begun = {arm: own for arm, own in arms.items() if own.finished}
    evidence = weigh(begun, base, margin) if base.finished else {}
    verdicts = decide(evidence, begun, base, planned=len(arms), margin=margin)
    return Compared(verdicts, runs, ({arm: r for arm, r in runs.items() if r.finished},), None)


def _prior(held: Mapping[str, Runs]) -> Prior:
    return prior_of({arm: own for arm, own in held.items() if arm != BASE}, held.get(BASE, Runs(())))
