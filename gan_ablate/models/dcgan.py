"""DCGAN (Radford, Metz & Chintala 2015)."""

from gan_ablate.models.base import GANModule


class DCGAN(GANModule):
    """Strided convolutions, batch norm, N(0, 0.02) weights, Adam(2e-4, 0.5): see `presets.dcgan`."""

    model = "dcgan"
