"""What claims measure, by name: where the number is found, which way is better, how it is compared.

A run that diverged or crashed has no figure and ranks worst. A run that was not measured is left out, and the evidence
says how many were. Where no run of a side was measured, its lost runs say nothing either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gan_ablate.claims import trends
from gan_ablate.claims.claim import Contrast
from gan_ablate.claims.comparisons import compare_scores, compare_times, failure_rates, fid, seconds_per_step, spread
from gan_ablate.claims.fid import compare_fid
from gan_ablate.claims.interaction import norm_at_small_batch
from gan_ablate.claims.planned_tests import DesignMeasure, Measure, ModelMeasure
from gan_ablate.recipe import BASE
from gan_ablate.results.files import number
from gan_ablate.results.runs import Run


def modes(run: Run) -> float | None:
    """Modes that samples of any quality reach: their quality is FID's to judge. Where that was not counted, `modes`."""
    reached = run.get("metrics", "assigned_modes")
    return run.get("metrics", "modes") if reached is None else reached


def largest_gradient(run: Run) -> float | None:
    """The largest gradient norm of either player."""
    found = [v for k in ("largest_d_gradient", "largest_g_gradient") if (v := run.get("stability", k)) is not None]
    return max(found, default=None)


def _stability(key: str) -> Callable[[Run], float | None]:
    return lambda run: run.get("stability", key)


def _of_checkpoint(label: str, key: str, metric: str) -> Measure:
    """A figure of the trained checkpoint, which `gan-ablate measure` reads off it by `metric`."""

    def read(run: Run) -> float | None:
        return number(run.measured.get(key))

    needs = "the checkpoints measured (gan-ablate measure ROOT)"
    return Measure(label, "lower", compare_scores, read=read, needs=needs, measured_by=metric)


def _sign(label: str, grade: Callable[[Run], float | None], rule: str) -> ModelMeasure:
    return ModelMeasure(label, "higher", trends.announces_failure(grade, rule), needs="metrics.jsonl")


def _correlation(loss: str, key: str, sign: float = 1.0) -> ModelMeasure:
    test = trends.follows_fid(key, sign)
    return ModelMeasure(f"rank correlation of {loss} with FID", "higher", test, needs="4 evaluations")


def _late(label: str, key: str) -> ModelMeasure:
    toys = ("ring", "grid")  # where D's answer at the optimum is known
    return ModelMeasure(label, "higher", trends.late_answers(key), needs="good runs on ring or grid", datasets=toys)


MEASURES: dict[str, Measure] = {
    "fid": Measure("FID", "lower", compare_fid, read=fid, always=True, by_look=False, has_margin=True),
    "modes": Measure(
        "modes reached", "higher", compare_scores, "linear", modes, needs="a dataset of known modes"
    ),
    "failure_rate": Measure("failure rate", "lower", failure_rates, "linear", quality=False),
    "volatility": Measure("volatility of log FID", "lower", compare_scores, read=_stability("volatility")),
    "seed_spread": Measure(
        "spread of log FID over seeds", "lower", spread, read=fid, always=True, needs="5 seeds a side"
    ),
    "design_spread": DesignMeasure(
        "spread of log FID over a random design", "lower", spread, read=fid, always=True,
        needs="a random design (sweeps/robustness.yaml)",
    ),
    "checkerboard": _of_checkpoint("checkerboard energy", "checkerboard", "checkerboard"),
    "fid_slerp": _of_checkpoint("FID of midpoints by slerp", "fid_slerp", "interpolation"),
    "fid_lerp": _of_checkpoint("FID of midpoints by lerp", "fid_lerp", "interpolation"),
    "fid_eval_mode": _of_checkpoint("FID in eval mode", "fid_eval_mode", "sampling"),
    "fid_train_mode": _of_checkpoint("FID in train mode", "fid_train_mode", "sampling"),
    "largest_gradient": Measure("largest gradient norm", "lower", compare_scores, read=largest_gradient),
    "early_g_gradient": Measure(
        "G's gradient norm over the first 5 %", "higher", compare_scores, read=_stability("early_g_gradient"),
        worst_when_lost=False, quality=False,
    ),
    "optimum_g_gradient": replace(
        _of_checkpoint("G's gradient norm with D at its optimum", "optimum_g_gradient", "optimum"),
        better="higher", quality=False,
    ),
    "seconds_per_step": Measure(
        "seconds per G step", "lower", compare_scores, read=seconds_per_step, worst_when_lost=False, quality=False
    ),
    "seconds_to_fid": Measure("seconds to a given FID", "lower", compare_times, quality=False),
    "norm_at_small_batch": ModelMeasure(
        "norm x batch size interaction", "lower", norm_at_small_batch,
        needs="norms crossed with batch sizes (sweeps/norms.yaml)", unit="runs",
    ),
    "d_near_zero": _sign("D's loss near 0 early", trends.low_d_loss, trends.NEAR_ZERO),
    "large_gradient": _sign("largest gradient norm early", trends.large_gradient, "gradient_over_100"),
    "d_loss_variance": _sign("variance of D's loss early", trends.d_loss_spread, "d_loss_spikes"),
    "g_loss_falling": _sign("steady fall of G's loss early", trends.g_loss_fall, "g_loss_falls"),
    "d_loss_follows": _correlation("D's loss", "d_loss"),
    "g_loss_follows": _correlation("G's loss", "g_loss"),
    "critic_follows": _correlation("the critic's negative loss", "d_loss", -1.0),
    "d_of_real": _late("D(x) late", "d_of_real"),
    "d_of_fake": _late("D(G(z)) late", "d_of_fake"),
}  # fmt: skip


def better(models: str, treatment: str, control: str = BASE, measure: str = "fid", **more: object) -> Contrast:
    """The treatment has less of what is bad, or more of what is good."""
    return Contrast(models, treatment, control, MEASURES[measure].better, measure, **more)  # type: ignore[arg-type]
