"""Adam for games: a momentum that may be negative, and a step that looks ahead by the last change of itself."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor


class GameAdam(torch.optim.Optimizer):
    """Adam (Kingma & Ba 2015, algorithm 1) with u_t = m_t / (sqrt(v_t) + eps), both unbiased, and

        theta <- theta - lr * (u_t + optimism * (u_t - u_{t-1})),

    u_0 = 0. optimism: 0 is Adam, 1 is optimistic Adam (Daskalakis et al. 2018, algorithm 1). torch's own refuses a
    beta1 under 0 (Gidel et al. 2019, negative momentum), which the equations allow.

    The step's count is a tensor on the weights' device, so that a CUDA graph can replay it. The rate may be a tensor.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        optimism: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "eps": eps, "optimism": optimism})

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            for p in group["params"]:
                if p.grad is not None:
                    self._move(p, group)
        return loss

    def _move(self, p: Tensor, group: dict[str, Any]) -> None:
        state, (beta1, beta2) = self.state[p], group["betas"]
        if not state:
            state["step"] = torch.zeros((), device=p.device)
            names = ("exp_avg", "exp_avg_sq", *(("last",) if group["optimism"] else ()))
            state.update({name: torch.zeros_like(p) for name in names})
        assert p.grad is not None
        t = state["step"].add_(1)
        m = state["exp_avg"].mul_(beta1).add_(p.grad * (1 - beta1))
        v = state["exp_avg_sq"].mul_(beta2).addcmul_(p.grad, p.grad, value=1 - beta2)
        # the sign of beta1^t apart: a power of a negative number by a tensor is not a number everywhere
        sign = 1.0 if beta1 >= 0 else 1 - 2 * (t % 2)
        unbiased = m / (1 - sign * abs(beta1) ** t)
        change = unbiased / ((v / (1 - beta2**t)).sqrt() + group["eps"])
        if group["optimism"]:
            ahead = change + group["optimism"] * (change - state["last"])
            state["last"].copy_(change)
            change = ahead
        p.sub_(change * group["lr"])
