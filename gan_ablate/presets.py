"""The three models as blueprints. Each takes its numbers from a recipe and its guidelines from its paper."""

from __future__ import annotations

from dataclasses import replace

from gan_ablate.blueprint import STEP_HOOKS, Blueprint, Factory
from gan_ablate.recipe import Recipe

LAYERS = "gan_ablate.nets.layers"
BATCH_NORM = Factory(f"{LAYERS}:batch_norm")
LEAKY_RELU = Factory("torch.nn:LeakyReLU", {"negative_slope": 0.2})
RELU = Factory("torch.nn:ReLU")
DCGAN_INIT = Factory(f"{LAYERS}:dcgan_init")
DEFAULT_INIT = Factory(f"{LAYERS}:default_init")


def _adam(recipe: Recipe) -> Factory:
    return Factory("torch.optim:Adam", {"lr": recipe.lr, "betas": (recipe.beta1, recipe.beta2)})


def _plain(recipe: Recipe) -> Blueprint:
    """What the three share: networks of one size, Adam, no normalisation, the framework's initialisation."""
    net = f"gan_ablate.nets.{recipe.architecture}"
    assert recipe.batch_size is not None
    return Blueprint(
        model=recipe.model,
        size=recipe.size,
        channels=recipe.channels,
        latent_dim=recipe.latent_dim,
        batch_size=recipe.batch_size,
        g_width=recipe.width,
        d_width=recipe.width,
        generator=Factory(f"{net}:Generator"),
        discriminator=Factory(f"{net}:Discriminator"),
        objective=Factory("gan_ablate.losses:NonSaturating"),
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
        d_head=Factory(f"{LAYERS}:linear_head"),
    )


def dcgan(recipe: Recipe) -> Blueprint:
    """Radford et al. 2015, section 3: batch norm except at G's output and D's input, N(0, 0.02) weights."""
    return replace(_plain(recipe), g_norm=BATCH_NORM, d_norm=BATCH_NORM, init=DCGAN_INIT)


def nsgan(recipe: Recipe) -> Blueprint:
    """Goodfellow et al. 2014 with the non-saturating loss, without DCGAN's guidelines."""
    return _plain(recipe)


def wgan_gp(recipe: Recipe) -> Blueprint:
    """Gulrajani et al. 2017, algorithm 1: no batch norm in the critic, gradient penalty 10, five critic steps."""
    return replace(
        _plain(recipe),
        g_norm=BATCH_NORM,
        objective=Factory("gan_ablate.losses:Wasserstein"),
        penalty=Factory("gan_ablate.losses:gradient_penalty", {"weight": 10.0, "target": 1.0}),
        n_critic=5,
        hooks=frozenset(STEP_HOOKS) - {"targets"},  # a critic has no targets
    )


PRESETS = {"dcgan": dcgan, "nsgan": nsgan, "wgan_gp": wgan_gp}


def preset(recipe: Recipe) -> Blueprint:
    """The blueprint of a recipe's model before any trick."""
    full = recipe.validate()
    return PRESETS[full.model](full)
