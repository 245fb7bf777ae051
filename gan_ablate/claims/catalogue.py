"""The claims as data, in the order of the sources: layers and networks, norms, training, targets and losses, signs.

Those of later papers are `modern.py`'s.

They are checked when they are first asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import cache

from gan_ablate.claims.claim import RULES, Claim, Contrast, as_good
from gan_ablate.claims.interaction import NORMS
from gan_ablate.claims.measures import MEASURES, better
from gan_ablate.claims.modern_losses import MODERN_LOSSES
from gan_ablate.claims.modern_training import MODERN_TRAINING
from gan_ablate.errors import InputError, unknown
from gan_ablate.recipe import BASE, MODEL_OF, Recipe, TrickSpec
from gan_ablate.stats.parts import MARGIN
from gan_ablate.tricks import complete, not_applicable

RADFORD = "Radford et al. 2015, section"
CHINTALA = "Chintala et al. 2016, tip"
SALIMANS = "Salimans et al. 2016, section"
GULRAJANI = "Gulrajani et al. 2017"
WGAN = "Arjovsky et al. 2017, section 4; Gulrajani et al. 2017"
RANK_MARGIN = 0.3  # a rank correlation under it is Cohen's (1988) "small": the loss tells next to nothing
HALF_MARGIN = 0.1  # D(x) from 0.4 to 0.6: beyond it D is right on over 60 % of its bets


def wgan(against: str, measure: str) -> Contrast:
    """WGAN-GP has the better figure."""
    return better("W", "base", "base", measure, against=against)


def announces(models: str, measure: str) -> Contrast:
    """The sign in the first half of a run says that it fails or ends bad: an area under the ROC curve over 0.5."""
    return Contrast(models, "*", "*", "higher", measure)


def tells_nothing(models: str, measure: str) -> Contrast:
    return Contrast(models, "*", "*", "near", measure, margin=RANK_MARGIN)


CLAIMS = (
    # -- layers, networks and norms
    Claim("arch.strided", "Strided convolution in D beats max pooling", "S0.1 S1.5 S4", f"{RADFORD} 3",
          (better("D", "base", "max_pooling"),)),
    Claim("arch.avgpool", "Average pooling is as good a down-sampling as strides", "S1.5", f"{CHINTALA} 5",
          (Contrast("D", "average_pooling", "base", "equivalent", margin=MARGIN),)),
    Claim("arch.no_fc", "No fully connected hidden layers is better", "S0.2", f"{RADFORD} 3",
          (better("D", "base", "fully_connected"),)),
    Claim("arch.conv", "Convolution beats fully connected networks", "S2", "Creswell et al. 2018, section III",
          (better("N", "base", "mlp"),)),
    Claim("arch.bn", "Batch norm stabilises training", "S0.3 S4", f"{RADFORD} 3",
          (better("D", "base", "no_batch_norm:on=both"), better("N", "batch_norm"))),
    Claim("arch.bn_placement", "Batch norm at G's output and D's input makes samples oscillate", "S0.3 S4.9",
          f"{RADFORD} 3", (better("D", "base", "batch_norm_everywhere", "volatility"),)),
    Claim("arch.bn_collapse", "Batch norm in G prevents mode collapse", "S4.4", f"{RADFORD} 3",
          (better("D", "base", "no_batch_norm:on=both", "modes"),)),
    Claim("arch.relu_g", "ReLU is the right activation for G", "S0.4", f"{RADFORD} 3",
          (better("D", "base", "leaky_relu_generator"),)),
    Claim("arch.leaky_g", "LeakyReLU is good in both", "S1.5", f"{CHINTALA} 5", (better("D", "leaky_relu_generator"),)),
    Claim("arch.leaky_d", "LeakyReLU in D beats ReLU", "S0.4 S1.5 S2", f"{RADFORD} 3",
          (better("D", "base", "relu_discriminator"),)),
    Claim("arch.tanh", "tanh and inputs in [-1, 1] beat sigmoid and [0, 1]", "S0.4 S1.1", f"{RADFORD} 3",
          (better("D", "base", "sigmoid_output:activation=sigmoid"),)),
    Claim("arch.init", "N(0, 0.02) beats the framework's default initialisation", "S0.4", f"{RADFORD} 4",
          (better("D", "base", "default_init"), better("N", "dcgan_init"))),
    Claim("arch.kernel", "A kernel divisible by the stride avoids checkerboards", "S0", "Odena et al. 2016 (Distill)",
          (better("D", "base", "kernel_3", "checkerboard"), better("D", "base", "kernel_5", "checkerboard"))),
    Claim("arch.upsampling", "Transposed convolution and pixel shuffle both serve", "S1.5", f"{CHINTALA} 5",
          (as_good("D", "pixel_shuffle"), as_good("D", "resize_convolution")), rule="all"),
    Claim("arch.big_d", "A deeper or wider D than G helps", "S0", "Goodfellow 2016, section 4.4",
          (better("DN", "wide_discriminator"), better("DN", "deep_discriminator"))),
    Claim("arch.residual", "Residual connections raise stability", "S3", f"{GULRAJANI}, appendix F",
          (better("DNW", "residual", measure="failure_rate"), better("DNW", "residual", measure="volatility"))),
    Claim("norm.small_batch", "At small batches instance, layer and group norm beat batch norm", "S4.9",
          "Wu & He 2018, section 4.1",
          tuple(better("D", norm, measure="norm_at_small_batch") for norm in NORMS),
          study="sweeps/norms.yaml"),
    Claim("norm.critic", "WGAN-GP wants layer or instance norm, not batch norm, in the critic", "S4.8",
          f"{GULRAJANI}, section 4",
          (better("W", "layer_norm:on=d", "batch_norm"), better("W", "instance_norm:on=d", "batch_norm"),
           better("W", "layer_norm:on=both", "batch_norm", fallback=True),
           better("W", "instance_norm:on=both", "batch_norm", fallback=True))),
    Claim("norm.virtual", "Virtual batch norm beats batch norm", "S0 S2", f"{SALIMANS} 3.5",
          (better("D", "virtual_batch_norm"),)),
    # -- optimisers, noise, latents, batches, schedules, labels as input, sampling
    Claim("opt.lr", "Adam at 0.001 is too fast; 0.0002 is better", "S0.5", f"{RADFORD} 4",
          (better("D", "adam_lr:lr=0.0002", "adam_lr:lr=0.001"),)),
    Claim("opt.beta1", "beta1 0.9 makes training oscillate; 0.5 is stable", "S0.5 S4.8", f"{RADFORD} 4",
          (better("D", "base", "adam_beta1:beta1=0.9"), better("D", "base", "adam_beta1:beta1=0.9", "volatility"))),
    Claim("opt.beta_wgan", "WGAN-GP wants a low beta1", "S4.8", f"{GULRAJANI}, algorithm 1",
          (better("W", "base", "adam_beta1:beta1=0.9"),)),
    Claim("opt.batch", "Batch 128 is a good size", "S0.5", f"{RADFORD} 4",
          tuple(as_good("D", "batch_size:size=128,equal=images", f"batch_size:size={size},equal=images")
                for size in (16, 64, 512)), rule="all"),
    Claim("opt.sgd_d", "SGD for D is an acceptable choice", "S1.9", f"{CHINTALA} 9",
          (as_good("D", "sgd_discriminator"),)),
    Claim("opt.slow_d", "When D is too strong, a lower learning rate for D helps", "S4.11",
          "Heusel et al. 2017, section 1 (two time scales, the other way)", (better("DN", "ttur:factor=0.25"),)),
    Claim("opt.few_d", "Updating D less often helps when it is too strong", "S4.11",
          "Goodfellow et al. 2014, algorithm 1 (k the other way)", (better("DN", "n_generator:n=2,equal=steps"),)),
    Claim("opt.clip", "Gradient clipping steadies training", "S4.11", "Pascanu et al. 2013, algorithm 1",
          (better("N", "gradient_clipping", measure="failure_rate"),)),
    Claim("opt.weight_norm", "Weight normalisation prevents exploding gradients", "S4.11",
          "Salimans & Kingma 2016; Xiang & Li 2017", (better("N", "weight_norm", measure="largest_gradient"),)),
    Claim("opt.history", "Historical averaging helps convergence", "S0 S2", f"{SALIMANS} 3.3",
          (better("DN", "historical_averaging"),)),
    Claim("noise.instance", "Decaying noise on D's inputs stabilises", "S0 S1.13 S2",
          "Arjovsky & Bottou 2017, section 3; Soenderby et al. 2017, section 2.2", (better("DN", "instance_noise"),)),
    Claim("noise.decay", "It must decay", "S1.13 S2", "Arjovsky & Bottou 2017, section 3",
          (better("DN", "instance_noise", "instance_noise_constant"),)),
    Claim("noise.g_layers", "Noise in every layer of G helps", "S1.13", "Zhao et al. 2017 (EBGAN)",
          (better("D", "generator_noise"),)),
    Claim("noise.dropout_g", "50 % dropout in G at training and test helps", "S0 S1.17",
          "Isola et al. 2017, section 3.2", (better("D", "generator_dropout:p=0.5"),
           better("D", "generator_dropout:p=0.5", "generator_dropout_train_only:p=0.5"))),
    Claim("noise.dropout_d", "Dropout in D helps", "S3", "Srivastava et al. 2014",
          (better("DN", "discriminator_dropout"),)),
    Claim("latent.gaussian", "Gaussian z beats uniform z", "S0 S1.3", f"{CHINTALA} 3",
          (better("D", "base", "uniform_latents"),)),
    Claim("latent.slerp", "Interpolate along great circles, not lines", "S1.3", "White 2016, section 2.1",
          (better("DNW", "interpolation:path=slerp", "interpolation:path=lerp", same_weights=True),
           better("DNW", "base", "base", "fid_slerp", control_measure="fid_lerp", same_weights=True, fallback=True))),
    Claim("batch.separate", "All-real and all-fake batches for batch norm", "S0 S1.4", f"{CHINTALA} 4",
          (better("D", "base", "joint_batches"),)),
    Claim("batch.minibatch_disc", "Minibatch discrimination prevents mode collapse", "S0 S2 S4.11", f"{SALIMANS} 3.2",
          (better("DN", "minibatch_discrimination", measure="modes"),)),
    Claim("batch.replay", "Experience replay stabilises", "S1.8",
          f"{CHINTALA} 8; Shrivastava et al. 2017, section 2.3", (better("DN", "experience_replay"),)),
    Claim("schedule.more_d", "More D steps help, sometimes", "S1.14 S2", "Goodfellow et al. 2014, algorithm 1",
          tuple(better("DN", f"n_critic:n={n},equal={equal}") for equal in ("steps", "compute") for n in (2, 5)),
          rule="some"),
    Claim("schedule.critic5", "WGAN-GP wants about five critic steps", "S4.8", f"{GULRAJANI}, algorithm 1",
          tuple(better("W", "base", f"n_critic:n={n},equal={equal}")
                for equal in ("steps", "compute") for n in (1, 2))),
    Claim("schedule.balancing", "Balancing by loss thresholds does not work", "S0 S1.11", f"{CHINTALA} 11",
          (better("DN", "base", "loss_balancing"),)),
    Claim("label_use.any", "Using class labels improves quality", "S0 S1.12",
          "Mirza & Osindero 2014; Odena et al. 2017",
          (better("D", "conditional:dims=4"), better("D", "auxiliary_classifier"))),
    Claim("label_use.embedding", "Embed labels in few dimensions and up-sample", "S1.16", f"{CHINTALA} 16",
          (better("D", "conditional:dims=4", "conditional:dims=64"),)),
    Claim("label_use.cbn", "Conditional batch norm lets G use labels", "S4.9", "Dumoulin et al. 2017, section 2.2",
          (better("D", "conditional_batch_norm:dims=4", "conditional:dims=4"),)),
    Claim("sample.eval_mode", "Sample in evaluation mode", "S4.9", "Ioffe & Szegedy 2015, section 3.1",
          (better("DW", "base", "batch_statistics_at_sampling", same_weights=True),
           better("D", "base", "base", "fid_eval_mode", control_measure="fid_train_mode", same_weights=True,
                  fallback=True))),
    # -- D's targets, and what the players are trained to do
    Claim("label.one_sided", "One-sided smoothing (0.9) helps", "S0 S2 S4.11", f"{SALIMANS} 3.4",
          (better("DN", "label_smoothing:real=0.9"),)),
    Claim("label.two_sided", "Smoothing both sides is worse than one", "S2", f"{SALIMANS} 3.4",
          (better("DN", "label_smoothing", "label_smoothing_two_sided"),)),
    Claim("label.soft", "Random soft labels help", "S0 S1.6", f"{CHINTALA} 6", (better("DN", "soft_labels"),)),
    Claim("label.flip", "Now and then flipping D's labels helps", "S0 S1.6", f"{CHINTALA} 6",
          (better("DN", "label_flipping"),)),
    Claim("label.noise_beats_smoothing",
          "Instance noise is the better cure than label smoothing, which biases the best D", "S2",
          "Soenderby et al. 2017, section 2.2; Arjovsky & Bottou 2017, section 3",
          (better("DN", "instance_noise", "label_smoothing"),)),
    Claim("loss.ns", "The non-saturating loss gives G larger gradients early and trains better", "S1.2 S2 S4",
          "Goodfellow et al. 2014, section 3",
          (better("DN", "base", "saturating", "early_g_gradient"), better("DN", "base", "saturating")), rule="all"),
    Claim("loss.flip_equals_ns", "Training G on flipped labels is the non-saturating loss", "S1.2", f"{CHINTALA} 2",
          (Contrast("DN", "flipped_generator_labels", "base", "equal"),),
          proof="tests/test_tricks_losses.py::test_flipped_labels_give_the_non_saturating_gradient_exactly"),
    Claim("loss.negative_control", "G trained against zeros, as one listing prints it, fails", "S3",
          "the opposite of Goodfellow et al. 2014, section 3",
          (Contrast("D", "inverted_generator_loss", "base", "always", "failure_rate"),)),
    Claim("loss.wgan_stable", "WGAN-GP is more stable than the standard GAN", "S2 S4.8", WGAN,
          tuple(wgan("ND", measure) for measure in ("failure_rate", "volatility", "seed_spread"))),
    Claim("loss.wgan_modes", "WGAN-GP greatly reduces mode collapse", "S4.8 S4.11", WGAN, (wgan("N", "modes"),)),
    Claim("loss.wgan_gradient", "WGAN-GP solves vanishing gradients", "S4.8", "Arjovsky & Bottou 2017, figure 2",
          (wgan("N", "optimum_g_gradient"),)),
    Claim("loss.wgan_robust", "WGAN-GP is less sensitive to hyperparameters", "S4.8", f"{GULRAJANI}, section 4",
          (wgan("ND", "design_spread"),), study="sweeps/robustness.yaml"),
    Claim("loss.wgan_slow", "WGAN-GP trains more slowly (5 critic steps)", "S4.8", f"{GULRAJANI}, section 4",
          tuple(Contrast("W", "base", "base", "higher", measure, against="ND")
                for measure in ("seconds_to_fid", "seconds_per_step")), rule="all"),
    Claim("loss.gp_clip", "Gradient penalty beats weight clipping", "S2 S4", f"{GULRAJANI}, section 3",
          (better("W", "base", "wgan_clip"),)),
    Claim("loss.feature_matching", "Feature matching stabilises and fights collapse", "S0 S2 S4.11",
          f"{SALIMANS} 3.1", (better("DN", "feature_matching"), better("DN", "feature_matching", measure="modes"))),
    Claim("loss.f_gan", "Other divergences train as well", "S2", "Nowozin et al. 2016, table 6",
          tuple(as_good("N", f"f_gan:divergence={name}")
                for name in ("kl", "reverse_kl", "pearson", "squared_hellinger")), rule="all"),
    Claim("loss.hybrid", "Hybrids (KL + GAN, VAE + GAN) are the fallback where DCGAN does not serve", "S1.7",
          "Chintala et al. 2016, tip 7; Larsen et al. 2016", (better("N", "vae_hybrid"), better("N", "kl_hybrid"))),
    Claim("loss.auxiliary", "An auxiliary term for G helps against a strong D", "S4.11", "Li et al. 2015, section 2",
          (better("N", "auxiliary_generator_loss"),)),
    # -- what training tells while it runs
    Claim("sign.d_zero", "D's loss near 0 announces failure", "S0 S1.10 S2", f"{CHINTALA} 10",
          (announces("DN", "d_near_zero"),)),
    Claim("sign.grad_100", "Gradient norms over 100 announce failure", "S1.10", f"{CHINTALA} 10",
          (announces("DNW", "large_gradient"),)),
    Claim("sign.d_variance", "A healthy run's D loss has low, falling variance; a bad one spikes", "S1.10",
          f"{CHINTALA} 10", (announces("DNW", "d_loss_variance"),)),
    Claim("sign.g_falling", "A steadily falling G loss means garbage that fools D", "S0 S1.10", f"{CHINTALA} 10",
          (announces("DNW", "g_loss_falling"),)),
    Claim("sign.loss_blind", "The losses alone do not tell quality; WGAN's critic loss does", "S0 S2",
          "Arjovsky et al. 2017, section 4.2 and figures 3 and 4",
          (tells_nothing("DN", "d_loss_follows"), tells_nothing("DN", "g_loss_follows"),
           Contrast("W", "*", "*", "higher", "critic_follows")), rule="all"),
    Claim("sign.half", "At the optimum D answers 0.5 everywhere", "S2",
          "Goodfellow et al. 2014, proposition 1 and theorem 1",
          tuple(Contrast("DN", "*", "*", "near", measure, margin=HALF_MARGIN)
                for measure in ("d_of_real", "d_of_fake")), rule="all", study="sweeps/toys.yaml"),
    # -- papers after 2016
    *MODERN_LOSSES,
    *MODERN_TRAINING,
)  # fmt: skip


@cache
def registry() -> dict[str, Claim]:
    """The claims in the catalogue's order. Raises `InputError` where it names what does not exist."""
    return check(CLAIMS)


def find_claim(name: str) -> Claim:
    """The claim of that id. Raises `InputError` with close ids."""
    claims = registry()
    if name not in claims:
        raise unknown("claim", name, claims)
    return claims[name]


def check(claims: Sequence[Claim]) -> dict[str, Claim]:
    """The claims by id. Raises `InputError` for what does not exist (arms, measures, models) and for an id given
    twice."""
    found: dict[str, Claim] = {}
    for claim in claims:
        if claim.id in found:
            raise InputError(f"claim {claim.id!r} stands twice in the registry")
        if not all((claim.statement, claim.source, claim.paper, claim.contrasts)):
            raise InputError(f"claim {claim.id!r}: needs a statement, a source, a paper and a contrast")
        if claim.rule not in RULES:
            raise unknown("rule", claim.rule, RULES, f"claim {claim.id}")
        for contrast in claim.contrasts:
            _check_contrast(contrast, f"claim {claim.id}")
        found[claim.id] = claim
    return found


def _check_contrast(contrast: Contrast, where: str) -> None:
    if not contrast.models:
        raise InputError(f"{where}: {contrast.label}: needs a model")
    for letters, arm, measure in contrast.sides:
        if measure not in MEASURES:
            raise unknown("measure", measure, MEASURES, where)
        for letter in letters:
            if letter not in MODEL_OF:
                raise InputError(f"{where}: model letter {letter!r}: choose from {', '.join(MODEL_OF)}")
            if arm not in (BASE, "*"):
                _check_arm(arm, MODEL_OF[letter], where)
    if contrast.is_margin and (contrast.measure != "fid" or contrast.margin != MARGIN):
        raise InputError(f"{where}: {contrast.label}: only FID has a margin, a ratio of {MARGIN:g} as in all verdicts")
    if contrast.against and contrast.measure == "fid":
        raise InputError(f"{where}: {contrast.label}: FIDs are compared between arms of one model")
    if contrast.expects == "near" and not contrast.margin > 0:
        raise InputError(f"{where}: {contrast.label}: needs a margin over 0")


def _check_arm(arm: str, model: str, where: str) -> None:
    """That the arm is a registered trick and means something on the model. Imports no torch."""
    # numbers that no arm sets: which of them a study's base has already is the study's affair
    base = Recipe(model=model, batch_size=48, lr=0.003)
    try:
        reason = not_applicable(complete(replace(base, tricks=(TrickSpec.parse(arm),))))
    except InputError as error:
        raise InputError(f"{where}: arm {arm!r}: {error}") from None
    if reason:
        raise InputError(f"{where}: arm {arm!r} means nothing on {model}: {reason}")
