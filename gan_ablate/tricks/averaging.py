"""Averages of G's weights, for sampling only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from gan_ablate.trick import Step, Trick, register

if TYPE_CHECKING:
    from torch import Tensor

    from gan_ablate.trick import State


@register("generator_ema")
@dataclass(frozen=True)
class GeneratorEMA(Trick):
    """Sample from an exponential moving average of G's weights: avg <- decay * avg + (1 - decay) * live."""

    paper = "Yazici et al. 2019, section 3; Karras et al. 2018, section 4"
    catalogue = "P"
    bounds = {"decay": (0.0, 1.0)}
    decay: float = 0.999  # per G step

    def init(self, step: Step) -> State:
        return {_key(name): p.clone() for name, p in step.parameters.items()}

    def advance(self, state: State, step: Step) -> State:
        return {_key(n): state[_key(n)].lerp(p, 1 - self.decay) for n, p in step.parameters.items()}

    def averaged(self, parameters: Mapping[str, Tensor], step: Step | None, state: State) -> Mapping[str, Tensor]:
        return {name: state[_key(name)] for name in parameters}


def _key(name: str) -> str:
    return name.replace(".", "|")  # state names hold no dots
