"""Activations, down- and up-sampling, G's output, initial weights."""

from __future__ import annotations

from gan_ablate.blueprint import Blueprint, Factory, replace
from gan_ablate.presets import DCGAN_INIT, DEFAULT_INIT, INITS, LAYERS, RELU
from gan_ablate.trick import Trick, register
from gan_ablate.tricks.needs import CONVOLUTIONS, NO_VOLUMES, ONE_PAIR, PIXELS_FOR_D, PLAIN_CONVOLUTIONS

SLOPE = (0.0, 1.0)


def _leaky(slope: float) -> Factory:
    return Factory("torch.nn:LeakyReLU", {"negative_slope": slope})


@register("relu_discriminator")
class ReLUDiscriminator(Trick):
    """ReLU in D in place of LeakyReLU."""

    paper = "Radford et al. 2015, section 3 (the guideline taken away)"
    advised_against_by = "S0.4 S1.5 S2"
    models = "DW"

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, d_activation=RELU)


@register("leaky_relu_generator")
class LeakyReLUGenerator(Trick):
    """LeakyReLU in G as well as in D."""

    paper = "Chintala et al. 2016, tip 5"
    recommended_by = "S1.5"
    advised_against_by = "S0.4"
    bounds = {"slope": SLOPE}
    slope: float = 0.2  # for negative inputs

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, g_activation=_leaky(self.slope))


@register("leaky_slope")
class LeakySlope(Trick):
    """Another slope of D's LeakyReLU; 0.01 is the framework's default."""

    paper = "Radford et al. 2015, section 4 (0.2); Maas et al. 2013, section 2 (0.01)"
    recommended_by = "S0.4 (0.2)"
    models = "D"
    bounds = {"slope": SLOPE}
    slope: float = 0.01  # for negative inputs

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, d_activation=_leaky(self.slope))


def _pooled(kind: str) -> Factory:
    return Factory(f"{LAYERS}:pooled_convolution", {"kernel": 3, "pool": kind})


@register("max_pooling")
class MaxPooling(Trick):
    """Convolution and max pooling in D in place of strides."""

    paper = "Springenberg et al. 2015, section 2; Radford et al. 2015, section 3 (the guideline taken away)"
    advised_against_by = "S0.1 S1.5 S4"
    needs = (CONVOLUTIONS, PIXELS_FOR_D)

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, d_down=_pooled("max"))


@register("average_pooling")
class AveragePooling(Trick):
    """Convolution and average pooling in D in place of strides."""

    paper = "Chintala et al. 2016, tip 5"
    recommended_by = "S1.5"
    needs = (CONVOLUTIONS, PIXELS_FOR_D)

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, d_down=_pooled("average"))


@register("pixel_shuffle")
class PixelShuffle(Trick):
    """G up-samples by rearranging channels."""

    paper = "Shi et al. 2016, section 3.2; Chintala et al. 2016, tip 5"
    recommended_by = "S1.5"
    needs = (CONVOLUTIONS, ONE_PAIR, NO_VOLUMES)

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, g_up=Factory(f"{LAYERS}:pixel_shuffle", {"kernel": 3}))


@register("resize_convolution")
class ResizeConvolution(Trick):
    """G up-samples by nearest neighbour and a convolution."""

    paper = "Odena et al. 2016 (Distill), better upsampling"
    recommended_by = "S1.5"
    needs = (CONVOLUTIONS, ONE_PAIR)

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, g_up=Factory(f"{LAYERS}:resize_convolution", {"kernel": 3}))


class _Kernel(Trick):
    pixels = 4

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(
            blueprint,
            g_up=blueprint.g_up.but(kernel=self.pixels) if isinstance(blueprint.g_up, Factory) else blueprint.g_up,
            d_down=blueprint.d_down.but(kernel=self.pixels)
            if isinstance(blueprint.d_down, Factory)
            else blueprint.d_down,
        )


@register("kernel_5")
class Kernel5(_Kernel):
    """5x5 kernels at stride 2, which 2 does not divide: watch for checkerboards."""

    paper = "Odena et al. 2016 (Distill), overlap and learning; Radford et al. 2015, figure 1 (5x5)"
    advised_against_by = "S0"
    models = "D"
    needs = (PLAIN_CONVOLUTIONS,)  # residual blocks have no strided kernels
    pixels = 5


@register("kernel_3")
class Kernel3(_Kernel):
    """3x3 kernels at stride 2, which 2 does not divide: watch for checkerboards."""

    paper = "Odena et al. 2016 (Distill), overlap and learning"
    advised_against_by = "S0"
    models = "D"
    needs = (PLAIN_CONVOLUTIONS,)  # residual blocks have no strided kernels
    pixels = 3


@register("sigmoid_output")
class SigmoidOutput(Trick):
    """Images in [0, 1] and a sigmoid at G's output, or no output activation at all, in place of tanh."""

    paper = "Radford et al. 2015, section 3 (the guideline taken away); Chintala et al. 2016, tip 1"
    advised_against_by = "S0.4 S1.1"
    models = "D"
    choices = {"activation": ("sigmoid", "none")}
    activation: str = "sigmoid"

    def edit(self, blueprint: Blueprint) -> Blueprint:
        if self.activation == "none":
            return replace(blueprint, g_output=Factory("torch.nn:Identity"))
        # outside the networks images stay in [-1, 1]: G's sigmoid is scaled to it, and D's first layer sees [0, 1]
        return replace(blueprint, g_output=Factory(f"{LAYERS}:SigmoidImage"), d_input=Factory(f"{LAYERS}:UnitRange"))


@register("default_init")
class DefaultInit(Trick):
    """The framework's own initial weights."""

    paper = "Radford et al. 2015, section 4 (the guideline taken away)"
    advised_against_by = "S0.4"
    models = "D"

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, init=DEFAULT_INIT)


@register("dcgan_init")
class DCGANInit(Trick):
    """Initial weights from N(0, 0.02)."""

    paper = "Radford et al. 2015, section 4"
    recommended_by = "S0.4"
    models = "N"

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, init=DCGAN_INIT)


@register("orthogonal_init")
class OrthogonalInit(Trick):
    """Orthogonal initial weights."""

    paper = "Saxe et al. 2014, section 3; Brock et al. 2019, section 3"
    recommended_by = "P"

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, init=Factory(f"{INITS}:orthogonal_init"))
