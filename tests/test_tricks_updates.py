"""What makes each trick on updates that trick: Adam's numbers, momentum, extrapolation, looking ahead, averages."""

import math
from dataclasses import replace

import pytest
import scipy.stats
import torch
from test_models import fit, small, weights
from test_tricks_nets import at_rest
from torch import nn
from torch.nn.functional import softplus
from trick_tools import proves, step, trick

from gan_ablate import DCGAN, NSGAN, WGANGP
from gan_ablate.adam import GameAdam
from gan_ablate.errors import InputError
from gan_ablate.models.gradients import DiscriminatorTurn, agree
from gan_ablate.models.rounds import Players
from gan_ablate.optim import Unrolled, uphill
from gan_ablate.recipe import Recipe
from gan_ablate.rejection import accepted, log_odds
from gan_ablate.step import discriminator_loss, generator_loss, unrolled
from gan_ablate.tricks import assemble, complete, not_applicable


def optimisers_of(module):
    d, g = module.configure_optimizers()
    return d, g


# -- Adam's numbers --------------------------------------------------------------------------------------------------


@proves("adam_epsilon", "adam_beta2")
@pytest.mark.parametrize("cls", [DCGAN, WGANGP])
def test_adams_numbers_are_changed_in_both_players_and_nothing_else_is(cls):
    base = [o.defaults for o in optimisers_of(small(cls))]
    for name, changed in (("adam_epsilon:eps=0.001", {"eps": 1e-3}), ("adam_beta2:beta2=0.5", {})):
        for o, before in zip(optimisers_of(small(cls, tricks=[name])), base, strict=True):
            betas = before["betas"] if changed else (before["betas"][0], 0.5)
            assert o.defaults == {**before, **changed, "betas": betas}
            assert type(o) is torch.optim.Adam


@proves("adam_epsilon")
def test_a_large_epsilon_makes_adams_step_one_along_the_gradient():
    """u = m / (sqrt(v) + eps) -> m / eps: the step grows with the gradient, while Adam's own is of one size."""
    small_, large = (torch.zeros(3, requires_grad=True) for _ in range(2))
    optimizers = [assemble(Recipe(tricks=("adam_epsilon:eps=1",)))[1].g_optimizer([p]) for p in (small_, large)]
    for p, gradient, o in zip((small_, large), (1e-4, 1e-3), optimizers, strict=True):
        p.grad = torch.full((3,), gradient)
        o.step()
    assert (large / small_).mean().item() == pytest.approx(10, rel=0.01)


# -- an Adam of games ------------------------------------------------------------------------------------------------


def moved(build, gradients):
    """Where an optimiser takes a weight of 1 along a list of gradients."""
    p, places = nn.Parameter(torch.ones(4, dtype=torch.float64)), []
    optimizer = build([p])
    for gradient in gradients:
        p.grad = torch.full_like(p, gradient) * torch.arange(1, 5)
        optimizer.step()
        places.append(p.detach().clone())
    return torch.stack(places)


GRADIENTS = [0.3, -1.0, 0.7, 0.05, -0.2, 2.0]


def by_hand(beta1, beta2, lr, eps, optimism):
    """Kingma & Ba's algorithm 1 and Daskalakis et al.'s algorithm 1, in numpy's numbers."""
    x, m, v, last, places = torch.ones(4).double(), 0.0, 0.0, 0.0, []
    for t, gradient in enumerate(GRADIENTS, 1):
        g = gradient * torch.arange(1, 5).double()
        m, v = beta1 * m + (1 - beta1) * g, beta2 * v + (1 - beta2) * g**2
        u = (m / (1 - beta1**t)) / ((v / (1 - beta2**t)).sqrt() + eps)
        x = x - lr * u - lr * optimism * (u - last)
        last = u
        places.append(x)
    return torch.stack(places)


@proves("negative_momentum", "optimistic_adam")
@pytest.mark.parametrize(("beta1", "optimism"), [(0.5, 0.0), (0.0, 1.0), (-0.5, 0.0), (0.9, 1.0), (-0.3, 1.0)])
def test_the_adam_of_games_is_the_papers_equations(beta1, optimism):
    ours = moved(lambda w: GameAdam(w, 0.1, (beta1, 0.9), optimism=optimism), GRADIENTS)
    assert torch.allclose(ours, by_hand(beta1, 0.9, 0.1, 1e-8, optimism), atol=1e-7)
    if beta1 >= 0 and not optimism:
        theirs = moved(lambda w: torch.optim.Adam(w, 0.1, (beta1, 0.9)), GRADIENTS)
        assert torch.allclose(ours, theirs, atol=1e-7)


def test_the_adam_of_games_counts_each_weights_own_steps_as_torchs_does():
    """Lazy penalties leave a bias without a gradient, and a network of one's own may use a weight late."""

    def ends(build):
        weights = [nn.Parameter(torch.ones(3)) for _ in range(2)]
        optimizer = build(weights)
        for k in range(6):
            weights[0].grad = torch.full((3,), 0.5 - k)
            weights[1].grad = torch.full((3,), 1.0 + k) if k in (2, 3, 5) else None
            optimizer.step()
        return torch.stack([w.detach() for w in weights])

    ours, theirs = (ends(lambda w, a=a: a(w, 0.1, (0.5, 0.9))) for a in (GameAdam, torch.optim.Adam))
    assert torch.allclose(ours, theirs, atol=1e-6)


@proves("negative_momentum")
def test_negative_momentum_is_ds_alone_unless_g_is_to_have_it_too():
    d, g = optimisers_of(small(DCGAN, tricks=["negative_momentum"]))
    assert d.defaults["betas"] == (-0.5, 0.999)
    assert isinstance(d, GameAdam)
    assert type(g) is torch.optim.Adam
    assert g.defaults["betas"] == (0.5, 0.999)
    both = optimisers_of(small(WGANGP, tricks=["negative_momentum:on=both,beta1=-0.2"]))
    assert [o.defaults["betas"] for o in both] == [(-0.2, 0.9)] * 2


def distance_in_a_bilinear_game(build, *, steps=300):
    """How far from the equilibrium of min_x max_y x y a pair of optimisers ends that started at distance sqrt 2."""
    x, y = (nn.Parameter(torch.ones(())) for _ in range(2))
    pair = [build([p]) for p in (x, y)]
    for _ in range(steps):
        x.grad, y.grad = y.detach().clone(), -x.detach().clone()
        for optimizer in pair:
            optimizer.step()
    return math.hypot(x.item(), y.item())


@proves("optimistic_adam")
def test_optimism_comes_nearer_to_the_equilibrium_of_a_bilinear_game_where_adam_leaves():
    adam, optimistic = (
        distance_in_a_bilinear_game(lambda w, o=o: GameAdam(w, 0.1, (0.0, 0.999), optimism=o)) for o in (0.0, 1.0)
    )
    assert adam > math.sqrt(2)
    assert optimistic < 0.1


@proves("optimistic_adam")
def test_optimistic_adam_is_both_players_with_their_own_numbers():
    for o in optimisers_of(small(NSGAN, tricks=["optimistic_adam"], lr=0.004, beta1=0.1)):
        assert isinstance(o, GameAdam)
        assert o.defaults == {"lr": 0.004, "betas": (0.1, 0.999), "beta2": None, "eps": 1e-8, "optimism": 1.0}


@proves("adam_epsilon", "adam_beta2", "negative_momentum", "optimistic_adam")
@pytest.mark.parametrize("name", ["adam_epsilon", "adam_beta2", "negative_momentum", "optimistic_adam"])
def test_adams_numbers_mean_nothing_beside_another_optimiser(name):
    with pytest.raises(InputError, match="both set"):
        assemble(Recipe(tricks=(name, "rmsprop")))


# -- where gradients are taken ---------------------------------------------------------------------------------------


def of(module):
    """Both players' weights as one vector each, D first."""
    return [
        torch.cat([p.detach().flatten() for p in net.parameters()]) for net in (module.discriminator, module.generator)
    ]


def gradients_at(module, batch_step, states, z_d, z_g):
    """Both players' gradients where they are, as vectors, D first; nothing moves."""
    found = []
    for net, loss, z in ((module.discriminator, discriminator_loss, z_d), (module.generator, generator_loss, z_g)):
        played = loss(module.game, z, batch_step, states)
        found.append(torch.cat([g.flatten() for g in torch.autograd.grad(played.loss, list(net.parameters()))]))
    return found


def exactly(module):
    """A module at rest in float64 and without kinks, for differences; its logits and losses stay float32."""
    module, now, states = at_rest(module)
    for part in list(module.modules()):
        for name, child in part.named_children():
            if isinstance(child, nn.ReLU | nn.LeakyReLU):
                setattr(part, name, nn.Softplus())
    return module.double(), replace(now, real=now.real.double()), states


def add(module, changes):
    with torch.no_grad():
        for net, change in zip((module.discriminator, module.generator), changes, strict=True):
            for p, part in zip(net.parameters(), change.split([p.numel() for p in net.parameters()]), strict=True):
                p.add_(part.view(p.shape))


LR = 0.05


def one_round(name):
    """A round by SGD, without batch norm or noise: (module, where it began, its batch, its z's)."""
    module, now, states = at_rest(small(NSGAN, tricks=[name]))
    drawn, draw = [], module._z
    module._z = lambda stream, n: drawn.append(draw(stream, n)) or drawn[-1]
    d, g = (torch.optim.SGD(net.parameters(), LR) for net in (module.discriminator, module.generator))
    players = Players(d, g, backward=lambda loss: loss.backward())
    start = of(module)
    turn = module.discriminator_turn(players, (now.real, now.labels), first=False, recorded=False)
    module.generator_turn(players, turn, recorded=False)
    return module, start, now, states, drawn


@proves("simultaneous_updates", "extragradient")
@pytest.mark.parametrize("name", ["simultaneous_updates", "extragradient", "adam_epsilon"])
def test_where_the_gradients_of_a_round_are_taken(name):
    """F(w) both players' gradients: w - lr F(w) at once; w - lr F(w - lr F(w)); or one after the other."""
    module, start, now, states, (z_d, z_g) = one_round(name)
    end = of(module)
    add(module, [a - b for a, b in zip(start, end, strict=True)])
    d, g = gradients_at(module, now, states, z_d, z_g)
    if name == "extragradient":
        add(module, [-LR * d, -LR * g])
        d, g = gradients_at(module, now, states, z_d, z_g)
    elif name != "simultaneous_updates":
        add(module, [-LR * d, 0 * g])  # base: G sees D as it is after its update
        _, g = gradients_at(module, now, states, z_d, z_g)
    for began, ended, gradient in zip(start, end, (d, g), strict=True):
        assert torch.allclose(ended, began - LR * gradient, atol=1e-6)
        assert not torch.allclose(ended, began, atol=1e-6)


@proves("extragradient")
def test_extragradient_lets_adams_moments_take_in_both_gradients():
    counts = {}
    for name in ("extragradient", "simultaneous_updates"):
        _, trainer = fit(small(DCGAN, tricks=[name], steps=4))
        counts[name] = {int(s["step"]) for o in trainer.optimizers for s in o.state.values()}
    assert counts == {"extragradient": {8}, "simultaneous_updates": {4}}


@proves("simultaneous_updates", "extragradient")
@pytest.mark.parametrize("name", ["simultaneous_updates", "extragradient"])
def test_both_at_once_need_a_step_of_each(name):
    assert "needs one step of each player" in not_applicable(Recipe(model="wgan_gp", tricks=(name,)))
    assert not_applicable(Recipe(model="wgan_gp", tricks=(name, "n_critic:n=1"))) is None
    assert not_applicable(Recipe(tricks=(name, "loss_balancing"))) is not None
    with pytest.raises(InputError, match="both set updates"):
        assemble(Recipe(tricks=("simultaneous_updates", "extragradient")))


@proves("extragradient", "simultaneous_updates")
def test_ds_weights_are_projected_after_a_joint_update_too():
    for name in ("extragradient", "simultaneous_updates"):
        module, _ = fit(small(WGANGP, tricks=["wgan_clip:c=0.02", name, "n_critic:n=1"]))
        assert max(p.abs().max() for p in module.discriminator.parameters()) <= 0.02


@proves("sharpness_aware")
def test_sharpness_aware_gradients_are_those_at_rho_along_the_gradient():
    """Foret et al., algorithm 1: w <- w - lr * grad L(w + rho * grad L(w) / ||grad L(w)||), player by player."""
    module, start, now, states, (z_d, z_g) = one_round("sharpness_aware:rho=0.3")
    end = of(module)
    add(module, [a - b for a, b in zip(start, end, strict=True)])
    d, _ = gradients_at(module, now, states, z_d, z_g)
    add(module, [0.3 * d / d.norm(), torch.zeros_like(start[1])])
    worse, _ = gradients_at(module, now, states, z_d, z_g)
    assert torch.allclose(end[0], start[0] - LR * worse, atol=1e-6)
    add(module, [end[0] - of(module)[0], torch.zeros_like(start[1])])
    _, g = gradients_at(module, now, states, z_d, z_g)
    add(module, [torch.zeros_like(start[0]), 0.3 * g / g.norm()])
    _, worse = gradients_at(module, now, states, z_d, z_g)
    assert torch.allclose(end[1], start[1] - LR * worse, atol=1e-6)


@proves("sharpness_aware")
def test_uphill_is_of_the_given_length_and_taken_back_bit_for_bit():
    weights_ = [nn.Parameter(torch.randn(5)), nn.Parameter(torch.randn(2, 3)), nn.Parameter(torch.randn(1))]
    optimizer = torch.optim.SGD(weights_, 0.1)
    for w in weights_[:2]:
        w.grad = torch.randn_like(w)
    before = [w.detach().clone() for w in weights_]
    with uphill(optimizer, 0.05):
        away = [w.detach() - b for w, b in zip(weights_, before, strict=True)]
        along = sum((a * w.grad).sum() for a, w in zip(away, weights_[:2], strict=False))
    assert torch.cat([a.flatten() for a in away]).norm().item() == pytest.approx(0.05, rel=1e-4)
    assert along > 0
    assert all(torch.equal(w, b) for w, b in zip(weights_, before, strict=True))


@proves("sharpness_aware", "extragradient")
@pytest.mark.parametrize("name", ["sharpness_aware:rho=0", "lookahead:k=1", "lookahead:alpha=1"])
def test_a_step_that_would_be_bases_is_refused(name):
    with pytest.raises(InputError, match="out of range"):
        complete(Recipe(tricks=(name,)))


@proves("consensus_optimisation")
def test_consensus_adds_the_gradient_of_half_the_square_of_both_gradients():
    """Mescheder et al., algorithm 1, on a game of two numbers, by hand: f = a b, v = (b, -a), gradient of ||v||^2 / 2."""
    module, now, states = exactly(small(NSGAN, tricks=["consensus_optimisation:weight=0.5"]))
    z_d, z_g = torch.randn(2, 8, 64).double()
    d_weights, g_weights = list(module.discriminator.parameters()), list(module.generator.parameters())
    for p in (*d_weights, *g_weights):
        p.grad = torch.zeros_like(p)
    agree(module, DiscriminatorTurn(now, z_d, {}), z_g, states)
    added = [torch.cat([p.grad.flatten() for p in own]) for own in (d_weights, g_weights)]
    # half the square along a direction, by central differences of both gradients where they are
    direction = [torch.randn_like(x) for x in added]

    def half_square(step):
        add(module, [step * x for x in direction])
        v = gradients_at(module, now, states, z_d, z_g)
        add(module, [-step * x for x in direction])
        return sum(x.double().square().sum() for x in v) / 2

    slope = (half_square(1e-4) - half_square(-1e-4)) / 2e-4
    ours = sum((x * y).sum() for x, y in zip(added, direction, strict=True))
    assert ours.item() == pytest.approx(0.5 * slope.item(), rel=0.01)


@proves("consensus_optimisation")
def test_consensus_is_of_both_players_at_once():
    with pytest.raises(InputError, match="both set updates"):
        assemble(Recipe(tricks=("consensus_optimisation", "extragradient")))
    blueprints = [
        assemble(Recipe(tricks=(name,)))[1] for name in ("consensus_optimisation", "simultaneous_updates:norm=none")
    ]
    assert blueprints[0].updates == "simultaneous"
    assert replace(blueprints[0], consensus=0.0) == blueprints[1]  # its control differs by the third loss alone
    spec = complete(Recipe(tricks=("simultaneous_updates",))).tricks[0]
    assert "norm" not in spec.params  # which came when runs without it were kept


@proves("unrolled")
@pytest.mark.parametrize("kind", ["SGD", "Adam"])
def test_the_unrolled_d_is_d_after_the_optimisers_own_steps_and_stays_where_it_is(kind):
    module, now, states = at_rest(small(NSGAN, tricks=["unrolled:steps=3"]))
    z = torch.randn(8, 64)
    d = module.discriminator
    optimizer = {"SGD": torch.optim.SGD, "Adam": torch.optim.Adam}[kind](d.parameters(), 0.01)

    def learn():
        optimizer.zero_grad()
        discriminator_loss(module.game, z, now, states).loss.backward()
        optimizer.step()

    learn()  # so that Adam has moments
    before = of(module)[0]
    ahead = unrolled(module.game, Unrolled(optimizer), z, now, states).discriminator.ahead
    assert torch.equal(of(module)[0], before)
    for _ in range(3):
        learn()
    for name, p in d.named_parameters():
        assert torch.allclose(ahead[name], p, atol=1e-5)


@proves("unrolled")
def test_gs_loss_knows_how_ds_steps_depend_on_g():
    """Of min_x max_y x y after a step of y: y + lr x, so the slope by x is y + 2 lr x. In networks: by differences."""
    module, now, states = exactly(small(NSGAN, tricks=["unrolled:steps=2"]))
    z_d, z_g = torch.randn(2, 8, 64).double()
    optimizer = torch.optim.SGD(module.discriminator.parameters(), 0.5)

    def loss():
        game = unrolled(module.game, Unrolled(optimizer), z_d, now, states)
        return generator_loss(game, z_g, now, states).loss

    g = list(module.generator.parameters())
    slopes = torch.cat([x.flatten() for x in torch.autograd.grad(loss(), g)])
    short = torch.cat([x.flatten() for x in torch.autograd.grad(generator_loss(module.game, z_g, now, states).loss, g)])
    direction = slopes / slopes.norm()
    ends = []
    for step_ in (1e-3, -1e-3):
        add(module, [torch.zeros_like(of(module)[0]), step_ * direction])
        ends.append(loss().item())
        add(module, [torch.zeros_like(of(module)[0]), -step_ * direction])
    assert slopes.norm().item() == pytest.approx((ends[0] - ends[1]) / 2e-3, rel=0.02)
    assert not torch.allclose(slopes, short, rtol=0.05)


@proves("latent_optimisation")
def test_z_takes_a_damped_step_of_the_natural_gradient():
    """Wu et al., equations 10 to 12: alpha (g g^T + beta I)^-1 g, with g the gradient of D(G(z)) by z."""
    module, now, states = at_rest(small(NSGAN, tricks=["latent_optimisation:rate=0.7,damping=2"]))
    z, seen = torch.randn(8, 64, requires_grad=True), []
    values = module.discriminator(module.generator(z)).logits
    gradients = [torch.autograd.grad(value, z, retain_graph=True)[0][i] for i, value in enumerate(values)]
    expected = [
        x + 0.7 * torch.linalg.solve(torch.outer(g, g) + 2 * torch.eye(64), g)
        for x, g in zip(z, gradients, strict=True)
    ]
    module.generator.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    for loss in (discriminator_loss, generator_loss):
        seen.clear()
        loss(module.game, z.detach(), now, states)
        assert torch.equal(seen[0], z)
        assert torch.allclose(seen[1], torch.stack(expected), atol=1e-5)
        assert seen[1].requires_grad
    module.generate(8, seed=0)
    assert not seen[2].requires_grad
    assert len(seen) == 3


@proves("latent_optimisation")
@pytest.mark.parametrize("player", ["discriminator", "generator"])
def test_both_players_learn_through_the_step_of_z_and_pay_for_its_length(player):
    module, now, states = at_rest(small(NSGAN, tricks=["latent_optimisation:rate=0.7,damping=2,penalty=3"]))
    g, d, z = module.generator, module.discriminator, torch.randn(8, 64)
    start = z.clone().requires_grad_()
    (slope,) = torch.autograd.grad(d(g(start)).logits.sum(), start, create_graph=True)
    move = 0.7 * slope / (2 + slope.square().sum(1, keepdim=True))
    fake, real = d(g(z + move)).logits, d(now.real).logits
    game = {"discriminator": (softplus(fake) + softplus(-real)).mean(), "generator": softplus(-fake).mean()}
    weights = list(getattr(module, player).parameters())
    expected = torch.autograd.grad(game[player] + 3 * move.square().sum(1).mean(), weights)
    loss = {"discriminator": discriminator_loss, "generator": generator_loss}[player]
    ours = torch.autograd.grad(loss(module.game, z, now, states).loss, weights)
    assert all(torch.allclose(a, b, rtol=1e-3, atol=1e-6) for a, b in zip(ours, expected, strict=True))


# -- lookahead -------------------------------------------------------------------------------------------------------


@proves("lookahead")
def test_lookahead_is_chavdarova_et_al_algorithm_1_on_both_players():
    """Against the algorithm with a slow copy, moved by known changes; the step between is a plain addition."""
    own = trick("lookahead", k=3, alpha=0.25)
    g, d = {"a.b": torch.zeros(4)}, {"c": torch.ones(2)}
    now = step(g_parameters=g, d_parameters=d)
    state = own.init(now)
    fast, slow = {"g": torch.zeros(4), "d": torch.ones(2)}, {"g": torch.zeros(4), "d": torch.ones(2)}
    for t in range(1, 10):
        for live, mine in ((g["a.b"], "g"), (d["c"], "d")):
            live.add_(t)
            fast[mine] = fast[mine] + t
        if t % 3 == 0:
            slow = {k: slow[k] + 0.25 * (fast[k] - slow[k]) for k in slow}
            fast = dict(slow)
        own.settle({"g|a|b": g["a.b"], "d|c": d["c"]}, now, state)
        state = own.advance(state, now)
        assert torch.allclose(g["a.b"], fast["g"])
        assert torch.allclose(d["c"], fast["d"])


@proves("lookahead")
def test_lookahead_goes_back_in_training_every_kth_step_of_g_and_at_no_other():
    """With alpha near 0 the k-th step leads back to where the weights were k steps ago."""
    ends = {n: fit(small(NSGAN, tricks=["lookahead:k=3,alpha=0.000002"], steps=n))[0] for n in (2, 3, 4)}
    start, base = of(small(NSGAN)), of(fit(small(NSGAN, steps=2))[0])
    for a, b, c, d in zip(start, of(ends[3]), base, of(ends[2]), strict=True):
        assert torch.allclose(a, b, atol=1e-6)
        assert torch.equal(c, d)
    assert not torch.allclose(of(ends[4])[1], start[1], atol=1e-6)


# -- averages --------------------------------------------------------------------------------------------------------


@proves("generator_ema")
@pytest.mark.parametrize(("ramp", "start"), [(0.05, 0.0), (0.5, 0.0), (0.05, 0.3)])
def test_the_average_ramps_up_and_starts_where_it_is_told(ramp, start):
    """Karras et al.'s code: half-life min(limit, ramp * steps); Brock et al.'s: the live weights before the start."""
    own, weight = trick("generator_ema", ramp=ramp, start=start), torch.zeros(1)
    state, by_hand_ = own.init(step(g_parameters={"w": weight})), 0.0
    for t in range(1, 41):
        weight += 1
        share = (t - 1) / 40
        decay = min(0.999, 0.5 ** (1 / (ramp * t))) if share >= start else 0.0
        by_hand_ = decay * by_hand_ + (1 - decay) * t
        state = own.advance(state, step(g_parameters={"w": weight}, t=share))
        assert state["w"].item() == pytest.approx(by_hand_, rel=1e-4)


@proves("generator_ema")
def test_parameters_that_came_later_leave_the_ids_of_kept_runs_as_they_were():
    kept = complete(Recipe(tricks=("generator_ema",)))
    assert kept.tricks[0].params == {"decay": 0.999, "warm_up": "ramp"}
    assert kept.run_id == complete(Recipe(tricks=("generator_ema:ramp=0.05,start=0",))).run_id
    assert kept.run_id == "302a66871657c362"  # of version 1.0
    assert complete(Recipe(tricks=("generator_ema:start=0.14",))).tricks[0].params["start"] == 0.14
    module, _ = fit(small(DCGAN, tricks=["generator_ema:start=0.5"]))
    assert module.chain.tricks[0].start == 0.5


# -- sampling --------------------------------------------------------------------------------------------------------


@proves("truncation")
@pytest.mark.parametrize("threshold", [0.5, 1.0, 2.0, 5.0])
def test_truncated_latents_are_scipys_truncated_normal_and_keep_the_order_of_the_draw(threshold):
    from gan_ablate.interpolation import truncated

    z = torch.randn(20_000, 1, generator=torch.Generator().manual_seed(1))
    ours = truncated(z, torch.Generator(), threshold=threshold)
    law = scipy.stats.truncnorm(-threshold, threshold)
    assert scipy.stats.kstest(ours.flatten().numpy(), law.cdf).pvalue > 0.001
    assert ours.abs().max() <= threshold
    assert (ours[z.flatten().argsort()].diff(dim=0) >= 0).all()
    far = truncated(torch.tensor([[9.0, -40.0]]), torch.Generator(), threshold=threshold)
    assert torch.allclose(far, torch.tensor([[threshold, -threshold]]), atol=1e-3 if threshold < 5 else 1e-2)


@proves("truncation")
def test_truncation_acts_at_sampling_alone():
    base, arm = (fit(small(DCGAN, tricks=t))[0] for t in ((), ("truncation:threshold=0.2",)))
    ours, theirs = weights(arm), weights(base)
    assert all(torch.equal(v, ours[k]) for k, v in theirs.items())
    seen = []
    arm.generator.register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    arm.generate(64, seed=0)
    assert 0.19 < seen[0].abs().max() <= 0.2


@proves("rejection_sampling")
def test_what_is_kept_has_the_datas_distribution_where_d_is_optimal_and_gamma_is_0():
    """p over {0, 1, 2} from q by D's logit log p / q: acceptance p / (q M), and the shares of what is kept are p's."""
    p, q = torch.tensor([0.2, 0.5, 0.3]), torch.tensor([0.5, 0.3, 0.2])
    logits = (p / q).log()
    kept = log_odds(logits, logits.max()).sigmoid().float() * q
    assert torch.allclose(kept / kept.sum(), p, atol=1e-6)
    assert kept.sum().item() == pytest.approx(1 / (p / q).max().item(), rel=1e-5)


@proves("rejection_sampling")
def test_the_percentile_sets_how_much_is_kept_and_better_images_are_kept_more():
    logits = torch.randn(20_000, generator=torch.Generator().manual_seed(0))
    shares = []
    for percentile in (20.0, 80.0, 95.0):
        keep = accepted(logits, logits.max(), torch.Generator().manual_seed(1), percentile=percentile)
        shares.append(keep.double().mean().item())
        assert logits[keep].mean() > logits.mean() + 0.1
    assert shares[0] > 0.6
    assert 0.4 > shares[1] > shares[2]


@proves("rejection_sampling")
def test_rejection_draws_until_it_has_enough_and_trains_as_base_does():
    base, arm = (fit(small(DCGAN, tricks=t))[0] for t in ((), ("rejection_sampling",)))
    ours = weights(arm)
    assert all(torch.equal(v, ours[k]) for k, v in weights(base).items())
    images = arm.generate(100, seed=0)
    assert images.shape == (100, 3, 16, 16)
    assert torch.equal(images[:30], arm.generate(30, seed=0))
    assert [k for k, v in weights(arm).items() if not torch.equal(v, ours[k])] == []

    def score(module):
        x = module.generate(400, seed=0).float() / 127.5 - 1
        with torch.no_grad():
            return module.discriminator(x).logits.mean()

    assert score(arm) > score(base)
