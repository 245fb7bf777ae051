"""What tricks may ask of the arm they stand in."""

from __future__ import annotations

from typing import Any

from gan_ablate.blueprint import Blueprint
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
UNTOLD_D = Need("a D that is not told the label", lambda bp: not (bp.d_condition or bp.d_projection))
