"""The three models as blueprints. Each takes its numbers from a recipe and its guidelines from its paper."""

from __future__ import annotations

from dataclasses import replace

from gan_ablate.blueprint import Blueprint, Factory
from gan_ablate.recipe import Recipe

LAYERS, NORMS, INITS = "gan_ablate.nets.layers", "gan_ablate.nets.norms", "gan_ablate.nets.weights"
HEADS, LOSSES, PENALTIES = "gan_ablate.nets.heads", "gan_ablate.losses", "gan_ablate.penalties"
BATCH_NORM = Factory(f"{NORMS}:batch_norm")
LEAKY_RELU = Factory("torch.nn:LeakyReLU", {"negative_slope": 0.2})
RELU = Factory("torch.nn:ReLU")
DCGAN_INIT = Factory(f"{INITS}:dcgan_init")
DEFAULT_INIT = Factory(f"{INITS}:default_init")
GRADIENT_PENALTY = Factory(f"{PENALTIES}:gradient_penalty", {"weight": 10.0, "target": 1.0, "points": "line"})


def _adam(recipe: Recipe) -> Factory:
    return Factory(
        "torch.optim:Adam",
        {"lr": float(recipe.lr or 0), "betas": tuple(float(b or 0) for b in (recipe.beta1, recipe.beta2))},
    )


def _plain(recipe: Recipe) -> Blueprint:
    """What the three share: networks of one size, Adam, no normalisation, the framework's initialisation."""
    assert recipe.batch_size is not None
    bp = Blueprint(
        model=recipe.model,
        size=recipe.size,
        channels=recipe.channels,
        latent_dim=recipe.latent_dim,
        classes=recipe.classes,
        batch_size=recipe.batch_size,
        steps=recipe.steps,
        g_width=recipe.width,
        d_width=recipe.width,
        generator=Factory("gan_ablate.nets.conv:Generator"),
        discriminator=Factory("gan_ablate.nets.conv:Discriminator"),
        objective=Factory(f"{LOSSES}:NonSaturating"),
        g_optimizer=_adam(recipe),
        d_optimizer=_adam(recipe),
        init=DEFAULT_INIT,
        g_norm=None,
        d_norm=None,
        g_activation=RELU,
        d_activation=LEAKY_RELU,
        g_up=Factory(f"{LAYERS}:transposed_convolution", {"kernel": 4}),
        d_down=Factory(f"{LAYERS}:strided_convolution", {"kernel": 4}),
        g_output=Factory("torch.nn:Tanh"),
        d_head=Factory(f"{HEADS}:linear_head"),
    )
    return with_networks(bp, str(recipe.architecture))


def with_networks(bp: Blueprint, architecture: str) -> Blueprint:
    """The blueprint with networks of another architecture: conv, mlp or resnet."""
    net = f"gan_ablate.nets.{architecture}"
    bp = replace(bp, generator=Factory(f"{net}:Generator"), discriminator=Factory(f"{net}:Discriminator"))
    if architecture != "resnet":
        return bp
    # Miyato et al. 2018, appendix B.4: nearest-neighbour up-sampling in G, average pooling in D, 3x3 kernels
    return replace(
        bp,
        g_up=Factory(f"{LAYERS}:resize_convolution", {"kernel": 3}),
        d_down=Factory(f"{LAYERS}:pooled_convolution", {"kernel": 3, "pool": "average"}),
    )


def dcgan(recipe: Recipe) -> Blueprint:
    """Radford et al. 2015, section 3: batch norm except at G's output and D's input, N(0, 0.02) weights.

    Two departures from the paper: 4x4 kernels, which stride 2 divides, in place of 5x5 (`kernel_5` has those), and z of
    64 normal numbers in place of 100 uniform ones (`uniform_latents`; latent_dim in the recipe).
    """
    return replace(_plain(recipe), g_norm=BATCH_NORM, d_norm=BATCH_NORM, init=DCGAN_INIT)


def nsgan(recipe: Recipe) -> Blueprint:
    """Goodfellow et al. 2014 with the non-saturating loss, without DCGAN's guidelines."""
    return _plain(recipe)


def wgan_gp(recipe: Recipe) -> Blueprint:
    """Gulrajani et al. 2017, algorithm 1: no batch norm in the critic, gradient penalty 10, five critic steps."""
    return replace(
        _plain(recipe),
        g_norm=BATCH_NORM,
        objective=Factory(f"{LOSSES}:Wasserstein"),
        penalties=(GRADIENT_PENALTY,),
        n_critic=5,
    )


PRESETS = {"dcgan": dcgan, "nsgan": nsgan, "wgan_gp": wgan_gp}


def preset(recipe: Recipe) -> Blueprint:
    """The blueprint of a recipe's model before any trick."""
    full = recipe.validate()
    return PRESETS[full.model](full)
