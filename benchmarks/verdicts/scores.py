"""How good what an engine said of a world is."""

from __future__ import annotations

import math

import numpy as np

from benchmarks.verdicts.engine import Played, Rule
from benchmarks.verdicts.worlds import COLLAPSED, World
from gan_ablate.stats.parts import MARGIN


def wrong(verdict: np.ndarray, w: World) -> tuple[np.ndarray, np.ndarray]:
    """Whether a verdict is false: of helps, hurts, fails more, rescues; and of same."""
    false = (verdict == "helps") & (w.effect >= 0) | (verdict == "hurts") & (w.effect <= 0)
    false |= (verdict == "fails more") & (w.rate <= w.base_rate) | (verdict == "rescues") & (w.rate >= w.base_rate)
    return false, (verdict == "same") & (np.abs(w.effect) >= math.log(MARGIN) - 1e-9)


def kinds(verdict: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Whether a verdict is one that can be false as `wrong` has it: helps, hurts, fails more or rescues; and same."""
    return (verdict != "undecided") & (verdict != "same"), verdict == "same"


def share(false: np.ndarray, of: np.ndarray) -> np.ndarray:
    """How many are false, by study; 0 of none."""
    return false.sum(-1) / np.maximum(1, of.sum(-1))


def right(verdict: np.ndarray, w: World) -> np.ndarray:
    """Whether a verdict says what is true of the arm; an arm of two truths may be called by either."""
    close = np.abs(w.effect) < math.log(MARGIN)
    yes = (verdict == "helps") & (w.effect < 0) | (verdict == "hurts") & (w.effect > 0)
    yes |= (verdict == "fails more") & (w.rate > w.base_rate)
    return yes | (verdict == "same") & close & (w.rate <= w.base_rate)


def groups(w: World) -> dict[str, np.ndarray]:
    """Arms that are alike in truth, by name."""
    names = np.array([f"x{math.exp(e):.2g}, {r:g} fail" for e, r in zip(w.effect, w.rate)])
    return {n: names == n for n in dict.fromkeys(names)}


def as_measured(w: World, rule: Rule) -> World:
    """The world with each arm's mean log FID over the runs that a rule's FID part counts."""
    if rule.collapsed == "apart":
        return w
    high = [COLLAPSED * r * w.scored / (1 - r + r * w.scored) for r in (w.rate, w.base_rate)]
    return w._replace(effect=w.effect + high[0] - high[1])


def errors(found: Played, w: World, look: int = -1) -> list[np.ndarray]:
    """By study: share of false ones among helps, hurts, fails more, rescues; of same; any false "certain" of the first,
    of same."""
    verdict, sure = found.verdict[look], found.certain[look]
    parts = wrong(verdict, w)
    shares = [share(false, of) for false, of in zip(parts, kinds(verdict))]
    return [*shares, *((false & sure).any(1).astype(float) for false in parts)]


def with_error(x: np.ndarray) -> str:
    """Mean over studies with its standard error."""
    return f"{x.mean():.3f} ± {x.std(ddof=1) / math.sqrt(len(x)):.3f}"
