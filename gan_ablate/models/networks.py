"""Networks with seeded weights, and what the step does to them."""

from __future__ import annotations

from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from gan_ablate.blueprint import Blueprint
from gan_ablate.recipe import seed_for


def build_network(factory: Any, bp: Blueprint, seed: int, player: str, finish: tuple[Any, ...] = ()) -> nn.Module:
    """A network whose every layer draws its initial weights by (seed, its name): arms that share a layer share them."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed_for(seed, "init", player))
        network = factory(bp)
        for name, module in network.named_modules():
            torch.manual_seed(seed_for(seed, "init", player, name))
            bp.init(module)
        for index, each in enumerate(finish):
            torch.manual_seed(seed_for(seed, "finish", player, index))
            each(network, bp)
    return network.to(memory_format=torch.channels_last)


@contextmanager
def frozen(network: nn.Module):
    """No gradients for a network's parameters: G's step needs D's input gradient only."""
    for p in network.parameters():
        p.requires_grad_(False)
    try:
        yield
    finally:
        for p in network.parameters():
            p.requires_grad_(True)


def gradient_norm(network: nn.Module) -> Tensor:
    """() the 2-norm over all gradients of a network."""
    return nn.utils.get_total_norm([p.grad for p in network.parameters() if p.grad is not None])
