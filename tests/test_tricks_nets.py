"""What makes each trick on noise, layers, networks, batches, optimisers, schedules and labels that trick."""

import copy
import itertools
import math
from collections import Counter

import lightning
import numpy as np
import pytest
import scipy.stats
import torch
from test_models import fit, images, small, weights
from torch import nn
from torch.nn import functional as F
from trick_tools import proves, step, trick

from gan_ablate import DCGAN, NSGAN, WGANGP
from gan_ablate.data.images import ImageSet
from gan_ablate.errors import InputError
from gan_ablate.interpolation import lerp, midpoints, slerp
from gan_ablate.nets import Critique
from gan_ablate.nets.heads import MinibatchDiscrimination, MinibatchStddev, nearest_at_2
from gan_ablate.nets.layers import AlwaysDropout, GaussianNoise
from gan_ablate.nets.norms import VirtualBatchNorm, group_norm
from gan_ablate.nets.resnet import DownBlock, FlatBlock
from gan_ablate.optim import gated_step, over
from gan_ablate.recipe import Recipe
from gan_ablate.step import discriminator_loss, generator_loss
from gan_ablate.trick import FakeBatch
from gan_ablate.tricks import assemble, not_applicable

BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d)
CONVOLUTIONS = (nn.Conv2d, nn.ConvTranspose2d)
WEIGHTED = (*CONVOLUTIONS, nn.Linear)
ACTIVATIONS = (nn.ReLU, nn.LeakyReLU)


def dcgan(*tricks, **fields):
    return small(DCGAN, tricks=tricks, **fields)


def layers(network, *types):
    return [m for m in network.modules() if isinstance(m, types)]


def watch(module):
    """The (input, output) of every later forward of a layer."""
    seen = []
    module.register_forward_hook(lambda _, args, out: seen.append((args[0], out)))
    return seen


def pictures(n=8, channels=3, size=16):
    return torch.rand(n, channels, size, size, generator=torch.Generator().manual_seed(3)) * 2 - 1


def at_rest(module, n=8):
    """A module with a step to play, outside of any Trainer."""
    module.on_train_start()
    now = module._step(pictures(n, module.blueprint.channels, module.blueprint.size), torch.arange(n) % 4)
    return module, now, module._state(now)


def equal(a, b):
    """Whether two mappings hold the same tensors, bit for bit."""
    return a.keys() == b.keys() and all(torch.equal(v, b[k]) for k, v in a.items())


# -- noise -----------------------------------------------------------------------------------------------------------


@proves("instance_noise")
@pytest.mark.parametrize(("t", "std"), [(0.0, 0.1), (0.25, 0.05), (0.5, 0.0), (0.9, 0.0)])
def test_instance_noise_decays_linearly_and_is_exactly_0_after_until(t, std):
    x = torch.zeros(2000, 3, 4, 4)
    noise = trick("instance_noise").inputs(x, step(t=t), {}) - x
    if std:
        assert noise.std().item() == pytest.approx(std, rel=0.02)
        assert abs(noise.mean().item()) < 0.002
    else:
        assert torch.equal(noise, torch.zeros_like(noise))


@proves("instance_noise_constant")
@pytest.mark.parametrize("t", [0.0, 0.5, 0.999])
def test_constant_instance_noise_never_decays(t):
    x = torch.full((2000, 3, 4, 4), 0.5)
    noise = trick("instance_noise_constant", std=0.2).inputs(x, step(t=t), {}) - x
    assert scipy.stats.kstest(noise.flatten()[:20000].numpy(), scipy.stats.norm(0, 0.2).cdf).pvalue > 0.001


@proves("instance_noise", "instance_noise_constant")
@pytest.mark.parametrize("name", ["instance_noise", "instance_noise_constant"])
def test_instance_noise_reaches_ds_input_on_real_and_fake_and_never_g(name):
    module, now, state = at_rest(dcgan(f"{name}:std=0.3"))
    seen = watch(module.discriminator.images)
    fake = discriminator_loss(module.game, torch.randn(8, 64), now, state).step.fake
    for (got, _), clean in zip(seen, (now.real, fake), strict=True):
        assert (got - clean).std().item() == pytest.approx(0.3, rel=0.1)
    assert not torch.equal(seen[0][0] - now.real, seen[1][0] - fake)


HIDDEN = {"conv": 2, "mlp": 2, "resnet": 5}  # G's hidden activations at 16 pixels


@proves("generator_noise", "generator_dropout", "generator_dropout_train_only")
@pytest.mark.parametrize("architecture", HIDDEN)
@pytest.mark.parametrize(
    ("name", "layer"),
    [
        ("generator_noise", GaussianNoise),
        ("generator_dropout", AlwaysDropout),
        ("generator_dropout_train_only", nn.Dropout),
    ],
)
def test_generator_noise_stands_behind_each_hidden_activation_of_g_alone(name, layer, architecture):
    module = dcgan(name, architecture=architecture)
    order = [type(m) for m in layers(module.generator, *ACTIVATIONS, layer)]
    assert order == [nn.ReLU, layer] * HIDDEN[architecture]
    assert not layers(module.discriminator, layer)


@proves("generator_noise", "generator_dropout", "generator_dropout_train_only")
@pytest.mark.parametrize(
    ("name", "sampling"),
    [("generator_noise", True), ("generator_dropout", True), ("generator_dropout_train_only", False)],
)
def test_which_noise_of_g_is_on_at_sampling(name, sampling):
    module, z = small(NSGAN, tricks=[name]), torch.randn(4, 64)
    with module.sampling() as g:
        assert torch.equal(g(z), g(z)) != sampling
    g = module.generator.train()
    assert not torch.equal(g(z), g(z))


@proves("generator_noise")
def test_generator_noise_is_gaussian_of_its_std_in_evaluation_too():
    module = dcgan("generator_noise:std=0.2", width=16)
    seen = [watch(m) for m in layers(module.generator, GaussianNoise)]
    with module.sampling() as g:
        g(torch.randn(64, 64))
    for ((x, y),) in seen:
        assert scipy.stats.kstest((y - x).flatten()[:5000].numpy(), scipy.stats.norm(0, 0.2).cdf).pvalue > 0.001


@proves("generator_dropout", "generator_dropout_train_only", "discriminator_dropout")
@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize(
    ("name", "player", "p"),
    [
        ("generator_dropout", "generator", 0.5),
        ("generator_dropout_train_only", "generator", 0.5),
        ("discriminator_dropout", "discriminator", 0.3),
    ],
)
def test_dropout_zeroes_the_share_p_and_scales_the_rest(name, player, p, mode):
    network = getattr(dcgan(name), player).train(mode == "train")
    layer = layers(network, AlwaysDropout, nn.Dropout)[0]
    out, on = layer(torch.ones(20000)), mode == "train" or name == "generator_dropout"
    assert (out == 0).float().mean().item() == pytest.approx(p if on else 0.0, abs=0.02)
    assert out[out > 0].unique().tolist() == pytest.approx([1 / (1 - p) if on else 1.0])


@proves("discriminator_dropout")
@pytest.mark.parametrize(("architecture", "count"), [("conv", 2), ("mlp", 2), ("resnet", 6)])
def test_discriminator_dropout_stands_behind_each_activation_of_d_alone(architecture, count):
    module = dcgan("discriminator_dropout", architecture=architecture)
    order = [type(m) for m in layers(module.discriminator, *ACTIVATIONS, nn.Dropout)]
    assert order == [nn.LeakyReLU, nn.Dropout] * count
    assert not layers(module.generator, nn.Dropout)


# -- latents ---------------------------------------------------------------------------------------------------------


@proves("uniform_latents")
def test_uniform_latents_are_uniform_and_the_normals_distribution_function_of_the_same_draw():
    z = torch.randn(400, 64, generator=torch.Generator().manual_seed(0))
    u = trick("uniform_latents").latents(z, step(), {})
    expected = torch.from_numpy(2 * scipy.stats.norm.cdf(z.double().numpy()) - 1).float()
    assert torch.allclose(u, expected, atol=1e-6)
    assert scipy.stats.kstest(u.flatten().numpy(), scipy.stats.uniform(-1, 2).cdf).pvalue > 0.001


@proves("spherical_latents")
def test_spherical_latents_lie_on_the_sphere_in_the_direction_drawn():
    z = torch.randn(50, 64)
    s = trick("spherical_latents").latents(z, step(), {})
    assert torch.allclose(s.norm(dim=1), torch.full((50,), 8.0))
    assert torch.allclose(F.cosine_similarity(s, z), torch.ones(50))


@proves("uniform_latents", "spherical_latents")
@pytest.mark.parametrize(
    ("name", "holds"),
    [
        ("uniform_latents", lambda z: bool((z.abs() <= 1).all())),
        ("spherical_latents", lambda z: torch.allclose(z.norm(dim=1), torch.full((len(z),), 8.0))),
    ],
)
def test_g_sees_the_same_kind_of_latents_in_training_and_at_sampling(name, holds):
    module = dcgan(name, steps=1)
    seen = watch(module.generator.latents)
    fit(module)
    module.generate(8, seed=0)
    assert len(seen) == 3  # D's step, G's step, sampling
    assert all(holds(z) for z, _ in seen)


@proves("interpolation")
@pytest.mark.parametrize("share", [0.0, 0.25, 0.5, 1.0])
def test_slerp_keeps_the_norm_and_runs_along_the_great_circle_at_even_speed(share):
    a, b = (F.normalize(torch.randn(100, 64, dtype=torch.float64)) * 8 for _ in range(2))
    p, angle = slerp(a, b, share), lambda x, y: F.cosine_similarity(x, y).clamp(-1, 1).arccos()
    assert torch.allclose(p.norm(dim=1), torch.full((100,), 8.0, dtype=torch.float64))
    assert torch.allclose(angle(a, p), share * angle(a, b), atol=1e-6)
    assert torch.allclose(angle(p, b), (1 - share) * angle(a, b), atol=1e-6)  # the angles add up: on the arc


@proves("interpolation")
def test_midpoints_of_lerp_shrink_and_those_of_slerp_keep_the_gaussians_norm():
    z, noise = torch.randn(2000, 64), lambda: torch.Generator().manual_seed(1)
    assert torch.allclose(
        midpoints(z, noise(), path="lerp"), (z + torch.randn(z.shape, generator=noise())) / 2, atol=1e-6
    )
    assert torch.equal(lerp(z, -z, 0.5), torch.zeros_like(z))
    rms = {path: midpoints(z, noise(), path=path).square().mean().sqrt().item() for path in ("lerp", "slerp")}
    assert rms["lerp"] == pytest.approx(math.sqrt(0.5), rel=0.02)  # the mean of two independent N(0, 1)
    assert rms["slerp"] == pytest.approx(1.0, rel=0.02)


@proves("interpolation")
@pytest.mark.parametrize("path", ["slerp", "lerp"])
def test_interpolation_trains_as_base_does_and_samples_otherwise(path):
    base, arm = (fit(dcgan(*t))[0] for t in ([], [f"interpolation:path={path}"]))
    assert equal(weights(base), weights(arm))
    assert not torch.equal(base.generate(8, seed=0), arm.generate(8, seed=0))


@proves("batch_statistics_at_sampling")
def test_batch_statistics_at_sampling_are_the_batchs_own_and_leave_training_as_it_was():
    base, arm = (fit(dcgan(*t))[0] for t in ([], ["batch_statistics_at_sampling"]))
    assert equal(weights(base), weights(arm))
    before, z = weights(arm), torch.randn(8, 64)
    with arm.sampling() as g:
        seen = watch(g.first[0])
        g(z)
        ((x, y),) = seen
        norm = g.first[0]
        assert torch.allclose(y, F.batch_norm(x, None, None, norm.weight, norm.bias, True), atol=1e-5)
    arm.generate(20, seed=0)
    assert equal(before, weights(arm))
    assert not torch.equal(base(z), arm(z))


# -- layers ----------------------------------------------------------------------------------------------------------

SHAPED = [
    (DCGAN, "max_pooling"), (DCGAN, "average_pooling"), (DCGAN, "pixel_shuffle"), (DCGAN, "resize_convolution"),
    (DCGAN, "kernel_3"), (DCGAN, "kernel_5"), (DCGAN, "residual"), (DCGAN, "fully_connected"), (NSGAN, "mlp"),
    (DCGAN, "deep_discriminator"), (WGANGP, "residual"),
]  # fmt: skip


@proves(*(name for _, name in SHAPED))
@pytest.mark.parametrize(("size", "channels"), [(16, 3), (28, 1), (32, 3), (64, 1)])
@pytest.mark.parametrize(("cls", "name"), SHAPED)
def test_shapes_hold_at_all_sizes_and_channels(cls, name, size, channels):
    module = small(cls, tricks=[name], size=size, channels=channels, width=2)
    out = module.generator(torch.randn(4, 64))
    assert out.shape == (4, channels, size, size)
    assert module.discriminator(out).logits.shape == (4,)


@proves("relu_discriminator")
def test_relu_in_d_lets_nothing_negative_through():
    hidden = dcgan("relu_discriminator").discriminator(pictures()).hidden
    assert all(h.min() == 0 for h in hidden)
    assert all(h.min() < 0 for h in dcgan().discriminator(pictures()).hidden)


@proves("leaky_relu_generator", "leaky_slope")
@pytest.mark.parametrize(
    ("name", "player", "slope"),
    [
        ("leaky_relu_generator", "generator", 0.2),
        ("leaky_slope", "discriminator", 0.01),
        ("leaky_slope:slope=0.3", "discriminator", 0.3),
    ],
)
def test_slope_for_negative_inputs(name, player, slope):
    base, module, x = dcgan(), dcgan(name), torch.tensor([-2.0, 0.0, 3.0])
    found = layers(getattr(module, player), *ACTIVATIONS)
    assert len(found) == 2
    assert all(torch.allclose(m(x), torch.tensor([-2 * slope, 0.0, 3.0])) for m in found)
    other = {"generator": "discriminator", "discriminator": "generator"}[player]
    assert str(getattr(module, other)) == str(getattr(base, other))


@proves("max_pooling", "average_pooling")
@pytest.mark.parametrize(("name", "pool"), [("max_pooling", F.max_pool2d), ("average_pooling", F.avg_pool2d)])
def test_pooling_follows_a_convolution_at_full_resolution(name, pool):
    d, x = dcgan(name).discriminator, pictures()
    conv = layers(d.down[0], nn.Conv2d)[0]
    assert torch.allclose(d.down[0][0](x), pool(F.conv2d(x, conv.weight, conv.bias, padding=1), 2), atol=1e-6)
    assert {m.stride for m in layers(d, nn.Conv2d)} == {(1, 1)}
    assert len(layers(d, nn.MaxPool2d, nn.AvgPool2d)) == len(d.down)


@proves("pixel_shuffle")
def test_pixel_shuffle_is_shis_periodic_rearrangement():
    up, x = dcgan("pixel_shuffle").generator.up[0][0], torch.randn(2, 8, 4, 4)
    y, wide = up(x), F.conv2d(x, up[0].weight, up[0].bias, padding=1)
    assert y.shape == (2, 4, 8, 8)
    for c, i, j, a, b in itertools.product(range(4), range(4), range(4), range(2), range(2)):
        assert torch.equal(y[:, c, 2 * i + a, 2 * j + b], wide[:, 4 * c + 2 * a + b, i, j])


@proves("resize_convolution")
def test_resize_convolution_repeats_pixels_before_it_convolves():
    up, x = dcgan("resize_convolution").generator.up[0][0], torch.randn(2, 8, 4, 4)
    large = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(up(x), F.conv2d(large, up[1].weight, up[1].bias, padding=1), atol=1e-6)


@proves("kernel_3", "kernel_5", "pixel_shuffle", "resize_convolution")
@pytest.mark.parametrize(
    ("tricks", "counts"),
    [
        ([], {4}),  # stride 2 divides 4: 2 by 2 inputs reach each pixel
        (["kernel_3"], {1, 2, 4}),  # 1 or 2 along each axis
        (["kernel_5"], {4, 6, 9}),  # 2 or 3 along each axis
        (["pixel_shuffle"], {9}),
        (["resize_convolution"], {9}),
    ],
)
def test_a_kernel_that_its_stride_does_not_divide_overlaps_unevenly(tricks, counts):
    up = dcgan(*tricks).blueprint.g_up(1, 1, False)
    for p in up.parameters():
        nn.init.ones_(p)
    assert set(up(torch.ones(1, 1, 12, 12))[0, 0, 6:-6, 6:-6].flatten().tolist()) == counts


@proves("kernel_3", "kernel_5")
@pytest.mark.parametrize(("name", "k"), [("kernel_3", 3), ("kernel_5", 5)])
def test_kernels_of_both_players_have_that_many_pixels_at_stride_2(name, k):
    module = dcgan(name, size=32)
    found = layers(module, *CONVOLUTIONS)
    assert len(found) == 6
    assert {m.kernel_size for m in found} == {(k, k)}
    assert {m.stride for m in found} == {(2, 2)}
    with pytest.raises(InputError, match=f"{name} needs DCGAN's plain convolutions"):
        dcgan(name, architecture="resnet")


@proves("sigmoid_output")
def test_sigmoid_output_plays_in_0_1_inside_the_networks_only():
    module, x = dcgan("sigmoid_output"), pictures()
    first, last = watch(module.discriminator.down[0]), watch(module.generator.output)
    module.discriminator(x)
    assert torch.allclose(first[0][0], (x + 1) / 2)
    assert first[0][0].min() >= 0
    out = module.generator(torch.randn(4, 64))
    assert torch.allclose(out, 2 * last[0][0].sigmoid() - 1)


@proves("sigmoid_output")
def test_no_output_activation_leaves_gs_values_unbounded():
    module = dcgan("sigmoid_output:activation=none")
    with torch.no_grad():
        module.generator.last.bias.fill_(7.0)
    last = watch(module.generator.last)
    out = module.generator(torch.randn(4, 64))
    assert torch.equal(out, last[0][1])
    assert out.min() > 1


@proves("default_init", "dcgan_init")
@pytest.mark.parametrize("player", ["generator", "discriminator"])
def test_inits_against_their_distributions(player):
    normal, uniform = small(NSGAN, tricks=["dcgan_init"]), dcgan("default_init")
    for m in layers(getattr(normal, player), *WEIGHTED):
        assert scipy.stats.kstest(m.weight.detach().flatten().numpy(), scipy.stats.norm(0, 0.02).cdf).pvalue > 0.001
        assert m.bias is None or not m.bias.any()
    for m in layers(getattr(uniform, player), *WEIGHTED):
        # He's uniform with a = sqrt(5), torch's default: bound 1 / sqrt(fan in), which torch takes from axis 1
        bound = 1 / math.sqrt(m.weight[0].numel())
        found = scipy.stats.kstest(m.weight.detach().flatten().numpy(), scipy.stats.uniform(-bound, 2 * bound).cdf)
        assert found.pvalue > 0.001


@proves("orthogonal_init")
@pytest.mark.parametrize("cls", [DCGAN, NSGAN, WGANGP])
def test_orthogonal_weights_have_orthonormal_rows_or_columns(cls):
    found = layers(small(cls, tricks=["orthogonal_init"]), *WEIGHTED)
    assert len(found) == 6
    for m in found:
        w = m.weight.detach().flatten(1)
        w = w if len(w) <= w.shape[1] else w.T
        assert torch.allclose(w @ w.T, torch.eye(len(w)), atol=1e-5)
        assert m.bias is None or not m.bias.any()


# -- norms -----------------------------------------------------------------------------------------------------------


@proves("no_batch_norm")
def test_no_batch_norm_leaves_none_and_brings_biases_back():
    module = dcgan("no_batch_norm")
    assert not layers(module, *BATCH_NORMS)
    assert all(m.bias is not None for m in layers(module, *WEIGHTED))


@proves("batch_norm")
@pytest.mark.parametrize("cls", [NSGAN, WGANGP])
def test_batch_norm_stands_where_dcgan_has_it(cls):
    placed = lambda m: [n for n, layer in m.named_modules() if isinstance(layer, BATCH_NORMS)]  # noqa: E731
    module, base = small(cls, tricks=["batch_norm"], size=32), dcgan(size=32)
    assert placed(module) == placed(base)
    assert not placed(module.discriminator.down[0])
    assert isinstance(module.generator.last_norm, nn.Identity)
    assert len(placed(small(cls, size=32).discriminator)) == 0


@proves("batch_norm_everywhere")
@pytest.mark.parametrize("architecture", ["conv", "mlp", "resnet"])
def test_batch_norm_everywhere_standardises_gs_output_and_ds_first_layer_too(architecture):
    module = dcgan("batch_norm_everywhere", architecture=architecture)
    base, last = dcgan(architecture=architecture), watch(module.generator.output)
    module.generator(torch.randn(64, 64) * 5)
    ((x, _),) = last
    assert torch.allclose(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-3)
    assert torch.allclose(x.std((0, 2, 3)), module.generator.last_norm.weight, rtol=0.02)
    count = lambda m: (len(layers(m.generator, *BATCH_NORMS)), len(layers(m.discriminator, *BATCH_NORMS)))  # noqa: E731
    assert count(module) == tuple(n + 1 for n in count(base))
    first = next(m for m in layers(module.discriminator, *BATCH_NORMS, *WEIGHTED, *ACTIVATIONS)[1:])
    assert isinstance(first, BATCH_NORMS)


def _standard(x, over):
    return (x - x.mean(over, keepdim=True)) / (x.var(over, keepdim=True, correction=0) + 1e-5).sqrt()


NORMS = {
    "instance_norm": lambda x: _standard(x, (2, 3)),
    "layer_norm": lambda x: _standard(x, (1, 2, 3)),
    "group_norm:groups=4": lambda x: _standard(x.unflatten(1, (4, -1)), (2, 3, 4)).flatten(1, 2),
    "pixel_norm": lambda x: x / (x.square().mean(1, keepdim=True) + 1e-8).sqrt(),
}


@proves("instance_norm", "layer_norm", "group_norm", "pixel_norm")
@pytest.mark.parametrize("name", NORMS)
def test_norms_against_their_formulas_in_training_and_evaluation(name):
    g = dcgan(name, width=8).generator
    x = torch.randn(6, 16, 5, 5) * 3 + 2
    for norm in (g.first[0].train(), g.first[0].eval()):
        assert torch.allclose(norm(x), NORMS[name](x), atol=1e-4)


@proves("instance_norm", "layer_norm", "group_norm", "pixel_norm")
@pytest.mark.parametrize("on", ["d", "g", "both"])
@pytest.mark.parametrize("name", ["instance_norm", "layer_norm", "group_norm", "pixel_norm"])
def test_norms_replace_batch_norm_in_the_players_asked_for(name, on):
    module = dcgan(f"{name}:on={on}")
    for player, letter in ((module.generator, "g"), (module.discriminator, "d")):
        assert bool(layers(player, *BATCH_NORMS)) == (on not in (letter, "both"))


@proves("instance_norm", "layer_norm", "group_norm", "pixel_norm", "virtual_batch_norm")
@pytest.mark.parametrize("name", [*NORMS, "virtual_batch_norm", "no_batch_norm"])
@pytest.mark.parametrize("mode", ["train", "eval"])
def test_without_batch_norm_a_sample_does_not_depend_on_its_batch(name, mode):
    z, x = torch.randn(8, 64), pictures()
    other_z, other_x = torch.cat((z[:1], torch.randn(7, 64) * 3)), torch.cat((x[:1], -x[1:]))
    g = dcgan(name).generator.train(mode == "train")
    assert torch.allclose(g(z)[0], g(other_z)[0], atol=1e-6)
    base = dcgan()
    assert not torch.allclose(base.generator(z)[0], base.generator(other_z)[0], atol=1e-6)
    if name in ("instance_norm", "layer_norm", "group_norm:groups=4"):
        d = dcgan(name).discriminator.train(mode == "train")
        assert torch.allclose(d(x).logits[0], d(other_x).logits[0], atol=1e-6)


@proves("group_norm")
@pytest.mark.parametrize(
    ("groups", "channels", "dims", "found"), [(8, 64, 2, 8), (8, 4, 2, 4), (8, 12, 2, 6), (7, 16, 2, 4), (8, 8, 0, 4)]
)
def test_groups_are_the_most_that_divide_the_channels(groups, channels, dims, found):
    norm = group_norm(channels, dims, groups=groups)
    assert norm.num_groups == found
    x = torch.randn(5, channels, *[3] * dims)
    assert norm(x).abs().max() > 0.5  # a group of one number would come out as 0


@proves("pixel_norm", "instance_norm")
@pytest.mark.parametrize(
    ("name", "architecture"),
    [("pixel_norm", "conv"), ("pixel_norm", "mlp"), ("pixel_norm", "resnet"), ("instance_norm", "conv")],
)
def test_no_hidden_layer_of_g_is_without_a_bias(name, architecture):
    extra = ["fully_connected"] if architecture == "conv" else []
    g = dcgan(name, *extra, architecture=architecture).generator
    found = [m for m in layers(g, nn.Module) if any(n == "bias" for n, _ in m.named_parameters(recurse=False))]
    free = [m for m in layers(g, *WEIGHTED) if m.bias is None]
    added = [m for m in found if not isinstance(m, WEIGHTED)]
    assert len(added) >= len(free)
    assert all(not m.bias.any() for m in added)  # at the start the norm is the formula itself


@proves("virtual_batch_norm")
@pytest.mark.parametrize("dims", [2, 0])
def test_virtual_batch_norm_is_batch_norm_of_the_reference_and_one_sample(dims):
    layer, shape = VirtualBatchNorm(3, dims), (3, *[4] * dims)
    reference, x = torch.randn(9, *shape) * 2 + 1, torch.randn(5, *shape)
    layer.collecting = True
    normal = lambda batch: F.batch_norm(batch, None, None, training=True)  # noqa: E731
    assert torch.allclose(layer(reference), normal(reference), atol=1e-5)  # by its own statistics alone
    layer.collecting = False
    expected = torch.stack([normal(torch.cat((reference, row[None])))[-1] for row in x])
    assert torch.allclose(layer(x), expected, atol=1e-5)


@proves("virtual_batch_norm")
def test_the_reference_batch_is_fixed_and_stands_in_g_alone():
    module = dcgan("virtual_batch_norm", steps=4)
    before = module.generator.reference.clone()
    assert before.shape == (8, 64)
    z = torch.randn(3, 64)
    first = module.generator(z)
    fit(module)
    assert torch.equal(module.generator.reference, before)
    assert len(layers(module.generator, VirtualBatchNorm)) == 2
    assert not layers(module.discriminator, VirtualBatchNorm)
    module.generator.reference.mul_(3)
    changed = module.generator(z)
    module.generator.reference.copy_(before)
    assert not torch.allclose(changed, module.generator(z))
    assert not torch.allclose(first, module.generator(z))


# -- architecture ----------------------------------------------------------------------------------------------------


@proves("fully_connected")
def test_fully_connected_puts_one_hidden_dense_layer_into_each_network():
    base, module = dcgan(), dcgan("fully_connected:units=24")
    shapes = lambda net: [(m.in_features, m.out_features) for m in layers(net, nn.Linear)]  # noqa: E731
    (latent, projected), (features, _) = shapes(base.generator)[0], shapes(base.discriminator)[0]
    assert shapes(module.generator) == [(latent, 24), (24, projected)]
    assert shapes(module.discriminator) == [(features, 24), (24, 1)]
    z = torch.randn(8, 64)
    assert module.generator.latents(z, None).min() == 0  # behind a ReLU: hidden
    critique = module.discriminator(pictures())
    assert critique.features.shape == (8, 24)
    dense, (norm, activation) = module.discriminator.dense[0], module.discriminator.dense[1]
    assert torch.allclose(critique.features, activation(norm(dense(critique.hidden[-1].flatten(1)))), atol=1e-5)


@proves("mlp")
def test_the_plain_mlp_is_a_chain_of_dense_layers_and_activations():
    module, z, x = small(NSGAN, tricks=["mlp:discriminator=plain"]), torch.randn(4, 64), pictures()
    assert not layers(module, *CONVOLUTIONS)
    a, b, c = layers(module.generator, nn.Linear)
    assert torch.allclose(module.generator(z), c(b(a(z).relu()).relu()).tanh().view(4, 3, 16, 16), atol=1e-6)
    a, b, c = layers(module.discriminator, nn.Linear)
    expected = c(F.leaky_relu(b(F.leaky_relu(a(x.flatten(1)), 0.2)), 0.2))[:, 0]
    assert torch.allclose(module.discriminator(x).logits, expected, atol=1e-6)


@proves("mlp")
def test_the_mlps_d_has_maxout_of_five_pieces_and_a_fifth_of_gs_units_with_dropout_on_pixels_and_units():
    plain, module = (small(NSGAN, tricks=[t]) for t in ("mlp:discriminator=plain", "mlp"))
    z, x, d = torch.randn(4, 64), pictures(), module.discriminator
    assert torch.equal(plain.generator(z), module.generator(z))
    a, b, c = layers(d, nn.Linear)
    units = module.generator.last.in_features // 5  # 1,200 and 240 in the authors' code for MNIST, 8,000 and 1,600
    assert (a.out_features, b.in_features, b.out_features, c.in_features) == (5 * units, units, 5 * units, units)
    greatest = lambda y: torch.stack([y[:, k::5] for k in range(5)]).amax(0)  # noqa: E731
    dropped = watch(d.images), [watch(layer) for layer in d.body]
    d(x)
    pixels = dropped[0][0][1]
    assert torch.allclose(pixels[pixels != 0], x[pixels != 0] / 0.8)
    assert (pixels == 0).float().mean().item() == pytest.approx(0.2, abs=0.02)
    assert (dropped[1][0][0][1] == 0).float().mean().item() == pytest.approx(0.5, abs=0.2)
    d.eval()  # without dropout
    assert torch.allclose(d(x).logits, c(greatest(b(greatest(a(x.flatten(1))))))[:, 0], atol=1e-6)
    small(NSGAN, tricks=["mlp", "fully_connected"]).discriminator(x)  # another dense layer, and its maxout


@proves("residual")
@pytest.mark.parametrize("cls", [DCGAN, NSGAN, WGANGP])
def test_a_residual_block_is_its_body_beside_a_1x1_shortcut(cls):
    module = small(cls, tricks=["residual"]).eval()
    up, down, flat = module.generator.up[0], module.discriminator.down[1], module.discriminator.flat[0]
    x = torch.randn(2, 8, 4, 4)
    conv = layers(up.shortcut, nn.Conv2d)[0]
    assert conv.kernel_size == (1, 1)
    large = x.repeat_interleave(2, 2).repeat_interleave(2, 3)
    assert torch.allclose(up(x) - up.body(x), conv(large), atol=1e-5)
    y = torch.randn(2, 4, 8, 8)
    conv = layers(down.shortcut, nn.Conv2d)[0]
    assert conv.kernel_size == (1, 1)
    assert torch.allclose(down(y) - down.body(y), conv(F.avg_pool2d(y, 2)), atol=1e-5)
    assert torch.allclose(flat(x) - flat.body(x), x, atol=1e-5)


@proves("residual")
def test_the_residual_critic_answers_from_features_summed_over_pixels():
    d = small(NSGAN, tricks=["residual"]).discriminator
    critique = d(pictures())
    assert torch.allclose(critique.features, F.leaky_relu(critique.hidden[-1], 0.2).sum((2, 3)), atol=1e-5)


def _outputs(network):
    return [m.weight.shape[1 if isinstance(m, nn.ConvTranspose2d) else 0] for m in layers(network, *CONVOLUTIONS)]


@proves("wide_discriminator", "wide_generator")
@pytest.mark.parametrize(
    ("name", "player", "other"),
    [("wide_discriminator", "discriminator", "generator"), ("wide_generator", "generator", "discriminator")],
)
def test_width_is_doubled_for_one_player_alone(name, player, other):
    base, module = dcgan(size=32), dcgan(name, size=32)
    before, after = (_outputs(getattr(m, player)) for m in (base, module))
    hidden = slice(None, -1) if player == "generator" else slice(None)  # G's last layer puts out the image
    assert after[hidden] == [2 * n for n in before[hidden]]
    assert equal(weights(getattr(base, other)), weights(getattr(module, other)))
    assert _outputs(getattr(dcgan(f"{name}:factor=0.5", size=32), player))[hidden] == [n // 2 for n in before[hidden]]


@proves("deep_discriminator")
@pytest.mark.parametrize("factor", [2, 3])
def test_a_deep_discriminator_has_as_many_times_the_convolutions_at_each_resolution(factor):
    base, module = dcgan(size=32), dcgan(f"deep_discriminator:factor={factor}", size=32)
    assert [len(layers(s, nn.Conv2d)) for s in base.discriminator.down] == [1, 1, 1]
    assert [len(layers(s, nn.Conv2d)) for s in module.discriminator.down] == [factor] * 3
    shapes = lambda m: [h.shape for h in m.discriminator(pictures(size=32)).hidden]  # noqa: E731
    assert shapes(base) == shapes(module)
    assert equal(weights(base.generator), weights(module.generator))
    mlp = small(NSGAN, architecture="mlp", tricks=[f"deep_discriminator:factor={factor}"])
    assert len(layers(mlp.discriminator, nn.Linear)) == 2 * factor + 1


@proves("deep_discriminator")
@pytest.mark.parametrize("factor", [2, 3])
def test_a_deep_residual_critic_has_as_many_times_the_convolutions_and_those_of_base_among_them(factor):
    base, module = (dcgan("residual", *t).discriminator for t in ([], [f"deep_discriminator:factor={factor}"]))
    bodies = [[m.body for m in d.modules() if isinstance(m, DownBlock | FlatBlock)] for d in (base, module)]
    assert [sum(len(layers(body, nn.Conv2d)) for body in each) for each in bodies] == [6, 6 * factor]
    assert module(pictures()).hidden[1].shape == base(pictures()).hidden[1].shape
    theirs = dict(module.named_parameters())
    assert all(torch.equal(p, theirs[name]) for name, p in base.named_parameters())


# -- heads -----------------------------------------------------------------------------------------------------------


def minibatch_layer(f, theta, log_weight_scale, b, init=False):
    """A port of improved-gan's MinibatchLayer: its output, and the log_weight_scale and b that it then has."""
    w = theta * (np.exp(log_weight_scale) / np.sqrt(np.square(theta).sum(0)))
    activation = np.tensordot(f, w, [[1], [0]])  # (N, B, C)
    difference = np.abs(activation[:, :, :, None] - activation.transpose(1, 2, 0)[None]).sum(2)  # (N, B, N)
    difference = difference + 1e6 * np.eye(len(f))[:, None]
    if init:
        nearest = 0.5 * difference.min(2).mean(0)
        difference, log_weight_scale = difference / nearest[None, :, None], log_weight_scale - np.log(nearest)[:, None]
    o = np.exp(-difference).sum(2)
    b = -o.mean(0) if init else b
    return np.concatenate([f, o + b], 1), log_weight_scale, b


@proves("minibatch_discrimination")
def test_minibatch_discrimination_is_improved_gans_layer_before_its_first_values_and_after():
    layer = MinibatchDiscrimination(6, kernels=3, dims=4)
    for seed, first in ((0, False), (1, True), (2, False)):
        f = 9 * torch.randn(7, 6, generator=torch.Generator().manual_seed(seed))
        held = [p.detach().double().numpy() for p in (layer.direction, layer.log_length, layer.bias)]
        expected, *after = minibatch_layer(f.double().numpy(), *held, init=first)
        with torch.no_grad():
            out = nearest_at_2(layer, f, None) if first else layer(f)
        assert np.allclose(out, expected, atol=1e-4)
        assert np.allclose(layer.log_length.detach(), after[0], atol=1e-5)
        assert np.allclose(layer.bias.detach(), after[1], atol=1e-5)


@proves("minibatch_discrimination")
@pytest.mark.parametrize("cls", [DCGAN, NSGAN, WGANGP])
def test_minibatch_discrimination_neither_drowns_the_logit_nor_dies_after_its_first_batch(cls):
    module, now, _ = at_rest(small(cls, tricks=["minibatch_discrimination"], batch_size=64), n=64)
    module._first_values(now, torch.randn(64, 64))
    critique = module.discriminator(now.real)
    o = module.discriminator.statistics(critique.features)[:, critique.features.shape[1] :]
    assert o.mean(0).abs().max() < 1e-3
    assert 0.01 < o.std(0).min() < o.std(0).max() < 2


@proves("minibatch_discrimination")
def test_minibatch_discrimination_of_a_batch_of_one_image_stays_finite():
    layer = MinibatchDiscrimination(3, kernels=2, dims=4)
    with torch.no_grad():
        assert nearest_at_2(layer, torch.ones(6, 3), None).isfinite().all()


@pytest.mark.parametrize("tricks", [["minibatch_discrimination"], ["weight_norm:on=both"]])
@pytest.mark.parametrize("more", [[], ["instance_noise", "discriminator_dropout", "generator_noise"]])
def test_first_values_from_data_move_no_random_numbers_and_no_statistics(tricks, more):
    module, now, _ = at_rest(dcgan(*tricks, *more))
    z = torch.randn(8, 64)
    statistics = {k: v.clone() for k, v in module.state_dict().items() if "running" in k or "tracked" in k}
    drawn = {name: g.get_state() for name, g in module.streams.items()} | {"layers": torch.get_rng_state()}
    before = weights(module)
    module._first_values(now, z)
    assert equal(statistics, {k: v for k, v in module.state_dict().items() if k in statistics})
    assert equal(drawn, {name: g.get_state() for name, g in module.streams.items()} | {"layers": torch.get_rng_state()})
    assert not equal(before, weights(module))
    assert not any(m._forward_hooks for m in module.modules())


@pytest.mark.parametrize("g_steps", [0, 3])
def test_first_values_are_taken_in_the_first_step_of_all(g_steps, monkeypatch):
    module, taken = dcgan("minibatch_discrimination", steps=5), []
    monkeypatch.setattr(module, "_first_values", lambda *_: taken.append(module.d_steps))
    module.g_steps = g_steps  # a trained module whose D is trained further, as `optimum` does
    fit(module)
    assert taken == ([] if g_steps else [0])


@proves("minibatch_discrimination", "minibatch_stddev")
def test_a_collapsed_batch_shows():
    f = torch.ones(6, 3)
    assert torch.allclose(MinibatchDiscrimination(3, kernels=2, dims=4)(f)[:, 3:], torch.full((6, 2), 4.0))  # 5 + b
    assert torch.allclose(MinibatchStddev(4)(f)[:, 3:], torch.zeros(6, 1), atol=1e-3)


@proves("minibatch_discrimination")
@pytest.mark.parametrize("cls", [DCGAN, NSGAN, WGANGP])
def test_batch_statistics_reach_ds_answer_and_not_the_features_that_others_match(cls):
    base, module = small(cls), small(cls, tricks=["minibatch_discrimination"])
    critique = module.discriminator(pictures())
    assert torch.allclose(critique.features, base.discriminator(pictures()).features, atol=1e-5)
    assert module.discriminator.head.in_features == critique.features.shape[1] + 16
    seen = module.discriminator.statistics(critique.features)
    assert torch.allclose(critique.logits, module.discriminator.head(seen)[:, 0], atol=1e-5)


def minibatch_stddev_layer(x, group_size=4):
    """A port of ProGAN's layer: x (N, C, H, W) -> (N, C + 1, H, W)."""
    group_size = min(group_size, x.shape[0])
    s = x.shape
    y = np.reshape(x, [group_size, -1, s[1], s[2], s[3]])
    y = np.sqrt(np.mean(np.square(y - np.mean(y, axis=0, keepdims=True)), axis=0) + 1e-8)
    y = np.mean(y, axis=(1, 2, 3), keepdims=True)
    return np.concatenate([x, np.tile(y, [group_size, 1, s[2], s[3]])], axis=1)


@proves("minibatch_stddev")
@pytest.mark.parametrize(("n", "group"), [(8, 4), (3, 4), (12, 4), (12, 6), (4, 4)])
def test_minibatch_stddev_is_progans_layer(n, group):
    x = torch.randn(n, 3, 4, 4, generator=torch.Generator().manual_seed(n))
    expected = torch.from_numpy(minibatch_stddev_layer(x.double().numpy(), group)).float()
    for layout in (torch.contiguous_format, torch.channels_last):
        assert torch.allclose(MinibatchStddev(group)(x.to(memory_format=layout)), expected, atol=1e-5)
    flat = MinibatchStddev(group)(x[:, :, :1, :1].flatten(1))
    assert torch.allclose(flat, MinibatchStddev(group)(x[:, :, :1, :1])[:, :, 0, 0])
    assert MinibatchStddev(4)(torch.randn(6, 2)).shape == (6, 3)  # by hand: groups of 3


@proves("minibatch_stddev")
@pytest.mark.parametrize("architecture", ["conv", "mlp", "resnet"])
@pytest.mark.parametrize("cls", [DCGAN, WGANGP])
def test_minibatch_stddev_is_a_map_that_ds_last_hidden_stage_sees(cls, architecture):
    base, module = (small(cls, architecture=architecture, tricks=t) for t in ([], ["minibatch_stddev"]))
    d, x = module.discriminator, pictures()
    assert not layers(d, *BATCH_NORMS)  # it would take the batch's mean of the map away
    assert bool(layers(base.discriminator, *BATCH_NORMS)) == (cls is DCGAN)
    seen, stage = watch(d.map_statistics), watch((d.body if architecture == "mlp" else d.down)[-1])
    critique = d(x)
    assert len(seen) == len(stage) == 1
    before, after = seen[0]
    assert stage[0][0] is after
    assert after.shape[1] == before.shape[1] + 1
    ours = critique.hidden[-2] if architecture != "resnet" else critique.hidden[0]
    assert torch.equal(before, ours)  # what the stage before puts out
    assert critique.features.shape == base.discriminator(x).features.shape
    # a sample among copies of itself and the same one among others get other answers
    mixed, alone = x[:4], x[:1].expand(4, -1, -1, -1)
    assert (d(mixed).logits[0] - d(alone).logits[0]).abs() > 1e-6


@proves("minibatch_stddev")
def test_batches_that_the_group_does_not_divide_are_refused_by_name():
    assert not_applicable(Recipe(batch_size=20, tricks=("minibatch_stddev",))) is None
    assert not_applicable(Recipe(batch_size=3, tricks=("minibatch_stddev",))) is None  # one group
    for tricks in (("minibatch_stddev",), ("minibatch_stddev", "batch_size:size=22")):
        with pytest.raises(InputError, match=r"minibatch_stddev needs batches that group=4 divides .not of 22."):
            assemble(Recipe(batch_size=22 if len(tricks) == 1 else 20, tricks=tricks))


# -- batches ---------------------------------------------------------------------------------------------------------


def replayed(replay, new, now, state):
    """The batches that D trains on as fake, as (images, weight) pairs."""
    return [tuple(batch) for batch in replay.fakes((FakeBatch(new, 1.0),), now, state)]


@proves("experience_replay")
def test_replay_shows_old_images_as_a_batch_of_their_own_with_the_asked_weight():
    replay, n = trick("experience_replay", size=6, share=0.25, kept=2), 8
    state = replay.init(step(n))
    new = torch.full((n, 3, 4, 4), -1.0)
    assert all(torch.equal(shown, new) for shown, _ in replayed(replay, new, step(n), state))  # nothing stored yet
    stored = set()
    for k in range(1, 8):
        state = replay.advance(state, step(n, fake=torch.full((n, 3, 4, 4), float(k))))
        stored.add(float(k))
        (newest, share_new), (old, share_old) = replayed(replay, new, step(n, seed=k), state)
        assert torch.equal(newest, new)
        assert old.shape == new.shape
        assert set(old.unique().tolist()) <= stored
        assert (share_new, share_old) == (0.75, 0.25)
    assert set(state["images"].unique().tolist()) == {5.0, 6.0, 7.0}  # the newest 6 images, 2 per step
    assert int(state["stored"]) == 14


@proves("experience_replay")
def test_ds_loss_with_replay_weighs_the_losses_on_new_and_on_old_fakes():
    module, now, state = at_rest(dcgan("experience_replay:size=16,share=0.25,kept=8"))
    state = ({"images": pictures(16), "stored": torch.tensor(16)},)
    watch_d = watch(module.discriminator)
    loss = discriminator_loss(module.game, torch.randn(8, 64), now, state).loss
    (_, real), (_, new), (old, on_old) = watch_d
    assert {tuple(x.flatten().tolist()) for x in old} <= {tuple(x.flatten().tolist()) for x in state[0]["images"]}
    bce = F.binary_cross_entropy_with_logits
    expected = (
        bce(real.logits, torch.ones(8))
        + 0.75 * bce(new.logits, torch.zeros(8))
        + 0.25 * bce(on_old.logits, torch.zeros(8))
    )
    assert torch.allclose(loss, expected)


@proves("experience_replay")
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_replay_draws_evenly_from_the_whole_memory(dtype):
    n, draws = 1024, 40 * 1024
    digits = torch.stack((torch.arange(n) // 32, torch.arange(n) % 32), 1).view(n, 2, 1, 1).float()  # exact in bfloat16
    state = {"images": digits, "stored": torch.tensor(n)}
    new = torch.full((draws, 2, 1, 1), -1.0, dtype=dtype)
    out = replayed(trick("experience_replay"), new, step(), state)[1][0].float().view(-1, 2)
    counts = torch.bincount((out[:, 0] * 32 + out[:, 1]).long(), minlength=n)
    assert scipy.stats.chisquare(counts.numpy()).pvalue > 0.001


@proves("experience_replay")
def test_replay_stores_what_g_made():
    module = dcgan("experience_replay:size=16,kept=4", steps=3)
    made = watch(module.generator)
    fit(module)
    by_g = [out.detach()[:4] for _, out in made if out.requires_grad]
    held = next(b for name, b in module.state.named_buffers() if name.endswith("images"))
    assert torch.equal(held[:12], torch.cat(by_g))
    assert not held[12:].any()


@proves("joint_batches")
@pytest.mark.parametrize("joint", [True, False])
def test_joint_batches_share_one_set_of_batch_statistics(joint):
    module, now, state = at_rest(dcgan(*["joint_batches"] * joint))
    norm = layers(module.discriminator, *BATCH_NORMS)[0]
    seen, answers = watch(norm), []
    for scale in (1.0, 9.0):
        found = discriminator_loss(module.game, torch.randn(8, 64) * scale, now, state).step
        answers.append(found.real_critique.logits)
        assert found.real_critique.logits.shape == found.fake_critique.logits.shape == (8,)
    assert [len(x) for x, _ in seen] == ([16, 16] if joint else [8, 8, 8, 8])
    for x, y in seen:
        assert torch.allclose(y, F.batch_norm(x, None, None, norm.weight, norm.bias, True), atol=1e-5)
    # what D says of the same real images depends on the fakes beside them, or does not
    assert torch.allclose(*answers, atol=1e-6) != joint
    seen.clear()
    generator_loss(module.game, torch.randn(8, 64), now, state)
    assert [len(x) for x, _ in seen] == [16 if joint else 8]  # and G's step shows D the same kind of batch


@proves("batch_size")
@pytest.mark.parametrize(("size", "equal", "steps"), [(4, "images", 16), (16, "images", 4), (16, "steps", 8)])
def test_batch_size_at_equal_images_or_at_equal_steps(size, equal, steps):
    module, _ = fit(dcgan(f"batch_size:size={size},equal={equal}", steps=8))
    assert module.g_steps == module.d_steps == steps
    assert module.blueprint.batch_size == size
    assert (size * module.d_steps == 8 * 8) == (equal == "images")


@proves("fresh_generator_batch")
@pytest.mark.parametrize("n_critic", [1, 2])
def test_g_plays_exactly_the_z_of_ds_last_step_again(n_critic):
    def drawn(*tricks):
        module = dcgan(*tricks, *[f"n_critic:n={n_critic}"] * (n_critic > 1), steps=3)
        seen = watch(module.generator)
        fit(module)
        return [z for z, _ in seen]

    fresh, again, turn = drawn(), drawn("fresh_generator_batch"), n_critic + 1
    assert len(again) == 3 * turn
    for k, z in enumerate(again):
        assert torch.equal(z, again[k - 1]) == (k % turn == n_critic)
    assert not any(torch.equal(a, b) for a, b in itertools.combinations(fresh, 2))


# -- optimisers ------------------------------------------------------------------------------------------------------


def _moved(optimizer, gradients):
    """How far one number moves under an optimiser's settings, given its gradients in turn."""
    p = nn.Parameter(torch.zeros(1))
    group = {k: v for k, v in optimizer.param_groups[0].items() if k not in ("params", "initial_lr")}
    fresh, path = type(optimizer)([p], **group), []
    for g in gradients:
        p.grad = torch.tensor([g])
        fresh.step()
        path.append(p.item())
    return path


@proves("adam_lr", "adam_beta1")
@pytest.mark.parametrize(
    ("name", "lr", "beta1"),
    [
        ("adam_lr", 1e-3, 0.5), ("adam_lr:lr=0.01", 1e-2, 0.5), ("adam_beta1", 2e-4, 0.9), ("adam_beta1:beta1=0", 2e-4, 0),
    ],
)  # fmt: skip
def test_adam_of_both_players_moves_by_kingmas_formula(name, lr, beta1):
    for optimizer in dcgan(name).configure_optimizers():
        assert isinstance(optimizer, torch.optim.Adam)
        m = v = at = 0.0
        expected = []
        for k, g in enumerate((1.0, -3.0, 0.5), 1):
            m, v = beta1 * m + (1 - beta1) * g, 0.999 * v + 0.001 * g**2
            at -= lr * (m / (1 - beta1**k)) / (math.sqrt(v / (1 - 0.999**k)) + 1e-8)
            expected.append(at)
        assert _moved(optimizer, (1.0, -3.0, 0.5)) == pytest.approx(expected, rel=1e-4)


@proves("sgd_discriminator")
def test_d_moves_by_its_gradient_and_g_stays_with_adam():
    d, g = dcgan("sgd_discriminator").configure_optimizers()
    assert _moved(d, (1.0, -3.0)) == pytest.approx([-0.01, 0.02])
    d, _ = dcgan("sgd_discriminator:lr=0.1,momentum=0.5").configure_optimizers()
    assert _moved(d, (1.0, -3.0)) == pytest.approx([-0.1, -0.1 + 0.25])  # velocities 1 and -2.5
    assert isinstance(g, torch.optim.Adam)


@proves("rmsprop")
def test_rmsprop_moves_both_players_by_the_gradient_over_its_root_mean_square():
    for optimizer in small(WGANGP, tricks=["rmsprop"]).configure_optimizers():
        second = 0.99 * 0.01 * 1.0 + 0.01 * 4.0
        expected = [-5e-5 / math.sqrt(0.01), -5e-5 / math.sqrt(0.01) + 5e-5 * 2 / math.sqrt(second)]
        assert _moved(optimizer, (1.0, -2.0)) == pytest.approx(expected, rel=1e-4)


@proves("ttur")
@pytest.mark.parametrize("factor", [4.0, 0.25])
@pytest.mark.parametrize("cls", [DCGAN, NSGAN, WGANGP])
def test_ttur_multiplies_ds_learning_rate_alone(cls, factor):
    base, arm = (small(cls, tricks=t).configure_optimizers() for t in ([], [f"ttur:factor={factor}"]))
    (d0, g0), (d1, g1) = (tuple(o.param_groups[0]["lr"] for o in pair) for pair in (base, arm))
    assert (d1 / d0, g1 / g0) == pytest.approx((factor, 1.0))
    assert d0 == g0
    settings = [{k: v for k, v in o[0].defaults.items() if k != "lr"} for o in (base, arm)]
    assert settings[0] == settings[1]


# -- schedules -------------------------------------------------------------------------------------------------------


def _turns(module):
    """Train a module; whose weights each of its updates moved, as they came: "ddg"."""
    turns, update = [], module._update
    d_parameters = set(module.discriminator.parameters())

    def note(optimizer, *args):
        turns.append("d" if optimizer.param_groups[0]["params"][0] in d_parameters else "g")
        update(optimizer, *args)

    module._update = note
    fit(module)
    return "".join(turns)


@proves("n_critic", "n_generator")
@pytest.mark.parametrize(
    ("cls", "name", "steps", "played"),
    [
        (DCGAN, "n_critic:n=3", 4, (4, 12)),
        (NSGAN, "n_critic:n=3", 4, (4, 12)),
        (WGANGP, "n_critic:n=1", 4, (4, 4)),
        (DCGAN, "n_generator:n=2", 4, (4, 2)),
        (DCGAN, "n_generator:n=2", 5, (5, 3)),  # the last round ends at the limit
        (WGANGP, "n_generator:n=2", 3, (3, 10)),  # two rounds of five critic steps
    ],
)
def test_counts_of_steps(cls, name, steps, played):
    module, _ = fit(small(cls, tricks=[name], steps=steps))
    assert (module.g_steps, module.d_steps) == played


@proves("n_critic", "n_generator")
@pytest.mark.parametrize(
    ("cls", "name", "steps", "turn"),
    [(DCGAN, "n_critic:n=2", 6, "ddg"), (WGANGP, "n_critic:n=2", 2, "ddg"), (DCGAN, "n_generator:n=2", 6, "dgg")],
)
def test_at_equal_compute_base_and_arm_take_as_many_updates(cls, name, steps, turn):
    base, arm = (_turns(small(cls, tricks=t, steps=steps)) for t in ([], [f"{name},equal=compute"]))
    assert len(arm) == len(base) == steps * (6 if cls is WGANGP else 2)
    assert arm == turn * (len(arm) // 3)


@proves("n_critic", "n_generator")
@pytest.mark.parametrize(("name", "turn"), [("n_critic:n=3", "dddg"), ("n_generator:n=3", "dggg")])
def test_turns_are_taken_in_order(name, turn):
    assert _turns(dcgan(name, steps=6)) == turn * (6 // turn.count("g"))


@proves("loss_balancing")
@pytest.mark.parametrize(("d", "g"), [(1000.0, 1e-9), (1e-9, 1000.0), (1e-9, 1e-9), (1000.0, 1000.0), (0.0, 1000.0)])
def test_a_player_under_its_threshold_keeps_weights_and_moments(d, g):
    module = dcgan(f"loss_balancing:d={d},g={g}", steps=3)
    start = {
        p: {k: v.clone() for k, v in getattr(module, p).named_parameters()} for p in ("generator", "discriminator")
    }
    module, trainer = fit(module)
    for player, threshold, optimizer in zip(("discriminator", "generator"), (d, g), trainer.optimizers, strict=True):
        now, moments = dict(getattr(module, player).named_parameters()), optimizer.state.values()
        trained = threshold < 1.0
        assert equal(start[player], now) != trained
        assert {float(s["step"]) for s in moments} == {3.0 if trained else 0.0}
        assert any(bool(s["exp_avg"].any()) for s in moments) == trained


@proves("loss_balancing")
def test_a_gate_is_open_only_over_the_threshold():
    assert [bool(over(torch.tensor(x), threshold=1.0)) for x in (0.5, 1.0, 1.5)] == [False, False, True]
    gates = dcgan("loss_balancing:d=0.7,g=2").blueprint
    assert [bool(gate(torch.tensor(1.0))) for gate in (gates.d_gate, gates.g_gate)] == [True, False]


@proves("loss_balancing")
def test_by_default_one_player_always_trains():
    """Whatever D answers to fakes: a G whose loss is under ln 2 leaves D a loss over it. With 1 for both it does not."""
    answers = torch.sigmoid(3 * torch.randn(4000, 16, generator=torch.Generator().manual_seed(0)))
    answers = torch.cat([answers, torch.linspace(0.01, 0.99, 999)[:, None].expand(-1, 16)]).double()
    g_loss, fake_half = -answers.log().mean(1), -(1 - answers).log().mean(1)  # D's loss has the real half on top

    def stands_still(threshold):
        return ((g_loss < threshold) & (fake_half < threshold)).any()

    default = trick("loss_balancing")
    assert default.d == default.g
    assert not stands_still(default.g)
    assert stands_still(1.0)


@proves("loss_balancing")
@pytest.mark.parametrize("first", [True, False])
@pytest.mark.parametrize(
    "build",
    [
        lambda p: torch.optim.Adam(p, lr=0.1, betas=(0.5, 0.9)),
        lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
        lambda p: torch.optim.RMSprop(p, lr=0.1),
    ],
    ids=["adam", "sgd", "rmsprop"],
)
def test_gated_steps_equal_those_of_an_optimiser_that_never_saw_the_closed_ones(build, first):
    gated, plain = (nn.Parameter(torch.ones(4)) for _ in range(2))
    a, b = build([gated]), build([plain])
    noise = torch.Generator().manual_seed(0)
    for k in range(6):
        gradient, gate = torch.randn(4, generator=noise), (k % 2 == 0) == first
        gated.grad, plain.grad = gradient.clone(), gradient.clone()
        gated_step(a, torch.tensor(gate))
        if gate:
            b.step()
        assert torch.equal(gated, plain)


@proves("lr_decay")
@pytest.mark.parametrize(("cls", "start"), [(DCGAN, 0.0), (DCGAN, 0.5), (WGANGP, 0.0)])
def test_both_learning_rates_fall_linearly_to_0(cls, start):
    class Watch(lightning.Callback):
        def __init__(self):
            self.rates = []

        def on_train_batch_end(self, trainer, pl_module, *_):
            self.rates.append([float(o.param_groups[0]["lr"]) for o in trainer.optimizers])

    watcher, steps = Watch(), 8
    module, _ = fit(small(cls, tricks=[f"lr_decay:start={start}"], steps=steps), callbacks=[watcher])
    lr, n = module.recipe.lr, module.blueprint.n_critic
    expected = [lr * min(1.0, (1 - k / steps) / (1 - start)) for k in range(steps)]
    assert [d for d, _ in watcher.rates] == pytest.approx([e for e in expected for _ in range(n)])
    assert [g for _, g in watcher.rates[n - 1 :: n]] == pytest.approx(expected)
    assert module.blueprint.lr_schedule(torch.tensor(1.0)) == 0.0


# -- averages --------------------------------------------------------------------------------------------------------


@proves("generator_ema")
@pytest.mark.parametrize(
    ("warm_up", "decays"),
    [
        ("none", lambda t: 0.9),
        ("count", lambda t: min(0.9, (1 + t) / (10 + t))),
        # StyleGAN2-ADA's training_loop.py with batches of one image: ema_nimg = min(ema_nimg, 0.05 * cur_nimg)
        ("ramp", lambda t: 0.5 ** (1 / min(math.log(0.5) / math.log(0.9), 0.05 * t))),
    ],
)
def test_ema_is_the_recursion(warm_up, decays):
    ema = trick("generator_ema", decay=0.9, warm_up=warm_up)
    values = [torch.randn(3) for _ in range(200)]
    state, expected = ema.init(step(g_parameters={"a.b": values[0]})), values[0]
    for t, value in enumerate(values[1:], 1):
        state = ema.advance(state, step(g_parameters={"a.b": value}))
        expected = decays(t) * expected + (1 - decays(t)) * value
        if t in (5, 199):
            assert torch.allclose(ema.averaged({"a.b": value}, None, state)["a.b"], expected, atol=1e-5)


@proves("generator_ema")
def test_by_default_little_of_the_random_initial_weights_is_left_after_a_thousand_steps():
    ema = trick("generator_ema")
    state = ema.init(step(g_parameters={"w": torch.ones(1)}))
    for _ in range(1000):
        state = ema.advance(state, step(g_parameters={"w": torch.zeros(1)}))
    assert state["w"].item() < 1e-6  # 0.37 without a warm-up
    late = trick("generator_ema", warm_up="start")
    state = {"steps": torch.tensor(999.0), "w": torch.ones(1)}
    for _ in range(2):  # the live weights up to step 1,000, then the average
        state = late.advance(state, step(g_parameters={"w": torch.zeros(1)}))
        assert state["w"].item() == 0.0
    assert late.advance(state, step(g_parameters={"w": torch.ones(1)}))["w"].item() == pytest.approx(0.001, rel=1e-3)


@proves("generator_ema")
def test_ema_samples_from_the_average_of_gs_weights_and_does_not_touch_training():
    path = []

    class Watch(lightning.Callback):
        def on_train_batch_end(self, trainer, pl_module, *_):
            path.append({k: p.detach().clone() for k, p in pl_module.generator.named_parameters()})

    base, arm = fit(dcgan())[0], dcgan("generator_ema:decay=0.5,warm_up=none")
    path.append({k: p.detach().clone() for k, p in arm.generator.named_parameters()})
    arm, _ = fit(arm, callbacks=[Watch()])
    ours = arm.state_dict()
    assert all(torch.equal(v, ours[k]) for k, v in base.state_dict().items())
    with arm.sampling() as g:
        for name, p in g.named_parameters():
            a, b, c, d = (row[name] for row in path)
            assert torch.allclose(p, a / 8 + b / 8 + c / 4 + d / 2, atol=1e-6)


@proves("historical_averaging")
@pytest.mark.parametrize("player", ["d", "g"])
def test_historical_averaging_is_the_distance_to_the_mean_of_the_whole_path(player):
    averaging, path = trick("historical_averaging", weight=0.5), [torch.randn(3, 2) for _ in range(7)]
    other = [torch.randn(5) for _ in path]
    field, beside = ("d_parameters", "g_parameters") if player == "d" else ("g_parameters", "d_parameters")
    state = averaging.init(step(**{field: {"a.b": path[0]}, beside: {"a.b": other[0]}}))
    for k in range(1, len(path)):
        theta = path[k].clone().requires_grad_()
        now = step(**{field: {"a.b": theta}, beside: {"a.b": other[k]}})
        state = averaging.advance(state, now)
        mean = torch.stack(path[: k + 1]).mean(0)  # Salimans et al. 2016: 1/t times the sum of theta[1] to theta[t]
        loss = getattr(averaging, f"{player}_loss")(torch.tensor(3.0), now, state)
        assert loss.item() == pytest.approx(3 + 0.5 * (path[k] - mean).pow(2).sum().item(), rel=1e-4)
        assert torch.allclose(torch.autograd.grad(loss, theta)[0], path[k] - mean, atol=1e-5)


@proves("historical_averaging")
def test_historical_averaging_holds_both_players_back():
    def travelled(*tricks):
        module = dcgan(*tricks, steps=12, lr=0.01)
        start = copy.deepcopy((module.generator, module.discriminator))
        fit(module)
        pairs = zip((module.generator, module.discriminator), start, strict=True)
        return [sum((p - q).square().sum().item() for p, q in zip(a.parameters(), b.parameters())) for a, b in pairs]

    free, held = travelled(), travelled("historical_averaging:weight=1000")
    assert all(h < 0.5 * f for h, f in zip(held, free, strict=True))


# -- labels as input -------------------------------------------------------------------------------------------------


def labelled(name, cls=DCGAN, **fields):
    return small(cls, tricks=[name], classes=4, **fields)


LABELLED = ["conditional", "conditional_batch_norm", "projection", "auxiliary_classifier", "semi_supervised"]


@proves(*LABELLED)
@pytest.mark.parametrize("name", LABELLED)
@pytest.mark.parametrize("architecture", ["conv", "resnet"])
def test_which_networks_answer_to_a_label_and_how_its_gradient_returns(name, architecture):
    module, a, b = labelled(name, architecture=architecture), torch.zeros(8).long(), torch.ones(8).long()
    if name == "conditional_batch_norm":
        for layer in layers(module.generator, nn.Module):
            if hasattr(layer, "gain"):
                nn.init.normal_(layer.gain)  # classes begin alike
    g_told = name != "semi_supervised"
    d_told = name in ("conditional", "conditional_batch_norm", "projection")
    z, x = torch.randn(8, 64), pictures()
    assert torch.equal(module.generator(z, a), module.generator(z, b)) != g_told
    assert torch.equal(module.discriminator(x, a).logits, module.discriminator(x, b).logits) != d_told
    module.discriminator(module.generator(z, b), b).logits.square().sum().backward()
    tables = [p for p in module.parameters() if p.ndim == 2 and len(p) == 4]
    tables = [p for p in tables if not any(p is m.weight for m in layers(module, nn.Linear))]
    assert bool(tables) == (g_told or d_told)
    for table in tables:
        assert table.grad[1].any()
        assert not table.grad[[0, 2, 3]].any()  # of the classes that did not appear


@proves("conditional", "conditional_batch_norm")
@pytest.mark.parametrize("name", ["conditional", "conditional_batch_norm"])
@pytest.mark.parametrize(("dims", "side"), [(4, 2), (16, 4), (256, 16)])
def test_ds_extra_channel_is_the_labels_square_up_sampled(name, dims, side):
    d, x, labels = labelled(f"{name}:dims={dims}").discriminator, pictures(), torch.arange(8) % 4
    seen = watch(d.images)
    d(x, labels)
    ((_, out),) = seen
    assert out.shape == (8, 4, 16, 16)
    assert torch.equal(out[:, :3], x)
    (table,) = layers(d, nn.Embedding)
    square, block = table.weight[labels].view(8, side, side), 16 // side
    assert torch.equal(out[:, 3], square.repeat_interleave(block, 1).repeat_interleave(block, 2))


@proves("conditional", "projection", "auxiliary_classifier")
@pytest.mark.parametrize("name", ["conditional", "projection", "auxiliary_classifier"])
def test_the_labels_embedding_stands_beside_z(name):
    g, z, labels = labelled(f"{name}:dims=9").generator, torch.randn(8, 64), torch.arange(8) % 4
    (table,) = layers(g, nn.Embedding)
    assert table.weight.shape == (4, 9)
    assert torch.equal(g.latents(z, labels), torch.cat((z, table.weight[labels]), 1))
    assert g.project.in_features == 64 + 9


@proves("conditional_batch_norm")
def test_conditional_batch_norm_has_a_gain_and_a_bias_per_class():
    g = labelled("conditional_batch_norm").generator
    norm, labels, x = g.first[0], torch.tensor([0, 2, 2, 3]), torch.randn(4, 8, 4, 4) * 2 + 1
    assert torch.allclose(norm(x, labels), F.batch_norm(x, None, None, training=True), atol=1e-5)  # classes begin alike
    nn.init.normal_(norm.gain)
    nn.init.normal_(norm.bias)
    plain = F.batch_norm(x, None, None, training=True)  # statistics over all classes
    expected = torch.stack([
        norm.gain[k].view(-1, 1, 1) * row + norm.bias[k].view(-1, 1, 1) for k, row in zip(labels, plain)
    ])  # fmt: skip
    assert torch.allclose(norm(x, labels), expected, atol=1e-5)
    assert not layers(g, nn.Embedding)  # G is told in no other way


@proves("projection")
def test_projection_adds_the_inner_product_of_embedding_and_features():
    d, x, labels = labelled("projection").discriminator, pictures(), torch.arange(8) % 4
    critique = d(x, labels)
    added = torch.stack([d.projection.weight[k] @ f for k, f in zip(labels, critique.features)])
    assert torch.allclose(critique.logits, d.head(critique.features)[:, 0] + added, atol=1e-5)


@proves("projection")
@pytest.mark.parametrize("cls", [DCGAN, NSGAN, WGANGP])
def test_projection_does_not_drown_ds_answer_at_the_start(cls):
    module = labelled("projection", cls, width=16)
    assert module.discriminator(pictures(64), torch.arange(64) % 4).logits.std() < 3  # N(0, 1) weights gave 25


@proves("auxiliary_classifier")
def test_auxiliary_classifier_adds_the_cross_entropies_of_both_halves_to_d_and_of_fakes_to_g():
    labels, real, fake = torch.arange(8) % 4, torch.randn(8, 4), torch.randn(8, 4)
    nll = lambda x: -torch.stack([row.log_softmax(0)[k] for row, k in zip(x, labels)]).mean()  # noqa: E731
    blank = torch.zeros(8)
    critiques = {"real_critique": Critique(blank, real, real), "fake_critique": Critique(blank, fake, fake)}
    acgan, now = trick("auxiliary_classifier", weight=2.0), step(labels=labels, **critiques)
    assert torch.allclose(acgan.d_loss(torch.tensor(1.0), now, {}), 1 + 2 * (nll(real) + nll(fake)))
    assert torch.allclose(acgan.g_loss(torch.tensor(1.0), now, {}), 1 + 2 * nll(fake))


@proves("auxiliary_classifier")
def test_the_auxiliary_classifier_stands_beside_the_logit():
    d = labelled("auxiliary_classifier").discriminator
    critique = d(pictures(), torch.zeros(8).long())
    assert critique.classes.shape == (8, 4)
    assert torch.allclose(critique.logits, d.head(critique.features)[:, 0], atol=1e-6)
    assert torch.allclose(critique.classes, d.classes(critique.features), atol=1e-6)


@proves("semi_supervised")
def test_semi_supervised_d_is_a_softmax_over_classes_and_fake():
    critique = labelled("semi_supervised").discriminator(pictures())
    assert critique.classes.shape == (8, 4)
    z = critique.classes.exp().sum(1)
    assert torch.allclose(critique.logits.sigmoid(), z / (z + 1))
    with_fake = torch.cat((critique.classes, torch.zeros(8, 1)), 1).softmax(1)  # the fake class at logit 0
    assert torch.allclose(critique.logits.sigmoid(), 1 - with_fake[:, -1], atol=1e-6)


@proves("semi_supervised")
def test_semi_supervised_learns_classes_from_real_images_alone():
    labels, real = torch.arange(8) % 4, torch.randn(8, 4)
    now = step(labels=labels, real_critique=Critique(real.logsumexp(1), real, real), fake_critique=None)
    loss = trick("semi_supervised", weight=0.5).d_loss(torch.tensor(1.0), now, {})
    assert torch.allclose(loss, 1 + 0.5 * F.cross_entropy(real, labels))
    assert "g_loss" not in trick("semi_supervised").overridden


@proves("conditional", "conditional_batch_norm", "projection", "auxiliary_classifier")
@pytest.mark.parametrize("name", LABELLED[:-1])
def test_labels_at_sampling_follow_the_datas_class_shares(name):
    plain = images()
    data = ImageSet.of(plain.images, torch.arange(64).div(16).long().clamp(max=1), tuple("abcd"), "unbalanced")
    module, _ = fit(labelled(name, steps=1), data)
    assert torch.equal(module.class_share, torch.tensor([0.25, 0.75, 0.0, 0.0]))
    _, labels = module._prior(4000, torch.Generator().manual_seed(0))
    counts = Counter(labels.tolist())
    assert counts.keys() == {0, 1}
    assert counts[1] == pytest.approx(3000, abs=4 * math.sqrt(4000 * 0.75 * 0.25))


@proves(*LABELLED)
@pytest.mark.parametrize("name", LABELLED)
def test_g_and_d_play_with_the_labels_of_the_real_batch(name):
    module, now, state = at_rest(labelled(name))
    told = []
    module.generator.register_forward_hook(lambda _, args, out: told.append(args[1]))
    module.discriminator.register_forward_hook(lambda _, args, out: told.append(args[1]))
    discriminator_loss(module.game, torch.randn(8, 64), now, state)
    assert len(told) == 3
    assert all(torch.equal(labels, now.labels) for labels in told)


@proves(*LABELLED)
@pytest.mark.parametrize("name", LABELLED)
def test_a_data_set_without_classes_is_refused(name):
    with pytest.raises(InputError, match=f"^{name} needs a dataset with classes, which this dcgan has not$"):
        small(DCGAN, tricks=[name], classes=0)


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        ("instance_noise:until=0", "instance_noise: until=0"),
        ("generator_noise:std=-1", "generator_noise: std=-1"),
        ("generator_dropout:p=1", "generator_dropout: p=1"),
        ("discriminator_dropout:p=x", "discriminator_dropout: p='x'"),
        ("interpolation:path=arc", "interpolation: unknown path 'arc'"),
        ("leaky_slope:slope=2", "leaky_slope: slope=2"),
        ("sigmoid_output:activation=relu", "sigmoid_output: unknown activation 'relu'"),
        ("group_norm:groups=0", "group_norm: groups=0"),
        ("layer_norm:on=all", "layer_norm: unknown on 'all'"),
        ("fully_connected:units=0.5", "fully_connected: units=0.5 is not a whole number"),
        ("wide_generator:factor=0", "wide_generator: factor=0"),
        ("minibatch_discrimination:kernels=0", "minibatch_discrimination: kernels=0"),
        ("experience_replay:share=1.5", "experience_replay: share=1.5"),
        ("batch_size:size=1", "batch_size: size=1"),
        ("fresh_generator_batch:fresh=2", "fresh_generator_batch: fresh=2"),
        ("adam_lr:lr=0", "adam_lr: lr=0"),
        ("adam_beta1:beta1=1", "adam_beta1: beta1=1"),
        ("ttur:factor=0", "ttur: factor=0"),
        ("n_critic:n=0", "n_critic: n=0"),
        ("n_generator:equal=time", "n_generator: unknown equal 'time'"),
        ("loss_balancing:d=-1", "loss_balancing: d=-1"),
        ("lr_decay:start=1", "lr_decay: start=1"),
        ("generator_ema:decay=1.1", "generator_ema: decay=1.1"),
        ("conditional:dims=5", "conditional: dims=5"),
        ("conditional:dims=1024", "conditional: dims=1024"),
        ("conditional_batch_norm:dims=6", "conditional_batch_norm: dims=6"),
        ("projection:dims=0", "projection: dims=0"),
        ("relu_discriminator:slope=1", "relu_discriminator: takes no parameters"),
    ],
)
def test_bad_parameters_are_refused_by_name(spec, named):
    with pytest.raises(InputError) as caught:
        dcgan(spec)
    assert named in str(caught.value)
