"""What makes each trick on losses, penalties, batches and augmentation of 2017 to 2021 that trick."""

import itertools
import math

import pytest
import torch
from test_models import fit, small
from test_tricks_losses import d_loss, objective, ready, seeded
from torch import nn
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import cosine_similarity, cross_entropy, linear
from trick_tools import proves, step, trick

from gan_ablate import DCGAN, NSGAN, WGANGP, penalties
from gan_ablate.blueprint import replace
from gan_ablate.errors import InputError
from gan_ablate.losses import Hinge, LeastSquares, NonSaturating, Wasserstein, log_softplus
from gan_ablate.nets import Critique, augment, weights
from gan_ablate.nets.codes import Codes
from gan_ablate.presets import preset
from gan_ablate.recipe import Recipe
from gan_ablate.step import discriminator_loss, generator_loss, lazy_penalties
from gan_ablate.trick import Targets
from gan_ablate.tricks import assemble, not_applicable

# the models that the catalogue puts each to the test on
CATALOGUE = {
    "DNW": """lazy_r1 gradient_normalisation orthogonal_regularisation pseudo_augmentation balanced_consistency
        latent_consistency self_supervision infomax packing top_k feature_quantisation
        bounded_spectral_norm""",
    "DN": """relativistic_average boundary_seeking contragan reacgan dual_discriminator repulsive_mmd
        unet_discriminator""",
    "W": "lazy_regularisation",
}
# in three steps of eight images a trick must already act
SOONER = {"pseudo_augmentation": "pseudo_augmentation:images=8,target=-1", "top_k": "top_k:images=8,gamma=0.5"}


def critique(logits, **heads):
    return Critique(logits, logits[:, None], heads=heads)


def answers(module, images):
    """D's logits to images, as it is."""
    with torch.no_grad():
        return module.discriminator(images, None).logits


# -- penalties now and then -----------------------------------------------------------------------------------------


def updates(module, player):
    """How often Adam updated a player's weights; a bias behind which D is as steep as before has no part in a penalty."""
    optimizer = module.optimizers()[player].optimizer
    return max(int(state["step"]) for state in optimizer.state.values())


@proves("lazy_r1", "lazy_regularisation")
@pytest.mark.parametrize(
    ("cls", "name", "penalty", "d_steps", "times"),
    [
        (DCGAN, "lazy_r1", "r1", 18, 2),  # steps 0 and 16
        (DCGAN, "lazy_r1:every=3", "r1", 7, 3),
        (WGANGP, "lazy_regularisation", "gradient_penalty", 20, 2),  # in the middle of a round
        (WGANGP, "lazy_regularisation:every=4", "gradient_penalty", 10, 3),
    ],
)
def test_a_lazy_penalty_is_computed_every_so_many_d_steps_in_an_update_of_its_own(
    cls, name, penalty, d_steps, times, monkeypatch
):
    plain, seen = getattr(penalties, penalty), []
    monkeypatch.setattr(penalties, penalty, lambda *args, **options: seen.append(1) or plain(*args, **options))
    module, _ = fit(small(cls, tricks=[name], steps=d_steps // preset(Recipe(model=cls.model)).n_critic))
    assert module.d_steps == d_steps
    assert len(seen) == times
    assert updates(module, 0) == d_steps + times


@proves("lazy_r1")
def test_lazy_r1_is_r1_times_the_steps_that_it_stands_for_and_no_part_of_the_games_loss():
    module, now, state = ready(DCGAN, "lazy_r1:every=5")
    z = torch.randn(8, module.latent_dim, generator=seeded())
    played = discriminator_loss(module.game, z, now, state)
    real = now.real.clone().requires_grad_()
    (slope,) = torch.autograd.grad(module.discriminator(real, None).logits.sum(), real)
    r1 = 10 / 2 * slope.square().sum((1, 2, 3)).mean()
    assert torch.allclose(lazy_penalties(module.game, z, played.step.detached(), state).loss, 5 * r1, rtol=1e-4)
    at_each_step, *same = ready(DCGAN, "r1")
    assert torch.allclose(d_loss(at_each_step, *same), d_loss(module, now, state) + r1, rtol=1e-4)


@proves("lazy_r1", "lazy_regularisation")
def test_adam_is_corrected_for_the_updates_that_lazy_penalties_add():
    # Karras et al. 2020, appendix B; the authors' code: lr * mb_ratio, beta ** mb_ratio, k / (k + 1)
    for module in (small(DCGAN, tricks=["lazy_r1"], lr=0.01), small(WGANGP, tricks=["lazy_regularisation"], lr=0.01)):
        d, g = module.configure_optimizers()
        betas = preset(module.recipe).d_optimizer.options["betas"]
        assert d.defaults["betas"] == g.param_groups[0]["betas"] == betas
        assert d.param_groups[0]["betas"] == tuple(beta ** (16 / 17) for beta in betas)
        assert d.param_groups[0]["lr"] == d.param_groups[0]["initial_lr"] == 0.01 * 16 / 17
        assert g.param_groups[0]["lr"] == 0.01


@proves("lazy_regularisation")
def test_lazy_regularisation_needs_a_penalty_and_goes_with_any():
    assert "lazy_regularisation needs a penalty on D's gradient" in not_applicable(
        Recipe(tricks=("lazy_regularisation",))
    )
    blueprints = [
        assemble(Recipe(tricks=tricks))[1]
        for tricks in (("lazy_r1",), ("r1", "lazy_regularisation"), ("lazy_r1", "r2"))
    ]
    assert blueprints[0] == blueprints[1]
    assert len(blueprints[2].penalties) == 2
    with pytest.raises(InputError, match="both set"):
        assemble(Recipe(tricks=("lazy_r1", "r1:gamma=1")))


# -- D over its gradient --------------------------------------------------------------------------------------------


@proves("gradient_normalisation")
@pytest.mark.parametrize("cls", [DCGAN, NSGAN, WGANGP])
def test_gradient_normalisation_is_d_over_its_slope_and_its_size(cls):
    plain, arm = (
        small(cls, tricks=["no_batch_norm:on=d"] if cls is DCGAN else []),
        small(cls, tricks=["gradient_normalisation"]),
    )
    assert arm.blueprint.penalties == ()
    x = torch.randn(6, 3, 16, 16, generator=seeded(), requires_grad=True)
    f = plain.discriminator(x, None).logits
    norm = torch.autograd.grad(f.sum(), x)[0].flatten(1).norm(dim=1)
    assert torch.allclose(answers(arm, x), f / (norm + f.abs()), rtol=1e-5)
    # the paper's theorem: where D is piecewise linear, the slope is at most 1; and the answer is inside (-1, 1)
    ours = arm.discriminator(x, None).logits
    slope = torch.autograd.grad(ours.sum(), x)[0].flatten(1).norm(dim=1)
    assert (slope < 1 + 1e-4).all()
    assert (ours.abs() < 1).all()


@proves("gradient_normalisation")
def test_gradient_normalisation_teaches_d_through_its_slope():
    """D's gradient by its weights is that of the whole quotient, by finite differences."""
    arm, plain = small(NSGAN, tricks=["gradient_normalisation"]), small(NSGAN)
    x = torch.randn(4, 3, 16, 16, generator=seeded())
    weight, name = dict(arm.discriminator.named_parameters())["head.weight"], "head.weight"
    arm.discriminator(x, None).logits.sum().backward()
    step_size, direction = 1e-2, weight.grad / weight.grad.norm()
    ends = []
    for sign in (1, -1):
        with torch.no_grad():
            dict(plain.discriminator.named_parameters())[name].copy_(weight + sign * step_size * direction)
        y = x.clone().requires_grad_()
        f = plain.discriminator(y, None).logits
        norm = torch.autograd.grad(f.sum(), y)[0].flatten(1).norm(dim=1)
        ends.append((f / (norm + f.abs())).sum().item())
    assert (ends[0] - ends[1]) / (2 * step_size) == pytest.approx(weight.grad.norm().item(), rel=0.02)


# -- weights that stay orthogonal ------------------------------------------------------------------------------------


@proves("bounded_spectral_norm")
def test_only_a_weight_over_the_bound_is_scaled_and_down_to_it():
    layers = nn.Sequential(nn.Conv2d(3, 5, 3), nn.Linear(6, 4))
    start = [layer.weight.detach().clone() for layer in layers]
    sigmas = [torch.linalg.matrix_norm(w.flatten(1), 2).item() for w in start]
    weights.spectral_norm(layers, None, bound=sum(sigmas) / 2)  # one is over it
    for layer, before, sigma in zip(layers, start, sigmas, strict=True):
        for _ in range(50):
            weights.advance(layers)
        expected = before * min(1, sum(sigmas) / 2 / sigma)
        assert torch.allclose(layer.weight, expected, atol=1e-5)
    module = small(DCGAN, tricks=["bounded_spectral_norm:bound=0.1"])
    assert module.blueprint.d_norm is None
    for _ in range(50):
        weights.advance(module.discriminator)
    for layer in (m for m in module.discriminator.modules() if isinstance(m, nn.Conv2d | nn.Linear)):
        assert torch.linalg.matrix_norm(layer.weight.flatten(1), 2).item() == pytest.approx(0.1, rel=0.01)


@proves("orthogonal_regularisation")
def test_orthogonal_regularisation_is_the_overlap_of_each_outputs_weights():
    module, now, _ = ready(DCGAN, "orthogonal_regularisation:on=both,weight=0.5")
    hook = module.chain.tricks[0]
    for player, loss in ((module.generator, hook.g_loss), (module.discriminator, hook.d_loss)):
        expected = 0.0
        for layer in player.modules():
            if not isinstance(layer, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                continue
            weight = layer.weight.transpose(0, 1) if isinstance(layer, nn.ConvTranspose2d) else layer.weight
            rows = [row.flatten() for row in weight.detach().double()]
            expected += sum(float(a @ b) ** 2 for i, a in enumerate(rows) for j, b in enumerate(rows) if i != j)
        assert loss(torch.tensor(2.0), now, {}).item() == pytest.approx(2 + 0.5 * expected, rel=1e-4)
    # on G alone by default; of weights under spectral norm those that are trained
    assert trick("orthogonal_regularisation").d_loss(torch.tensor(2.0), now, {}) == 2
    _, under, _ = ready(DCGAN, "spectral_norm", "orthogonal_regularisation")
    assert all(torch.equal(a, b) for a, b in zip(now.d_matrices(), under.d_matrices(), strict=True))
    # a weight with orthogonal rows costs nothing, however long they are
    w = nn.init.orthogonal_(torch.empty(6, 9)) * torch.arange(1.0, 7)[:, None]
    assert trick("orthogonal_regularisation", weight=1.0).g_loss(
        torch.tensor(0.0), step(g_matrices=lambda: [w]), {}
    ) == pytest.approx(0, abs=1e-8)


@proves("orthogonal_regularisation")
def test_half_of_its_gradient_is_what_brocks_code_adds():
    w = torch.randn(5, 4 * 3 * 3, generator=seeded(), requires_grad=True)
    trick("orthogonal_regularisation").g_loss(torch.tensor(0.0), step(g_matrices=lambda: [w]), {}).backward()
    flat = w.detach()
    theirs = 2 * (flat @ flat.T * (1 - torch.eye(5))) @ flat * 1e-4
    assert torch.allclose(w.grad, 2 * theirs, rtol=1e-4)


# -- consistency ----------------------------------------------------------------------------------------------------


@proves("balanced_consistency")
def test_balanced_consistency_is_consistency_on_real_and_on_generated_images():
    real, fake = (torch.rand(40, 3, 16, 16, generator=seeded(s)) for s in (1, 2))
    answer, moved = lambda x: x[:, 0, :, :5].sum((1, 2)), []
    now = step(
        real=real, fake=fake, real_critique=critique(answer(real)), fake_critique=critique(answer(fake)),
        critique=lambda x: moved.append(x) or critique(answer(x)),
    )  # fmt: skip
    loss = trick("balanced_consistency", real=3.0, fake=2.0).d_loss(torch.tensor(4.0), now, {})
    far = [(answer(a) - answer(b)).square().mean() for a, b in zip((real, fake), moved, strict=True)]
    assert torch.allclose(loss, 4 + 3 * far[0] + 2 * far[1])
    # the copies are those of `consistency`, whose property test moves them back
    again = replace(now, noise=step().noise)
    alone = trick("consistency", weight=3.0).d_loss(torch.tensor(4.0), again, {})
    assert torch.equal(moved[2], moved[0])
    assert torch.allclose(alone, 4 + 3 * far[0])


@proves("latent_consistency")
def test_latent_consistency_holds_d_still_under_noise_on_z_and_moves_g():
    n, w = 4000, torch.randn(5, 3 * 4 * 4, generator=seeded(), requires_grad=True)
    z = torch.randn(n, 5, generator=seeded(1))
    make = lambda z: (z @ w).view(-1, 3, 4, 4)  # noqa: E731
    answer = lambda x: critique(x.sum((1, 2, 3)))  # noqa: E731
    now = step(n, z=z, fake=make(z).detach(), fake_critique=answer(make(z).detach()), critique=answer, generate=make)
    zcr = trick("latent_consistency", std=0.1, g_weight=0.5, d_weight=3.0)
    # G and D are linear: the distance of two images is that of noise e, E||e w||^2 = std^2 ||w||^2
    of_d = zcr.d_loss(torch.tensor(1.0), now, {})
    assert of_d.item() == pytest.approx(1 + 3 * 0.01 * w.sum(1).square().sum().item(), rel=0.1)
    assert not of_d.requires_grad  # D's step does not teach G
    of_g = zcr.g_loss(torch.tensor(1.0), replace(now, fake=make(z)), {})
    assert of_g.item() == pytest.approx(1 - 0.5 * 0.01 * w.square().sum().item() / 48, rel=0.1)
    (slope,) = torch.autograd.grad(of_g, w)
    assert (slope * w).sum() < 0  # G's loss falls as its images move apart


@proves("latent_consistency")
def test_images_of_moved_latents_leave_gs_running_statistics_alone():
    """What is sampled from depends on the latents of training alone."""
    z = torch.randn(8, 64, generator=seeded())
    statistics = []
    for tricks in ((), ("latent_consistency",)):
        module, now, state = ready(DCGAN, *tricks)
        for loss in (discriminator_loss, generator_loss):
            loss(module.game, z, now, state)
        statistics.append([m.running_var.clone() for m in module.generator.modules() if isinstance(m, nn.BatchNorm2d)])
    assert len(statistics[0]) == 2
    assert all(torch.equal(a, b) for a, b in zip(*statistics, strict=True))


# -- objectives -----------------------------------------------------------------------------------------------------

REAL, FAKE = torch.randn(9, generator=seeded(5)), torch.randn(9, generator=seeded(6)) + 0.3


def high(v):
    return bce(v, torch.ones(9))


def low(v):
    return bce(v, torch.zeros(9))


@proves("relativistic_average")
@pytest.mark.parametrize(
    ("loss", "high", "low"),
    [
        ("cross_entropy", high, low),
        ("least_squares", lambda v: (v - 1).square().mean(), lambda v: (v + 1).square().mean()),
        ("hinge_loss", lambda v: (1 - v).clamp(min=0).mean(), lambda v: (1 + v).clamp(min=0).mean()),
    ],
)
def test_relativistic_averaging_holds_each_answer_against_the_others_mean(loss, high, low):
    """As the author's code has it, without its halves; cross entropy by torch's own."""
    average = objective("relativistic_average", loss=loss)
    apart, back = REAL - FAKE.mean(), FAKE - REAL.mean()
    assert torch.allclose(average.discriminator(REAL, FAKE, Targets(REAL, FAKE)), high(apart) + low(back))
    assert torch.allclose(average.generator(FAKE, REAL), high(back) + low(apart))
    # only differences count
    assert torch.allclose(average.generator(FAKE + 7, REAL + 7), average.generator(FAKE, REAL), rtol=1e-4)


@proves("boundary_seeking")
def test_boundary_seeking_is_half_the_squared_log_ratio_and_rests_on_the_boundary():
    seeking, d = objective("boundary_seeking"), FAKE.sigmoid()
    assert torch.allclose(seeking.generator(FAKE), (d.log() - (1 - d).log()).square().mean() / 2, rtol=1e-5)
    on_it = torch.zeros(9, requires_grad=True)
    assert torch.equal(torch.autograd.grad(seeking.generator(on_it), on_it)[0], torch.zeros(9))
    targets = Targets(torch.ones(9), torch.zeros(9))
    assert torch.equal(seeking.discriminator(REAL, FAKE, targets), NonSaturating().discriminator(REAL, FAKE, targets))
    assert not_applicable(Recipe(tricks=("boundary_seeking", "label_smoothing"))) is None  # D's targets are there


# -- G's batch, and D's ---------------------------------------------------------------------------------------------


@proves("top_k")
@pytest.mark.parametrize("game", [NonSaturating(), LeastSquares(), Hinge(), Wasserstein()])
def test_top_k_is_gs_loss_on_the_k_most_real_and_k_falls_to_half(game):
    logits = torch.randn(16, generator=seeded())
    now = step(16, fake_critique=critique(logits), objective=game)
    top = trick("top_k", images=160, gamma=0.9)
    state, ks = top.init(now), []
    for k in range(120):
        ks.append(max(math.floor(0.9 ** (16 * k // 160) * 16), 8))
        expected = game.generator(logits.topk(ks[-1]).values)
        assert torch.allclose(top.g_loss(torch.tensor(9e9), now, state), expected, rtol=1e-5)
        state = top.advance(state, now)
    assert ks[0] == 16
    assert ks[-1] == 8
    assert len(set(ks)) > 4


@proves("top_k")
def test_top_k_has_no_meaning_where_an_answer_is_held_against_others():
    for other in ("relativistic", "relativistic_average"):
        reason = not_applicable(Recipe(tricks=("top_k", other)))
        assert reason == "top_k needs a loss of G that reads each answer by itself, which this dcgan has not"


@proves("packing")
@pytest.mark.parametrize("m", [2, 4])
def test_a_pack_holds_m_images_as_channels_and_gets_one_answer(m):
    module, now, _ = ready(DCGAN, f"packing:m={m}")
    images = torch.arange(8.0)[:, None, None, None] + torch.arange(3)[:, None, None] / 10 + torch.zeros(8, 3, 16, 16)
    packs = module.chain.inputs(images, now, ({},))
    assert packs.shape == (8 // m, 3 * m, 16, 16)
    for pack, group in zip(packs, images.split(m), strict=True):
        assert torch.equal(pack, torch.cat(list(group)))
    assert now.critique(now.real).logits.shape == (8 // m,)
    first = next(layer for layer in module.discriminator.modules() if isinstance(layer, nn.Conv2d))
    assert first.in_channels == 3 * m
    assert "packing needs batches that packs of" in not_applicable(Recipe(tricks=(f"packing:m={m}",), batch_size=33))


@proves("packing")
def test_a_penalty_on_packs_takes_the_slope_of_a_pack():
    module, now, state = ready(WGANGP, "packing")
    seen = []
    module.blueprint = replace(
        module.blueprint, penalties=(lambda critic, real, fake, _: seen.append((real, fake)) or 0.0,)
    )
    discriminator_loss(module.game, torch.randn(8, module.latent_dim), now, state)
    assert [x.shape for x in seen[0]] == [(4, 6, 16, 16)] * 2


# -- augmentation by what G makes ------------------------------------------------------------------------------------


@proves("pseudo_augmentation")
def test_pseudo_augmentation_shows_gs_last_images_as_real_with_probability_p():
    n = 4000
    now = step(n, fake=torch.full((n, 3, 4, 4), 9.0))
    apa = trick("pseudo_augmentation", images=10 * n)
    state = apa.init(now)
    assert torch.equal(apa.reals(now.real, now, state), now.real)
    for sure, p in ((0.61, 0.1), (0.61, 0.2), (0.59, 0.1), (0.7, 0.2)):
        state = apa.advance(
            state, replace(now, real_critique=critique(torch.where(torch.rand(n) < 2, sure - 0.6, 0.0)))
        )
        # a batch of one sign has r = 1 or -1: over 0.6 or under it
        assert state["p"].item() == pytest.approx(p)
    shown = apa.reals(now.real, now, state)
    replaced = (shown == 9).flatten(1).all(1)
    assert torch.equal(shown[~replaced], now.real[~replaced])
    assert replaced.float().mean().item() == pytest.approx(0.2, abs=4 * math.sqrt(0.2 * 0.8 / n))


@proves("pseudo_augmentation")
def test_generated_images_stand_among_the_real_ones_in_ds_step():
    module, now, state = ready(DCGAN, "pseudo_augmentation")
    state[0]["p"].fill_(1.0)
    state[0]["images"].copy_(torch.rand(8, 3, 16, 16, generator=seeded(8)))
    played = discriminator_loss(module.game, torch.randn(8, 64), now, state)
    assert torch.allclose(played.step.real_critique.logits, module.discriminator(state[0]["images"], None).logits)
    assert torch.equal(played.step.real, now.real)


# -- second tasks ---------------------------------------------------------------------------------------------------


@proves("self_supervision")
def test_self_supervision_asks_by_how_many_quarter_turns_an_image_is_rotated():
    real = torch.zeros(8, 1, 6, 6)
    real[:, :, 0, 1] = 1  # a point at the top that each turn brings to another side
    asked = []

    def d(x):
        sides = torch.stack([x[:, 0, 0].sum(1), x[:, 0, :, 0].sum(1), x[:, 0, -1].sum(1), x[:, 0, :, -1].sum(1)], 1)
        asked.append(sides)
        return Critique(sides[:, 0], sides, heads={"rotation_head": 50 * sides})

    now = step(8, real=real, fake=real.roll(1, 3), critique=d)
    ss = trick("self_supervision")
    assert ss.d_loss(torch.tensor(2.0), now, {}).item() == pytest.approx(2, abs=1e-5)  # D that knows pays nothing
    assert asked[0].shape == (8, 4)  # a quarter of the batch, in four rotations
    assert torch.equal(asked[0].argmax(1), torch.tensor([0, 0, 1, 1, 2, 2, 3, 3]))
    guess = lambda x: critique(torch.zeros(len(x)), rotation_head=torch.zeros(len(x), 4))  # noqa: E731
    now = replace(now, critique=guess)
    assert ss.d_loss(torch.tensor(2.0), now, {}).item() == pytest.approx(2 + math.log(4))
    assert ss.g_loss(torch.tensor(2.0), now, {}).item() == pytest.approx(2 + 0.2 * math.log(4))


@proves("self_supervision")
def test_ds_head_learns_rotations_from_real_images_and_g_is_told_by_it():
    module, now, state = ready(DCGAN, "self_supervision")
    head = module.discriminator.heads["rotation_head"]
    d_loss(module, now, state).backward()
    assert head.weight.grad.abs().sum() > 0
    ss = module.chain.tricks[0]
    fake = now.real.clone().requires_grad_()
    turned = torch.cat([fake[:2].rot90(k, (2, 3)) for k in range(4)])
    ours = ss.g_loss(torch.tensor(0.0), replace(now, fake=fake), {})
    answer = module.discriminator(turned, None).features @ head.weight.T + head.bias
    expected = 0.2 * cross_entropy(answer, torch.tensor([0, 0, 1, 1, 2, 2, 3, 3]))
    assert torch.allclose(ours, expected, rtol=1e-5)
    assert torch.autograd.grad(ours, fake)[0][:2].abs().sum() > 0


@proves("infomax")
def test_infomax_asks_each_place_for_its_image_among_all_places_of_the_others():
    images, places = torch.randn(5, 6, generator=seeded(1)), torch.randn(5, 3, 6, generator=seeded(2))
    total = 0.0
    for i, p in itertools.product(range(5), range(3)):
        own = math.exp(images[i] @ places[i, p])
        others = sum(math.exp(images[i] @ places[j, q]) for j in range(5) if j != i for q in range(3))
        total -= math.log(own / (own + others)) / 15
    right = critique(torch.zeros(5), FeatureProjection=images, local=places)
    wrong = critique(torch.zeros(5), FeatureProjection=images * 0, local=places)
    im, now = trick("infomax", d_weight=2.0, g_weight=0.5), step(5, real_critique=right, fake_critique=wrong)
    assert im.d_loss(torch.tensor(1.0), now, {}).item() == pytest.approx(1 + 2 * total, rel=1e-5)
    # who cannot tell, guesses among one right answer and the three places of each of four others
    assert im.g_loss(torch.tensor(1.0), now, {}).item() == pytest.approx(1 + 0.5 * math.log(13))


@proves("infomax")
@pytest.mark.parametrize(("architecture", "channels"), [("conv", 4), ("resnet", 4), ("resnext", 8)])
def test_places_are_of_the_map_that_ds_last_hidden_stage_reads(architecture, channels):
    module, now, state = ready(NSGAN, "infomax:dims=10", architecture=architecture)
    d, read = module.discriminator, []
    d.down[-1].register_forward_pre_hook(lambda _, args: read.append(args[0]))
    played = discriminator_loss(module.game, torch.randn(8, 64), now, state)
    real = played.step.real_critique
    assert read[0].shape == (8, channels, 8, 8)
    for heads, x in (("heads.FeatureProjection", real.features), ("local", read[0].flatten(2).transpose(1, 2))):
        hidden, last, shortcut = (dict(d.named_modules())[f"{heads}.{k}"] for k in ("hidden", "last", "shortcut"))
        projected = linear(linear(x, hidden.weight, hidden.bias).relu(), last.weight, last.bias) + shortcut(x)
        assert torch.allclose(real.heads[heads.rpartition(".")[2]], projected, atol=1e-5)
    played.loss.backward()
    assert all(p.grad.abs().sum() > 0 for name, p in d.named_parameters() if "local.last" in name)
    assert not_applicable(Recipe(model="nsgan", size=8, tricks=("infomax",))).endswith(
        "halved twice, which this nsgan has not"
    )


def labelled(name, **params):
    """A trick on embeddings, with D's embeddings (7, 5), proxies (3, 5) and labels of which none is alone."""
    e, proxies = torch.randn(7, 5, generator=seeded(1)), torch.randn(3, 5, generator=seeded(2))
    labels = torch.tensor([0, 1, 2, 0, 1, 2, 0])
    answer = critique(torch.zeros(7), LabelledEmbedding=e)
    now = step(
        7, labels=labels, d_parameters={"heads.LabelledEmbedding.proxies.weight": proxies},
        real_critique=answer, fake_critique=answer,
    )  # fmt: skip
    return trick(name, **params), now, e, proxies, labels


@proves("contragan")
def test_contragan_is_the_2c_loss_of_its_paper():
    contra, now, e, proxies, labels = labelled("contragan", temperature=0.7, weight=2.0)
    cos = lambda a, b: math.exp(cosine_similarity(a, b, dim=0).item() / 0.7)  # noqa: E731
    total = 0.0
    for i in range(7):
        proxy = cos(e[i], proxies[labels[i]])
        others = {j: cos(e[i], e[j]) for j in range(7) if j != i}
        mates = sum(x for j, x in others.items() if labels[j] == labels[i])
        total -= math.log((proxy + mates) / (proxy + sum(others.values())))
    for hook in (contra.d_loss, contra.g_loss):
        assert hook(torch.tensor(1.0), now, {}).item() == pytest.approx(1 + 2 * total / 7, rel=1e-5)


@proves("reacgan")
def test_reacgan_is_the_data_to_data_cross_entropy_of_its_paper():
    reac, now, e, proxies, labels = labelled("reacgan", margin=0.3)
    cos = lambda a, b: cosine_similarity(a, b, dim=0).item()  # noqa: E731
    total, easy = 0.0, 0
    for i in range(7):
        near = math.exp(min(cos(e[i], proxies[labels[i]]) - 0.3, 0) / 0.5)
        apart = [max(cos(e[i], e[j]) - (1 - 0.3), 0) / 0.5 for j in range(7) if labels[j] != labels[i]]
        easy += apart.count(0)
        total -= math.log(near / (near + sum(map(math.exp, apart))))
    assert 0 < easy < 32  # some pairs are inside the margin, some are not
    for hook in (reac.d_loss, reac.g_loss):
        assert hook(torch.tensor(1.0), now, {}).item() == pytest.approx(1 + 0.5 * total / 7, rel=1e-5)


@proves("contragan", "reacgan")
@pytest.mark.parametrize("name", ["contragan", "reacgan"])
def test_embeddings_come_from_ds_features_and_proxies_are_trained(name):
    module, now, state = ready(DCGAN, name, classes=4)
    now = replace(now, labels=torch.arange(8) % 4)
    played = discriminator_loss(module.game, torch.randn(8, 64), now, state)
    d = dict(module.discriminator.named_parameters())
    answer = played.step.real_critique
    own = linear(answer.features, *(d[f"heads.LabelledEmbedding.embedding.{k}"] for k in ("weight", "bias")))
    assert torch.equal(answer.heads["LabelledEmbedding"], own)
    played.loss.backward()
    assert (d["heads.LabelledEmbedding.proxies.weight"].grad.abs().sum(1) > 0).all()


# -- another D ------------------------------------------------------------------------------------------------------


@proves("dual_discriminator")
def test_the_two_ds_of_d2gan_play_the_game_of_its_paper():
    """On answers D1, D2 = softplus(v): the players' losses add up as the equation says."""
    real, fake, other_real, other_fake = (torch.randn(9, generator=seeded(k)) for k in range(4))
    d1, d2 = nn.functional.softplus, nn.functional.softplus
    now = step(
        9, real_critique=critique(real, second_head=other_real), fake_critique=critique(fake, second_head=other_fake)
    )
    game, dual = objective("dual_discriminator", alpha=0.2, beta=0.1), trick("dual_discriminator", alpha=0.2, beta=0.1)
    now = replace(now, objective=game)
    of_d = dual.d_loss(game.discriminator(real, fake, Targets(real, fake)), now, {})
    of_g = dual.g_loss(game.generator(fake), now, {})
    on_fakes = -d1(fake).mean() + 0.1 * d2(other_fake).log().mean()
    value = 0.2 * d1(real).log().mean() - d2(other_real).mean() + on_fakes
    assert torch.allclose(of_d, -value, rtol=1e-5)
    assert torch.allclose(of_g, on_fakes, rtol=1e-5)
    far = torch.tensor([-200.0, -30.0], requires_grad=True)  # log softplus(v) is v there, where softplus alone is 0
    assert torch.allclose(log_softplus(far), far, rtol=1e-5)
    assert torch.allclose(torch.autograd.grad(log_softplus(far).sum(), far)[0], torch.ones(2))


@proves("dual_discriminator")
def test_the_best_two_ds_of_d2gan_are_density_ratios():
    """The paper's proposition: D1 = alpha p / q and D2 = beta q / p; here on two points, p = (0.8, 0.2), q = (0.4, 0.6)."""
    p, q, alpha, beta = torch.tensor([0.8, 0.2]), torch.tensor([0.4, 0.6]), 0.5, 2.0
    v = torch.zeros(2, 2, requires_grad=True)
    optimizer = torch.optim.LBFGS([v], max_iter=200, line_search_fn="strong_wolfe")
    rows = torch.tensor([0] * 8 + [1] * 2), torch.tensor([0] * 4 + [1] * 6)
    game, dual = (make("dual_discriminator", alpha=alpha, beta=beta) for make in (objective, trick))

    def closure():
        optimizer.zero_grad()
        real, fake = (critique(v[0][r], second_head=v[1][r]) for r in rows)
        now = step(10, real_critique=real, fake_critique=fake, objective=game)
        loss = dual.d_loss(game.discriminator(real.logits, fake.logits, Targets(p, q)), now, {})
        loss.backward()
        return loss

    optimizer.step(closure)
    best = nn.functional.softplus(v.detach())
    assert torch.allclose(best, torch.stack((alpha * p / q, beta * q / p)), rtol=1e-3)


@proves("repulsive_mmd")
def test_repulsive_mmd_is_the_authors_bounded_loss_over_pairs():
    real, fake = torch.randn(6, 4, generator=seeded(1)), 0.3 * torch.randn(6, 4, generator=seeded(2))
    game = objective("repulsive_mmd")

    def mean(a, b, low=0.0, top=math.inf):
        pairs = [(i, j) for i in range(6) for j in range(6) if i != j]
        far = [min(max(float((a[i] - b[j]).square().sum()), low), top) for i, j in pairs]
        assert low == 0 or min(far) == low
        assert top == math.inf or max(far) == top
        return sum(math.exp(-x / 2) for x in far) / len(pairs)

    mmd = mean(real, real) + mean(fake, fake) - 2 * mean(real, fake)
    assert game.generator(fake, real).item() == pytest.approx(mmd, rel=1e-5)
    repulsive = mean(real, real, top=4.0) - mean(fake, fake, low=0.25)
    assert game.discriminator(real, fake, Targets(real, fake)).item() == pytest.approx(repulsive, rel=1e-5)


@proves("repulsive_mmd")
def test_scores_are_what_the_repulsive_game_reads_and_d_pushes_real_images_apart():
    module, now, state = ready(DCGAN, "repulsive_mmd")
    z = torch.randn(8, 64, generator=seeded())
    played = discriminator_loss(module.game, z, now, state)
    scores = [answer.heads["score_head"] for answer in (played.step.real_critique, played.step.fake_critique)]
    assert scores[0].shape == (8, 16)
    assert torch.equal(played.loss, module.game.objective.discriminator(*scores, None))
    played.loss.backward()
    assert module.discriminator.head.weight.grad is None  # the logit is no part of it
    with torch.no_grad():
        for p in module.discriminator.parameters():
            p -= 1e-4 * (0 if p.grad is None else p.grad)
    assert discriminator_loss(module.game, z, now, state).loss < played.loss
    assert "no penalty on the slope" in not_applicable(Recipe(tricks=("repulsive_mmd", "r1")))


@proves("feature_quantisation")
def test_features_become_the_nearest_vectors_and_their_gradient_passes():
    codes = Codes(5, size=7, decay=0.9).eval()
    x = torch.randn(4, 5, 3, 2, generator=seeded(), requires_grad=True)
    y = codes(x)
    for n, h, w in itertools.product(range(4), range(3), range(2)):
        far = [(x[n, :, h, w] - v).norm().item() for v in codes.vectors]
        assert torch.allclose(y[n, :, h, w], codes.vectors[far.index(min(far))], atol=1e-6)
    assert torch.allclose(codes.distance, (x - y).square().mean((1, 2, 3)))
    weight = torch.randn(y.shape, generator=seeded(1))
    assert torch.equal(torch.autograd.grad((y * weight).sum(), x)[0], weight)
    flat = torch.randn(6, 5, generator=seeded(2))  # of points in the plane, or of a D without maps
    assert torch.allclose(codes(flat), codes(flat[:, :, None, None])[:, :, 0, 0])


@proves("feature_quantisation")
def test_the_dictionary_follows_the_features_as_in_the_authors_code():
    codes, x = Codes(3, size=4, decay=0.8), torch.randn(50, 3, generator=seeded())
    embed, average, size = codes.vectors.clone().T, codes.vectors.clone().T, torch.zeros(4)
    for _ in range(3):  # vq_layer.py: dim first; it quantises with the vectors from before the pass
        with torch.no_grad():
            expected = (x.square().sum(1, keepdim=True) - 2 * x @ embed + embed.square().sum(0)).argmin(1)
            assert torch.allclose(codes(x), embed.T[expected], atol=1e-5)
        onehot = nn.functional.one_hot(expected, 4).float()
        size = size * 0.8 + 0.2 * onehot.sum(0)
        average = average * 0.8 + 0.2 * x.T @ onehot
        n = size.sum()
        embed = average / ((size + 1e-5) / (n + 4 * 1e-5) * n)
        assert torch.allclose(codes.vectors, embed.T, rtol=1e-4)
    codes.eval()(x)
    assert torch.allclose(codes.vectors, embed.T, rtol=1e-4)


@proves("feature_quantisation")
@pytest.mark.parametrize("architecture", ["conv", "resnet", "mlp"])
def test_ds_last_stage_reads_the_dictionary_and_its_loss_has_the_distance(architecture):
    module, now, state = ready(NSGAN, "feature_quantisation:weight=2", architecture=architecture)
    with torch.no_grad():
        module.discriminator.codebook.vectors.zero_()  # then D's last stage reads zeros, whatever the image
    module.discriminator.eval()
    played = discriminator_loss(module.game, torch.randn(8, 64), now, state)
    real, fake = played.step.real_critique, played.step.fake_critique
    assert torch.allclose(real.logits, fake.logits[0].expand(8), atol=1e-5)
    far = 2 * (real.heads["codes"].mean() + fake.heads["codes"].mean())
    plain = module.game.objective.discriminator(real.logits, fake.logits, Targets(torch.ones(8), torch.zeros(8)))
    assert far > 0
    assert torch.allclose(played.loss, plain + far)


@proves("unet_discriminator")
def test_the_unet_answers_for_each_pixel_and_for_the_whole_as_dcgans_d():
    arm, plain = small(DCGAN, tricks=["unet_discriminator"]), small(DCGAN)
    x = torch.randn(8, 3, 16, 16, generator=seeded())
    answer, base = (m.discriminator.eval()(x, None) for m in (arm, plain))
    assert torch.equal(answer.logits, base.logits)
    assert answer.heads["pixels"].shape == (8, 256)
    # a pixel of the image has most to say at its own place: the skip of the finest stage leads there
    leaf = x.clone().requires_grad_()
    (slope,) = torch.autograd.grad(arm.discriminator(leaf, None).heads["pixels"][:, 8 * 16 + 8].sum(), leaf)
    size = slope.abs().sum((0, 1))
    assert size[6:11, 6:11].mean() > 2 * size[:4, :4].mean()
    assert small(DCGAN, tricks=["unet_discriminator"], size=32).discriminator(torch.randn(2, 3, 32, 32), None).heads[
        "pixels"
    ].shape == (2, 1024)


@proves("unet_discriminator")
def test_collages_are_boxes_of_one_image_in_another():
    x, noise = torch.zeros(3000, 1, 12, 12), step()
    mask = augment.cutmix_mask(x, noise)[:, 0]
    assert set(mask.unique().tolist()) == {0.0, 1.0}
    assert mask.mean().item() == pytest.approx(0.5, abs=0.03)  # the box is image or ground, each by half
    for each in mask[:200]:
        inside = next((m for m in (each, 1 - each) if rectangle(m)), None)
        assert inside is not None
    areas = torch.minimum(mask.mean((1, 2)), 1 - mask.mean((1, 2)))
    assert areas.max() > 0.4
    assert areas.min() < 0.02


def rectangle(m):
    """Whether the ones of a mask (H, W) fill a rectangle, or are none."""
    rows, columns = m.any(1), m.any(0)
    return torch.equal(m, (rows[:, None] & columns[None]).float())


@proves("unet_discriminator")
@pytest.mark.parametrize(("t", "risen"), [(0.0, 0.0), (0.05, 0.5), (0.7, 1.0)])
def test_ds_answers_per_pixel_are_trained_and_kept_in_collages(t, risen, monkeypatch):
    real, fake = (torch.randn(8, 3, 4, 4, generator=seeded(k)) for k in range(2))
    d = lambda x: Critique(x.sum((1, 2, 3)), x, heads={"pixels": (x.sum(1) ** 2).flatten(1)})  # noqa: E731
    now = step(8, t=t, real=real, fake=fake, real_critique=d(real), fake_critique=d(fake), critique=d,
               objective=NonSaturating())  # fmt: skip
    mask = augment.cutmix_mask(real, step())
    mixed = mask * real + (1 - mask) * fake
    # this D looks at one pixel at a time, so it answers the same in a collage: only its pixels' cross entropy is left
    pixels = [d(x).heads["pixels"] for x in (real, fake, mixed)]
    plain = bce(pixels[0], torch.ones(8, 16)) + bce(pixels[1], torch.zeros(8, 16))
    unet = trick("unet_discriminator", weight=3.0)
    assert torch.allclose(unet.d_loss(torch.tensor(2.0), now, {}), 2 + plain, rtol=1e-5)
    assert torch.allclose(unet.g_loss(torch.tensor(2.0), now, {}), 2 + bce(pixels[1], torch.ones(8, 16)), rtol=1e-5)
    # one that adds the image's mean does not
    blurred = lambda x: d(x)._replace(heads={"pixels": d(x).heads["pixels"] + x.mean((1, 2, 3))[:, None]})  # noqa: E731
    now = replace(now, critique=blurred, noise=step().noise)
    off = mixed.mean((1, 2, 3)).square().mean()
    assert torch.allclose(unet.d_loss(torch.tensor(2.0), now, {}), 2 + plain + 3 * risen * off, rtol=1e-5)
