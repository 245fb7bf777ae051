"""Labels as input and as a second task. All need a dataset with classes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gan_ablate.blueprint import Blueprint, Factory, replace
from gan_ablate.errors import InputError
from gan_ablate.presets import HEADS, NORMS
from gan_ablate.trick import Step, Trick, register
from gan_ablate.tricks.needs import G_BATCH_NORM, LABELS, NO_VOLUMES, PROBABILITIES, SEES_IMAGES, UNTOLD_D

if TYPE_CHECKING:
    from torch import Tensor

    from gan_ablate.nets import Critique
    from gan_ablate.trick import State

DIMS = (1, 1024)
SQUARE = (1, 256)  # at most as many numbers as the smallest image has pixels: more would not be seen
# naming a label that it reads off a channel is no task for D, and with a projection K classes give a logit beside log Z
ASKED = (LABELS, UNTOLD_D)


def _embedding(dims: int) -> Factory:
    return Factory(f"{HEADS}:LabelEmbedding", {"dims": dims})


def _refuse_oblong(trick: str, dims: int) -> None:
    if math.isqrt(dims) ** 2 != dims:
        raise InputError(f"{trick}: dims={dims}: needs a square number (4, 16, 64), a small image to up-sample")


def _channel(blueprint: Blueprint, dims: int) -> Factory:
    """The label as an image: of a point in the plane, which has one pixel, D would see the first number only."""
    return Factory(f"{HEADS}:LabelChannel", {"dims": min(dims, blueprint.size**2)})


def _class_error(critique: Critique | None, step: Step) -> Tensor:
    """Cross entropy of D's class logits against the labels."""
    from torch.nn.functional import cross_entropy

    assert critique is not None
    assert critique.classes is not None
    assert step.labels is not None
    return cross_entropy(critique.classes, step.labels)


@register("conditional")
class Conditional(Trick):
    """Labels for both: an embedding beside z, and one of few dimensions, up-sampled, as a channel of D's input."""

    paper = "Mirza & Osindero 2014, section 3.2; Chintala et al. 2016, tip 16"
    recommended_by = "S0 S1.16 S2.C"
    needs = (LABELS, SEES_IMAGES, NO_VOLUMES)
    bounds = {"dims": SQUARE}
    dims: int = 4  # of each embedding; a square number, of which D's channel holds no more than it has pixels

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_oblong("conditional", self.dims)

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, g_condition=_embedding(self.dims), d_condition=_channel(blueprint, self.dims))


@register("conditional_batch_norm")
class ConditionalBatchNorm(Trick):
    """G is told the label by a gain and a bias per class in its batch norm; D by a channel, as in `conditional`."""

    paper = "Dumoulin et al. 2017, section 2.2; Miyato & Koyama 2018, section 4"
    recommended_by = "S4.9"
    models = "D"
    needs = (LABELS, G_BATCH_NORM, SEES_IMAGES, NO_VOLUMES)
    bounds = {"dims": SQUARE}
    dims: int = 4  # of D's embedding; a square number

    def __post_init__(self) -> None:
        super().__post_init__()
        _refuse_oblong("conditional_batch_norm", self.dims)

    def edit(self, blueprint: Blueprint) -> Blueprint:
        if blueprint.g_norm is None:
            return blueprint
        norm = Factory(f"{NORMS}:ConditionalBatchNorm", {"classes": blueprint.classes})
        return replace(blueprint, g_norm=norm, d_condition=_channel(blueprint, self.dims))


@register("projection")
class ProjectionDiscriminator(Trick):
    """D adds the inner product of the label's embedding and its features; G has an embedding beside z."""

    paper = "Miyato & Koyama 2018, equation 4"
    recommended_by = "P"
    needs = (LABELS, SEES_IMAGES)
    bounds = {"dims": DIMS}
    dims: int = 4  # of G's embedding

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, g_condition=_embedding(self.dims), d_projection=Factory(f"{HEADS}:Projection"))


@register("auxiliary_classifier")
class AuxiliaryClassifier(Trick):
    """D also names the class of real and fake images; G is told the class and rewarded where D names it."""

    paper = "Odena et al. 2017, equations 2 and 3"
    recommended_by = "S0 S1.12"
    models = "DN"
    needs = (*ASKED, SEES_IMAGES)
    bounds = {"weight": (0.0, 1e6), "dims": DIMS}
    weight: float = 1.0
    dims: int = 4  # of G's embedding

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, g_condition=_embedding(self.dims), d_classes=Factory(f"{HEADS}:class_head"))

    def d_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        return loss + self.weight * (_class_error(step.real_critique, step) + _class_error(step.fake_critique, step))

    def g_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        return loss + self.weight * _class_error(step.fake_critique, step)


@register("semi_supervised")
class SemiSupervised(Trick):
    """D has K + 1 classes, fakes being the last: its logit is the log-sum-exp of K, which it also learns to name."""

    paper = "Salimans et al. 2016, section 5"
    recommended_by = "S0"
    models = "DN"
    needs = (*ASKED, PROBABILITIES, SEES_IMAGES)
    bounds = {"weight": (0.0, 1e6)}
    weight: float = 1.0  # of the supervised half

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, d_head=None, d_classes=Factory(f"{HEADS}:class_head"))

    def d_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        return loss + self.weight * _class_error(step.real_critique, step)
