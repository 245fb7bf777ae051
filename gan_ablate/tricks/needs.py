"""What tricks ask of their arm, and what those that differentiate D by its input do about D's normalisation."""

from __future__ import annotations

from typing import Any

from gan_ablate.blueprint import Blueprint, Factory, replace
from gan_ablate.presets import NORMS
from gan_ablate.trick import Need


def _is(factory: Any, *names: str) -> bool:
    return getattr(factory, "target", "").partition(":")[2] in names


def _convolutional(bp: Blueprint) -> bool:
    return "nets.mlp:" not in getattr(bp.generator, "target", "")


LABELS = Need("a dataset with classes", lambda bp: bp.classes is None or bp.classes > 1)  # a single one says nothing
IMAGES = Need("images, not points in the plane", lambda bp: bp.size > 1)
CONVOLUTIONS = Need("convolutional networks", _convolutional)
PLAIN_CONVOLUTIONS = Need("DCGAN's plain convolutions", lambda bp: "nets.conv:" in getattr(bp.generator, "target", ""))
PROBABILITIES = Need("an objective on probabilities (cross entropy)", lambda bp: bp.probabilities)
D_BATCH_NORM = Need("batch norm in D", lambda bp: _is(bp.d_norm, "batch_norm"))
G_BATCH_NORM = Need("batch norm in G", lambda bp: _is(bp.g_norm, "batch_norm", "ConditionalBatchNorm"))
UNCONDITIONAL = Need("networks without labels", lambda bp: not bp.conditional)
# of systems by rules of their own (`gan_ablate.systems`)
SEES_IMAGES = Need("a D that sees images", lambda bp: bp.sees in ("images", "pairs"))
SEES_NOTHING_ELSE = Need("a D that sees images and nothing beside them", lambda bp: bp.sees == "images")
ONE_KIND = Need("a D that sees one kind of thing, by one network", lambda bp: bp.sees in ("images", "codes"))
ONE_PAIR = Need("one G against one D, not a pair of them per level", lambda bp: bp.sees != "pyramids")
REAL_AS_IT_IS = Need("real images that D sees as they are", lambda bp: bp.sees in ("images", "pyramids"))
PIXELS_FOR_D = Need("a D of pixels, with convolutions", lambda bp: bp.sees != "codes")
FAKE_OF_Z = Need("fakes that are drawn from z", lambda bp: bp.sees != "codes")
NOISE_ALONE = Need("a z that is noise, without codes", lambda bp: bp.d_q is None)
UNTOLD_D = Need("a D that is not told the label", lambda bp: not (bp.d_condition or bp.d_projection))


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
