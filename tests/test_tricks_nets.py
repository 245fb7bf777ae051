"""What makes each trick on noise, layers, networks, batches, optimisers, schedules and labels that trick."""

import math

import pytest
import torch
from test_models import fit, images, small
from trick_tools import proves, step, trick

from gan_ablate import DCGAN, NSGAN, WGANGP
from gan_ablate.errors import InputError
from gan_ablate.losses import NonSaturating
from gan_ablate.nets import Critique
from gan_ablate.nets.heads import MinibatchDiscrimination
from gan_ablate.nets.layers import AlwaysDropout
from gan_ablate.trick import Targets


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
