"""The three models as LightningModules."""

from gan_ablate.models.base import GANModule
from gan_ablate.models.dcgan import DCGAN
from gan_ablate.models.nsgan import NSGAN
from gan_ablate.models.wgan_gp import WGANGP

BY_NAME: dict[str, type[GANModule]] = {"dcgan": DCGAN, "nsgan": NSGAN, "wgan_gp": WGANGP}

__all__ = ["BY_NAME", "DCGAN", "NSGAN", "WGANGP", "GANModule"]
