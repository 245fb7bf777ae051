"""Averages of weights over training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from gan_ablate.trick import OVER_0, Step, Trick, players, register, state_name

START = 1000  # G steps

if TYPE_CHECKING:
    from torch import Tensor

    from gan_ablate.trick import State


@register("generator_ema")
class GeneratorEMA(Trick):
    """Sample from an exponential moving average of G's weights: avg <- decay * avg + (1 - decay) * live.

    A plain average still holds decay^t of the random initial weights after t steps: 37 % at 1,000 steps and 0.999. So
    the decay starts lower. `warm_up` says how:
        ramp: the average's half-life is at most `ramp` of the steps done (Karras et al. 2020, ADA's code: 0.05).
        count: the decay is at most (1 + t) / (10 + t) (TensorFlow's ExponentialMovingAverage with num_updates).
        start: the average is the live weights up to step 1,000 (Brock et al. 2019, BigGAN's code).
        none: from the first step on (Yazici et al. 2019, equation 4).
    Over that, `start` is the share of training up to which the average is the live weights: Brock et al. 2019 start it
    after 20,000 of some 140,000 steps (`warm_up=none,start=0.14`).

    Where G has batch norm, its statistics are measured anew for the averaged weights, over fresh batches at sampling;
    base samples with the running ones of training. Part of what this trick does there is that.
    """

    paper = (
        "Yazici et al. 2019, section 3; Karras et al. 2018, section 4; warm-up: Karras et al. 2020, code; "
        "start: Brock et al. 2019, code"
    )
    recommended_by = "P"
    bounds = {
        "decay": (OVER_0, 0.999999),
        "ramp": (1e-4, 1.0),
        "start": (0.0, 0.999),
    }  # 0 keeps no average, and 1 the weights before training
    choices = {"warm_up": ("ramp", "count", "start", "none")}
    later = ("ramp", "start")
    decay: float = 0.999  # per G step, at the most
    warm_up: str = "ramp"
    ramp: float = 0.05  # greatest half-life, as a share of the steps done; with warm_up=ramp
    start: float = 0.0  # share of training up to which the average is the live weights

    def init(self, step: Step) -> State:
        weights = {state_name(name): p.detach().clone() for name, p in step.g_parameters.items()}
        return {"steps": step.t.new_zeros(()), **weights}

    def advance(self, state: State, step: Step) -> State:
        steps = state["steps"] + 1  # () G steps done
        new = 1 - self._decay(steps) * (step.t >= self.start)  # () share of the live weights
        weights = {
            state_name(n): state[state_name(n)].lerp(p.detach(), new.to(p.dtype)) for n, p in step.g_parameters.items()
        }
        return {"steps": steps, **weights}

    def _decay(self, steps: Tensor) -> Tensor:
        if self.warm_up == "ramp":
            return (0.5 ** (1 / (self.ramp * steps))).clamp(max=self.decay)
        if self.warm_up == "count":
            return ((1 + steps) / (10 + steps)).clamp(max=self.decay)
        if self.warm_up == "start":
            return self.decay * (steps > START)
        return self.decay * steps.new_ones(())

    def averaged(self, parameters: Mapping[str, Tensor], step: Step | None, state: State) -> Mapping[str, Tensor]:
        return {name: state[state_name(name)] for name in parameters}


@register("historical_averaging")
class HistoricalAveraging(Trick):
    """Add weight * ||theta - mean of all earlier theta||^2 to each player's loss."""

    paper = "Salimans et al. 2016, section 3.3"
    recommended_by = "S0 S2"
    bounds = {"weight": (OVER_0, 1e6)}
    weight: float = 1.0  # the paper names none

    def init(self, step: Step) -> State:
        return {"seen": step.t.new_ones(()), **{k: p.detach().clone() for k, p in players(step).items()}}

    def advance(self, state: State, step: Step) -> State:
        seen = state["seen"] + 1
        means = {k: state[k] + (p.detach() - state[k]) / seen for k, p in players(step).items()}
        return {"seen": seen, **means}

    def d_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        return loss + self.weight * self._distance("d", step.d_parameters, state)

    def g_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        return loss + self.weight * self._distance("g", step.g_parameters, state)

    def _distance(self, player: str, parameters: Mapping[str, Tensor], state: State) -> Tensor:
        first, *rest = [(p - state[state_name(f"{player}.{n}")]).square().sum() for n, p in parameters.items()]
        return sum(rest, first)
