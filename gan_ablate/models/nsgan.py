"""NS-GAN (Goodfellow et al. 2014 with the non-saturating loss)."""

from gan_ablate.models.base import GANModule


class NSGAN(GANModule):
    """The plain game without DCGAN's guidelines: see `presets.nsgan`."""

    model = "nsgan"
