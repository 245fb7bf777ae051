"""R3GAN and SNGAN: their networks, losses and schedules against their papers, and every trick that acts on them."""

import math
from functools import lru_cache

import pytest
import test_tricks
import torch
from test_models import fit, images, small
from test_rounds import ROUNDS, differing, train
from test_step import steps_on
from test_tricks import OTHER_LATENTS, SOONER, bare
from torch import nn
from torch.nn import functional as F

from gan_ablate import R3GAN, SNGAN
from gan_ablate.adam import GameAdam
from gan_ablate.errors import InputError
from gan_ablate.nets.layers import Bilinear
from gan_ablate.nets.resnext import Block
from gan_ablate.optim import make_capturable
from gan_ablate.presets import BURN_IN, preset
from gan_ablate.recipe import CATALOGUED, Recipe
from gan_ablate.step import discriminator_loss, generator_loss
from gan_ablate.study.study import from_dict
from gan_ablate.trick import Step
from gan_ablate.tricks import beyond_catalogue, not_applicable, trick_names

pytestmark = pytest.mark.usefixtures("feature_weights")
MODERN = {"r3gan": R3GAN, "sngan": SNGAN}
both = pytest.mark.parametrize("model", MODERN)
FITTING = [
    (model, SOONER.get(name, name))
    for model in MODERN
    for name in trick_names()
    if not_applicable(Recipe(model=model, size=8, tricks=(name,))) is None
]


def tiny(model, *tricks, **fields):
    # at its usual rate SNGAN's first answers to fakes stay beyond the hinge's margin, where no trick on fakes shows
    rate = {"lr": 0.02, "seed": 1} if model == "sngan" else {}
    return small(MODERN[model], size=8, channels=1, classes=4, **{"steps": 2, "tricks": tricks, **rate, **fields})


# -- R3GAN's networks ------------------------------------------------------------------------------------------------


def test_resampling_is_bilinear_interpolation_within_the_edge():
    x = torch.rand(2, 3, 8, 8)
    up = F.interpolate(x, scale_factor=2, mode="bilinear")
    down = F.interpolate(x, scale_factor=0.5, mode="bilinear", antialias=True)
    assert torch.allclose(Bilinear(up=True)(x)[:, :, 1:-1, 1:-1], up[:, :, 1:-1, 1:-1], atol=1e-6)
    assert torch.allclose(Bilinear(up=False)(x)[:, :, 1:-1, 1:-1], down[:, :, 1:-1, 1:-1], atol=1e-6)


def authors_discriminator(w, x):
    """The authors' Networks.py read again, on our weights `w` by name: blocks, 1x1 behind the filter, the basis."""

    def act(x, bias):
        return F.leaky_relu(x + bias.view(1, -1, 1, 1), 0.2)

    def block(x, name):
        y = act(F.conv2d(x, w[f"{name}.body.0.weight"]), w[f"{name}.body.1.0.bias"])
        groups = len(y[0]) // w[f"{name}.body.2.weight"].shape[1]
        y = act(F.conv2d(y, w[f"{name}.body.2.weight"], padding=1, groups=groups), w[f"{name}.body.3.0.bias"])
        return x + F.conv2d(y, w[f"{name}.body.4.weight"])

    x = F.conv2d(x, w["first.weight"])
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0])
    for stage in range(3):
        if stage:
            kernel = (torch.outer(taps, taps) / 64).expand(len(x[0]), 1, 4, 4)
            x = F.conv2d(x, kernel, stride=2, padding=1, groups=len(x[0]))
            x = F.conv2d(x, w[f"down.{stage - 1}.1.weight"])
        for index in range(2):
            x = block(x, f"blocks.{stage}.{index}")
    x = F.conv2d(x, w["basis.weight"], groups=len(x[0])).flatten(1)
    return F.linear(x, w["head.weight"], w["head.bias"]).squeeze(1)


def test_r3gans_d_is_the_authors():
    network = small(R3GAN, width=16, channels=1).discriminator
    for p in network.parameters():  # at first the blocks are the identity, which would hide what is in them
        nn.init.normal_(p, 0.0, 0.3)
    x = torch.randn(3, 1, 16, 16)
    expected = authors_discriminator(dict(network.named_parameters()), x)
    assert torch.allclose(network(x).logits, expected, rtol=1e-3, atol=1e-4)
    assert expected.std() > 0.1


def test_r3gans_blocks_start_as_the_identity_with_groups_of_16_and_no_norm():
    module = small(R3GAN, width=32)
    for network in (module.generator, module.discriminator):
        blocks = [m for m in network.modules() if isinstance(m, Block)]
        assert len(blocks) == 6  # two at each of 16, 8 and 4 pixels
        x = torch.randn(2, blocks[0].body[0].in_channels, 4, 4)
        assert torch.equal(blocks[0](x), x)
        gain = math.sqrt(2 / 1.04) * 6**-0.25  # Fixup: L^(-1 / (2m - 2)), m = 3
        for b in blocks:
            assert b.body[2].in_channels // b.body[2].groups == 16
            for convolution in (b.body[0], b.body[2]):
                deviation = convolution.weight.detach().std() * math.sqrt(convolution.weight[0].numel())
                assert deviation == pytest.approx(gain, rel=0.1)
        assert not [m for m in network.modules() if "Norm" in type(m).__name__]


# -- its game --------------------------------------------------------------------------------------------------------


def test_r3gans_losses_are_the_papers():
    module = tiny("r3gan")
    real, z = torch.randn(8, 1, 8, 8), torch.randn(8, 64)
    module.discriminator.blocks.apply(lambda m: nn.init.normal_(m.weight, 0, 0.1) if hasattr(m, "groups") else None)
    step = Step(torch.tensor(0.1), real, None, None, module.discriminator, torch.Generator(), {}, {})
    d = discriminator_loss(module.game, z, step, ()).loss
    fake = module.generator(z).detach()
    answer = lambda x: module.discriminator(x).logits  # noqa: E731

    def slope(x):
        x = x.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(answer(x).sum(), x)
        return gradient.square().sum((1, 2, 3)).mean()

    gamma = 10 * (1 + 0.1) / 2  # half way down to a tenth
    pairing = F.softplus(answer(fake) - answer(real)).mean()
    assert torch.allclose(d, pairing + gamma / 2 * (slope(real) + slope(fake)), rtol=1e-4)
    g = generator_loss(module.game, z, step, ()).loss
    assert torch.allclose(g, F.softplus(answer(real) - answer(fake)).mean(), rtol=1e-5)


def authors_schedule(share, base, final):
    """`cosine_decay_with_warmup` of the authors' training loop."""
    decay = 0.5 * (1 + math.cos(math.pi * min(share / BURN_IN, 1)))
    return base + (1 - decay) * (final - base)


def test_r3gans_learning_rate_and_beta2_follow_the_authors_schedule():
    module, seen = tiny("r3gan", steps=20), []
    advance = module._advance

    def note(found, states):
        seen.append([(float(g["lr"]), float(g["beta2"])) for o in module.trainer.optimizers for g in o.param_groups])
        advance(found, states)

    module._advance = note
    fit(module)
    for k, groups in enumerate(seen):
        expected = authors_schedule(k / 20, 2e-4, 5e-5), authors_schedule(k / 20, 0.9, 0.99)
        assert groups == [pytest.approx(expected, rel=1e-5)] * 2
    assert len({groups[0] for groups in seen}) == 5  # four steps of burn-in, then it stands


@pytest.mark.parametrize("beta1", [0.0, 0.5])
def test_an_annealed_beta2_is_torchs_adam_with_betas_changed_between_steps(beta1):
    torch.manual_seed(0)
    start = [torch.randn(3, 4), torch.randn(5)]
    ours, theirs = ([p.clone().requires_grad_() for p in start] for _ in range(2))
    mine = GameAdam(ours, lr=0.01, betas=(beta1, 0.9))
    torchs = torch.optim.Adam(theirs, lr=0.01, betas=(beta1, 0.9))
    make_capturable(mine, scheduled=False, annealed=True)
    for k in range(30):
        beta2 = 0.9 + 0.003 * k
        mine.param_groups[0]["beta2"].fill_(beta2)
        torchs.param_groups[0]["betas"] = (beta1, beta2)
        for p, q in zip(ours, theirs, strict=True):
            p.grad = torch.randn(p.shape)
            q.grad = p.grad.clone()
        mine.step()
        torchs.step()
    for p, q, first in zip(ours, theirs, start, strict=True):
        assert torch.allclose(p, q, rtol=1e-4, atol=1e-6)
        assert not torch.allclose(p, first, atol=0.01)


@pytest.mark.parametrize("scheduled", [False, True])
def test_an_annealed_beta2_reads_no_number_on_a_gpu(scheduled):
    (group,) = steps_on("cuda", lambda p: GameAdam(p, lr=0.1), scheduled=scheduled, annealed=True).param_groups
    assert isinstance(group["lr"], torch.Tensor) is scheduled
    assert group["beta2"].device.type == "cuda"


def test_gamma_of_r3gan_is_set_by_its_trick_and_not_added():
    bp = tiny("r3gan", "relativistic:gamma=0.05").blueprint
    assert [(p.target.partition(":")[2], p.options["gamma"]) for p in bp.penalties] == [("r1", 0.05), ("r2", 0.05)]
    assert "is so already" in not_applicable(Recipe(model="r3gan", tricks=("relativistic:gamma=10",)))


# -- SNGAN -----------------------------------------------------------------------------------------------------------


def test_sngan_is_its_papers_setting():
    module = fit(tiny("sngan", steps=3))[0]
    module.discriminator.eval()
    layers = [m for m in module.discriminator.modules() if isinstance(m, nn.Conv2d | nn.Linear)]
    greatest = [torch.linalg.matrix_norm(m.weight.detach().flatten(1), 2) for m in layers]
    assert all(s == pytest.approx(1.0, abs=0.05) for s in greatest)
    kinds = lambda network: {type(m).__name__ for m in network.modules()}  # noqa: E731
    assert "BatchNorm2d" in kinds(module.generator) - kinds(module.discriminator)
    bp = module.blueprint
    assert (module.d_steps, module.g_steps, bp.batch_size) == (15, 3, 8)
    assert str(bp.objective) == "Hinge"
    assert [float(bp.lr_schedule(torch.tensor(t))) for t in (0.0, 0.5, 1.0)] == [1.0, 0.5, 0.0]
    assert preset(Recipe(model="sngan")).d_optimizer.options == {"lr": 2e-4, "betas": (0.0, 0.9)}


# -- as bases of studies ---------------------------------------------------------------------------------------------


@lru_cache
def base(model):
    return fit(tiny(model))[0]


@pytest.mark.parametrize(("model", "name"), FITTING, ids=[f"{m}-{n}" for m, n in FITTING])
def test_every_trick_that_acts_trains_finite_and_changes_the_outcome(model, name):
    arm = fit(tiny(model, name), images(8, 1))[0]
    assert arm.finite
    assert all(torch.isfinite(v).all() for v in arm.state_dict().values())
    z = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    control = base(model)
    assert not (torch.equal(control(z), arm(z)) and torch.equal(control.generate(32, seed=1), arm.generate(32, seed=1)))
    assert bare(name) in OTHER_LATENTS or arm.blueprint.batch_size == 8


@pytest.mark.parametrize(
    ("model", "trick", "reason"),
    [
        ("r3gan", "label_smoothing", "acts on targets, which the objective Relativistic has not"),
        ("r3gan", "loss_balancing", "needs an objective on probabilities"),
        ("r3gan", "conditional_batch_norm", "needs batch norm in G"),
        ("r3gan", "kernel_5", "needs DCGAN's plain convolutions"),
        ("r3gan", "no_batch_norm", "is so already"),
        ("sngan", "spectral_norm", "is so already"),
        ("sngan", "wgan_clip", "needs a D whose weights are its parameters"),
        ("sngan", "n_critic:n=5", "is so already"),
        ("sngan", "lr_decay", "is so already"),
    ],
)
def test_what_means_nothing_on_them_is_refused_with_a_reason(model, trick, reason):
    assert reason in not_applicable(Recipe(model=model, tricks=(trick,)))
    with pytest.raises(InputError, match=reason):
        tiny(model, trick)


def test_weight_norm_takes_the_place_of_spectral_norm():
    assert [str(f) for f in tiny("sngan", "weight_norm").blueprint.d_finish] == [
        "weight_norm(start=data, lengths=trained)"
    ]


def test_constraints_on_weights_draw_those_that_start_at_0():
    """W / sigma and v / ||v|| are 0 / 0 there; under weight norm the length stays 0, so blocks start as the identity."""
    normed = tiny("r3gan", "weight_norm:start=drawn").discriminator.blocks[0][0]
    x = torch.randn(2, 4, 8, 8)
    assert torch.equal(normed(x), x)
    assert normed.body[4].parametrizations.weight.original1.any()
    spectral = tiny("r3gan", "spectral_norm").discriminator.blocks[0][0]
    assert torch.isfinite(spectral(x)).all()


@both
def test_rounds_many_at_a_time_train_the_same(model):
    eager, one, rows = train(tiny(model, steps=ROUNDS), "eager")
    captured, two, rows_of_rounds = train(tiny(model, steps=ROUNDS), "captured", pauses=[7])
    assert differing(eager, captured) == []
    assert rows == rows_of_rounds
    assert rows
    assert one.global_step == two.global_step


@both
def test_resumes_bit_for_bit_and_its_step_reads_no_tensor(model, tmp_path, monkeypatch):
    monkeypatch.setitem(test_tricks.CLASSES, model, MODERN[model])
    test_tricks.test_is_deterministic_and_survives_a_checkpoint_bit_for_bit(
        model, "generator_ema:decay=0.5", tmp_path
    )  # fmt: skip
    test_tricks.test_a_step_neither_reads_a_tensor_nor_branches_on_one(model, "instance_noise", monkeypatch)


def test_studies_take_them_by_name_and_the_catalogues_three_by_default():
    study = from_dict({"name": "s", "models": ["r3gan", "sngan"], "arms": ["hinge"], "seeds": 1})
    assert list(study.models) == ["r3gan", "sngan"]
    assert tuple(from_dict({"name": "s", "arms": ["hinge"], "seeds": 1}).models) == CATALOGUED
    assert beyond_catalogue("r3gan", ["kernel_5"]) is None


@pytest.mark.parametrize("architecture", ["conv", "mlp", "resnet", "resnext"])
def test_any_model_plays_with_any_networks(architecture):
    for model in ("r3gan", "dcgan"):
        bp = preset(Recipe(model=model, architecture=architecture))
        assert bp.generator.target == f"gan_ablate.nets.{architecture}:Generator"
    assert fit(tiny("r3gan", architecture=architecture))[0].finite
