"""Whether the vectorised engine says what the engine says."""

from __future__ import annotations

import numpy as np

from benchmarks.verdicts.engine import Rule, play
from benchmarks.verdicts.worlds import WORLDS, draw
from gan_ablate.stats.parts import Runs
from gan_ablate.stats.two_part import decide, over_looks, weigh


def engine_agrees(rng: np.random.Generator) -> bool:
    """Whether the vectorised engine says what `weigh`, `over_looks` and `decide` do, on 3 studies with failures."""
    w, rule = WORLDS["failures, base 0.05"], Rule()
    x, failed = draw(rng, w, 3, 40)
    found = play(x, failed, rule, w.effect)
    for k in range(3):
        sides = np.where(failed[k], np.nan, x[k])
        base = runs_of(sides[0], failed[k, 0], 40)
        have: dict[str, list] = {}
        counts: dict[str, int] = {}
        for index, seeds in enumerate(rule.looks):
            open_ = [i for i in range(len(w.effect)) if not index or found.verdict[index - 1][k, i] == "undecided"]
            counts |= {str(i): seeds for i in open_}
            arms = {i: runs_of(sides[1 + int(i)], failed[k, 1 + int(i)], n) for i, n in counts.items()}
            evidence = weigh(arms, base)
            for i in open_:
                have.setdefault(str(i), []).append(evidence[str(i)])
            said = decide({i: over_looks(e, rule.weights) for i, e in have.items()})
            if [v.verdict for v in said.values()] != list(found.verdict[index][k]):
                return False
            if [v.certain for v in said.values()] != list(found.certain[index][k]):
                return False
    return True


def runs_of(x: np.ndarray, failed: np.ndarray, n: int) -> Runs:
    """The first n runs."""
    return Runs(list(x[:n][~failed[:n]]), int(failed[:n].sum()))
