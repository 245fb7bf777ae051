"""Claims about optimisers, schedules, batches, noise, latents, labels as input and sampling."""

from __future__ import annotations

from gan_ablate.claims.claim import Claim, Contrast, as_good, better

CHINTALA = "Chintala et al. 2016, tip"

CLAIMS = (
    Claim(
        "opt.lr", "Adam at 0.001 is too fast; 0.0002 is better", "S0.5", "Radford et al. 2015, section 4",
        (better("D", "adam_lr:lr=0.0002", "adam_lr:lr=0.001"),),
    ),
    Claim(
        "opt.beta1", "beta1 0.9 makes training oscillate; 0.5 is stable", "S0.5 S4.8", "Radford et al. 2015, section 4",
        (better("D", "base", "adam_beta1:beta1=0.9"), better("D", "base", "adam_beta1:beta1=0.9", "volatility")),
    ),
    Claim(
        "opt.beta_wgan", "WGAN-GP wants a low beta1", "S4.8", "Gulrajani et al. 2017, algorithm 1",
        (better("W", "base", "adam_beta1:beta1=0.9"),),
    ),
    Claim(
        "opt.batch", "Batch 128 is a good size", "S0.5", "Radford et al. 2015, section 4",
        tuple(
            as_good("D", "batch_size:size=128,equal=images", f"batch_size:size={size},equal=images")
            for size in (16, 64, 512)
        ),
        rule="all",
    ),
    Claim(
        "opt.sgd_d", "SGD for D is an acceptable choice", "S1.9", f"{CHINTALA} 9",
        (as_good("D", "sgd_discriminator"),),
    ),
    Claim(
        "opt.slow_d", "When D is too strong, a lower learning rate for D helps", "S4.11",
        "Heusel et al. 2017, section 1 (two time scales, the other way)",
        (better("DN", "ttur:factor=0.25"),),
    ),
    Claim(
        "opt.few_d", "Updating D less often helps when it is too strong", "S4.11",
        "Goodfellow et al. 2014, algorithm 1 (k the other way)",
        (better("DN", "n_generator:n=2,equal=steps"),),
    ),
    Claim(
        "opt.clip", "Gradient clipping steadies training", "S4.11", "Pascanu et al. 2013, algorithm 1",
        (better("N", "gradient_clipping", measure="failure_rate"),),
    ),
    Claim(
        "opt.weight_norm", "Weight normalisation prevents exploding gradients", "S4.11",
        "Salimans & Kingma 2016; Xiang & Li 2017",
        (better("N", "weight_norm", measure="largest_gradient"),),
    ),
    Claim(
        "opt.history", "Historical averaging helps convergence", "S0 S2", "Salimans et al. 2016, section 3.3",
        (better("DN", "historical_averaging"),),
    ),
    Claim(
        "noise.instance", "Decaying noise on D's inputs stabilises", "S0 S1.13 S2",
        "Arjovsky & Bottou 2017, section 3; Soenderby et al. 2017, section 2.2",
        (better("DN", "instance_noise"),),
    ),
    Claim(
        "noise.decay", "It must decay", "S1.13 S2", "Arjovsky & Bottou 2017, section 3",
        (better("DN", "instance_noise", "instance_noise_constant"),),
    ),
    Claim(
        "noise.g_layers", "Noise in every layer of G helps", "S1.13", "Zhao et al. 2017 (EBGAN)",
        (better("D", "generator_noise"),),
    ),
    Claim(
        "noise.dropout_g", "50 % dropout in G at training and test helps", "S0 S1.17", "Isola et al. 2017, section 3.2",
        (
            better("D", "generator_dropout:p=0.5"),
            better("D", "generator_dropout:p=0.5", "generator_dropout_train_only:p=0.5"),
        ),
    ),
    Claim(
        "noise.dropout_d", "Dropout in D helps", "S3", "Srivastava et al. 2014",
        (better("DN", "discriminator_dropout"),),
    ),
    Claim(
        "latent.gaussian", "Gaussian z beats uniform z", "S0 S1.3", f"{CHINTALA} 3",
        (better("D", "base", "uniform_latents"),),
    ),
    Claim(
        "latent.slerp", "Interpolate along great circles, not lines", "S1.3", "White 2016, section 2.1",
        (
            better("DNW", "interpolation:path=slerp", "interpolation:path=lerp", same_weights=True),
            better("DNW", "base", "base", "fid_slerp", control_measure="fid_lerp", same_weights=True, fallback=True),
        ),
    ),
    Claim(
        "batch.separate", "All-real and all-fake batches for batch norm", "S0 S1.4", f"{CHINTALA} 4",
        (better("D", "base", "joint_batches"),),
    ),
    Claim(
        "batch.minibatch_disc", "Minibatch discrimination prevents mode collapse", "S0 S2 S4.11",
        "Salimans et al. 2016, section 3.2",
        (better("DN", "minibatch_discrimination", measure="modes"),),
    ),
    Claim(
        "batch.replay", "Experience replay stabilises", "S1.8", f"{CHINTALA} 8; Shrivastava et al. 2017, section 2.3",
        (better("DN", "experience_replay"),),
    ),
    Claim(
        "schedule.more_d", "More D steps help, sometimes", "S1.14 S2", "Goodfellow et al. 2014, algorithm 1",
        tuple(better("DN", f"n_critic:n={n},equal={equal}") for equal in ("steps", "compute") for n in (2, 5)),
        rule="some",
    ),
    Claim(
        "schedule.critic5", "WGAN-GP wants about five critic steps", "S4.8", "Gulrajani et al. 2017, algorithm 1",
        tuple(better("W", "base", f"n_critic:n={n},equal={equal}") for equal in ("steps", "compute") for n in (1, 2)),
    ),
    Claim(
        "schedule.balancing", "Balancing by loss thresholds does not work", "S0 S1.11", f"{CHINTALA} 11",
        (better("DN", "base", "loss_balancing"),),
    ),
    Claim(
        "label_use.any", "Using class labels improves quality", "S0 S1.12",
        "Mirza & Osindero 2014; Odena et al. 2017",
        (better("D", "conditional:dims=4"), better("D", "auxiliary_classifier")),
    ),
    Claim(
        "label_use.embedding", "Embed labels in few dimensions and up-sample", "S1.16", f"{CHINTALA} 16",
        (better("D", "conditional:dims=4", "conditional:dims=64"),),
    ),
    Claim(
        "label_use.cbn", "Conditional batch norm lets G use labels", "S4.9", "Dumoulin et al. 2017, section 2.2",
        (better("D", "conditional_batch_norm:dims=4", "conditional:dims=4"),),
    ),
    Claim(
        "sample.eval_mode", "Sample in evaluation mode", "S4.9", "Ioffe & Szegedy 2015, section 3.1",
        (
            better("DW", "base", "batch_statistics_at_sampling", same_weights=True),
            Contrast(
                "D", "base", "base", "lower", "fid_eval_mode", control_measure="fid_train_mode", same_weights=True,
                fallback=True,
            ),
        ),
    ),
)  # fmt: skip
