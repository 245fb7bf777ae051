"""Claims about what training tells while it runs. An arm counts once, by the mean of its runs."""

from __future__ import annotations

from gan_ablate.claims.claim import Claim, Contrast

TIP_10 = "Chintala et al. 2016, tip 10"
RANK_MARGIN = 0.3  # a rank correlation under it is Cohen's (1988) "small": the loss tells next to nothing
HALF_MARGIN = 0.1  # D(x) from 0.4 to 0.6: beyond it D is right on over 60 % of its bets


def announces(models: str, measure: str) -> Contrast:
    """The sign in the first half of a run -> the run fails or ends bad: an area under the ROC curve over 0.5."""
    return Contrast(models, "*", "*", "higher", measure)


def tells_nothing(models: str, measure: str) -> Contrast:
    return Contrast(models, "*", "*", "near", measure, margin=RANK_MARGIN)


CLAIMS = (
    Claim(
        "sign.d_zero", "D's loss near 0 announces failure", "S0 S1.10 S2", TIP_10,
        (announces("DN", "d_near_zero"),),
    ),
    Claim(
        "sign.grad_100", "Gradient norms over 100 announce failure", "S1.10", TIP_10,
        (announces("DNW", "large_gradient"),),
    ),
    Claim(
        "sign.d_variance", "A healthy run's D loss has low, falling variance; a bad one spikes", "S1.10", TIP_10,
        (announces("DNW", "d_loss_variance"),),
    ),
    Claim(
        "sign.g_falling", "A steadily falling G loss means garbage that fools D", "S0 S1.10", TIP_10,
        (announces("DNW", "g_loss_falling"),),
    ),
    Claim(
        "sign.loss_blind", "The losses alone do not tell quality; WGAN's critic loss does", "S0 S2",
        "Arjovsky et al. 2017, section 4.2 and figures 3 and 4",
        (
            tells_nothing("DN", "d_loss_follows"), tells_nothing("DN", "g_loss_follows"),
            Contrast("W", "*", "*", "higher", "critic_follows"),
        ),
        rule="all",
    ),
    Claim(
        "sign.half", "At the optimum D answers 0.5 everywhere", "S2",
        "Goodfellow et al. 2014, proposition 1 and theorem 1",
        tuple(Contrast("DN", "*", "*", "near", measure, margin=HALF_MARGIN) for measure in ("d_of_real", "d_of_fake")),
        rule="all", study="sweeps/toys.yaml",
    ),
)  # fmt: skip
