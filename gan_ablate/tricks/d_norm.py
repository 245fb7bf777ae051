"""What a trick that differentiates D by its input does about D's normalisation."""

from __future__ import annotations

from gan_ablate.blueprint import Blueprint, Factory, replace
from gan_ablate.presets import NORMS

D_NORMS = ("none", "layer", "keep")
D_NORM_TEXT = (
    "taken out of D (d_norm=none), as in the paper: with it a sample's gradient also holds how its pixels move the "
    "answers to the others of its batch; d_norm=layer puts layer norm in its place, d_norm=keep leaves it"
)


def with_d_norm(blueprint: Blueprint, d_norm: str) -> Blueprint:
    """The blueprint with D's normalisation taken out (none), replaced by layer norm (layer) or as it is (keep)."""
    if d_norm == "keep":
        return blueprint
    return replace(blueprint, d_norm=Factory(f"{NORMS}:layer_norm") if d_norm == "layer" else None)
