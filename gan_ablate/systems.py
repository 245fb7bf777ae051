"""Systems of the survey that play by rules of their own, each as an edit of a plain game's blueprint.

What is no part of the paper's idea is the base's (networks, layers, optimiser), so that tricks find what they know.
"""

from __future__ import annotations

from gan_ablate.blueprint import Blueprint, Factory, noise_pixels, replace
from gan_ablate.errors import InputError

RULES, HEADS, MEASURES = "gan_ablate.rules", "gan_ablate.nets.heads", "gan_ablate.evaluate.systems"
PYRAMID = "gan_ablate.nets.pyramid"


def _named(names: str) -> tuple[Factory, ...]:
    return tuple(Factory(f"{MEASURES}:{name}") for name in names.split())


def _encoder(base: Blueprint) -> Factory:
    network = getattr(base.generator, "target", "")
    return Factory(f"gan_ablate.nets.encoders:{'fully_connected' if 'nets.mlp:' in network else 'convolutional'}")


def bidirectional(base: Blueprint, *, units: int = 256) -> Blueprint:
    """D sees (x, E(x)) against (G(z), z); G and E are trained together (Donahue et al. 2017; Dumoulin et al. 2017).

    units: of D's layers that see the code, and both.
    """
    return replace(
        base,
        rules=Factory(f"{RULES}:Bidirectional"),
        sees="pairs",
        encoder=_encoder(base),
        d_joint=Factory(f"{HEADS}:JointFeatures", {"units": units}),
        measures=_named("reconstruction_error code_neighbours"),
        pictures=_named("reconstructions"),
    )


def informed(base: Blueprint, *, categories: int, continuous: int, weight: float = 1.0) -> Blueprint:
    """Part of z is a code that Q, on D's body, reads off the image (Chen et al. 2016, appendix C.1 and code).

    weight: of L_I in both players' losses. Raises `InputError` where z has no room for the codes.
    """
    codes = categories + continuous
    if base.latent_dim < codes:
        raise InputError(f"latent_dim={base.latent_dim}: {base.model} has codes of {codes} numbers: give at least that")
    term = Factory(f"{RULES}:information", {"weight": weight})
    return replace(
        base,
        rules=Factory(f"{RULES}:Coded", {"categories": categories, "continuous": continuous}),
        d_heads=(Factory(f"{HEADS}:q_head", {"out": codes, "units": 128}),),
        d_terms=(*base.d_terms, term),
        g_terms=(*base.g_terms, term),
        measures=_named("code_accuracy"),
        pictures=_named("varied_codes"),
    )


def autoencoding(base: Blueprint, *, weight: float) -> Blueprint:
    """E and G rebuild images; D has the codes look like draws from the prior (Makhzani et al. 2015, section 2).

    Both losses of E in one update, where the paper takes turns. weight: of the reconstruction, beside the other.
    """
    return replace(
        base,
        rules=Factory(f"{RULES}:Autoencoding"),
        sees="codes",
        encoder=_encoder(base),
        discriminator=Factory("gan_ablate.nets.mlp:of_codes"),
        d_norm=None,
        g_terms=(*base.g_terms, Factory(f"{RULES}:reconstruction", {"weight": weight})),
        measures=_named("reconstruction_error posterior_distance"),
        pictures=_named("reconstructions"),
    )


def pyramidal(base: Blueprint) -> Blueprint:
    """A conditional GAN per level of a Laplacian pyramid, and a plain one at its coarsest (Denton et al. 2015, 3.2).

    The levels are trained side by side, each on the real level below it. What the recipe calls z is the coarsest
    level's; each finer one has a plane of noise.
    """
    if base.size == 1:
        raise InputError(f"{base.model}: points in the plane have no levels: give images")
    return replace(
        base,
        rules=Factory(f"{RULES}:Pyramid"),
        sees="pyramids",
        latent_dim=base.latent_dim + noise_pixels(base.size),
        generator=Factory(f"{PYRAMID}:Generator"),
        discriminator=Factory(f"{PYRAMID}:Discriminator"),
        measures=_named("refinement"),
        pictures=_named("levels"),
    )
