"""How many more seeds would decide an undecided arm, if its mean, its spread and its failure rate stay what they are.

More seeds of the arm alone may never do, where base's own error is the larger: then base needs more too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy import special

from gan_ablate.stats.moderated import Prior
from gan_ablate.stats.parts import MARGIN, Failures, Parts, Runs, differences, parts

STEPS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 96, 128, 200)
MOST_SEEDS = STEPS[-1]  # how far it looks


class Offer(NamedTuple):
    """More seeds of an arm, and of base, after which the evidence is looked at with a part of the error."""

    seeds: int
    base: int = 0
    weight: float = 1.0

    @property
    def cost(self) -> int:
        """Seeds of both."""
        return self.seeds + self.base


# base grows with the arm, and no further than that its exact tests take long
ANY = (*(Offer(n) for n in STEPS), *(Offer(n, n) for n in STEPS if n <= 64))


def offers_of_looks(now: int, later: Sequence[tuple[int, float]]) -> tuple[Offer, ...]:
    """What an adaptive study can still do for an arm of `now` seeds: later looks (seeds, weight), as it is and with a
    larger base, which would be another study."""
    return tuple(Offer(n - now, more, weight) for n, weight in later for more in (0, *(k for k in STEPS if k <= 64)))


def more_seeds(  # noqa: PLR0917
    arms: Mapping[str, Runs], base: Runs, prior: Prior, threshold: float, p_of: Callable[[Parts], float],
    offers: Sequence[Offer] = ANY, margin: float = MARGIN,
) -> dict[str, Offer]:  # fmt: skip
    """The cheapest offer for each arm after which p_of its parts, over the offer's weight, is under `threshold`; arms
    that none decides are left out."""
    left, found = dict(arms), dict[str, Offer]()
    for offer in sorted(offers, key=lambda o: (o.cost, o.base)):
        if not left:
            break
        for name, ahead in zip(left, _ahead(left, base, prior, offer, margin), strict=True):
            if p_of(ahead) / offer.weight < threshold:
                found[name] = offer
        left = {name: runs for name, runs in left.items() if name not in found}
    return found


def _ahead(arms: Mapping[str, Runs], base: Runs, prior: Prior, offer: Offer, margin: float) -> list[Parts]:
    """What more seeds would say, were they as those before."""
    now = differences(arms.values(), base, prior)
    runs = np.array([float(r.finished) for r in arms.values()])
    with np.errstate(divide="ignore", invalid="ignore"):
        own, other = runs / (runs + offer.seeds), base.finished / np.float64(base.finished + offer.base)
    longer = now._replace(
        error=now.error * np.sqrt(own), dof=now.dof + offer.seeds,
        other_error=now.other_error * np.sqrt(other), other_dof=now.other_dof + offer.base,
    )  # fmt: skip
    return parts(longer, [_after(r, offer.seeds) for r in arms.values()], _after(base, offer.base), margin)


def _after(runs: Runs, more: int) -> Failures:
    total = runs.finished + more
    return Failures(round(runs.failed * total / runs.finished) if runs.finished else 0, total)


def scaled(p: float, n: int, threshold: float, offers: Sequence[Offer]) -> Offer | None:
    """The same for any two-sided p of n seeds a side: its normal score grows as the root of the seeds."""
    if not 0 < p < 1:
        return None
    score = -float(special.ndtri(p / 2))
    for offer in sorted(offers, key=lambda o: o.cost):
        if 2 * float(special.ndtr(-score * math.sqrt(1 + offer.seeds / n))) / offer.weight < threshold:
            return offer
    return None
