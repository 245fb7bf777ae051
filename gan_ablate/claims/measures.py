"""What can be measured of a run, by name: where the number stands, which way is better, on which scale it is compared.

A run that diverged or crashed has no figure and ranks worst; one that merely was not measured so is left out, and the
evidence says how many were. Where nobody measured a side, its lost runs say nothing either.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

from gan_ablate.outcomes import UNMEASURED
from gan_ablate.results.tables import Run, number
from gan_ablate.stats.aggregate import time_to

Kind = Literal["compare", "failures", "spread", "points", "interaction", "sign", "correlation", "value"]


@dataclass(frozen=True)
class Measure:
    """A figure of a run, or of a set of runs where `read` is None."""

    label: str
    better: Literal["lower", "higher"]
    kind: Kind = "compare"
    scale: Literal["log", "linear"] = "log"
    read: Callable[[Run], float | None] | None = None
    worst_when_lost: bool = True  # whether a run that diverged or crashed is the worst in it
    always: bool = False  # whether every run that did not fail has it
    quality: bool = True  # whether a better figure is worth nothing where more runs fail
    needs: str = ""  # what a root must hold for it


def scores(side: Mapping[int, Run], measure: Measure) -> dict[int, float | None]:
    """The figure by seed (`None`: lost, the worst); runs that were not measured so are left out."""
    assert measure.read is not None
    found: dict[int, float | None] = {}
    for seed, run in side.items():
        value = measure.read(run)
        if measure.worst_when_lost and (run.outcome in UNMEASURED or (measure.always and run.failed and value is None)):
            found[seed] = None
        elif value is not None:
            found[seed] = max(value, 1e-12) if measure.scale == "log" else value
    return found if measure.always else _unless_unmeasured(found, side)


def _unless_unmeasured(found: dict[int, float | None], side: Mapping[int, Run]) -> dict[int, float | None]:
    """The figures; none where only lost runs stand there, although others of the side could have had one."""
    others = [seed for seed, run in side.items() if run.outcome not in UNMEASURED]
    return {} if others and not any(seed in found for seed in others) else found


def seconds_to(side: Mapping[int, Run], target: float) -> dict[int, float | None]:
    """Seconds of training until an evaluation's FID was at or under `target`, by seed; `None` for a run that never was.

    Training time is taken as even over the steps. Runs without times are left out.
    """
    found: dict[int, float | None] = {}
    for seed, run in side.items():
        each = seconds_per_step(run)
        if run.outcome in UNMEASURED:
            found[seed] = None
        elif each is not None and run.curve:
            steps, fids = zip(*run.curve)
            reached = time_to(target, [each * s for s in steps], fids)
            found[seed] = reached if math.isfinite(reached) else None
    return _unless_unmeasured(found, side)


def fid(run: Run) -> float | None:
    return number(run.fid)


def _metric(key: str) -> Callable[[Run], float | None]:
    return lambda run: run.get("metrics", key)


def modes(run: Run) -> float | None:
    """Modes that samples of any quality reach: their quality is FID's to judge. Where that was not counted, `modes`."""
    reached = run.get("metrics", "assigned_modes")
    return run.get("metrics", "modes") if reached is None else reached


def _stability(key: str) -> Callable[[Run], float | None]:
    return lambda run: run.get("stability", key)


def _measured(key: str) -> Callable[[Run], float | None]:
    return lambda run: number(run.measured.get(key))


def largest_gradient(run: Run) -> float | None:
    """The largest gradient norm of either player."""
    found = [v for k in ("largest_d_gradient", "largest_g_gradient") if (v := run.get("stability", k)) is not None]
    return max(found, default=None)


def seconds_per_step(run: Run) -> float | None:
    seconds, made = number(run.record.get("train_seconds")), number(run.record.get("g_steps"))
    return seconds / made if seconds and made and min(seconds, made) > 0 else None


def late(key: str) -> Callable[[Run], float | None]:
    """Mean of a health record over the last tenth of a good run; `None` for a run that failed."""

    def read(run: Run) -> float | None:
        if run.outcome != "ok" or not run.steps:
            return None
        values = [number(r.get(key)) for r in run.health if r["step"] >= 0.9 * run.steps]
        kept = [v for v in values if v is not None]
        return statistics.fmean(kept) if kept else None

    return read


MEASURE = "the checkpoints measured (gan-ablate measure ROOT)"
MEASURES: dict[str, Measure] = {
    "fid": Measure("FID", "lower", read=fid, always=True),
    "modes": Measure(
        "modes reached", "higher", scale="linear", read=modes, needs="a dataset of known modes"
    ),
    "failure_rate": Measure("failure rate", "lower", "failures", scale="linear", quality=False),
    "volatility": Measure("volatility of log FID", "lower", read=_stability("volatility")),
    "seed_spread": Measure("spread of log FID over seeds", "lower", "spread", needs="5 seeds a side"),
    "design_spread": Measure(
        "spread of log FID over a random design", "lower", "points", needs="a random design (sweeps/robustness.yaml)"
    ),
    "checkerboard": Measure("checkerboard energy", "lower", read=_measured("checkerboard"), needs=MEASURE),
    "fid_slerp": Measure("FID of midpoints by slerp", "lower", read=_measured("fid_slerp"), needs=MEASURE),
    "fid_lerp": Measure("FID of midpoints by lerp", "lower", read=_measured("fid_lerp"), needs=MEASURE),
    "fid_eval_mode": Measure("FID in eval mode", "lower", read=_measured("fid_eval_mode"), needs=MEASURE),
    "fid_train_mode": Measure("FID in train mode", "lower", read=_measured("fid_train_mode"), needs=MEASURE),
    "largest_gradient": Measure("largest gradient norm", "lower", read=largest_gradient),
    "early_g_gradient": Measure(
        "G's gradient norm over the first 5 %", "higher", read=_stability("early_g_gradient"), worst_when_lost=False,
        quality=False,
    ),
    "optimum_g_gradient": Measure(
        "G's gradient norm with D at its optimum", "higher", read=_measured("optimum_g_gradient"), quality=False,
        needs=MEASURE,
    ),
    "seconds_per_step": Measure(
        "seconds per G step", "lower", read=seconds_per_step, worst_when_lost=False, quality=False
    ),
    "seconds_to_fid": Measure("seconds to a given FID", "lower", quality=False),
    "norm_at_small_batch": Measure(
        "norm x batch size interaction", "lower", "interaction",
        needs="norms crossed with batch sizes (sweeps/norms.yaml)"
    ),
    "d_near_zero": Measure("D's loss near 0 early", "higher", "sign", needs="metrics.jsonl"),
    "large_gradient": Measure("largest gradient norm early", "higher", "sign", needs="metrics.jsonl"),
    "d_loss_variance": Measure("variance of D's loss early", "higher", "sign", needs="metrics.jsonl"),
    "g_loss_falling": Measure("steady fall of G's loss early", "higher", "sign", needs="metrics.jsonl"),
    "d_loss_follows": Measure("rank correlation of D's loss with FID", "higher", "correlation", needs="4 evaluations"),
    "g_loss_follows": Measure("rank correlation of G's loss with FID", "higher", "correlation", needs="4 evaluations"),
    "critic_follows": Measure(
        "rank correlation of the critic's negative loss with FID", "higher", "correlation", needs="4 evaluations"
    ),
    "d_of_real": Measure("D(x) late", "higher", "value", read=late("d_of_real"), needs="good runs on ring or grid"),
    "d_of_fake": Measure("D(G(z)) late", "higher", "value", read=late("d_of_fake"), needs="good runs on ring or grid"),
}  # fmt: skip
