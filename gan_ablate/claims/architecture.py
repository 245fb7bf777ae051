"""Claims about layers, networks and normalisation."""

from __future__ import annotations

from gan_ablate.claims.claim import Claim, Contrast, as_good, better

RADFORD = "Radford et al. 2015, section 3"
NORMS = "sweeps/norms.yaml"

CLAIMS = (
    Claim(
        "arch.strided", "Strided convolution in D beats max pooling", "S0.1 S1.5 S4", RADFORD,
        (better("D", "base", "max_pooling"),),
    ),
    Claim(
        "arch.avgpool", "Average pooling is as good a down-sampling as strides", "S1.5", "Chintala et al. 2016, tip 5",
        (Contrast("D", "average_pooling", "base", "equivalent", margin=1.25),),
    ),
    Claim(
        "arch.no_fc", "No fully connected hidden layers is better", "S0.2", RADFORD,
        (better("D", "base", "fully_connected"),),
    ),
    Claim(
        "arch.conv", "Convolution beats fully connected networks", "S2", "Creswell et al. 2018, section III",
        (better("N", "base", "mlp"),),
    ),
    Claim(
        "arch.bn", "Batch norm stabilises training", "S0.3 S4", RADFORD,
        (better("D", "base", "no_batch_norm:on=both"), better("N", "batch_norm")),
    ),
    Claim(
        "arch.bn_placement", "Batch norm at G's output and D's input makes samples oscillate", "S0.3 S4.9", RADFORD,
        (better("D", "base", "batch_norm_everywhere", "volatility"),),
    ),
    Claim(
        "arch.bn_collapse", "Batch norm in G prevents mode collapse", "S4.4", RADFORD,
        (better("D", "base", "no_batch_norm:on=both", "modes"),),
    ),
    Claim(
        "arch.relu_g", "ReLU is the right activation for G", "S0.4", RADFORD,
        (better("D", "base", "leaky_relu_generator"),),
    ),
    Claim(
        "arch.leaky_g", "LeakyReLU is good in both", "S1.5", "Chintala et al. 2016, tip 5",
        (better("D", "leaky_relu_generator"),),
    ),
    Claim(
        "arch.leaky_d", "LeakyReLU in D beats ReLU", "S0.4 S1.5 S2", RADFORD,
        (better("D", "base", "relu_discriminator"),),
    ),
    Claim(
        "arch.tanh", "tanh and inputs in [-1, 1] beat sigmoid and [0, 1]", "S0.4 S1.1", RADFORD,
        (better("D", "base", "sigmoid_output:activation=sigmoid"),),
    ),
    Claim(
        "arch.init", "N(0, 0.02) beats the framework's default initialisation", "S0.4",
        "Radford et al. 2015, section 4",
        (better("D", "base", "default_init"), better("N", "dcgan_init")),
    ),
    Claim(
        "arch.kernel", "A kernel divisible by the stride avoids checkerboards", "S0", "Odena et al. 2016 (Distill)",
        (better("D", "base", "kernel_3", "checkerboard"), better("D", "base", "kernel_5", "checkerboard")),
    ),
    Claim(
        "arch.upsampling", "Transposed convolution and pixel shuffle both serve", "S1.5", "Chintala et al. 2016, tip 5",
        (as_good("D", "pixel_shuffle"), as_good("D", "resize_convolution")), rule="all",
    ),
    Claim(
        "arch.big_d", "A deeper or wider D than G helps", "S0", "Goodfellow 2016, section 4.4",
        (better("DN", "wide_discriminator"), better("DN", "deep_discriminator")),
    ),
    Claim(
        "arch.residual", "Residual connections raise stability", "S3", "Gulrajani et al. 2017, appendix F",
        (better("DNW", "residual", measure="failure_rate"), better("DNW", "residual", measure="volatility")),
    ),
    Claim(
        "norm.small_batch", "At small batches instance, layer and group norm beat batch norm", "S4.9",
        "Wu & He 2018, section 4.1",
        tuple(
            better("D", norm, measure="norm_at_small_batch") for norm in ("instance_norm", "layer_norm", "group_norm")
        ),
        study=NORMS,
    ),
    Claim(
        "norm.critic", "WGAN-GP wants layer or instance norm, not batch norm, in the critic", "S4.8",
        "Gulrajani et al. 2017, section 4",
        (
            better("W", "layer_norm:on=d", "batch_norm"), better("W", "instance_norm:on=d", "batch_norm"),
            better("W", "layer_norm:on=both", "batch_norm", fallback=True),
            better("W", "instance_norm:on=both", "batch_norm", fallback=True),
        ),
    ),
    Claim(
        "norm.virtual", "Virtual batch norm beats batch norm", "S0 S2", "Salimans et al. 2016, section 3.5",
        (better("D", "virtual_batch_norm"),),
    ),
)  # fmt: skip
