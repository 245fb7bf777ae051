"""The models as LightningModules: three with classes of their own, the others by name, and one's own."""

from gan_ablate import presets
from gan_ablate.blueprint import Blueprint
from gan_ablate.models.base import GANModule
from gan_ablate.recipe import Recipe


class DCGAN(GANModule):
    """Strided convolutions, batch norm, N(0, 0.02) weights, Adam(2e-4, 0.5): see `presets.dcgan` (Radford et al.)."""

    model = "dcgan"


class NSGAN(GANModule):
    """The plain game without DCGAN's guidelines: see `presets.nsgan` (Goodfellow et al. 2014, non-saturating loss)."""

    model = "nsgan"

    @staticmethod
    def preset(recipe: Recipe) -> Blueprint:
        return presets.nsgan(recipe)


class WGANGP(GANModule):
    """Wasserstein loss, gradient penalty, five critic steps: see `presets.wgan_gp` (Gulrajani et al. 2017)."""

    model = "wgan_gp"

    @staticmethod
    def preset(recipe: Recipe) -> Blueprint:
        return presets.wgan_gp(recipe)


class R3GAN(GANModule):
    """Relativistic pairing, R1 and R2, ResNeXt blocks without a norm: see `presets.r3gan` (Huang et al. 2024)."""

    model = "r3gan"

    @staticmethod
    def preset(recipe: Recipe) -> Blueprint:
        return presets.r3gan(recipe)


class SNGAN(GANModule):
    """Spectral norm in D, hinge loss, residual networks: see `presets.sngan` (Miyato et al. 2018)."""

    model = "sngan"

    @staticmethod
    def preset(recipe: Recipe) -> Blueprint:
        return presets.sngan(recipe)


class GAN3D(GANModule):
    """Volumetric convolutions, and a D that is held back: see `presets.gan3d` (Wu et al. 2016)."""

    model = "gan3d"

    @staticmethod
    def preset(recipe: Recipe) -> Blueprint:
        return presets.gan3d(recipe)


BY_NAME: dict[str, type[GANModule]] = {kind.model: kind for kind in (DCGAN, NSGAN, WGANGP, R3GAN, SNGAN, GAN3D)}

__all__ = ["BY_NAME", "DCGAN", "GAN3D", "NSGAN", "R3GAN", "SNGAN", "WGANGP", "GANModule", "module_class"]


def module_class(model: str) -> type[GANModule]:
    """The class that plays a recipe's model. Raises `InputError` as `presets.own_model` does."""
    if model in presets.PRESETS:
        return BY_NAME.get(model, GANModule)
    found = presets.own_model(model)
    return found if isinstance(found, type) else GANModule
