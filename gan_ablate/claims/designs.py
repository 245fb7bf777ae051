"""Claims about designs: the interaction of a norm with the batch size, the spread over a random design."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

from gan_ablate.claims.along import carried_out
from gan_ablate.claims.claim import Contrast
from gan_ablate.claims.contrasting import Finding, reach, spread_of
from gan_ablate.claims.measures import fid
from gan_ablate.results.tables import Run, Table
from gan_ablate.stats.factorial import factorial
from gan_ablate.stats.intervals import Interval

NORMS = ("instance_norm", "layer_norm", "group_norm")
OTHER_NORMS = (
    "no_batch_norm",
    "pixel_norm",
    "virtual_batch_norm",
    "batch_norm_everywhere",
    "spectral_norm",
    "batch_norm",
)


def points(contrast: Contrast, table: Table, treatment: str, control: str) -> Finding:
    """Spread of log FID over the points of one random design, model against model."""
    sides = []
    for model in (treatment, control):
        runs = [r for arm in table.points(treatment, control) for r in table.side(model, arm).values()]
        sides.append([None if (v := fid(r)) is None else max(v, 1e-12) for r in runs])
    return spread_of(contrast, *sides)


def norm_at_small_batch(contrast: Contrast, table: Table, model: str) -> Finding:
    """How many times a norm's FID ratio to batch norm at the smallest batch its ratio at the largest one is.

    Least squares over the runs of both norms at both sizes, seeds as blocks, every other trick of the design a factor.
    A norm that only loses less at the smallest batch does not beat batch norm there: then nothing is supported.
    """
    norm = contrast.treatment
    runs = [r for r in carried_out(table, model) if _norm(r) in (norm, "") and batch_size(r)]
    sizes = {which: {size for r in runs if _norm(r) == which and (size := batch_size(r))} for which in (norm, "")}
    both = sorted(sizes[norm] & sizes[""])
    if len(both) < 2:
        return Finding(note="no two batch sizes were trained with both norms")
    small, large = both[0], both[-1]
    runs = [r for r in runs if batch_size(r) in (small, large)]
    others = sorted({name for r in runs for name in _others(r)})
    names = ["norm", "batch", *others]
    rows = [
        [_code(_norm(r) == norm), _code(batch_size(r) == small), *(_code(o in _others(r)) for o in others)]
        for r in runs
    ]
    varying = [i for i in range(len(names)) if len({row[i] for row in rows}) > 1]
    values = [fid(r) for r in runs]
    if not any(v is not None for v in values):
        return Finding(note="no run has a FID", n=(len(runs), 0))
    fitted = factorial(
        np.array([[row[i] for i in varying] for row in rows]),
        [None if v is None else max(v, 1e-12) for v in values],
        [names[i] for i in varying],
        blocks=[r.seed for r in runs],
    )
    effect = fitted["norm:batch"]
    note = f"batch {small:g} against {large:g}"
    if fitted.failed:
        note += f"; {fitted.failed} runs without a FID stand at the worst one seen"
    if math.isnan(effect.p):
        return Finding(note=f"{note}; too few runs, or too few with a FID, for an error estimate", n=(len(runs), 0))
    side = int(np.sign(effect.difference.point))
    times = Interval(*(math.exp(min(2 * v, 700.0)) for v in effect.difference))
    at_small = math.exp(min(fitted["norm"].difference.point + effect.difference.point, 700.0))
    beats = at_small < 1 or side > 0
    note += f"; FID ratio at batch {small:g}: {at_small:.3g}" + ("" if beats else ", so it does not beat it there")
    return Finding(
        p=effect.p,
        supports=-side if beats else 0,
        effect=times,
        smallest_missed=reach(times) if beats else math.nan,
        bound=True,
        note=note,
        n=(len(runs), 0),
        favours=side,
    )


def batch_size(run: Run) -> float | None:
    size = run.tricks.get("batch_size", {}).get("size", run.recipe.get("batch_size"))
    return float(size) if isinstance(size, int | float) else None


def _norm(run: Run) -> str | None:
    """The norm in place of batch norm, "" for batch norm itself, `None` for something else."""
    held: Mapping[str, Any] = run.tricks
    if any(other in held for other in OTHER_NORMS):
        return None
    return next((norm for norm in NORMS if norm in held), "")


def _others(run: Run) -> list[str]:
    return [name for name in run.tricks if name not in (*NORMS, "batch_size")]


def _code(high: bool) -> int:
    return 1 if high else -1
