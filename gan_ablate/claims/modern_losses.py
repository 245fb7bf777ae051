"""Claims of the papers of 2017 to 2021 about losses, penalties, batches and augmentation."""

from __future__ import annotations

from functools import partial

from gan_ablate.claims.claim import Claim, as_good
from gan_ablate.claims.measures import better

_claim = partial(Claim, source="P", study="sweeps/modern_tricks.yaml")

MODERN_LOSSES = (
    _claim("lazy.r1", "R1 at every 16th D step does as well as R1 at each",
           paper="Karras et al. 2020 (StyleGAN2)",
           contrasts=(as_good("DNW", "lazy_r1:every=16", "r1"),)),
    _claim("penalty.zero_centred", "A gradient penalty between real and fake is better centred at 0 than at 1",
           paper="Thanh-Tung et al. 2019",
           contrasts=(better("DN", "gradient_penalty:target=0", "gradient_penalty:target=1"),)),
    _claim("penalty.gradient_norm", "Gradient normalisation beats spectral norm and the gradient penalty",
           paper="Wu et al. 2021",
           contrasts=(better("DN", "gradient_normalisation", "spectral_norm"), better("W", "gradient_normalisation"))),
    _claim("consistency.balanced", "Consistency on real and generated images beats that on real ones alone",
           paper="Zhao et al. 2021 (ICR)",
           contrasts=(better("DNW", "balanced_consistency", "consistency"),)),
    _claim("consistency.latent", "Consistency under small moves of z helps", paper="Zhao et al. 2021 (ICR)",
           contrasts=(better("DNW", "latent_consistency"),)),
    _claim("loss.relativistic_average", "An answer held against the other side's mean trains better",
           paper="Jolicoeur-Martineau 2019",
           contrasts=(better("DN", "relativistic_average:loss=cross_entropy"),
                      better("DN", "relativistic_average:loss=least_squares", "lsgan"),
                      better("DN", "relativistic_average:loss=hinge_loss", "hinge"))),
    _claim("loss.boundary", "A G that seeks D's boundary trains more steadily", paper="Hjelm et al. 2018 (BGAN)",
           contrasts=(better("DN", "boundary_seeking", measure="volatility"),)),
    _claim("loss.repulsive", "MMD with the repulsive loss beats cross entropy and hinge under spectral norm",
           paper="Wang et al. 2019",
           contrasts=(better("DN", "repulsive_mmd", "spectral_norm"),)),
    _claim("batch.top_k", "G learns better from the k most real of its batch", paper="Sinha et al. 2020",
           contrasts=(better("DNW", "top_k:images=200"),)),
    _claim("batch.packing", "A D that judges several images at once keeps more modes",
           paper="Lin et al. 2018 (PacGAN)",
           contrasts=tuple(better("DN", f"packing:m={m}", measure="modes") for m in (2, 4))),
    _claim("label_use.contrast", "Data-to-data cross entropy beats an auxiliary classifier and ContraGAN",
           paper="Kang et al. 2021 (ReACGAN)",
           contrasts=(better("DN", "reacgan", "auxiliary_classifier"), better("DN", "reacgan", "contragan"))),
    _claim("arch.self_supervision", "Telling rotations keeps D's features and helps G without labels",
           paper="Chen et al. 2019 (SS-GAN)", contrasts=(better("DNW", "self_supervision"),)),
    _claim("arch.infomax", "D's features of places that tell their own image help, under spectral norm and without",
           paper="Lee et al. 2021 (InfoMax-GAN)",
           contrasts=(better("DNW", "infomax:dims=128"),
                      better("DNW", "infomax:dims=128,d_norm=spectral", "spectral_norm"))),
    _claim("arch.unet", "Answers per pixel, consistent in collages, help", paper="Schoenfeld et al. 2020",
           contrasts=(better("DN", "unet_discriminator"),)),
    _claim("arch.quantised", "A D that reads quantised features helps", paper="Zhao et al. 2020 (FQ-GAN)",
           contrasts=(better("DNW", "feature_quantisation"),)),
)  # fmt: skip
