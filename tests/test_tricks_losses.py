"""What makes each trick on targets, objectives, penalties and augmentation that trick."""

import itertools
import math

import lightning
import pytest
import torch
from test_models import fit, small
from test_models import weights as weights_of
from torch import nn
from torch.distributions import Normal, kl_divergence
from torch.nn.functional import binary_cross_entropy_with_logits as bce
from torch.nn.functional import pad
from torch.nn.utils.parametrize import is_parametrized
from trick_tools import proves, step, trick

from gan_ablate import DCGAN, NSGAN, WGANGP
from gan_ablate.blueprint import Factory, replace
from gan_ablate.errors import InputError
from gan_ablate.losses import DIVERGENCES, NonSaturating
from gan_ablate.nets import Critique, weights
from gan_ablate.presets import BATCH_NORM, DCGAN_INIT, DEFAULT_INIT, preset
from gan_ablate.recipe import Recipe
from gan_ablate.step import discriminator_loss, generator_loss
from gan_ablate.trick import Chain, Targets
from gan_ablate.tricks import assemble
from gan_ablate.tricks.generator_losses import d_stages
from gan_ablate.tricks.penalties import LeCam


def hard(n):
    return Targets(torch.ones(n), torch.zeros(n))


def objective(name, **params):
    """The objective that a trick puts in DCGAN."""
    return trick(name, **params).edit(preset(Recipe())).objective()


def penalty(name, model="dcgan", **params):
    """The one penalty that a trick leaves in a model."""
    (only,) = trick(name, **params).edit(preset(Recipe(model=model))).penalties
    return only


def gradient(loss, logits):
    """The gradient of a loss of logits (N,)."""
    leaf = logits.clone().requires_grad_()
    return torch.autograd.grad(loss(leaf), leaf)[0]


def minimum(loss, x):
    """The least value of a smooth loss, and where."""
    x = x.clone().requires_grad_()
    optimizer = torch.optim.LBFGS(
        [x], max_iter=500, tolerance_grad=1e-10, tolerance_change=1e-14, line_search_fn="strong_wolfe"
    )

    def closure():
        optimizer.zero_grad()
        value = loss(x)
        value.backward()
        return value

    optimizer.step(closure)
    return loss(x).detach(), x.detach()


def ready(cls, *tricks, **fields):
    """A module before its first step, with that step and its state."""
    module = small(cls, tricks=list(tricks), **fields)
    module.on_train_start()
    bp = module.blueprint
    real = torch.rand(8, bp.channels, bp.size, bp.size, generator=seeded()) * 2 - 1
    now = module._step(real, torch.zeros(0))
    return module, now, module._state(now)


def played(loss, module, now, state):
    return loss(module.game, torch.randn(8, module.latent_dim, generator=seeded()), now, state)


def d_loss(module, now, state):
    return played(discriminator_loss, module, now, state).loss


def g_loss(module, now, state):
    return played(generator_loss, module, now, state).loss


def seeded(seed=3):
    return torch.Generator().manual_seed(seed)


# -- labels ---------------------------------------------------------------------------------------------------------


@proves("label_smoothing")
def test_one_sided_smoothing_leaves_the_fake_side_and_g_untouched():
    smoothed = trick("label_smoothing").targets(hard(5), step(), {})
    assert torch.equal(smoothed.real, torch.full((5,), 0.9))
    assert torch.equal(smoothed.fake, torch.zeros(5))
    base, arm = ready(DCGAN), ready(DCGAN, "label_smoothing")
    assert not torch.equal(d_loss(*base), d_loss(*arm))
    assert torch.equal(g_loss(*base), g_loss(*arm))


@proves("label_smoothing", "label_smoothing_two_sided")
@pytest.mark.parametrize(("name", "low"), [("label_smoothing", 0.0), ("label_smoothing_two_sided", 0.1)])
def test_smoothing_moves_the_best_discriminator_to_its_closed_form(name, low):
    # Salimans et al. 2016, section 3.4: D*(x) = (real p(x) + fake q(x)) / (p(x) + q(x)); two points, 10 images a side
    real, fake = torch.tensor([0] * 8 + [1] * 2), torch.tensor([0] * 1 + [1] * 9)
    targets = trick(name).targets(hard(10), step(), {})
    loss = lambda v: NonSaturating().discriminator(v[real], v[fake], targets)  # noqa: E731
    _, best = minimum(loss, torch.zeros(2))
    expected = torch.tensor([(0.9 * 8 + low * 1) / 9, (0.9 * 2 + low * 9) / 11])
    assert torch.allclose(best.sigmoid(), expected, atol=1e-4)


@proves("soft_labels")
def test_soft_labels_are_uniform_per_sample():
    soft = trick("soft_labels").targets(hard(20000), step(), {})
    for values, low, high in ((soft.real, 0.7, 1.2), (soft.fake, 0.0, 0.3)):
        assert low <= values.min() < low + 0.01
        assert high - 0.01 < values.max() <= high
        assert values.mean().item() == pytest.approx((low + high) / 2, abs=0.005)
        assert values.var().item() == pytest.approx((high - low) ** 2 / 12, rel=0.05)
    with pytest.raises(InputError, match="swap them"):
        trick("soft_labels", real_low=1.3)


@proves("label_flipping")
def test_label_flipping_swaps_the_share_p():
    n, p = 40000, 0.05
    flipped = trick("label_flipping").targets(hard(n), step(), {})
    noise = 4 * math.sqrt(p * (1 - p) / n)
    assert set(flipped.real.unique().tolist()) == {0.0, 1.0}
    assert (flipped.real == 0).float().mean().item() == pytest.approx(p, abs=noise)
    assert (flipped.fake == 1).float().mean().item() == pytest.approx(p, abs=noise)
    assert not torch.equal(flipped.real == 0, flipped.fake == 1)


@proves("label_flipping", "label_smoothing", "label_smoothing_two_sided")
@pytest.mark.parametrize(("name", "soft"), [("label_smoothing", (0.0, 0.9)), ("label_smoothing_two_sided", (0.1, 0.9))])
def test_flipped_and_smoothed_labels_go_together_in_either_order(name, soft):
    pair = trick(name), trick("label_flipping", p=0.2)
    one, other = (Chain(tricks).targets(hard(1000), step(), ({}, {})) for tricks in (pair, pair[::-1]))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    for side, share in ((one.real, 0.8), (one.fake, 0.2)):
        assert side.unique().tolist() == pytest.approx(soft)  # a fake that was flipped is softened as a real one is
        assert (side > 0.5).float().mean().item() == pytest.approx(share, abs=0.05)


@proves("label_flipping", "soft_labels")
@pytest.mark.parametrize("order", [("soft_labels", "label_flipping"), ("label_flipping", "soft_labels")])
def test_flipped_and_soft_labels_go_together_in_either_order(order):
    both = Chain(tuple(trick(name, p=0.2) if name == "label_flipping" else trick(name) for name in order))
    targets = both.targets(hard(20000), step(), ({}, {}))
    for side, share in ((targets.real, 0.2), (targets.fake, 0.8)):
        as_fake, as_real = (side >= 0) & (side <= 0.3), (side >= 0.7) & (side <= 1.2)
        assert (as_fake | as_real).all()
        assert as_fake.float().mean().item() == pytest.approx(share, abs=0.012)


# -- objectives -----------------------------------------------------------------------------------------------------

LOGITS = torch.linspace(-6, 6, 13, dtype=torch.float64)


@proves("saturating")
def test_the_saturating_gradient_vanishes_where_d_is_sure_and_the_other_does_not():
    n, p = len(LOGITS), LOGITS.sigmoid()
    assert torch.allclose(objective("saturating").generator(LOGITS), (1 - p).log().mean())
    assert torch.allclose(gradient(objective("saturating").generator, LOGITS), -p / n)
    assert torch.allclose(gradient(NonSaturating().generator, LOGITS), -(1 - p) / n)


@proves("flipped_generator_labels")
def test_flipped_labels_give_the_non_saturating_gradient_exactly():
    logits = torch.randn(1000, generator=seeded()) * 20
    flipped = objective("flipped_generator_labels").generator
    assert torch.equal(gradient(flipped, logits), gradient(NonSaturating().generator, logits))
    assert torch.allclose(flipped(logits), bce(logits, torch.ones(1000)))
    base, arm = (weights_of(fit(small(DCGAN, steps=4, tricks=t))[0]) for t in ([], ["flipped_generator_labels"]))
    assert all(torch.equal(base[k], arm[k]) for k in base)


@proves("inverted_generator_loss")
def test_the_inverted_loss_drives_g_away_from_d():
    inverted = objective("inverted_generator_loss").generator
    assert torch.allclose(inverted(LOGITS), bce(LOGITS, torch.zeros_like(LOGITS)))
    assert (gradient(inverted, LOGITS) * gradient(NonSaturating().generator, LOGITS) < 0).all()
    assert torch.equal(gradient(inverted, LOGITS), -gradient(objective("saturating").generator, LOGITS))


@proves("saturating", "flipped_generator_labels", "inverted_generator_loss")
@pytest.mark.parametrize("name", ["saturating", "flipped_generator_labels", "inverted_generator_loss"])
def test_what_changes_gs_loss_leaves_ds_alone(name):
    base, arm = ready(NSGAN), ready(NSGAN, name)
    assert torch.equal(d_loss(*base), d_loss(*arm))


@proves("lsgan")
def test_lsgan_is_half_the_squared_distance_to_its_labels():
    real, fake = torch.tensor([0.5, 3.0]), torch.tensor([-1.0, 2.0])
    ls = objective("lsgan")
    assert ls.discriminator(real, fake, hard(2)).item() == pytest.approx((0.25 + 4) / 4 + (1 + 4) / 4)
    assert ls.generator(fake).item() == pytest.approx((4 + 1) / 4)


@proves("hinge")
def test_hinge_pushes_d_only_inside_its_margin_and_g_everywhere():
    real, fake = torch.tensor([0.5, 3.0]), torch.tensor([-3.0, 2.0])
    hinge = objective("hinge")
    assert hinge.discriminator(real, fake, hard(2)).item() == pytest.approx(0.5 / 2 + 3 / 2)
    assert gradient(lambda v: hinge.discriminator(v, fake, hard(2)), real).tolist() == [-0.5, 0]
    assert gradient(lambda v: hinge.discriminator(real, v, hard(2)), fake).tolist() == [0, 0.5]
    assert gradient(hinge.generator, fake).tolist() == [-0.5, -0.5]


# Nowozin et al. 2016, table 1: the generators of D_f(P || Q) = E_Q[f(p / q)], and the end of the domain of f*
GENERATORS = {
    "kl": (lambda u: u * u.log(), math.inf),
    "reverse_kl": (lambda u: -u.log(), 0.0),
    "pearson": (lambda u: (u - 1) ** 2, math.inf),
    "squared_hellinger": (lambda u: (u.sqrt() - 1) ** 2, 1.0),
    "js": (lambda u: -(u + 1) * ((1 + u) / 2).log() + u * u.log(), math.log(2)),
}


@proves("f_gan")
@pytest.mark.parametrize("divergence", GENERATORS)
def test_conjugates_are_the_suprema_that_define_them(divergence):
    f, end = GENERATORS[divergence]
    output, conjugate = DIVERGENCES[divergence]
    v = torch.linspace(-1.5, 1.5, 13, dtype=torch.float64)
    u = torch.logspace(-5, 5, 100_000, dtype=torch.float64)
    supremum = torch.stack([(u * t - f(u)).max() for t in output(v)])
    assert torch.allclose(conjugate(v), supremum, atol=1e-6)
    wide = output(torch.linspace(-20, 20, 401, dtype=torch.float64))
    assert (wide < end).all()
    assert (wide.diff() > 0).all()


@proves("f_gan")
@pytest.mark.parametrize("divergence", GENERATORS)
def test_the_best_discriminators_loss_is_minus_the_divergence(divergence):
    p, q = torch.tensor([1.0, 2, 5], dtype=torch.float64) / 8, torch.tensor([4.0, 3, 1], dtype=torch.float64) / 8
    real, fake = torch.tensor([0, 1, 1, 2, 2, 2, 2, 2]), torch.tensor([0, 0, 0, 0, 1, 1, 1, 2])
    game = objective("f_gan", divergence=divergence)
    loss, best = minimum(lambda v: game.discriminator(v[real], v[fake], hard(8)), torch.zeros(3, dtype=torch.float64))
    true = (q * GENERATORS[divergence][0](p / q)).sum()
    assert -loss.item() == pytest.approx(true.item(), rel=1e-6)
    t = DIVERGENCES[divergence][0](best)
    assert game.generator(best[fake]).item() == pytest.approx(-(q * t).sum().item())


@proves("wgan_clip")
def test_wgan_clip_is_algorithm_1():
    module, _ = fit(small(WGANGP, tricks=["wgan_clip:c=0.02"]))
    greatest = [p.abs().max().item() for p in module.discriminator.parameters()]
    assert all(v <= torch.tensor(0.02) for v in greatest)
    assert max(greatest) == pytest.approx(0.02)  # so it was clipped
    assert max(p.abs().max().item() for p in module.generator.parameters()) > 0.02
    for optimizer in module.configure_optimizers():
        assert isinstance(optimizer, torch.optim.RMSprop)
        assert optimizer.defaults["lr"] == 5e-5
    assert module.blueprint.penalties == ()
    assert trick("wgan_clip").c == 0.01


@proves("wgan_clip")
def test_wgan_clip_brings_its_papers_networks_and_its_codes_schedule():
    bp = trick("wgan_clip").edit(preset(Recipe(model="wgan_gp")))
    assert (bp.d_norm, bp.init) == (BATCH_NORM, DCGAN_INIT)
    bare = trick("wgan_clip", d_norm="keep", weights="keep").edit(preset(Recipe(model="wgan_gp")))
    assert (bare.d_norm, bare.init) == (None, DEFAULT_INIT)
    code = trick("wgan_clip", schedule="code").edit(preset(Recipe(model="wgan_gp")))
    # WassersteinGAN's main.py: Diters = 100 if gen_iterations < 25 or gen_iterations % 500 == 0 else opt.Diters
    expected = [100 if g < 25 or g % 500 == 0 else 5 for g in range(1002)]
    assert [code.critic_steps(g) for g in range(1002)] == expected
    assert replace(code, steps=1002).d_steps == sum(expected)
    assert code.g_steps_in(sum(expected)) == 1002
    assert code.g_steps_in(sum(expected) - 1) == 1001


def test_a_round_has_the_d_steps_that_the_schedule_says(monkeypatch):
    monkeypatch.setattr("gan_ablate.optim.bursts", lambda g_steps, **_: (3, 1, 2)[g_steps])
    module = small(WGANGP, tricks=["wgan_clip:schedule=code"], steps=3)
    rounds = []

    class Watch(lightning.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            rounds.append((pl_module.d_steps, pl_module.g_steps))

    fit(module, callbacks=[Watch()])
    assert rounds == [(1, 0), (2, 0), (3, 1), (4, 2), (5, 2), (6, 3)]


@proves("wgan_clip")
@pytest.mark.parametrize("order", [("wgan_clip", "r1:d_norm=keep"), ("r1:d_norm=keep", "wgan_clip")])
def test_wgan_clip_leaves_another_tricks_penalty_in_either_order(order):
    _, bp, _ = assemble(Recipe(model="wgan_gp", tricks=order))
    assert [p.target for p in bp.penalties] == ["gan_ablate.penalties:r1"]


@proves("relativistic")
def test_relativistic_loss_compares_pairs():
    real, fake = torch.randn(9, generator=seeded(1)), torch.randn(9, generator=seeded(2))
    game = objective("relativistic")
    expected = -(real - fake).sigmoid().log().mean()
    assert torch.allclose(game.discriminator(real, fake, hard(9)), expected)
    assert torch.allclose(game.discriminator(real + 5, fake + 5, hard(9)), expected)  # only differences count
    assert torch.equal(game.generator(fake, real), game.discriminator(fake, real, hard(9)))  # the players swapped
    assert not torch.allclose(game.discriminator(real, fake.roll(1), hard(9)), expected)  # each with its own


@proves("relativistic")
def test_relativistic_brings_r1_and_r2_and_gs_loss_reads_the_real_images():
    bp = trick("relativistic", gamma=3.0).edit(preset(Recipe()))
    real, fake = torch.randn(2, 5, 3, 4, 4, generator=seeded())
    half = lambda x: x.square().sum((1, 2, 3)) / 2  # noqa: E731
    squares = (real.square().sum() + fake.square().sum()) / 5
    for t, gamma in ((0.0, 3.0), (0.1, 3 * 0.55), (0.2, 0.3), (0.9, 0.3)):  # along a cosine to a tenth
        total = sum(p(half, real, fake, step(t=t)) for p in bp.penalties)
        assert torch.allclose(total, gamma / 2 * squares)
    for name, reads in (("relativistic", True), ("hinge", False)):
        module, now, state = ready(NSGAN, name)
        before = g_loss(module, now, state)
        assert (not torch.equal(before, g_loss(module, replace(now, real=-now.real), state))) is reads


# -- G's losses -----------------------------------------------------------------------------------------------------


@proves("feature_matching")
def test_feature_matching_replaces_gs_loss_by_the_distance_of_mean_features():
    real, fake = torch.randn(8, 6), torch.randn(8, 6, requires_grad=True)
    now = step(critique=lambda x: Critique(torch.zeros(8), real), fake_critique=Critique(torch.zeros(8), fake))
    loss = trick("feature_matching", weight=2.0).g_loss(torch.tensor(1e9), now, {})
    assert torch.allclose(loss, 2 * (real.mean(0) - fake.mean(0)).pow(2).sum())
    assert torch.allclose(torch.autograd.grad(loss, fake)[0], 4 * (fake.mean(0) - real.mean(0)).expand(8, 6) / 8)


@proves("feature_matching")
def test_feature_matching_of_another_layer():
    module, now, state = ready(NSGAN, "feature_matching:layer=0")
    turn = played(generator_loss, module, now, state)
    real, fake = (module.discriminator(x).hidden[0].flatten(1).mean(0) for x in (now.real, turn.step.fake))
    assert torch.allclose(turn.loss, (real - fake).square().sum(), rtol=1e-4)
    two = Critique(torch.zeros(8), torch.zeros(8, 6), hidden=(torch.zeros(8, 6),) * 2)  # of a D of the user's own
    with pytest.raises(InputError, match="layer=7: this D has the layers 0 to 1"):
        trick("feature_matching", layer=7).g_loss(torch.zeros(()), step(critique=lambda x: two, fake_critique=two), {})


@proves("feature_matching")
@pytest.mark.parametrize("architecture", ["conv", "mlp", "resnet"])
@pytest.mark.parametrize("size", [8, 12, 16, 28, 44, 64, 128])
def test_the_layers_that_planning_takes_d_to_have_are_those_it_has(architecture, size):
    for more in ([], ["deep_discriminator"]):
        module = small(NSGAN, tricks=more, architecture=architecture, size=size, width=2)
        hidden = module.discriminator(torch.zeros(2, 3, size, size)).hidden
        assert d_stages(module.blueprint) == len(hidden)


@proves("auxiliary_generator_loss")
def test_auxiliary_loss_is_the_distance_of_the_images_moments():
    now = step(fake=torch.randn(6, 3, 4, 4, generator=seeded()), n=8)
    a, b = now.real.double().numpy(), now.fake.double().numpy()
    expected = ((a.mean(0) - b.mean(0)) ** 2).mean() + ((a.var(0, ddof=1) - b.var(0, ddof=1)) ** 2).mean()
    loss = trick("auxiliary_generator_loss", weight=2.0).g_loss(torch.tensor(5.0), now, {})
    assert loss.item() == pytest.approx(5 + 2 * expected, rel=1e-5)
    now = replace(now, fake=now.real.flip(0))  # the same images in another order
    assert trick("auxiliary_generator_loss").g_loss(torch.tensor(5.0), now, {}).item() == pytest.approx(5)


@proves("kl_hybrid")
def test_kl_hybrid_estimates_the_divergence_with_the_best_discriminator():
    data, g = Normal(0.0, 1.0), Normal(1.0, 1.5)
    x = 1 + 1.5 * torch.randn(400_000, generator=seeded())
    best = data.log_prob(x) - g.log_prob(x)  # the logit of D* = p / (p + q)
    loss = trick("kl_hybrid", weight=2.0).g_loss(torch.tensor(3.0), step(fake_critique=Critique(best, best)), {})
    true = kl_divergence(g, data).item()
    assert true != pytest.approx(kl_divergence(data, g).item(), rel=0.3)
    assert (loss.item() - 3) / 2 == pytest.approx(true, rel=0.02)


@proves("vae_hybrid")
def test_vae_hybrids_terms_in_closed_form():
    mean, log_variance = torch.randn(2, 8, 500, generator=seeded())
    rebuilt, seen = torch.randn(8, 3, 4, 4, generator=seeded(1)), []
    now = step(
        encode=lambda x: torch.stack((mean, log_variance), 1),
        generate=lambda z: seen.append(z) or rebuilt,
        critique=lambda x: Critique(x.sum((1, 2, 3)), x.flatten(1).cumsum(1)),  # features that are not the pixels
    )
    loss = trick("vae_hybrid", weight=0.5).g_loss(torch.tensor(2.0), now, {})
    std = (log_variance / 2).exp()
    prior = kl_divergence(Normal(mean, std), Normal(0.0, 1.0)).mean()
    features = (rebuilt - now.real).flatten(1).cumsum(1).square().mean()
    assert torch.allclose(loss, 2 + 0.5 * (prior + features))
    noise = (seen[0] - mean) / std  # z ~ q(z | x)
    assert noise.mean().item() == pytest.approx(0, abs=0.07)
    assert noise.std().item() == pytest.approx(1, abs=0.05)


@proves("vae_hybrid")
def test_running_statistics_are_those_of_the_runs_own_latents():
    before, drawn, after = [], [], []
    for tricks in ([], ["vae_hybrid"]):
        module, now, state = ready(DCGAN, *tricks)
        for found in (before, drawn, after):
            found.append({k: v.clone() for k, v in module.generator.named_buffers()})
            if found is before:
                g_loss(module, now, state)
            if found is drawn:
                d_loss(module, now, state)
    assert drawn[0].keys() == drawn[1].keys() != set()
    assert all(torch.equal(v, drawn[1][k]) for k, v in drawn[0].items())  # posterior codes went through G too
    for one, other in ((before, drawn), (drawn, after)):  # and they still move where they should
        assert not any(torch.equal(v, other[1][k]) for k, v in one[1].items())


@proves("vae_hybrid")
def test_the_encoder_is_trained_with_g_and_d_is_not():
    module, now, state = ready(NSGAN, "vae_hybrid")
    start = {k: v.clone() for k, v in module.encoder.named_parameters()}
    g_loss(module, now, state).backward()
    assert all(p.grad.abs().sum() > 0 for p in module.encoder.parameters())
    trained, _ = fit(small(NSGAN, tricks=["vae_hybrid"]))
    assert all(not torch.equal(v, start[k]) for k, v in trained.encoder.named_parameters())
    _, g_optimizer = module.configure_optimizers()
    held = {id(p) for group in g_optimizer.param_groups for p in group["params"]}
    assert held == {id(p) for p in (*module.generator.parameters(), *module.encoder.parameters())}


# -- penalties ------------------------------------------------------------------------------------------------------


def quadratic(x):
    """D(x) = ||x||^2 / 2, whose gradient is x."""
    return x.square().sum((1, 2, 3)) / 2


def watched(points):
    """The quadratic critic, noting where its gradient is taken."""
    return lambda x: points.append(x.detach().clone()) or quadratic(x)


@proves("gradient_penalty")
def test_gradient_penalty_is_10_times_the_squared_distance_of_a_linear_critics_slope_to_1():
    w = torch.randn(3, 4, 4, generator=seeded())
    real, fake = torch.randn(2, 5, 3, 4, 4, generator=seeded(1))
    ours = penalty("gradient_penalty")(lambda x: (x * w).sum((1, 2, 3)), real, fake, step())
    assert torch.allclose(ours, 10 * (w.norm() - 1) ** 2, rtol=1e-5)


@proves("gradient_penalty")
@pytest.mark.parametrize("points", ["line", "real", "fake"])
def test_gradient_penalty_takes_each_samples_norm_at_its_points(points):
    real, fake = torch.randn(2, 64, 3, 4, 4, generator=seeded())
    at = []
    ours = penalty("gradient_penalty", points=points, weight=2.0, target=3.0)(watched(at), real, fake, step())
    norms = at[0].flatten(1).norm(dim=1)
    assert torch.allclose(ours, 2 * (norms - 3).square().mean(), rtol=1e-5)
    if points != "line":
        assert torch.equal(at[0], {"real": real, "fake": fake}[points])
        return
    epsilon = (at[0] - fake) / (real - fake)  # one number per pair
    share = epsilon.flatten(1).median(1).values
    assert torch.allclose(at[0], fake + share.view(-1, 1, 1, 1) * (real - fake), atol=1e-4)
    assert 0 <= share.min() < 0.1
    assert 0.9 < share.max() <= 1


@proves("gradient_penalty")
def test_gradient_penalty_in_dcgan_adds_to_ds_loss_and_its_gradient_is_finite_where_d_is_flat():
    base, arm = ready(DCGAN), ready(DCGAN, "gradient_penalty")
    played = [d_loss(*each) for each in (base, arm)]
    assert played[1] > played[0]
    played[1].backward()
    flat = torch.zeros(3, 4, 4, requires_grad=True)  # a critic with gradient 0, where the norm has no derivative
    real, fake = torch.randn(2, 5, 3, 4, 4)
    loss = penalty("gradient_penalty")(lambda x: (x * flat).sum((1, 2, 3)), real, fake, step())
    assert loss.item() == pytest.approx(10)
    assert torch.isfinite(torch.autograd.grad(loss, flat)[0]).all()


@proves("no_gradient_penalty", "gp_weight")
def test_ds_loss_is_linear_in_the_weight_of_the_gradient_penalty():
    def loss(*tricks):
        return d_loss(*ready(WGANGP, *tricks)).item()

    module, now, state = ready(WGANGP, "no_gradient_penalty")
    turn = played(discriminator_loss, module, now, state)
    fake, real = (c.logits.mean() for c in (turn.step.fake_critique, turn.step.real_critique))
    bare = (fake - real).item()  # nothing but the critic's difference
    assert turn.loss.item() == pytest.approx(bare)
    ten = loss() - bare
    assert ten > 0.1
    for weight in (0.1, 1.0, 100.0):
        assert loss(f"gp_weight:weight={weight}") - bare == pytest.approx(ten * weight / 10, rel=1e-4)


@proves("dragan")
def test_dragan_asks_for_slope_1_around_real_images():
    real, fake, at = 2 * torch.randn(2000, 3, 4, 4, generator=seeded()), torch.full((2000, 3, 4, 4), 9.0), []
    ours = penalty("dragan", weight=3.0)(watched(at), real, fake, step())
    assert torch.allclose(ours, 3 * (at[0].flatten(1).norm(dim=1) - 1).square().mean(), rtol=1e-5)
    noise = at[0] - real
    assert noise.std().item() == pytest.approx(0.5 * 2, rel=0.02)
    assert noise.mean().item() == pytest.approx(0, abs=0.02)  # around, not brighter
    assert noise.std(0).min() > 0.9  # each pixel its own
    assert (noise - noise.mean((1, 2, 3), keepdim=True)).std().item() > 0.9


@proves("r1", "r2")
@pytest.mark.parametrize(("name", "side"), [("r1", 0), ("r2", 1)])
def test_r1_and_r2_are_half_gamma_times_the_mean_squared_gradient(name, side):
    pair, at = torch.randn(2, 6, 3, 4, 4, generator=seeded()), []
    ours = penalty(name, gamma=4.0)(watched(at), *pair, step())
    assert torch.allclose(ours, 2 * pair[side].square().sum() / 6)
    assert torch.equal(at[0], pair[side])
    scale = torch.tensor(1.0, requires_grad=True)  # D = scale x quadratic: the penalty is quadratic in it
    loss = penalty(name, gamma=4.0)(lambda x: scale * quadratic(x), *pair, step())
    assert torch.allclose(torch.autograd.grad(loss, scale)[0], 2 * ours)


# -- constraints ----------------------------------------------------------------------------------------------------

LAYERS = {  # a layer, and its weight as a matrix with a row per output unit
    "conv": (lambda: nn.Conv2d(3, 5, 4), lambda w: w.flatten(1)),
    "transposed": (lambda: nn.ConvTranspose2d(3, 5, 4), lambda w: w.transpose(0, 1).flatten(1)),
    "linear": (lambda: nn.Linear(7, 5), lambda w: w),
}


def buffers(network):
    return {k: v.clone() for k, v in network.named_buffers() if k.endswith((".u", ".v"))}


@proves("spectral_norm")
@pytest.mark.parametrize("kind", LAYERS)
def test_spectral_norm_divides_by_the_greatest_singular_value(kind):
    build, matrix = LAYERS[kind]
    network = nn.Sequential(build())
    original = network[0].weight.detach().clone()
    weights.spectral_norm(network, None)
    for _ in range(300):
        weights.advance(network)
    sigma = torch.linalg.svdvals(matrix(original))[0]
    assert torch.allclose(network[0].weight, original / sigma, rtol=1e-4)
    assert torch.linalg.svdvals(matrix(network[0].weight.detach()))[0].item() == pytest.approx(1, rel=1e-4)
    original = network[0].parametrizations.weight.original
    seen = torch.autograd.grad((network[0].weight * original.detach()).sum(), original)[0]
    assert (seen * original).sum().item() == pytest.approx(0, abs=1e-3)  # sigma has a gradient: scale changes nothing


@proves("spectral_norm")
@pytest.mark.parametrize("cls", [DCGAN, WGANGP])
def test_spectral_norm_is_advanced_by_no_forward_and_once_per_update_of_d(cls, monkeypatch):
    penalised = [] if cls is WGANGP else ["gradient_penalty:d_norm=none"]
    module, now, state = ready(cls, "spectral_norm", *penalised)
    before = buffers(module.discriminator)
    assert before
    d_loss(module, now, state).backward()
    g_loss(module, now, state).backward()
    after = buffers(module.discriminator)
    assert all(torch.equal(before[k], after[k]) for k in before)

    module, calls, real = small(cls, tricks=["spectral_norm", *penalised]), [], weights.SpectralNorm.advance
    monkeypatch.setattr(weights.SpectralNorm, "advance", lambda s, w: calls.append(id(s)) or real(s, w))
    fit(module)
    norms = [m for m in module.discriminator.modules() if isinstance(m, weights.SpectralNorm)]
    assert module.d_steps == 3 * module.blueprint.n_critic
    assert {id(m): calls.count(id(m)) for m in norms} == {id(m): module.d_steps for m in norms}
    assert all(not torch.equal(before[k], v) for k, v in buffers(module.discriminator).items() if before[k].numel() > 1)


def constrained(network):
    return {is_parametrized(m, "weight") for m in network.modules() if isinstance(m, weights.WEIGHTED)}


@proves("spectral_norm", "weight_norm")
@pytest.mark.parametrize("name", ["spectral_norm", "weight_norm"])
@pytest.mark.parametrize(("on", "g", "d"), [("d", False, True), ("g", True, False), ("both", True, True)])
def test_constraints_stand_on_every_layer_of_the_player_asked_for(name, on, g, d):
    module = small(DCGAN, tricks=[f"{name}:on={on}"])
    assert constrained(module.generator) == {g}
    assert constrained(module.discriminator) == {d}
    kept = [any(isinstance(m, nn.BatchNorm2d) for m in n.modules()) for n in (module.generator, module.discriminator)]
    assert kept == [not (g and name == "weight_norm"), not d]  # in place of D's norms; weight norm of G's as well


@proves("weight_norm")
def test_weight_norm_of_drawn_weights_leaves_the_function_and_takes_length_and_direction_apart():
    arm = "weight_norm:on=both,start=drawn,d_norm=keep,g_norm=keep"
    base, module = small(DCGAN), small(DCGAN, tricks=[arm])
    z, x = torch.randn(4, base.latent_dim), torch.randn(4, 3, base.blueprint.size, base.blueprint.size)
    assert torch.allclose(base(z), module(z), atol=1e-5)
    assert torch.allclose(base.discriminator(x).logits, module.discriminator(x).logits, atol=1e-5)
    names = {n.rpartition(".")[2] for n, p in module.named_parameters() if ".parametrizations.weight." in n}
    assert names == {"original0", "original1"}  # both are trained
    assert not any(hasattr(m, "first_values") for m in module.modules())


def standardised(network, seen):
    """Mean and deviation over the batch of what each constrained layer puts out, hidden layers and outputs apart."""
    found = {"hidden": [], "output": []}
    for name, layer in network.named_modules():
        if isinstance(layer, weights.WEIGHTED):
            y = seen[layer]
            over = (0, *range(2, y.ndim))
            kind = "output" if name.partition(".")[0] in ("head", "last") else "hidden"
            found[kind] += [(y.mean(over).abs().max().item(), y.std(over, correction=0))]
    return found


@proves("weight_norm")
@pytest.mark.parametrize("architecture", ["conv", "mlp", "resnet"])
@pytest.mark.parametrize("cls", [DCGAN, NSGAN])
def test_weight_norms_first_batch_gives_each_unit_mean_0_and_deviation_1(cls, architecture):
    # Salimans & Kingma 2016, equation 5: t = v x / ||v||, g = 1 / deviation of t, b = -mean / deviation
    module = small(cls, tricks=["weight_norm:on=both"], architecture=architecture)
    module.on_train_start()
    real, z = torch.randn(8, 3, 16, 16), torch.randn(8, 64)
    module._first_values(module._step(real, torch.arange(8)), z)
    for network, x in ((module.generator, z), (module.discriminator, real)):
        seen = {}
        for layer in network.modules():
            if isinstance(layer, weights.WEIGHTED):
                layer.register_forward_hook(lambda m, _, y, seen=seen: seen.update({m: y.detach()}))
        network(x)
        for kind, std in (("hidden", 1.0), ("output", 0.1)):
            for mean, deviation in standardised(network, seen)[kind]:
                assert mean < 1e-3
                assert torch.allclose(deviation, torch.full_like(deviation, std), rtol=1e-2)


@proves("weight_norm")
def test_weight_norm_with_fixed_lengths_trains_those_of_the_outputs_only():
    module = small(DCGAN, tricks=["weight_norm:on=both,lengths=fixed"])
    lengths = {n: p.clone() for n, p in module.named_parameters() if n.endswith("original0")}
    module.on_train_start()
    assert {n.split(".")[1] for n in lengths if dict(module.named_parameters())[n].requires_grad} == {"head", "last"}
    fit(module)
    trained = dict(module.named_parameters())
    assert all(not torch.equal(lengths[n], trained[n]) for n in lengths)  # from data
    assert {n.split(".")[1] for n in lengths if trained[n].requires_grad} == {"head", "last"}


@proves("weight_norm")
@pytest.mark.parametrize("kind", LAYERS)
def test_weight_norm_gives_each_output_unit_the_length_g(kind):
    build, matrix = LAYERS[kind]
    network = nn.Sequential(build())
    weights.weight_norm(network, None)
    held = network[0].parametrizations.weight
    with torch.no_grad():
        held.original0.copy_(torch.arange(1.0, 6).view(held.original0.shape))
        held.original1.mul_(3)  # a direction's length does not matter
    assert torch.allclose(matrix(network[0].weight).norm(dim=1), torch.arange(1.0, 6))
    rows, directions = matrix(network[0].weight), matrix(held.original1)
    assert torch.allclose(torch.cosine_similarity(rows, directions), torch.ones(5))


@proves("gradient_clipping")
def test_clipped_gradients_are_applied_with_the_greatest_norm_at_most():
    # plain SGD at rate 1 moves the weights by the gradient that it was given
    moved = {}

    class Watch(lightning.Callback):
        def on_train_batch_start(self, trainer, module, *_):
            self.before = {n: [p.detach().clone() for p in getattr(module, n).parameters()] for n in moved}

        def on_train_batch_end(self, trainer, module, *_):
            for n, lengths in moved.items():
                now = getattr(module, n).parameters()
                lengths.append(math.sqrt(sum((a - b).square().sum().item() for a, b in zip(now, self.before[n]))))

    def norms(*tricks):
        moved.update(generator=[], discriminator=[])
        module = small(NSGAN, tricks=list(tricks))
        sgd = Factory("torch.optim:SGD", {"lr": 1.0})
        module.blueprint = replace(module.blueprint, g_optimizer=sgd, d_optimizer=sgd)
        fit(module, callbacks=[Watch()])
        return moved["generator"] + moved["discriminator"]

    free = norms()
    assert min(free) > 1e-3
    assert norms("gradient_clipping:max_norm=0.001") == pytest.approx([0.001] * 6, rel=1e-2)
    assert norms("gradient_clipping:max_norm=1000") == free  # what is short enough stays as it is


@proves("lecam")
def test_lecam_pulls_each_side_to_the_running_mean_of_the_other():
    real, fake = torch.tensor([1.0, 3.0]), torch.tensor([-1.0, 0.0])
    fakes = Critique(fake, fake)
    now = step(real_critique=Critique(real, real), fake_critique=fakes, d_fake_critique=fakes)
    means = {"real": torch.tensor(0.5), "fake": torch.tensor(-0.25), "started": torch.tensor(1.0)}
    means["steps"] = torch.tensor(10.0)
    loss = trick("lecam", weight=2.0, decay=0.9).d_loss(torch.tensor(7.0), now, means)
    a_real, a_fake = 0.9 * 0.5 + 0.1 * 2, 0.9 * -0.25 + 0.1 * -0.5  # this step's answers are in the means it reads
    expected = ((1 - a_fake) ** 2 + (3 - a_fake) ** 2) / 2 + ((-1 - a_real) ** 2 + (0 - a_real) ** 2) / 2
    assert loss.item() == pytest.approx(7 + 2 * expected)
    # the authors' lecam_reg: relu(D(real) - mean of fake)^2 + relu(mean of real - D(fake))^2, from start_itr on
    one = trick("lecam", weight=2.0, decay=0.9, sides="one", start=10).d_loss(torch.tensor(7.0), now, means)
    sides = (real - a_fake).relu().square().mean() + (a_real - fake).relu().square().mean()
    assert torch.allclose(one, 7 + 2 * sides)
    assert trick("lecam", start=11).d_loss(torch.tensor(7.0), now, means).item() == 7


@proves("lecam")
@pytest.mark.parametrize("cls", [DCGAN, WGANGP])
def test_lecams_running_means_are_of_ds_own_answers_from_the_first_on(cls, monkeypatch):
    seen, real_d_loss = [], LeCam.d_loss

    def d_loss(self, loss, step, state):
        seen.append([c.logits.mean().item() for c in (step.real_critique, step.fake_critique)])
        return real_d_loss(self, loss, step, state)

    monkeypatch.setattr(LeCam, "d_loss", d_loss)
    module, _ = fit(small(cls, steps=4, lr=0.01, tricks=["lecam:decay=0.6"]))
    assert len(seen) == 4 * module.blueprint.n_critic
    first, *rest = seen[module.blueprint.n_critic - 1 :: module.blueprint.n_critic]  # the last D step of each round
    means = first
    for answers in rest:
        means = [0.6 * mean + 0.4 * answer for mean, answer in zip(means, answers, strict=True)]
    (state,) = module._states()
    assert [state["real"].item(), state["fake"].item()] == pytest.approx(means, rel=1e-4)


# -- augmentation ---------------------------------------------------------------------------------------------------


def augmented(policy, x, seed=0):
    return trick("diff_augment", policy=policy).inputs(x, step(seed=seed), {})


def shifted(x, down, right):
    """Images moved by whole pixels, 0 coming in."""
    h, w = x.shape[2:]
    return pad(x, (h, h, w, w))[:, :, h - down : 2 * h - down, w - right : 2 * w - right]


def shifts(x, moved, most):
    """For each image the one shift (down, right) that made it."""
    candidates = list(itertools.product(range(-most, most + 1), repeat=2))
    same = torch.stack([(shifted(x, *each) == moved).flatten(1).all(1) for each in candidates])  # (S, N)
    assert (same.sum(0) == 1).all()
    return [candidates[i] for i in same.int().argmax(0)]


@proves("diff_augment")
@pytest.mark.parametrize("policy", ["color", "translation", "cutout", "color+translation+cutout"])
@pytest.mark.parametrize("channels", [1, 3])
def test_augmentations_are_differentiable_and_keep_the_shape(policy, channels):
    x = torch.randn(3, channels, 8, 8, generator=seeded(), dtype=torch.float64, requires_grad=True)
    y = augmented(policy, x)
    assert y.shape == x.shape
    assert not torch.equal(x, y)
    assert torch.autograd.gradcheck(lambda x: augmented(policy, x), x, fast_mode=True)


@proves("diff_augment")
def test_translation_moves_by_whole_pixels_up_to_an_eighth_and_fills_with_0():
    x = torch.rand(600, 3, 16, 16, generator=seeded()) + 0.5
    found = shifts(x, augmented("translation", x), most=2)
    assert set(found) == set(itertools.product(range(-2, 3), repeat=2))
    assert found.count((0, 0)) < 60  # of 24 expected


@proves("diff_augment")
def test_cutout_zeroes_a_square_of_half_the_side():
    x = torch.rand(400, 3, 16, 16, generator=seeded()) + 0.5
    y = augmented("cutout", x)
    hole = (y == 0).all(1)  # (N, H, W)
    assert torch.equal(y, x.masked_fill(hole[:, None], 0))
    rows, columns = hole.any(2), hole.any(1)
    assert torch.equal(hole, rows[:, :, None] & columns[:, None, :])
    for side in (rows, columns):
        edges = side.float().diff(dim=1).abs().sum(1)
        assert (edges <= 2).all()  # one run of pixels
        assert set(side.sum(1).tolist()) == {4, 5, 6, 7, 8}  # the centre lies in the image, the border cuts the rest
        assert (side.sum(1)[edges == 2] == 8).all()  # a run that no border cuts is whole


@proves("diff_augment")
def test_colour_moves_brightness_and_scales_saturation_and_contrast():
    x = torch.randn(2000, 3, 8, 8, generator=seeded())
    y = augmented("color", x)
    brightness = (y - x).mean((1, 2, 3))  # neither saturation nor contrast moves the mean
    contrast = y.mean(1).std((1, 2)) / x.mean(1).std((1, 2))  # saturation leaves grey alone
    hue = (y[:, 0] - y[:, 1]).flatten(1), (x[:, 0] - x[:, 1]).flatten(1)  # scaled by both
    both = (hue[0] / hue[1]).median(1).values
    assert torch.allclose(hue[0], both[:, None] * hue[1], atol=1e-3)
    for value, low, high in ((brightness, -0.5, 0.5), (contrast, 0.5, 1.5), (both / contrast, 0.0, 2.0)):
        assert low - 1e-3 <= value.min() < low + 0.02
        assert high - 0.02 < value.max() <= high + 1e-3
        assert value.mean().item() == pytest.approx((low + high) / 2, abs=0.05)


@proves("diff_augment", "ada")
@pytest.mark.parametrize("name", ["diff_augment:policy=cutout", "ada"])
def test_real_and_fake_are_augmented_in_ds_step_and_fake_in_gs(name):
    module, now, state = ready(DCGAN, name)
    for p in state[0].values():
        p.fill_(1.0)  # ada: always
    seen = []
    module.discriminator.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    d_fake = played(discriminator_loss, module, now, state).step.fake
    turn = played(generator_loss, module, now, state)
    turn.loss.backward()
    plain = [now.real, d_fake, turn.step.fake]
    assert len(seen) == 3
    for x, y in zip(plain, seen, strict=True):
        assert x.shape == y.shape
        assert (x != y).flatten(1).any(1).all()  # every image
    assert all(p.grad.abs().sum() > 0 for p in module.generator.parameters() if p.ndim > 1)


@proves("ada")
@pytest.mark.parametrize("channels", [1, 3])
def test_ada_leaves_images_at_p_0_and_changes_each_at_p_1(channels):
    x = torch.rand(64, channels, 16, 16, generator=seeded()) * 2 - 1
    ada = trick("ada")
    assert torch.allclose(ada.inputs(x, step(), {"p": torch.tensor(0.0)}), x, atol=1e-5)
    y = ada.inputs(x.requires_grad_(), step(), {"p": torch.tensor(1.0)})
    assert y.shape == x.shape
    assert ((y - x).abs().flatten(1).max(1).values > 0.1).all()
    assert (torch.autograd.grad(y.square().sum(), x)[0].flatten(1).norm(dim=1) > 0).all()


@proves("ada")
@pytest.mark.parametrize(("channels", "more"), [(1, 1.0), (3, 0.9**2)])
def test_ada_gates_each_transformation_of_appendix_b_by_p(channels, more):
    # the share that nothing changes: flips and quarter turns are often none, one of 4 x 4 whole shifts is none
    x, p = torch.rand(4000, channels, 16, 16, generator=seeded()) * 2 - 1, 0.1
    same = (trick("ada").inputs(x, step(), {"p": torch.tensor(p)}) - x).abs().flatten(1).max(1).values < 1e-4
    mirror, turn, luma, blit = 1 - p / 2, 1 - 3 * p / 4, 1 - p / 2, 1 - p * 15 / 16
    scale = rotate = stretch = fraction = brightness = contrast = 1 - p
    expected = mirror * turn * luma * blit * scale * rotate * stretch * fraction * brightness * contrast * more
    assert same.float().mean().item() == pytest.approx(expected, abs=0.015)


@proves("ada")
def test_adas_colours_on_an_even_image_follow_appendix_b():
    # geometry leaves an even grey image, and so do hue and saturation: +-2^(N(0, 0.5^2)) (x + N(0, 0.2^2)) is left
    for channels in (1, 3):
        y = trick("ada").inputs(torch.full((4000, channels, 8, 8), 2.0), step(), {"p": torch.tensor(1.0)})
        assert torch.allclose(y, y[:, :1, :1, :1].expand_as(y), atol=1e-4)
        value = y[:, 0, 0, 0]
        assert (value < 0).float().mean().item() == pytest.approx(0.5, abs=0.04)
        assert value.abs().log2().mean().item() == pytest.approx(1, abs=0.04)
        spread = math.hypot(0.5, 0.2 / 2 / math.log(2))
        assert value.abs().log2().std().item() == pytest.approx(spread, rel=0.06)


@proves("ada")
def test_adas_p_follows_how_sure_d_is():
    ada = trick("ada", target=0.6, images=80)

    def after(p, *signs):
        answers = torch.tensor([float(s) for s in signs])
        return ada.advance({"p": torch.tensor(p)}, step(n=8, real_critique=Critique(answers, answers)))["p"].item()

    assert ada.init(step())["p"] == 0
    assert after(0.5, 9, 9, 9, 9, 9, 9, 9, -9) == pytest.approx(0.6)  # r = 0.75: over the target, by batch / images
    assert after(0.5, 9, 9, 9, 9, 9, 9, -9, -9) == pytest.approx(0.4)  # r = 0.5
    assert after(0.95, 1) == 1.0
    assert after(0.05, -1) == 0.0


@proves("ada")
@pytest.mark.parametrize(
    ("cls", "tricks", "batches"),
    [(DCGAN, [], 1), (WGANGP, [], 5), (DCGAN, ["n_critic:n=3,equal=steps"], 3), (DCGAN, ["n_generator:n=2"], 0.5)],
)
def test_adas_speed_is_in_real_images_that_d_sees(cls, tricks, batches):
    module, now, state = ready(cls, "ada:images=800,target=-1", *tricks)
    n = len(now.real)
    now = replace(now, real_critique=Critique(torch.ones(n), torch.ones(n, 1)))
    assert module.chain.advance(state, now)[0]["p"].item() == pytest.approx(batches * n / 800)


@proves("consistency")
def test_consistency_is_0_for_a_d_that_ignores_its_input():
    same = Critique(torch.arange(8.0), torch.zeros(8, 1))
    now = step(critique=lambda x: same, real_critique=same)
    assert trick("consistency").d_loss(torch.tensor(4.0), now, {}).item() == 4.0


def mirrored(x, down, right):
    """Images (N, C, H, W) moved by whole pixels; what comes in is mirrored at the edge, which is not repeated."""
    h, w = x.shape[2:]
    rows, columns = ((torch.arange(n) + by).abs() for n, by in ((h, down), (w, right)))
    rows, columns = (torch.where(i < n, i, 2 * (n - 1) - i) for i, n in ((rows, h), (columns, w)))
    return x[:, :, rows][:, :, :, columns]


@proves("consistency")
@pytest.mark.parametrize(
    ("params", "move", "size"),
    [({}, mirrored, 16), ({"padding": "zero"}, shifted, 16), ({"flip": False}, mirrored, 28)],
)
def test_consistency_is_the_squared_distance_to_ds_answer_to_a_flipped_and_shifted_copy(params, move, size):
    real = torch.rand(300, 3, size, size, generator=seeded()) + 0.5
    answer, moved = lambda x: x[:, 0, :, :5].sum((1, 2)), []
    now = step(
        real=real,
        critique=lambda x: moved.append(x) or Critique(answer(x), x),
        real_critique=Critique(answer(real), real),
    )
    loss = trick("consistency", weight=3.0, **params).d_loss(torch.tensor(4.0), now, {})
    assert torch.allclose(loss, 4 + 3 * (answer(real) - answer(moved[0])).square().mean())
    most = size // 8  # 2 and, of 3.5, 3
    ways = list(itertools.product(range(-most, most + 1), repeat=2))
    same = torch.stack(
        [(move(side, *by) == moved[0]).flatten(1).all(1) for side in (real, real.flip(3)) for by in ways]
    )
    assert (same.sum(0) == 1).all()
    flipped = 150 if params.get("flip", True) else 300
    assert same[: len(ways)].sum().item() == pytest.approx(flipped, abs=45)
    assert same.any(1).sum() >= len(ways)  # each way there is


@proves("consistency")
def test_consistency_says_what_becomes_of_ds_batch_norm():
    for level, norms, spectral in (("keep", True, False), ("none", False, False), ("spectral", False, True)):
        d = small(DCGAN, tricks=[f"consistency:d_norm={level}"]).discriminator
        assert any(isinstance(m, nn.BatchNorm2d) for m in d.modules()) == norms
        assert constrained(d) == {spectral}


# -- sampling -------------------------------------------------------------------------------------------------------


@proves("batch_statistics_at_sampling")
@pytest.mark.parametrize("averaged", [[], ["generator_ema"]])
def test_batch_statistics_at_sampling_switch_batch_norm_alone(averaged):
    tricks = ["batch_statistics_at_sampling", "generator_dropout_train_only", *averaged]
    module, _ = fit(small(DCGAN, tricks=tricks, steps=1))
    with module.sampling() as g:
        modes = {type(m): m.training for m in g.modules()}
    assert modes[nn.BatchNorm2d] is True
    assert modes[nn.Dropout] is False


# -- what is refused ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "params", "says"),
    [
        ("label_flipping", {"p": 1.5}, "label_flipping: p=1.5 is out of range: give a number over 0, up to 1"),
        ("label_smoothing", {"real": -0.1}, "real=-0.1 is out of range: give a number over 0, up to 0.999999"),
        ("soft_labels", {"fake_high": 9.0}, "fake_high=9.0 is out of range"),
        ("f_gan", {"divergence": "jeffrey"}, "jeffrey.*js, kl, pearson, reverse_kl, squared_hellinger"),
        ("f_gan", {"divergence": "reverse-kl"}, "did you mean 'reverse_kl'"),
        ("gradient_penalty", {"weight": -1.0}, "weight=-1.0 is out of range: give a number over 0"),
        ("gradient_penalty", {"points": "middle"}, "middle.*fake, line, real"),
        ("r1", {"gamma": "ten"}, "gamma='ten' is not a number"),
        ("dragan", {"noise": float("nan")}, "noise=nan is not a number"),
        ("spectral_norm", {"on": "both players"}, "known: both, d, g"),
        ("gradient_clipping", {"max_norm": 0.0}, "max_norm=0.0 is out of range"),
        ("feature_matching", {"layer": 1.5}, "layer=1.5 is not a whole number"),
        ("lecam", {"decay": 2.0}, "decay=2.0 is out of range: give a number from 0 to 1"),
        ("diff_augment", {"policy": "colour"}, "policy='colour': join some of color, translation, cutout"),
        ("diff_augment", {"policy": "cutout+cutout"}, "policy='cutout.cutout'"),
        ("ada", {"images": 0}, "images=0 is out of range: give a whole number from 1"),
        ("wgan_clip", {"clip": 0.1}, "wgan_clip.*clip"),
    ],
)
def test_a_bad_parameter_is_refused_by_name_with_what_would_be_right(name, params, says):
    with pytest.raises(InputError, match=says):
        trick(name, **params)


@pytest.mark.parametrize(
    "pair",
    [
        ("relativistic", "r1"),
        ("gradient_penalty", "wgan_clip"),
        ("spectral_norm", "batch_norm_everywhere"),
        ("ada", "diff_augment"),
    ],
)
def test_two_of_which_one_would_undo_the_other_are_refused_in_either_order(pair):
    for tricks in (pair, pair[::-1]):
        with pytest.raises(InputError, match="keep one of them"):
            assemble(Recipe(tricks=tricks))


@proves("soft_labels", "label_flipping")
def test_targets_of_several_batches_of_fakes_per_real_one():
    targets = Targets(
        torch.ones(4), torch.zeros(12)
    )  # three batches of fakes, as experience_replay makes more than one
    soft = trick("soft_labels").targets(targets, step(), {})
    assert (soft.real.shape, soft.fake.shape) == ((4,), (12,))
    assert soft.real.min() >= 0.7
    assert soft.fake.max() <= 0.3
    flipped = trick("label_flipping", p=1.0).targets(targets, step(), {})
    assert torch.equal(flipped.real, torch.zeros(4))
    assert torch.equal(flipped.fake, torch.ones(12))
