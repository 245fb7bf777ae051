"""Claims of the papers after 2016, as data: optimisers, sampling and networks."""

from __future__ import annotations

from gan_ablate.claims.claim import Claim
from gan_ablate.claims.measures import better

MODERN = "sweeps/modern_tricks.yaml"

MODERN_TRAINING = (
    Claim("opt.extragradient", "Extrapolating both players improves training", "P",
          "Gidel et al. 2019 (a variational inequality perspective), section 7",
          (better("DN", "extragradient"), better("DN", "extragradient", measure="volatility")), study=MODERN),
    Claim("opt.optimistic", "Optimistic Adam trains better than Adam", "P", "Daskalakis et al. 2018, section 5",
          (better("DNW", "optimistic_adam"),), study=MODERN),
    Claim("opt.negative_momentum", "A negative momentum of D improves training", "P",
          "Gidel et al. 2019 (negative momentum), section 6", (better("DN", "negative_momentum"),), study=MODERN),
    Claim("opt.alternating", "Alternating updates are more stable than simultaneous ones", "P",
          "Gidel et al. 2019 (negative momentum), section 5",
          (better("DN", "base", "simultaneous_updates", "volatility"),
           better("DN", "base", "simultaneous_updates", "failure_rate")), study=MODERN),
    Claim("opt.lookahead", "Lookahead of both players stabilises training and improves samples", "P",
          "Chavdarova et al. 2021, section 5",
          (better("DNW", "lookahead"), better("DNW", "lookahead", measure="volatility")), study=MODERN),
    Claim("opt.consensus", "Consensus optimisation trains where simultaneous steps fail", "P",
          "Mescheder et al. 2017 (The numerics of GANs), section 6",
          tuple(better(models, "consensus_optimisation", control, measure)
                for models, control in (("D", "simultaneous_updates:norm=none"), ("N", "simultaneous_updates"))
                for measure in ("fid", "failure_rate")), study=MODERN),
    Claim("opt.unrolled", "Unrolling D reduces mode collapse", "P", "Metz et al. 2017, section 3",
          (better("DN", "unrolled", measure="modes"),), study=MODERN),
    Claim("sample.truncation", "Truncating z costs variety", "P", "Brock et al. 2019, section 3.1",
          (better("DNW", "base", "truncation:threshold=0.5", "modes", same_weights=True),
           better("DNW", "base", "truncation:threshold=0.5", same_weights=True)), study=MODERN),
    Claim("sample.rejection", "Keeping the images that D takes for real improves samples", "P",
          "Azadi et al. 2019, section 4", (better("DN", "rejection_sampling", same_weights=True),), study=MODERN),
    Claim("latent.optimisation", "Moving z along D's gradient in training improves samples", "P",
          "Wu et al. 2019 (LOGAN), section 5",
          (better("DNW", "latent_optimisation:damping=0.1,penalty=0.1"),), study=MODERN),
    Claim("arch.attention", "Self-attention improves samples", "P", "Zhang et al. 2019 (SAGAN), section 4.2",
          (better("DNW", "self_attention"),), study=MODERN),
    # beside a gradient penalty, as there; without one or minibatch stddev it is no setting of its papers
    Claim("arch.style", "A generator by style beats a plain one", "P", "Karras et al. 2019, table 1 (CelebA-HQ)",
          (better("W", "style_modulation"),), study=MODERN),
    Claim("arch.growing", "Growing the networks makes training more stable", "P", "Karras et al. 2018, section 2",
          (better("DNW", "progressive_growing", measure="failure_rate"),
           better("DNW", "progressive_growing", measure="volatility")), study=MODERN),
)  # fmt: skip
