"""Adam for games: negative momentum, a step that looks ahead by the last change of itself, a beta2 that moves."""

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

    A CUDA graph would keep a Python number for ever, so each weight's number of steps is a tensor on its device, the
    rate may be one, and so may beta2, which torch's fused form takes as a number alone: a group's `beta2` (), where it
    is not `None`, stands for that of `betas` (R3GAN: Huang et al. 2024, code). The bias is corrected by its value of
    now, as torch's Adam does where `betas` are changed between steps.
    """

    def __init__(
        self,
        params: Iterable[Any],
        lr: float | Tensor,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        optimism: float = 0.0,
    ) -> None:
        super().__init__(params, {"lr": lr, "betas": betas, "beta2": None, "eps": eps, "optimism": optimism})

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__(state)
        for group in self.param_groups:  # checkpoints of earlier versions have the one or the other
            group.setdefault("beta2", None)
            group.setdefault("optimism", 0.0)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:  # type: ignore[override]
        """One update of every weight that has a gradient; what the closure returns, where there is one."""
        loss = None if closure is None else torch.enable_grad()(closure)()
        for group in self.param_groups:
            weights = [p for p in group["params"] if p.grad is not None]
            if weights:
                change = self._change(weights, group)
                torch._foreach_mul_(change, -group["lr"])
                torch._foreach_add_(weights, change)
        return loss

    def _change(self, weights: list[Tensor], group: dict[str, Any]) -> tuple[Tensor, ...]:
        """u_t + optimism * (u_t - u_{t-1}) of each weight."""
        beta1, beta2 = group["betas"]
        beta2 = beta2 if group["beta2"] is None else group["beta2"]
        g = [p.grad for p in weights if p.grad is not None]  # all of them
        held = [self._held(p, group) for p in weights]
        steps, m, v = ([state[name] for state in held] for name in ("step", "exp_avg", "exp_avg_sq"))
        torch._foreach_add_(steps, 1)
        t = torch.stack(steps)  # (number of weights,)
        torch._foreach_lerp_(m, g, 1 - beta1)  # m <- beta1 m + (1 - beta1) g
        torch._foreach_mul_(v, beta2)
        torch._foreach_addcmul_(v, torch._foreach_mul(g, 1 - beta2), g)  # v <- beta2 v + (1 - beta2) g^2
        scale = torch._foreach_mul(v, (1 / (1 - beta2**t)).unbind())
        torch._foreach_sqrt_(scale)
        torch._foreach_add_(scale, group["eps"])
        u: tuple[Tensor, ...] = torch._foreach_div(m, scale)
        if beta1:  # without momentum m has no bias
            # the sign of beta1^t apart: a power of a negative number by a tensor is not a number everywhere
            sign = 1.0 if beta1 > 0 else 1 - 2 * (t % 2)
            torch._foreach_mul_(u, (1 / (1 - sign * abs(beta1) ** t)).unbind())
        if not group["optimism"]:
            return u
        last = [state["last"] for state in held]
        ahead = torch._foreach_mul(torch._foreach_sub(u, last), group["optimism"])
        torch._foreach_copy_(last, u)
        return torch._foreach_add(u, ahead)

    def _held(self, p: Tensor, group: dict[str, Any]) -> dict[str, Tensor]:
        """A weight's number of steps (), the means of its gradient and of its square, and u_{t-1} where it is asked."""
        state: dict[str, Tensor] = self.state[p]
        if not state:
            state["step"] = torch.zeros((), device=p.device)
            names = ("exp_avg", "exp_avg_sq", *(("last",) if group["optimism"] else ()))
            state.update({name: torch.zeros_like(p) for name in names})
        return state
