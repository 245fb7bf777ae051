"""Models as blueprints, which take numbers from a recipe and guidelines from their papers, and one's own.

A model of one's own is a function from a recipe to a blueprint, or a subclass of `GANModule` whose `preset` is one, by
its import path: `mymodels.my_gan`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from types import FunctionType
from typing import Any

from gan_ablate import systems, trust
from gan_ablate.blueprint import Blueprint, Factory
from gan_ablate.errors import InputError
from gan_ablate.recipe import Recipe

LAYERS, NORMS, INITS = "gan_ablate.nets.layers", "gan_ablate.nets.norms", "gan_ablate.nets.weights"
HEADS, LOSSES, PENALTIES = "gan_ablate.nets.heads", "gan_ablate.losses", "gan_ablate.penalties"
BATCH_NORM = Factory(f"{NORMS}:batch_norm")
LEAKY_RELU = Factory("torch.nn:LeakyReLU", {"negative_slope": 0.2})
RELU = Factory("torch.nn:ReLU")
DCGAN_INIT = Factory(f"{INITS}:dcgan_init")
DEFAULT_INIT = Factory(f"{INITS}:default_init")
SPECTRAL_NORM = Factory(f"{INITS}:spectral_norm")
GAME_ADAM = "gan_ablate.adam:GameAdam"
GAMMA = 10.0  # of R1 and R2 in the r3gan preset (docs/modern.md has what it was chosen by)
BURN_IN = 0.2  # share of training over which R3GAN's schedules run
GRADIENT_PENALTY = Factory(f"{PENALTIES}:gradient_penalty", {"weight": 10.0, "target": 1.0, "points": "line"})


def _adam(recipe: Recipe) -> Factory:
    return Factory(
        "torch.optim:Adam",
        {"lr": float(recipe.lr or 0), "betas": tuple(float(b or 0) for b in (recipe.beta1, recipe.beta2))},
    )


def _plain(recipe: Recipe) -> Blueprint:
    """What the models share: networks of one size, Adam, no normalisation, the framework's initialisation."""
    assert recipe.batch_size is not None
    bp = Blueprint(
        model=recipe.model,
        size=recipe.size,
        dims=recipe.dims,
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
    """The blueprint with networks of another architecture: conv, mlp, resnet or resnext."""
    net = f"gan_ablate.nets.{architecture}"
    bp = replace(bp, generator=Factory(f"{net}:Generator"), discriminator=Factory(f"{net}:Discriminator"))
    if architecture == "resnext":
        return replace(bp, g_up=Factory(f"{LAYERS}:bilinear_up"), d_down=Factory(f"{LAYERS}:bilinear_down"))
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


def bigan(recipe: Recipe) -> Blueprint:
    """Donahue et al. 2017 on DCGAN's networks: an encoder beside G, and a D of pairs."""
    return systems.bidirectional(dcgan(recipe))


def infogan(recipe: Recipe) -> Blueprint:
    """Chen et al. 2016, appendix C.1, on DCGAN's networks: a category of ten and two continuous codes.

    As in the authors' code G learns five times as fast as D, at 1e-3 and 2e-4, D and Q leak by 0.01, and each network
    has a hidden dense layer, 16 units for each of width (their 1,024 for 64): without it categories are strokes that
    digits share, with it they are digits (docs/systems.md).
    """
    bp = systems.informed(dcgan(recipe), categories=10, continuous=2)
    g_optimizer = _adam(replace(recipe, lr=5 * float(recipe.lr or 0)))
    d_activation = LEAKY_RELU.but(negative_slope=0.01)
    return replace(bp, dense=16 * recipe.width, d_activation=d_activation, g_optimizer=g_optimizer)


def aae(recipe: Recipe) -> Blueprint:
    """Makhzani et al. 2015, section 2, with DCGAN's G for a decoder."""
    return systems.autoencoding(dcgan(recipe), weight=10.0)


def lapgan(recipe: Recipe) -> Blueprint:
    """Denton et al. 2015, section 3.2: no normalisation, as there; DCGAN's initial weights and optimiser."""
    return systems.pyramidal(replace(_plain(recipe), init=DCGAN_INIT))


def r3gan(recipe: Recipe) -> Blueprint:
    """Huang et al. 2024 and the authors' train.py: relativistic pairing, R1 and R2, ResNeXt blocks, no normalisation.

    Their burn-in, over the first fifth of training: the learning rate falls to a quarter, gamma to a tenth, and beta2
    rises from 0.9 to 0.99. The authors' gamma goes with the images, from 0.05 (CIFAR-10) over 1 (stacked MNIST) to 150
    (FFHQ at 256 px); the 10 here is for `digits`, and `relativistic:gamma=..` sets another. The authors sample from
    averaged weights: that is the trick `generator_ema`, here as for every model, since it leaves training as it is.
    """
    schedule = Factory("gan_ablate.optim:cosine", {"until": BURN_IN})
    bp = replace(
        _plain(recipe),
        objective=Factory(f"{LOSSES}:Relativistic"),
        penalties=zero_centred(gamma=GAMMA, final=0.1, until=BURN_IN),
        g_activation=LEAKY_RELU,
        g_output=Factory("torch.nn:Identity"),
        init=Factory(f"{INITS}:msr_init"),
        lr_schedule=schedule.but(final=0.25),
        beta2_schedule=schedule.but(final=0.1),
    )
    adam = replace(_adam(recipe), target=GAME_ADAM)
    return replace(bp, g_optimizer=adam, d_optimizer=adam)


def zero_centred(gamma: float, final: float, until: float) -> tuple[Factory, ...]:
    """R1 and R2 with one gamma: along a cosine it falls to `final` times itself at `until`, a share of training."""
    options = {"gamma": gamma, "final": final, "until": until}
    return tuple(Factory(f"{PENALTIES}:{name}", options) for name in ("r1", "r2"))


def sngan(recipe: Recipe) -> Blueprint:
    """Miyato et al. 2018 in its residual form (appendix B.4, and the authors' configuration for CIFAR-10).

    Spectral norm and no other in D, batch norm in G, hinge loss, five D steps, ReLU in both; the learning rate falls
    linearly to 0.
    """
    return replace(
        _plain(recipe),
        objective=Factory(f"{LOSSES}:Hinge"),
        g_norm=BATCH_NORM,
        d_activation=RELU,
        d_finish=(SPECTRAL_NORM,),
        n_critic=5,
        lr_schedule=Factory("gan_ablate.optim:linear_to_zero", {"start": 0.0}),
    )


def gan3d(recipe: Recipe) -> Blueprint:
    """Wu et al. 2016 (3D-GAN), section 3.2: volumetric convolutions, batch norm in both, occupancy by a sigmoid.

    Three departures, without which short runs learn nothing (docs/modern.md has the measurements): z is uniform on
    [-1, 1], not [0, 1]; D learns as fast as G, not 250 times as slowly; and it is held back where it is right on more
    than 95 % of its batch, not 80 %. On images, the same training with convolutions in the plane.
    """
    return replace(
        _plain(recipe),
        g_norm=BATCH_NORM,
        d_norm=BATCH_NORM,
        g_input=Factory(f"{LAYERS}:UniformLatents"),
        g_output=Factory(f"{LAYERS}:SigmoidImage"),
        d_input=Factory(f"{LAYERS}:UnitRange"),
        d_gate=Factory("gan_ablate.optim:accuracy_up_to", {"most": 0.95}),
    )


PRESETS: dict[str, Callable[[Recipe], Blueprint]] = {
    "dcgan": dcgan,
    "nsgan": nsgan,
    "wgan_gp": wgan_gp,
    "r3gan": r3gan,
    "sngan": sngan,
    "infogan": infogan,
    "bigan": bigan,
    "aae": aae,
    "lapgan": lapgan,
    "gan3d": gan3d,
}


def preset(recipe: Recipe) -> Blueprint:
    """The blueprint of a recipe's model before any trick. Raises `InputError`, also for a model that is none."""
    full = recipe.validate()
    if full.model in PRESETS:
        return PRESETS[full.model](full)
    found = own_model(full.model)
    made = (found.preset if isinstance(found, type) else found)(full)  # type: ignore[attr-defined]
    if not isinstance(made, Blueprint):
        raise InputError(f"model {full.model!r}: its preset returns {type(made).__name__}, not a Blueprint")
    return made


def own_model(name: str) -> Callable[[Recipe], Blueprint] | type:
    """What lies at a model's import path: a function, or a subclass of `GANModule`.

    Raises `InputError` for a module that may not or cannot be imported (`trust.load`), and for anything else there.
    """
    module, _, attribute = name.rpartition(".")
    found = trust.load(f"{module}:{attribute}", f"model {name!r}")
    if is_class_of(found, "gan_ablate.models.base", "GANModule"):
        return found
    # a stranger's file may name any function: only one that says so itself is called
    if not isinstance(found, FunctionType) or found.__annotations__.get("return") not in (Blueprint, "Blueprint"):
        wanted = "a function (recipe: Recipe) -> Blueprint, annotated so, nor a class of GANModule"
        raise InputError(f"model {name!r}: is neither {wanted}")
    return found


def is_class_of(found: object, module: str, name: str) -> bool:
    """Whether something is a class, or a subclass of one, without importing where that one lies (torch is heavy)."""
    return isinstance(found, type) and any((c.__module__, c.__qualname__) == (module, name) for c in found.__mro__)


def with_own_networks(bp: Blueprint, generator: Any = None, discriminator: Any = None) -> Blueprint:
    """The blueprint with networks of one's own in place of its own: classes of `torch.nn.Module`, or import paths.

    Each is made with the blueprint (`bp.latent_dim`, `bp.size`, `bp.channels`, ..). G maps z (N, latent_dim) to images
    (N, C, H, W) in [-1, 1]; D maps images to logits (N,) or (N, 1), or to a `nets.Critique`. Both may take the batch's
    labels (N,) as a second argument. Raises `InputError` for what is no such class.
    """
    if generator is not None:
        bp = replace(bp, generator=_own_network("generator", generator))
    if discriminator is not None:
        bp = replace(bp, discriminator=_own_network("discriminator", discriminator))
    return bp


def _own_network(player: str, network: object) -> Factory:
    path = network if isinstance(network, str) else path_of(network, player)
    module, _, attribute = path.rpartition(".")
    found = trust.load(f"{module}:{attribute}", f"{player} {path!r}")
    if not is_class_of(found, "torch.nn.modules.module", "Module"):
        raise InputError(f"{player} {path!r}: is no class of torch.nn.Module")
    return Factory(f"gan_ablate.nets.own:{player}", {"network": path})


def path_of(network: object, player: str) -> str:
    """The import path of a class. Raises `InputError` for one that no other process can find."""
    if not isinstance(network, type) or "<locals>" in network.__qualname__:
        raise InputError(f"{player}={network!r}: give a class at the top of a module, or its path: mymodels.MyG")
    return f"{network.__module__}.{network.__qualname__}"
