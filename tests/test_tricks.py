"""One table runs every trick through the same checks; below it, what makes each trick that trick."""

import math
from dataclasses import dataclass

import pytest
import torch
from test_models import fit, images, small, weights
from torch._subclasses.fake_tensor import FakeTensorMode

from gan_ablate import DCGAN, NSGAN, WGANGP, GANDataModule
from gan_ablate.blueprint import Blueprint, Factory, replace
from gan_ablate.errors import InputError
from gan_ablate.losses import NonSaturating
from gan_ablate.nets import Critique
from gan_ablate.nets.layers import AlwaysDropout, MinibatchDiscrimination
from gan_ablate.presets import preset
from gan_ablate.recipe import Recipe, TrickSpec
from gan_ablate.trick import REGISTRY, Chain, Step, Targets, Trick, build, combine, effects
from gan_ablate.tricks import not_applicable, trick_names

CLASSES = {"dcgan": DCGAN, "nsgan": NSGAN, "wgan_gp": WGANGP}
SOONER = {"generator_ema": "generator_ema:decay=0.5", "experience_replay": "experience_replay:size=16,kept=4"}
CELLS = [
    (model, SOONER.get(name, name))
    for name in trick_names()
    for model in CLASSES
    if not_applicable(Recipe(model=model, tricks=(name,))) is None
]


def trick(name, **params):
    return build(TrickSpec(name, params))


def step(n=8, t=0.0, seed=0, **fields):
    real = torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(7))
    defaults = {
        "t": torch.tensor(t), "real": real, "labels": None, "fake": torch.zeros_like(real), "critique": lambda x: None,
        "noise": torch.Generator().manual_seed(seed), "parameters": {},
    }  # fmt: skip
    return Step(**{**defaults, **fields})


# -- the same checks for all ----------------------------------------------------------------------------------------


def test_twelve_tricks_stand():
    wanted = """label_smoothing soft_labels label_flipping instance_noise generator_dropout leaky_relu_generator
        no_batch_norm minibatch_discrimination feature_matching experience_replay n_critic generator_ema"""
    assert set(wanted.split()) <= set(trick_names())


@pytest.mark.parametrize("name", trick_names())
def test_names_its_paper_and_is_frozen(name):
    cls = REGISTRY[name]
    assert any(c.isdigit() for c in cls.paper)
    assert cls.catalogue
    assert cls.__doc__
    assert cls.__dataclass_params__.frozen


@pytest.mark.parametrize(("model", "name"), CELLS)
@pytest.mark.parametrize("channels", [1, 3])
def test_trains_finite_and_changes_the_outcome(model, name, channels):
    cls, bf16 = CLASSES[model], {"precision": "bf16"} if channels == 3 else {}
    base, _ = fit(small(cls, channels=channels, **bf16))
    arm, _ = fit(small(cls, channels=channels, tricks=[name], **bf16))
    assert arm.finite
    assert all(torch.isfinite(v).all() for v in arm.state_dict().values())
    z = torch.randn(4, base.latent_dim)
    assert not torch.equal(base(z), arm(z))


@pytest.mark.parametrize(("model", "name"), CELLS)
def test_is_deterministic(model, name):
    a, b = (weights(fit(small(CLASSES[model], tricks=[name]))[0]) for _ in range(2))
    assert a.keys() == b.keys()
    assert all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize(("model", "name"), CELLS)
def test_does_not_move_data_latents_or_shared_initial_weights(model, name):
    """Arms are paired by seed: z of the first G step, the data, and the weights of layers that both arms have."""

    def watched(tricks):
        module, seen = small(CLASSES[model], tricks=tricks, steps=2), {"z_g": [], "real": []}
        start = {k: v.clone() for k, v in module.named_parameters()}
        draw, make = module._z, module._step

        def z(stream, n):
            value = draw(stream, n)
            if stream == "latents_g":
                seen["z_g"].append(value.clone())
            return value

        def real(x, labels):
            seen["real"].append(x.clone())
            return make(x, labels)

        module._z, module._step = z, real
        fit(module)
        return start, seen

    (start, seen), (start_arm, seen_arm) = watched([]), watched([name])
    assert all(torch.equal(a, b) for a, b in zip(seen["z_g"], seen_arm["z_g"], strict=True))
    assert all(torch.equal(a, b) for a, b in zip(seen["real"], seen_arm["real"]))
    shared = [k for k in start.keys() & start_arm.keys() if start[k].shape == start_arm[k].shape]
    assert shared
    different = {k for k in shared if not torch.equal(start[k], start_arm[k])}
    assert not different - {"discriminator.head.weight", "discriminator.head.bias"}


@pytest.mark.parametrize(("model", "name"), CELLS)
def test_step_time_hooks_neither_read_a_tensor_nor_branch_on_one(model, name):
    """Under fake tensors `.item()` and `if tensor:` raise, so what passes can be captured in a CUDA graph."""
    chain = Chain((build(TrickSpec.parse(name)),))
    parameters = {"w": torch.randn(3, 2)}
    with FakeTensorMode(allow_non_fake_inputs=True):
        real = torch.randn(8, 3, 4, 4)
        critique = Critique(torch.randn(8), torch.randn(8, 6))
        now = Step(
            torch.zeros(()), real, None, None, lambda x: critique, torch.Generator(),
            {k: torch.randn(v.shape) for k, v in parameters.items()}, critique,
        )  # fmt: skip
        state = chain.init(now)
        now.fake = torch.randn(8, 3, 4, 4)
        chain.latents(torch.randn(8, 5), now, state)
        chain.fakes(now.fake, now, state)
        chain.inputs(real, now, state)
        chain.targets(Targets(torch.ones(8), torch.zeros(8)), now, state)
        chain.d_loss(torch.zeros(()), now, state)
        chain.g_loss(torch.zeros(()), now, state)
        new = chain.advance(state, now)
    assert {k: v.shape for k, v in new.items()} == {k: v.shape for k, v in state.items()}
    assert {k: v.dtype for k, v in new.items()} == {k: v.dtype for k, v in state.items()}


# -- combining ------------------------------------------------------------------------------------------------------


def test_two_that_claim_one_field_are_refused_by_name():
    blueprint = preset(Recipe())
    with pytest.raises(InputError, match="'leaky_relu_generator' and 'other' both set g_activation"):
        combine({n: trick("leaky_relu_generator") for n in ("leaky_relu_generator", "other")}, blueprint)
    with pytest.raises(InputError, match="both set averaged"):
        combine({"a": trick("generator_ema"), "b": trick("generator_ema")}, blueprint)


def test_a_chain_is_a_trick_and_keeps_states_apart():
    a, b = trick("experience_replay", size=4), trick("experience_replay", size=6)
    state = Chain((Chain((a,)), b)).init(step())
    assert {k: len(v) for k, v in state.items() if k.endswith("images")} == {"0.images": 4, "1.images": 6}


def test_a_trick_of_ones_own_by_import_path(tmp_path, monkeypatch):
    (tmp_path / "mine_for_test.py").write_text(
        "from dataclasses import dataclass\n"
        "from gan_ablate.trick import Trick\n"
        "@dataclass(frozen=True)\n"
        "class Louder(Trick):\n"
        "    gain: float = 2.0\n"
        "    def g_loss(self, loss, step, state):\n"
        "        return self.gain * loss\n"
    )
    monkeypatch.chdir(tmp_path)
    module, _ = fit(small(DCGAN, tricks=["mine_for_test.Louder:gain=3"]))
    assert module.recipe.tricks[0].params == {"gain": 3}
    assert "g_loss" in module.chain.overridden


def test_effects_print_the_change():
    assert effects(trick("no_batch_norm"), preset(Recipe())) == (
        "g_norm: batch_norm -> none",
        "d_norm: batch_norm -> none",
    )
    assert effects(trick("label_smoothing"), preset(Recipe(model="wgan_gp"))) == ()


# -- labels ---------------------------------------------------------------------------------------------------------


def test_one_sided_smoothing_leaves_the_fake_side_and_g_untouched():
    t = Targets(torch.ones(5), torch.zeros(5))
    smoothed = trick("label_smoothing").targets(t, step(), {})
    assert torch.equal(smoothed.real, torch.full((5,), 0.9))
    assert torch.equal(smoothed.fake, t.fake)
    fake = torch.randn(5)
    assert NonSaturating().generator(fake) == torch.nn.functional.softplus(-fake).mean()  # sees no targets


def test_smoothing_moves_the_best_discriminator_to_its_target():
    # with equal data on both sides D's best answer is real / (1 + ...): minimise over one logit and compare
    logit = torch.zeros(1, requires_grad=True)
    t = trick("label_smoothing", real=0.8).targets(Targets(torch.ones(1), torch.zeros(1)), step(), {})
    optimizer = torch.optim.LBFGS([logit], max_iter=100)

    def closure():
        optimizer.zero_grad()
        loss = NonSaturating().discriminator(logit, logit, t)
        loss.backward()
        return loss

    optimizer.step(closure)
    assert torch.sigmoid(logit).item() == pytest.approx(0.8 / 2, abs=1e-4)


def test_soft_labels_are_uniform_per_sample():
    n = 20000
    soft = trick("soft_labels").targets(Targets(torch.ones(n), torch.zeros(n)), step(), {})
    for values, low, high in ((soft.real, 0.7, 1.2), (soft.fake, 0.0, 0.3)):
        assert low <= values.min() < low + 0.01
        assert high - 0.01 < values.max() <= high
        assert values.mean().item() == pytest.approx((low + high) / 2, abs=0.005)
        assert values.var().item() == pytest.approx((high - low) ** 2 / 12, rel=0.05)
    with pytest.raises(InputError, match="swap them"):
        trick("soft_labels", real_low=1.3)


def test_label_flipping_swaps_the_share_p():
    n, p = 40000, 0.05
    flipped = trick("label_flipping").targets(Targets(torch.ones(n), torch.zeros(n)), step(), {})
    noise = 4 * math.sqrt(p * (1 - p) / n)
    assert set(flipped.real.unique().tolist()) == {0.0, 1.0}
    assert (flipped.real == 0).float().mean().item() == pytest.approx(p, abs=noise)
    assert (flipped.fake == 1).float().mean().item() == pytest.approx(p, abs=noise)
    assert not torch.equal(flipped.real == 0, flipped.fake == 1)


# -- inputs, layers, heads -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("t", "std"), [(0.0, 0.1), (0.25, 0.05), (0.5, 0.0), (0.9, 0.0)])
def test_instance_noise_decays_linearly_and_is_exactly_0_after_until(t, std):
    x = torch.zeros(2000, 3, 4, 4)
    noise = trick("instance_noise").inputs(x, step(t=t), {}) - x
    if std:
        assert noise.std().item() == pytest.approx(std, rel=0.02)
        assert abs(noise.mean().item()) < 0.002
    else:
        assert torch.equal(noise, torch.zeros_like(noise))


def test_generator_dropout_stays_on_at_sampling():
    module = small(DCGAN, tricks=["generator_dropout"])
    assert len([m for m in module.generator.modules() if isinstance(m, AlwaysDropout)]) == 2
    layer = AlwaysDropout(0.5).eval()
    out = layer(torch.ones(20000))
    assert (out == 0).float().mean().item() == pytest.approx(0.5, abs=0.02)
    assert set(out.unique().tolist()) == {0.0, 2.0}


def test_leaky_relu_stands_in_g():
    slopes = {
        m.negative_slope for m in small(DCGAN, tricks=["leaky_relu_generator"]).generator.modules()
        if isinstance(m, torch.nn.LeakyReLU)
    }  # fmt: skip
    assert slopes == {0.2}


def test_no_batch_norm_leaves_none_and_brings_biases_back():
    module = small(DCGAN, tricks=["no_batch_norm"])
    assert not [m for m in module.modules() if isinstance(m, torch.nn.modules.batchnorm._BatchNorm)]
    assert module.generator.project.bias is not None


def test_minibatch_discrimination_against_the_papers_equations():
    layer = MinibatchDiscrimination(3, kernels=2, dims=4)
    f = torch.randn(5, 3)
    out = layer(f)
    tensor = layer.T.detach().view(3, 2, 4)
    expected = torch.zeros(5, 2)
    for i in range(5):
        for j in range(5):
            for b in range(2):
                if i != j:
                    rows = [sum(f[k, a] * tensor[a, b] for a in range(3)) for k in (i, j)]
                    expected[i, b] += torch.exp(-(rows[0] - rows[1]).abs().sum())
    assert torch.equal(out[:, :3], f)
    assert torch.allclose(out[:, 3:], expected, atol=1e-5)


def test_minibatch_discrimination_sees_a_collapsed_batch():
    layer = MinibatchDiscrimination(3, kernels=2, dims=4)
    assert torch.allclose(layer(torch.ones(6, 3))[:, 3:], torch.full((6, 2), 5.0))


def test_minibatch_discrimination_does_not_change_the_features_that_others_match():
    module = small(DCGAN, tricks=["minibatch_discrimination"])
    critique = module.discriminator(torch.randn(4, 3, 16, 16))
    assert critique.features.shape[1] + 16 == module.discriminator.head.in_features


# -- objectives, batches, schedules, averages ------------------------------------------------------------------------


def test_feature_matching_replaces_gs_loss_by_the_distance_of_mean_features():
    real, fake = torch.randn(8, 6), torch.randn(8, 6, requires_grad=True)
    now = step(critique=lambda x: Critique(torch.zeros(8), real), fake_critique=Critique(torch.zeros(8), fake))
    loss = trick("feature_matching").g_loss(torch.tensor(1e9), now, {})
    assert torch.allclose(loss, (real.mean(0) - fake.mean(0)).pow(2).sum())
    assert torch.autograd.grad(loss, fake)[0].abs().sum() > 0


def test_replay_returns_only_images_once_stored_and_the_asked_share():
    replay, n = trick("experience_replay", size=6, share=0.5, kept=2), 8
    state = replay.init(step(n))
    new = torch.full((n, 3, 4, 4), -1.0)
    assert torch.equal(replay.fakes(new, step(n), state), new)  # nothing stored yet
    stored = set()
    for k in range(1, 8):
        fake = torch.full((n, 3, 4, 4), float(k))
        state = replay.advance(state, step(n, fake=fake))
        stored.add(float(k))
        mixed = replay.fakes(new, step(n, seed=k), state)
        values = set(mixed.unique().tolist())
        assert values - {-1.0} <= stored
        assert (mixed[:, 0, 0, 0] == -1).sum() == n - 4
    held = set(state["images"].unique().tolist())
    assert held == {5.0, 6.0, 7.0}  # the newest 6 images, 2 per step
    assert int(state["stored"]) == 14


@pytest.mark.parametrize("cls", [DCGAN, NSGAN, WGANGP])
def test_n_critic_counts(cls):
    module, _ = fit(small(cls, tricks=["n_critic:n=3"], steps=4))
    assert (module.g_steps, module.d_steps) == (4, 12)


def test_ema_is_the_recursion():
    ema = trick("generator_ema", decay=0.9)
    values = [torch.randn(3) for _ in range(6)]
    state, expected = ema.init(step(parameters={"a.b": values[0]})), values[0]
    for value in values[1:]:
        state = ema.advance(state, step(parameters={"a.b": value}))
        expected = 0.9 * expected + 0.1 * value
    assert torch.allclose(ema.averaged({"a.b": values[-1]}, None, state)["a.b"], expected)


def test_ema_does_not_touch_training():
    base, arm = (fit(small(DCGAN, tricks=t))[0] for t in ([], ["generator_ema"]))
    ours = arm.state_dict()
    assert all(torch.equal(v, ours[k]) for k, v in base.state_dict().items())


# -- project (no catalogued trick uses this hook yet) ----------------------------------------------------------------


@dataclass(frozen=True)
class Clip(Trick):
    c: float = 0.01

    def edit(self, blueprint: Blueprint) -> Blueprint:
        return replace(blueprint, d_optimizer=Factory("torch.optim:SGD", {"lr": 1.0}))

    def project(self, parameters, step, state):
        for p in parameters:
            p.clamp_(-self.c, self.c)


def test_project_acts_after_ds_update(monkeypatch):
    monkeypatch.setitem(REGISTRY, "clip", Clip)
    module = small(WGANGP, tricks=["clip"])
    fit(module, GANDataModule(images(), batch_size=8).images)
    assert max(p.abs().max() for p in module.discriminator.parameters()) <= 0.01
