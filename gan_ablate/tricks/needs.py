"""What tricks ask of their arm, and what those that differentiate D by its input do about D's normalisation."""

from __future__ import annotations

from typing import Any

from gan_ablate.blueprint import Blueprint, Factory, replace, stages
from gan_ablate.presets import NORMS, SPECTRAL_NORM
from gan_ablate.trick import Need


def _is(factory: Any, *names: str) -> bool:
    return getattr(factory, "target", "").partition(":")[2] in names


def _convolutional(bp: Blueprint) -> bool:
    return "nets.mlp:" not in getattr(bp.generator, "target", "")


def _stages_of(bp: Blueprint) -> str:
    return getattr(bp.discriminator, "target", "").partition(":")[0].removeprefix("gan_ablate.")


LABELS = Need("a dataset with classes", lambda bp: bp.classes is None or bp.classes > 1)  # a single one says nothing
IMAGES = Need("images, not points in the plane or volumes", lambda bp: bp.size > 1 and bp.dims == 2)
NO_VOLUMES = Need("images or points, not volumes", lambda bp: bp.dims == 2)
NORMAL_LATENTS = Need("a G that is given normal latents", lambda bp: bp.g_input is None)
CONVOLUTIONS = Need("convolutional networks", _convolutional)
PLAIN_CONVOLUTIONS = Need("DCGAN's plain convolutions", lambda bp: "nets.conv:" in getattr(bp.generator, "target", ""))
PROBABILITIES = Need("an objective on probabilities (cross entropy)", lambda bp: bp.probabilities)
D_BATCH_NORM = Need("batch norm in D", lambda bp: _is(bp.d_norm, "batch_norm"))
G_BATCH_NORM = Need("batch norm in G", lambda bp: _is(bp.g_norm, "batch_norm", "ConditionalBatchNorm"))
UNCONSTRAINED_D = Need("a D whose weights are its parameters (no spectral norm)", lambda bp: not bp.d_finish)
FREE_WEIGHTS = Need(
    "weights that no spectral norm divides",
    lambda bp: not any(_is(each, "spectral_norm") for each in (*bp.g_finish, *bp.d_finish)),
)
UNCONDITIONAL = Need("networks without labels", lambda bp: not bp.conditional)
# of systems by rules of their own (`gan_ablate.systems`)
SEES_IMAGES = Need("a D that sees images", lambda bp: bp.sees in ("images", "pairs"))
SEES_NOTHING_ELSE = Need("a D that sees images and nothing beside them", lambda bp: bp.sees == "images")
ONE_KIND = Need("a D that sees one kind of thing, by one network", lambda bp: bp.sees in ("images", "codes"))
ONE_PAIR = Need("one G against one D, not a pair of them per level", lambda bp: bp.sees != "pyramids")
REAL_AS_IT_IS = Need("real images that D sees as they are", lambda bp: bp.sees in ("images", "pyramids"))
PIXELS_FOR_D = Need("a D of pixels, with convolutions", lambda bp: bp.sees != "codes")
FAKE_OF_Z = Need("fakes that are drawn from z", lambda bp: bp.sees != "codes")
FAKES_ALONE = Need("a loss of G that reads its fakes alone", lambda bp: bp.sees != "pairs")
ONE_ANSWER = Need("a D without further heads", lambda bp: not bp.d_heads)
NOISE_ALONE = Need("a z that is noise, without codes", lambda bp: not any(_is(h, "q_head") for h in bp.d_heads))
UNCLASSIFIED = Need("a D that names no classes", lambda bp: not bp.d_classes)
SUITE_D = Need("a D of the suite's own networks", lambda bp: "nets.own:" not in getattr(bp.discriminator, "target", ""))
EACH_FAKE = Need(
    "a loss of G that reads each answer by itself",
    lambda bp: not _is(bp.objective, "Relativistic", "RelativisticAverage", "RepulsiveMMD"),
)
PLAIN_D = Need("a D of DCGAN's stages", lambda bp: _stages_of(bp) in ("nets.conv", "nets.unet"))
UNPENALISED = Need("no penalty on the slope of D's logit, which it does not read", lambda bp: not bp.penalties)
D_PARTS = (
    "d_input", "d_first_norm", "d_attention", "d_map_statistics", "d_statistics", "d_codebook", "d_local", "d_joint"
)  # fmt: skip


def _whole(bp: Blueprint) -> bool:
    return bp.d_depth == 1 and not bp.dense and all(getattr(bp, part) is None for part in D_PARTS)


UNPENALISED_PIXELS = Need(
    "a D without a penalty on its slope, which would be the fixed network's", lambda bp: not bp.penalties
)
WHOLE_D = Need("a D of stages alone: no attention, statistics, dense layer or other range of pixels", _whole)
UNTOLD_D = Need("a D that is not told the label", lambda bp: not (bp.d_condition or bp.d_projection))


def _adam(bp: Blueprint) -> bool:
    return all("betas" in getattr(each, "options", {}) for each in (bp.g_optimizer, bp.d_optimizer))


def _one_step_each(bp: Blueprint) -> bool:
    gated = bp.d_gate or bp.g_gate
    return bp.n_critic == bp.n_generator == 1 and not bp.critic_schedule and not gated


ADAM = Need("Adam for both players", _adam)
UNROLLABLE = Need("Adam or SGD for D", lambda bp: not _is(bp.d_optimizer, "RMSprop"))
IN_TURN = Need("players that update in turn", lambda bp: bp.updates == "alternating")
ONE_STEP_EACH = Need("one step of each player per round, none of them taken back", _one_step_each)


def halved_twice(blueprint: Blueprint) -> str | None:
    """What a trick lacks that acts between two halvings of the images; `None` if nothing."""
    return None if stages(blueprint.size)[0] >= 2 else "images that can be halved twice"


D_NORMS = ("none", "layer", "keep")
D_NORM_TEXT = (
    "taken out of D (d_norm=none), as in the paper: with it a sample's gradient also holds how its pixels move the "
    "answers to the others of its batch; d_norm=layer puts layer norm in its place, d_norm=keep leaves it"
)


def with_d_norm(blueprint: Blueprint, d_norm: str) -> Blueprint:
    """The blueprint with D's normalisation as it is (keep), taken out (none), or replaced (layer, spectral)."""
    if d_norm == "keep":
        return blueprint
    if d_norm == "spectral" and SPECTRAL_NORM not in blueprint.d_finish:
        blueprint = replace(blueprint, d_finish=(*blueprint.d_finish, SPECTRAL_NORM))
    return replace(blueprint, d_norm=Factory(f"{NORMS}:layer_norm") if d_norm == "layer" else None)
