"""WGAN-GP (Gulrajani et al. 2017)."""

from gan_ablate.models.base import GANModule


class WGANGP(GANModule):
    """Wasserstein loss, gradient penalty, five critic steps: see `presets.wgan_gp`."""

    model = "wgan_gp"
