"""Networks with seeded weights, and what the step does to them."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gan_ablate.blueprint import Blueprint
from gan_ablate.nets.layers import MEMORY
from gan_ablate.recipe import seed_for
from gan_ablate.step import untracked


def build_network(factory: Any, bp: Blueprint, seed: int, player: str, finish: tuple[Any, ...] = ()) -> nn.Module:
    """A network whose every layer draws its initial weights by (seed, its name): arms that share a layer share them."""
    # the CPU's generator only, which is the one put back: torch.manual_seed would reseed the GPU's as well, and where
    # CUDA does not run yet it writes down the stack of its callers each time, which takes longer than the weights
    seed_cpu = torch.default_generator.manual_seed
    with torch.random.fork_rng(devices=[]):
        seed_cpu(seed_for(seed, "init", player))
        network = factory(bp)
        for name, module in network.named_modules():
            seed_cpu(seed_for(seed, "init", player, name))
            bp.init(module)
        for index, each in enumerate(finish):
            seed_cpu(seed_for(seed, "finish", player, index))
            each(network, bp)
    return network.to(memory_format=MEMORY[bp.dims])  # type: ignore[call-overload]


@torch.no_grad()
def take_first_values(network: nn.Module, *inputs: Tensor | None) -> None:
    """One pass in which the layers that have `first_values` take them from data, the first layer first.

    `layer.first_values(layer, x, y)` gets a layer's input and output, sets its parameters, and returns the output that
    it then has, which the layers behind it see. Nothing else moves: no running statistics, no random numbers.
    """
    layers = [m for m in network.modules() if hasattr(m, "first_values")]
    if not layers:
        return
    device = next(network.parameters()).device
    handles = [m.register_forward_hook(lambda m, args, y: m.first_values(m, args[0], y)) for m in layers]
    try:
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []), untracked(network):
            network(*inputs)
    finally:
        for handle in handles:
            handle.remove()


@contextmanager
def frozen(parameters: Iterable[Tensor]):
    """No gradients for a network's parameters: G's step needs D's input gradient only."""
    trained = [p for p in parameters if p.requires_grad]
    for p in trained:
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in trained:
            p.requires_grad_(True)


def gradient_norm(network: nn.Module) -> Tensor:
    """() the 2-norm over all gradients of a network."""
    return nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None])
