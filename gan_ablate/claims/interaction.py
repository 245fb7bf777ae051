"""The interaction of a norm with the batch size."""

from __future__ import annotations

import math

import numpy as np

from gan_ablate.claims.comparisons import fid
from gan_ablate.claims.planned_tests import PlannedTest
from gan_ablate.claims.verdict import Finding
from gan_ablate.outcomes import TINY
from gan_ablate.results.runs import Run
from gan_ablate.stats.factorial import Factorial, factorial
from gan_ablate.stats.intervals import Interval, farthest, finite_exp

NORMS = ("instance_norm", "layer_norm", "group_norm")
OTHER_NORMS = (
    "no_batch_norm",
    "pixel_norm",
    "virtual_batch_norm",
    "batch_norm_everywhere",
    "spectral_norm",
    "batch_norm",
)


def norm_at_small_batch(test: PlannedTest, _: float) -> Finding:
    """The ratio of a norm's FID to batch norm's at the smallest batch, divided by the same ratio at the largest batch.

    Under 1 the norm does relatively better at the smallest batch than at the largest. The claim says more, that it
    beats batch norm there: so a quotient under 1 supports it only where the ratio at the smallest batch is under 1 too.
    """
    norm, arms = test.contrast.treatment, test.measure.sides(test)[0]
    runs = [r for arm in arms for r in test.table.side(*arm).values() if _norm(r) in (norm, "") and batch_size(r)]
    sizes = {which: {size for r in runs if _norm(r) == which and (size := batch_size(r))} for which in (norm, "")}
    both = sorted(sizes[norm] & sizes[""])
    if len(both) < 2:
        return Finding(note="no two batch sizes were trained with both norms")
    small, large = both[0], both[-1]
    runs = [r for r in runs if batch_size(r) in (small, large)]
    n = len(runs), 0
    if all(fid(r) is None for r in runs):
        return Finding(note="no run has a FID", n=n)
    fitted = _fit(runs, norm, small)
    effect, note = fitted["norm:batch"], f"batch {small:g} against {large:g}"
    if fitted.failed:
        note += f"; {fitted.failed} runs without a FID stand at the worst one seen"
    if math.isnan(effect.p):
        return Finding(note=f"{note}; too few runs, or too few with a FID, for an error estimate", n=n)
    side = int(np.sign(effect.difference.point))
    quotient = Interval(*(finite_exp(2 * v) for v in effect.difference))
    at_small = finite_exp(fitted["norm"].difference.point + effect.difference.point)
    telling = at_small < 1 or side > 0
    note += f"; FID ratio at batch {small:g}: {at_small:.3g}" + ("" if telling else ", so it does not beat it there")
    return Finding(
        p=effect.p,
        supports=-side if telling else 0,
        effect=quotient,
        smallest_missed=farthest(quotient) if telling else math.nan,
        bound=True,
        note=note,
        n=n,
        favours=side,
    )


def _fit(runs: list[Run], norm: str, small: float) -> Factorial:
    """Least squares of log FID over the runs of both norms at both sizes. Seeds are blocks; every other trick of the
    design is a factor; a run without a FID takes the worst one seen."""
    others = sorted({name for r in runs for name in _others(r)})
    names = ["norm", "batch", *others]
    rows = [[_norm(r) == norm, batch_size(r) == small, *(o in _others(r) for o in others)] for r in runs]
    varying = [i for i in range(len(names)) if len({row[i] for row in rows}) > 1]
    return factorial(
        np.array([[1 if row[i] else -1 for i in varying] for row in rows]),
        [None if (v := fid(r)) is None else max(v, TINY) for r in runs],
        [names[i] for i in varying],
        blocks=[r.seed for r in runs],
    )


def batch_size(run: Run) -> float | None:
    """Images."""
    size = run.tricks.get("batch_size", {}).get("size", run.recipe.get("batch_size"))
    return float(size) if isinstance(size, int | float) else None


def _norm(run: Run) -> str | None:
    """The norm in place of batch norm, "" for batch norm itself, `None` for something else."""
    if any(other in run.tricks for other in OTHER_NORMS):
        return None
    return next((norm for norm in NORMS if norm in run.tricks), "")


def _others(run: Run) -> list[str]:
    return [name for name in run.tricks if name not in (*NORMS, "batch_size")]
