"""Newer networks: attention, styles, weights scaled at runtime, Ds of patches and scales."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gan_ablate.blueprint import Blueprint, Factory, replace, stages
from gan_ablate.errors import InputError
from gan_ablate.presets import HEADS, SPECTRAL_NORM
from gan_ablate.trick import OVER_0, Step, Trick, register
from gan_ablate.tricks.needs import (
    CONVOLUTIONS,
    FREE_WEIGHTS,
    IMAGES,
    ONE_ANSWER,
    ONE_PAIR,
    PLAIN_CONVOLUTIONS,
    SEES_IMAGES,
    SEES_NOTHING_ELSE,
    UNCLASSIFIED,
    UNPENALISED_PIXELS,
    UNTOLD_D,
    WHOLE_D,
    halved_twice,
)

if TYPE_CHECKING:
    from torch import Tensor

    from gan_ablate.trick import State

PLAYERS = ("d", "g", "both")
PLAYER_CLASSES = ("Generator", "Discriminator")
STYLE = "gan_ablate.nets.style"


@register("self_attention")
class SelfAttention(Trick):
    """Attention between all pixels of one hidden map, in both players: the largest of up to `side` pixels.

    The paper finds maps of 32 and 64 pixels best for images of 128, and has spectral norm beside it.
    """

    paper = "Zhang et al. 2019 (SAGAN), section 3 and table 1"
    recommended_by = "P"
    needs = (CONVOLUTIONS, IMAGES)
    conflicts = ("style_modulation",)  # whose G has no place for it
    bounds = {"side": (4, 1024)}
    choices = {"on": PLAYERS}
    side: int = 32  # pixels, at the most
    on: str = "both"  # d | g | both

    def edit(self, blueprint: Blueprint) -> Blueprint:
        halvings, bottom = stages(blueprint.size)
        sides = [bottom * 2**k for k in range(1, halvings)]  # of the maps that both players have in any architecture
        at = max((s for s in sides if s <= self.side), default=2 * bottom)
        attention = Factory("gan_ablate.nets.attention:self_attention", {"at": at})
        g = attention if self.on in ("g", "both") else blueprint.g_attention
        d = attention if self.on in ("d", "both") else blueprint.d_attention
        return replace(blueprint, g_attention=g, d_attention=d)

    def missing(self, blueprint: Blueprint) -> str | None:
        return super().missing(blueprint) or halved_twice(blueprint)


@register("equalised_learning_rate")
class EqualisedLearningRate(Trick):
    """Weights from N(0, 1), scaled at runtime: Adam then moves all of them by the same share of their size.

    The rate is one for weights of size 1: the papers' is 0.001.
    """

    paper = "Karras et al. 2018, section 4.1 and code"
    recommended_by = "P"
    needs = (FREE_WEIGHTS,)
    conflicts = ("spectral_norm", "weight_norm", "default_init", "dcgan_init", "orthogonal_init", "wgan_clip")
    choices = {"on": PLAYERS}
    on: str = "both"  # d | g | both

    def edit(self, blueprint: Blueprint) -> Blueprint:
        added = (Factory("gan_ablate.nets.weights:equalised"),)
        g = added if self.on in ("g", "both") else ()
        d = added if self.on in ("d", "both") else ()
        return replace(blueprint, g_finish=(*blueprint.g_finish, *g), d_finish=(*blueprint.d_finish, *d))


@register("patch_discriminator")
class PatchDiscriminator(Trick):
    """D answers at each place of its last map, and its loss is the mean over all places.

    A place sees a patch of the image: 10 pixels of 16, 22 of 32, behind DCGAN's convolutions.
    """

    paper = "Isola et al. 2017, section 3.2.2 (PatchGAN)"
    recommended_by = "P"
    needs = (PLAIN_CONVOLUTIONS,)
    conflicts = ("fully_connected", "minibatch_discrimination", "projection")  # which need one answer, or no map
    models = "DN"

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, d_head=Factory(f"{HEADS}:PatchHead", {"side": stages(blueprint.size)[1]}))


@register("multi_scale_discriminator")
class MultiScaleDiscriminator(Trick):
    """Ds of one kind at several scales of the images; the loss is the mean over them.

    The paper adds their losses up: for Adam the same, up to the weight of penalties.
    """

    paper = "Wang et al. 2018 (pix2pixHD), section 3.2 and code (3 scales)"
    recommended_by = "P"
    needs = (IMAGES, SEES_NOTHING_ELSE, ONE_ANSWER)
    conflicts = ("projection",)  # which adds to one answer
    bounds = {"scales": (2, 8)}
    scales: int = 3  # at the most: the smallest has 8 pixels or more

    def edit(self, blueprint: Blueprint) -> Blueprint:
        scales = self._scales(blueprint)
        if scales < 2:
            return blueprint
        options = {"of": blueprint.discriminator, "scales": scales}
        return replace(blueprint, discriminator=Factory("gan_ablate.nets.scales:Discriminator", options))

    def _scales(self, blueprint: Blueprint) -> int:
        return min(self.scales, stages(blueprint.size)[0])

    def missing(self, blueprint: Blueprint) -> str | None:
        return super().missing(blueprint) or halved_twice(blueprint)


@register("projected_discriminator")
class ProjectedDiscriminator(Trick):
    """D sees images through a fixed network that was trained on ImageNet, whose stages are mixed at random.

    A head for each of its four stages; the loss is the mean over all their answers. Heads have spectral norm, as in the
    paper, and base's normalisation, which there is batch norm. The paper has `hinge` and `diff_augment` beside it. The
    weights are a file that the user has: $GAN_ABLATE_FEATURES names it or its folder (docs/tricks.md).
    """

    paper = "Sauer et al. 2021 (Projected GANs), section 3; numbers: the authors' projector.py and discriminator.py"
    recommended_by = "P"
    models = "DN"
    needs = (IMAGES, SEES_NOTHING_ELSE, ONE_ANSWER, UNTOLD_D, UNCLASSIFIED, WHOLE_D, UNPENALISED_PIXELS)
    conflicts = ("patch_discriminator", "packing")  # which change what heads and input it has not
    bounds = {"side": (128, 512)}
    choices = {"network": ("tf_efficientnet_lite0", "tf_efficientnet_lite1", "resnet18")}
    network: str = "tf_efficientnet_lite0"
    side: int = 224  # pixels that it sees images at

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.side % 32:
            raise InputError(
                f"projected_discriminator: side={self.side}: the network halves it five times: needs a multiple of 32"
            )

    def edit(self, blueprint: Blueprint) -> Blueprint:
        options = {"network": self.network, "side": self.side}
        discriminator = Factory("gan_ablate.nets.projected:Discriminator", options)
        added = () if SPECTRAL_NORM in blueprint.d_finish else (SPECTRAL_NORM,)
        return replace(blueprint, discriminator=discriminator, d_finish=(*blueprint.d_finish, *added))


@register("style_modulation")
class StyleModulation(Trick):
    """G is a learned constant through convolutions whose weights each z scales, by a mapping network; styles are mixed.

    Scaled down: two dense layers in the mapping, as StyleGAN2-ADA has for CIFAR-10, where the first has eight. Its
    papers have minibatch stddev and R1 beside it: without both dcgan's G fell to one to three modes of ten digits, with
    and without batch norm in D; with either it did not, but for R1 at a gamma of 1.
    """

    paper = (
        "Karras et al. 2019, sections 2 and 3.1 (mixing 0.9); Karras et al. 2020, section 2.2; layers: 2020 (ADA), code"
    )
    recommended_by = "P"
    needs = (CONVOLUTIONS, IMAGES, ONE_PAIR)
    batch_norm = "taken out of D (d_norm=none), which has no normalisation in the papers; d_norm=keep leaves it"
    conflicts = ("self_attention", "virtual_batch_norm")
    bounds = {"layers": (1, 16), "mixing": (0.0, 1.0)}
    choices = {"d_norm": ("none", "keep")}
    layers: int = 2  # of the mapping network
    mixing: float = 0.9  # share of the samples that take the styles of two z's, in training
    d_norm: str = "none"  # D's normalisation layers: taken away, or kept

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(
            blueprint,
            generator=Factory(f"{STYLE}:Generator", {"layers": self.layers, "mixing": self.mixing}),
            g_up=Factory(f"{STYLE}:ModulatedConvolution", {"kernel": 3, "styles": blueprint.latent_dim}),
            g_norm=None,  # demodulation stands in its place
            d_norm=None if self.d_norm == "none" else blueprint.d_norm,
            g_finish=(*blueprint.g_finish, Factory(f"{STYLE}:draw_styles")),
        )


@register("progressive_growing")
class ProgressiveGrowing(Trick):
    """Both players start at the coarsest resolution, and finer ones are faded in, one after another.

    The paper gives each resolution and each fade as many images. All resolutions are computed throughout, so that
    shapes do not change: it saves no time here. While one is faded in, D sees real images of the finer one.
    """

    paper = "Karras et al. 2018, section 2 and figure 2"
    recommended_by = "P"
    needs = (CONVOLUTIONS, IMAGES, SEES_IMAGES)
    conflicts = ("deep_discriminator", "self_attention", "multi_scale_discriminator")
    bounds = {"until": (1e-3, 1.0)}
    until: float = 0.5  # share of training after which the last resolution is whole

    def edit(self, blueprint: Blueprint) -> Blueprint:
        networks = (Factory(f"gan_ablate.nets.progressive:{name}", {"until": self.until}) for name in PLAYER_CLASSES)
        generator, discriminator = networks
        return replace(blueprint, generator=generator, discriminator=discriminator)


@register("path_length")
class PathLength(Trick):
    """A step in z of one length changes the image by one length, whatever its direction and wherever it starts.

    J is G's Jacobian by z: the paper's is by the styles w, which most Gs here have not. `a` is a running mean of the
    lengths, of other z's than those of the loss. It is added at each step; the authors' code adds four times as much at
    every fourth, to save time.
    """

    paper = "Karras et al. 2020 (StyleGAN2), equation 4 and code (weight 2, decay 0.01)"
    recommended_by = "P"
    bounds = {"weight": (OVER_0, 1e6), "decay": (1e-6, 1.0)}
    weight: float = 2.0
    decay: float = 0.01  # share of the newest lengths in the running mean

    def init(self, step: Step) -> State:
        return {"mean": step.t.new_zeros(())}

    def _lengths(self, step: Step, create_graph: bool) -> Tensor:
        """(N,) ||J^T y|| at fresh z, y from N(0, I) over the root of the number of pixels."""
        import torch

        assert step.generate is not None
        with torch.enable_grad(), torch.autocast(step.real.device.type, enabled=False):
            z = step.normal_like(step.real.new_empty(len(step.real), step.latent_dim).float()).requires_grad_()
            images = step.generate(z)
            y = step.normal_like(images) / math.sqrt(images[0, 0].numel())
            (product,) = torch.autograd.grad((images * y).sum(), z, create_graph=create_graph)
            return (product.square().sum(1) + 1e-12).sqrt()

    def g_loss(self, loss: Tensor, step: Step, state: State) -> Tensor:
        lengths = self._lengths(step, create_graph=True)
        mean = state["mean"].lerp(lengths.detach().mean(), self.decay)
        return loss + self.weight * (lengths - mean).square().mean()

    def advance(self, state: State, step: Step) -> State:
        return {"mean": state["mean"].lerp(self._lengths(step, create_graph=False).mean(), self.decay)}
