"""What happens between a gradient and the weights: schedules, gates, and steps that a CUDA graph can replay."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor


def linear_to_zero(share: Tensor, *, start: float) -> Tensor:
    """() factor of the learning rate: 1 up to `start` (share of training), then linearly to 0 at the end."""
    return ((1 - share) / (1 - start)).clamp(0.0, 1.0)


def cosine(share: Tensor, *, final: float, until: float) -> Tensor:
    """() factor: from 1 along half a cosine to `final` at `until` (share of training), and `final` from there on."""
    left = (1 + (math.pi * (share / until).clamp(max=1)).cos()) / 2  # () from 1 down to 0
    return final + (1 - final) * left


def bursts(g_steps: int, *, usual: int, burst: int, first: int, every: int) -> int:
    """D steps of a round: `burst` in the first `first` rounds and in each `every`-th, else `usual`."""
    return burst if g_steps < first or g_steps % every == 0 else usual


def over(loss: Tensor, step: Any = None, *, threshold: float) -> Tensor:
    """() bool, whether a loss is over its threshold."""
    return loss.detach() > threshold


def correct_for_lazy(optimizer: torch.optim.Optimizer, every: int) -> None:
    """Karras et al. 2020 (StyleGAN2), appendix B: k steps have k + 1 updates, one of them on penalties alone.

    So Adam's learning rate is times c and its betas are to the power of c, with c = k / (k + 1).
    """
    if every == 1:
        return
    c = every / (every + 1)
    for group in optimizer.param_groups:
        if "betas" in group:
            group["lr"], group["betas"] = group["lr"] * c, tuple(beta**c for beta in group["betas"])


def accuracy_up_to(loss: Tensor, step: Any, *, most: float) -> Tensor:
    """() bool, whether D tells at most this share of its batch, real and fake, rightly (a `trick.Step`'s answers)."""
    right = torch.cat((step.real_critique.logits > 0, step.fake_critique.logits < 0))
    return right.float().mean() <= most


def make_capturable(optimizer: torch.optim.Optimizer, *, scheduled: bool, annealed: bool = False) -> None:
    """Lets an optimiser's step run inside a CUDA graph, if its weights are on a GPU: nothing in it is read by the host.

    Adam and RMSprop then count their steps on the GPU. SGD needs its fused form, the only one that takes a learning
    rate from the GPU; Adam is fused everywhere, since that is quicker. scheduled: the rate is a () tensor, which the
    schedule sets; on the CPU in float64, so that it is the number that a Python float would be. annealed: beta2 of a
    `GameAdam` is one too. Call it after a checkpoint is loaded, which may come from another device.
    """
    if not any(p.is_cuda for group in optimizer.param_groups for p in group["params"]):
        _ask_no_gpu(optimizer)
    for group in optimizer.param_groups:
        device = group["params"][0].device
        on_gpu = device.type == "cuda"
        if "capturable" in group:
            group["capturable"] = on_gpu
        if isinstance(optimizer, torch.optim.Adam):
            group["fused"] = True
        elif isinstance(optimizer, torch.optim.SGD):
            group["fused"] = on_gpu or None
        elif "capturable" in group:
            # one tensor at a time, RMSprop would read the rate
            group["foreach"] = on_gpu or None
        if "beta2" in group:
            group["beta2"] = torch.full((), group["betas"][1], device=device) if annealed else None
        if scheduled:
            kind = {"device": device, "dtype": torch.float32} if on_gpu else {"dtype": torch.float64}
            group["lr"] = torch.full((), group["initial_lr"], **kind)
    for p, state in optimizer.state.items():
        if p.is_cuda and torch.is_tensor(state.get("step")):
            state["step"] = state["step"].to(p.device)  # a checkpoint made on a CPU has it there


def _ask_no_gpu(optimizer: torch.optim.Optimizer) -> None:
    """On the CPU no step asks whether a graph is captured: torch then looks for a driver each time, 0.15 ms a step."""
    names = ("_accelerator_graph_capture_health_check", "_cuda_graph_capture_health_check")  # in torch 2.15, in 2.11
    check = next((name for name in names if hasattr(type(optimizer), name)), None)
    if check is not None:
        setattr(optimizer, check, lambda: None)


@torch.no_grad()
def gated_step(optimizer: Any, gate: Tensor) -> None:
    """An optimiser's step that leaves weights and moments as they were where `gate` () is false; no value is read."""
    inner, parameters = bare(optimizer), weights_of(optimizer)
    before = [p.clone() for p in parameters]
    moments = {p: {k: v.clone() for k, v in inner.state[p].items() if torch.is_tensor(v)} for p in parameters}
    optimizer.step()
    for p, old in zip(parameters, before, strict=True):
        p.copy_(torch.where(gate, p, old))
        for key, value in inner.state[p].items():
            if torch.is_tensor(value):
                value.copy_(torch.where(gate, value, moments[p].get(key, torch.zeros_like(value))))


def bare(optimizer: Any) -> Any:
    """The optimiser without what Lightning wraps it in, which counts its steps."""
    return getattr(optimizer, "optimizer", optimizer)


def weights_of(optimizer: Any) -> list[Tensor]:
    """All weights that an optimiser trains."""
    return [p for group in optimizer.param_groups for p in group["params"]]


class Unrolled:
    """An optimiser's next updates as differentiable functions of the gradients; the optimiser itself stays as it is.

    Adam goes on from its moments, without weight decay (Metz et al. 2017, section 2.3: "we unroll Adam"); any other is
    taken for plain gradient descent, as in their equation 7.
    """

    def __init__(self, optimizer: Any) -> None:
        (self.group,) = bare(optimizer).param_groups
        held = [bare(optimizer).state[p] for p in self.group["params"]]
        self.adam = "betas" in self.group
        if self.adam:
            self.moments = [(s["exp_avg"].clone(), s["exp_avg_sq"].clone()) for s in held]
            self.steps = held[0]["step"].clone()

    def __call__(self, weights: Mapping[str, Tensor], gradients: tuple[Tensor, ...]) -> dict[str, Tensor]:
        lr, changes = self.group["lr"], gradients
        if self.adam:
            (beta1, beta2), eps = self.group["betas"], self.group["eps"]
            self.steps = self.steps + 1
            self.moments = [
                (m.lerp(g, 1 - beta1), v.lerp(g.square(), 1 - beta2))
                for (m, v), g in zip(self.moments, gradients, strict=True)
            ]
            one, two = 1 - beta1**self.steps, 1 - beta2**self.steps
            # a root has no slope at 0, where a weight that never had a gradient stands
            changes = tuple((m / one) / ((v / two + 1e-24).sqrt() + eps) for m, v in self.moments)
        return {name: w - lr * change for (name, w), change in zip(weights.items(), changes, strict=True)}


@contextmanager
def taken_back(*optimizers: Any) -> Iterator[None]:
    """The optimisers' weights, whatever happens to them within, are as before afterwards."""
    weights = [p for optimizer in optimizers for p in weights_of(optimizer)]
    before = [p.detach().clone() for p in weights]
    try:
        yield
    finally:
        with torch.no_grad():
            for p, old in zip(weights, before, strict=True):
                p.copy_(old)


@contextmanager
def uphill(optimizer: Any, distance: float) -> Iterator[None]:
    """Within: the weights at theta + distance * g / ||g||, g their gradient (Foret et al. 2021, equation 2, p = 2)."""
    gradients = [(p, p.grad) for p in weights_of(optimizer) if p.grad is not None]
    scale = distance / (torch.nn.utils.get_total_norm([g for _, g in gradients]) + 1e-12)
    with taken_back(optimizer):
        with torch.no_grad():
            for p, g in gradients:
                p.add_(g * scale)
        yield
