"""Claims about D's targets and about what the players are trained to do."""

from __future__ import annotations

from gan_ablate.claims.claim import Claim, Contrast, as_good, better

SALIMANS = "Salimans et al. 2016, section"
GULRAJANI = "Gulrajani et al. 2017, section 4"
WGAN = "Arjovsky et al. 2017, section 4; Gulrajani et al. 2017"


def wgan(against: str, measure: str) -> Contrast:
    """WGAN-GP has the better figure."""
    return better("W", "base", "base", measure, against=against)


CLAIMS = (
    Claim(
        "label.one_sided", "One-sided smoothing (0.9) helps", "S0 S2 S4.11", f"{SALIMANS} 3.4",
        (better("DN", "label_smoothing:real=0.9"),),
    ),
    Claim(
        "label.two_sided", "Smoothing both sides is worse than one", "S2", f"{SALIMANS} 3.4",
        (better("DN", "label_smoothing", "label_smoothing_two_sided"),),
    ),
    Claim(
        "label.soft", "Random soft labels help", "S0 S1.6", "Chintala et al. 2016, tip 6",
        (better("DN", "soft_labels"),),
    ),
    Claim(
        "label.flip", "Now and then flipping D's labels helps", "S0 S1.6", "Chintala et al. 2016, tip 6",
        (better("DN", "label_flipping"),),
    ),
    Claim(
        "label.noise_beats_smoothing",
        "Instance noise is the better cure than label smoothing, which biases the best D", "S2",
        "Soenderby et al. 2017, section 2.2; Arjovsky & Bottou 2017, section 3",
        (better("DN", "instance_noise", "label_smoothing"),),
    ),
    Claim(
        "loss.ns", "The non-saturating loss gives G larger gradients early and trains better", "S1.2 S2 S4",
        "Goodfellow et al. 2014, section 3",
        (better("DN", "base", "saturating", "early_g_gradient"), better("DN", "base", "saturating")),
        rule="all",
    ),
    Claim(
        "loss.flip_equals_ns", "Training G on flipped labels is the non-saturating loss", "S1.2",
        "Chintala et al. 2016, tip 2",
        (Contrast("DN", "flipped_generator_labels", "base", "equal"),),
        proof="tests/test_tricks_losses.py::test_flipped_labels_give_the_non_saturating_gradient_exactly",
    ),
    Claim(
        "loss.negative_control", "G trained against zeros, as one listing prints it, fails", "S3",
        "the opposite of Goodfellow et al. 2014, section 3",
        (Contrast("D", "inverted_generator_loss", "base", "always", "failure_rate"),),
    ),
    Claim(
        "loss.wgan_stable", "WGAN-GP is more stable than the standard GAN", "S2 S4.8", WGAN,
        tuple(wgan("ND", measure) for measure in ("failure_rate", "volatility", "seed_spread")),
    ),
    Claim(
        "loss.wgan_modes", "WGAN-GP greatly reduces mode collapse", "S4.8 S4.11", WGAN,
        (wgan("N", "modes"),),
    ),
    Claim(
        "loss.wgan_gradient", "WGAN-GP solves vanishing gradients", "S4.8", "Arjovsky & Bottou 2017, figure 2",
        (wgan("N", "optimum_g_gradient"),),
    ),
    Claim(
        "loss.wgan_robust", "WGAN-GP is less sensitive to hyperparameters", "S4.8", GULRAJANI,
        (wgan("ND", "design_spread"),), study="sweeps/robustness.yaml",
    ),
    Claim(
        "loss.wgan_slow", "WGAN-GP trains more slowly (5 critic steps)", "S4.8", GULRAJANI,
        tuple(
            Contrast("W", "base", "base", "higher", measure, against="ND")
            for measure in ("seconds_to_fid", "seconds_per_step")
        ),
        rule="all",
    ),
    Claim(
        "loss.gp_clip", "Gradient penalty beats weight clipping", "S2 S4", "Gulrajani et al. 2017, section 3",
        (better("W", "base", "wgan_clip"),),
    ),
    Claim(
        "loss.feature_matching", "Feature matching stabilises and fights collapse", "S0 S2 S4.11", f"{SALIMANS} 3.1",
        (better("DN", "feature_matching"), better("DN", "feature_matching", measure="modes")),
    ),
    Claim(
        "loss.f_gan", "Other divergences train as well", "S2", "Nowozin et al. 2016, table 6",
        tuple(
            as_good("N", f"f_gan:divergence={name}") for name in ("kl", "reverse_kl", "pearson", "squared_hellinger")
        ),
        rule="all",
    ),
    Claim(
        "loss.hybrid", "Hybrids (KL + GAN, VAE + GAN) are the fallback where DCGAN does not serve", "S1.7",
        "Chintala et al. 2016, tip 7; Larsen et al. 2016",
        (better("N", "vae_hybrid"), better("N", "kl_hybrid")),
    ),
    Claim(
        "loss.auxiliary", "An auxiliary term for G helps against a strong D", "S4.11", "Li et al. 2015, section 2",
        (better("N", "auxiliary_generator_loss"),),
    ),
)  # fmt: skip
