"""Averages of weights over training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gan_ablate.trick import OVER_0, Step, Trick, register

if TYPE_CHECKING:
    from torch import Tensor

    from gan_ablate.trick import State


@register("generator_ema")
@dataclass(frozen=True)
class GeneratorEMA(Trick):
    """Sample from an exponential moving average of G's weights: avg <- decay * avg + (1 - decay) * live.

    Where G has batch norm, its statistics are measured anew for the averaged weights, over fresh batches at sampling;
    base samples with the running ones of training. Part of what this trick does there is that.
    """

    paper = "Yazici et al. 2019, section 3; Karras et al. 2018, section 4"
    recommended_by = "P"
    bounds = {"decay": (OVER_0, 0.999999)}  # 0 keeps no average, and 1 the weights before training
    decay: float = 0.999  # per G step

    def init(self, step: Step) -> State:
        return {_key(name): p.detach().clone() for name, p in step.g_parameters.items()}

    def advance(self, state: State, step: Step) -> State:
        return {_key(n): state[_key(n)].lerp(p.detach(), 1 - self.decay) for n, p in step.g_parameters.items()}

    def averaged(self, parameters: Mapping[str, Tensor], step: Step | None, state: State) -> Mapping[str, Tensor]:
        return {name: state[_key(name)] for name in parameters}


@register("historical_averaging")
@dataclass(frozen=True)
class HistoricalAveraging(Trick):
    """Add weight * ||theta - mean of all earlier theta||^2 to each player's loss."""

    paper = "Salimans et al. 2016, section 3.3"
    recommended_by = "S0 S2"
    bounds = {"weight": (OVER_0, 1e6)}
    weight: float = 1.0  # the paper names none

    def init(self, step: Step) -> State:
        return {"seen": step.t.new_ones(()), **{k: p.detach().clone() for k, p in _players(step).items()}}

    def advance(self, state: State, step: Step) -> State:
        seen = state["seen"] + 1
        means = {k: state[k] + (p.detach() - state[k]) / seen for k, p in _players(step).items()}
        return {"seen": seen, **means}

    def d_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        return loss + self.weight * self._distance("d", step.d_parameters, state)

    def g_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        return loss + self.weight * self._distance("g", step.g_parameters, state)

    def _distance(self, player: str, parameters: Mapping[str, Tensor], state: State) -> Tensor:
        first, *rest = [(p - state[_key(f"{player}.{n}")]).square().sum() for n, p in parameters.items()]
        return sum(rest, first)


def _players(step: Step) -> dict[str, Tensor]:
    both = {"g": step.g_parameters, "d": step.d_parameters}
    return {_key(f"{player}.{n}"): p for player, parameters in both.items() for n, p in parameters.items()}


def _key(name: str) -> str:
    return name.replace(".", "|")  # state names hold no dots
