"""Two sides against each other by their failure rates."""

from __future__ import annotations

import math
from functools import lru_cache

import numpy as np

from gan_ablate.claims.claim import Contrast
from gan_ablate.claims.contrasting import Finding, Side, too_few, towards
from gan_ablate.stats.failures import boschloo_p, rate_difference
from gan_ablate.stats.intervals import Interval


def failure_rates(contrast: Contrast, treatment: Side, control: Side, alpha: float) -> Finding:
    """Boschloo's test of the two rates; or, where the claim says `always`, the rule that every run fails."""
    failed, n = sum(r.failed for r in treatment.values()), len(treatment)
    other, m = sum(r.failed for r in control.values()), len(control)
    effect = rate_difference(failed, n, other, m)
    if contrast.expects == "always":
        return _always(failed, n, other, m, effect)
    if n < 2 or m < 2:
        return Finding(note=too_few(n, m), n=(n, m))
    favours = int(np.sign(effect.point))
    note = ""
    if _boschloo(n, n, 0, m) >= alpha:
        note = f"even {n} of {n} against 0 of {m} failures would not pass the correction"
    return Finding(
        p=_boschloo(failed, n, other, m),
        supports=towards(contrast, favours),
        effect=effect,
        scale="difference",
        smallest_missed=_smallest_rate(n, m, alpha),
        note=note,
        n=(n, m),
        favours=favours,
    )


def _always(failed: int, n: int, other: int, m: int, effect: Interval) -> Finding:
    """Any run that ends well contradicts it; three that fail support it, if the control's do not all fail as well."""
    note = f"{failed} of {n} runs failed, {other} of {m} of the control's; a rule, not a test"
    if n and failed < n:
        return Finding(supports=-1, effect=effect, scale="difference", note=note, n=(n, m), certain=True)
    telling = n >= 3 and m > 0 and other < m
    why = "" if telling or not n else "; needs 3 failed runs and a control that does not always fail"
    return Finding(supports=int(telling), effect=effect, scale="difference", note=note + why, n=(n, m), certain=n > 0)


@lru_cache(maxsize=4096)
def _boschloo(failed: int, n: int, other: int, m: int) -> float:
    return boschloo_p(failed, n, other, m)


@lru_cache(maxsize=256)
def _smallest_rate(n: int, m: int, alpha: float) -> float:
    """The smallest difference of rates, against a control that never fails, whose test would pass; NaN if none."""
    return next((k / n for k in range(1, n + 1) if _boschloo(k, n, 0, m) < alpha), math.nan)
