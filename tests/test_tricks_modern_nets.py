"""What makes each trick on newer networks that trick: attention, styles, runtime scales, Ds of patches and scales."""

import math

import pytest
import torch
from test_models import fit, small
from test_tricks_nets import at_rest, layers, pictures, watch
from torch import nn
from torch.nn import functional as F
from trick_tools import proves, step, trick

from gan_ablate import DCGAN, NSGAN, WGANGP
from gan_ablate.errors import InputError
from gan_ablate.nets.attention import SelfAttention
from gan_ablate.nets.progressive import grow
from gan_ablate.nets.style import ModulatedConvolution
from gan_ablate.nets.weights import Scaled
from gan_ablate.recipe import Recipe
from gan_ablate.step import discriminator_loss, generator_loss
from gan_ablate.tricks import assemble, not_applicable

WEIGHTED = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


# -- self-attention --------------------------------------------------------------------------------------------------


@proves("self_attention")
def test_self_attention_is_zhang_et_al_equations_1_to_3():
    layer, x = SelfAttention(16), torch.randn(2, 16, 3, 5)
    assert torch.equal(layer(x), x)  # gamma is 0 at first
    nn.init.constant_(layer.gamma, 0.7)
    weight = lambda convolution: convolution.weight[:, :, 0, 0]  # noqa: E731
    for image, ours in zip(x, layer(x), strict=True):
        pixels = image.flatten(1)  # (C, N)
        f, g, h = (weight(part) @ pixels for part in (layer.f, layer.g, layer.h))
        by_hand = torch.empty_like(pixels)
        for j in range(pixels.shape[1]):
            beta = torch.stack([(f[:, i] @ g[:, j]).exp() for i in range(pixels.shape[1])])
            beta = beta / beta.sum()
            by_hand[:, j] = 0.7 * weight(layer.v) @ (h @ beta) + pixels[:, j]
        assert torch.allclose(ours.flatten(1), by_hand, atol=1e-5)


@proves("self_attention")
@pytest.mark.parametrize("architecture", ["conv", "resnet"])
@pytest.mark.parametrize(("size", "side", "at"), [(16, 32, 8), (32, 32, 16), (64, 16, 16), (32, 4, 8)])
def test_attention_stands_behind_one_map_of_each_player_and_base_is_as_it_was(architecture, size, side, at):
    build = lambda *tricks: small(DCGAN, size=size, architecture=architecture, tricks=tricks)  # noqa: E731
    module, base = build(f"self_attention:side={side}"), build()
    for network, x in ((module.generator, torch.randn(2, 64)), (module.discriminator, pictures(2, size=size))):
        (layer,) = layers(network, SelfAttention)
        seen = watch(layer)
        network(x)
        assert seen[0][0].shape[2:] == (at, at)
    z = torch.randn(2, 64)
    assert torch.equal(base.generator(z), module.generator(z))
    assert not any(layers(net, SelfAttention) for net in (base.generator, base.discriminator))
    assert "halved twice" in not_applicable(Recipe(tricks=("self_attention",), size=8))


@proves("self_attention")
def test_attention_is_learned_and_goes_to_the_player_it_is_asked_for():
    for on, players in (("g", [True, False]), ("d", [False, True]), ("both", [True, True])):
        module, _ = fit(small(NSGAN, tricks=[f"self_attention:on={on}"]))
        found = [layers(net, SelfAttention) for net in (module.generator, module.discriminator)]
        assert [bool(own) for own in found] == players
        assert all(layer.gamma != 0 for own in found for layer in own)


# -- weights scaled at runtime ---------------------------------------------------------------------------------------


@proves("equalised_learning_rate")
@pytest.mark.parametrize("cls", [DCGAN, WGANGP])
def test_equalised_weights_are_normal_and_scaled_by_he(cls):
    module = small(cls, tricks=["equalised_learning_rate"], width=32)
    for network in (module.generator, module.discriminator):
        for name, layer in network.named_modules():
            if not isinstance(layer, WEIGHTED):
                continue
            (scale,) = layer.parametrizations.weight
            original = layer.parametrizations.weight.original
            assert isinstance(scale, Scaled)
            assert original.std().item() == pytest.approx(1, abs=4 / math.sqrt(original.numel()))
            assert torch.equal(layer.weight, original * scale.scale)
            out = name in {"last", "head"}
            # the variance of an output, on inputs of 1: He's 2, or 1 where no activation follows
            inputs = {nn.Linear: lambda x: (4000, x.in_features)}.get(
                next(t for t in WEIGHTED if isinstance(layer, t)), lambda x: (40, x.in_channels, 20, 20)
            )
            y = layer(torch.randn(inputs(layer)))
            inner = y if y.ndim == 2 else y[:, :, 3:-3, 3:-3]
            assert (inner - inner.mean((0, *range(2, inner.ndim)), keepdim=True)).var().item() == pytest.approx(
                1 if out else 2, rel=0.35
            )


@proves("equalised_learning_rate")
def test_under_a_runtime_scale_adam_moves_every_layer_by_one_share_of_its_size():
    """Adam's first step is lr in each number, so it is lr * scale in a weight of deviation `scale`."""
    module, _ = fit(small(NSGAN, tricks=["equalised_learning_rate"], steps=1, lr=0.01))
    start = small(NSGAN, tricks=["equalised_learning_rate"])
    for a, b in zip(layers(module.generator, *WEIGHTED), layers(start.generator, *WEIGHTED), strict=True):
        moved = (a.weight - b.weight).abs() / a.parametrizations.weight[0].scale
        assert moved.median().item() == pytest.approx(0.01, rel=0.05)


@proves("equalised_learning_rate")
def test_equalised_is_refused_where_it_would_be_undone():
    for other in ("spectral_norm", "weight_norm", "orthogonal_init", "wgan_clip"):
        for pair in ((other, "equalised_learning_rate"), ("equalised_learning_rate", other)):
            with pytest.raises(InputError, match="cannot stand together"):
                assemble(Recipe(tricks=pair))


# -- D of patches and of scales --------------------------------------------------------------------------------------


@proves("patch_discriminator")
def test_a_patch_discriminator_answers_each_place_from_its_patch_alone():
    module = small(NSGAN, tricks=["patch_discriminator"], size=32)
    x = pictures(2, size=32).requires_grad_()
    answer = module.discriminator(x)
    assert answer.logits.shape == (2 * 16,)
    assert answer.parts.shape == (2, 16)
    for place in (0, 5, 15):
        (gradient,) = torch.autograd.grad(answer.parts[1, place], x, retain_graph=True)
        rows, columns = gradient.abs().sum((0, 1)).nonzero().T
        assert gradient[0].abs().max() == 0
        for pixels, at in ((rows, place // 4), (columns, place % 4)):
            middle = 8 * at + 3.5
            assert pixels.min() == max(0, middle - 10.5)  # 22 pixels wide
            assert pixels.max() == min(31, middle + 10.5)


@proves("patch_discriminator", "multi_scale_discriminator")
@pytest.mark.parametrize("name", ["patch_discriminator", "multi_scale_discriminator"])
def test_the_loss_is_the_mean_over_all_answers_of_an_image(name):
    module, now, states = at_rest(small(NSGAN, tricks=[name]))
    z = torch.randn(8, module.latent_dim)
    d, g = discriminator_loss(module.game, z, now, states), generator_loss(module.game, z, now, states)
    with torch.no_grad():
        fake = module.generator(z)
        real, fakes = (module.discriminator(x).parts for x in (now.real, fake))
    assert real.shape[1] > 1
    assert torch.allclose(d.loss, F.softplus(-real).mean() + F.softplus(fakes).mean(), atol=1e-6)
    assert torch.allclose(g.loss, F.softplus(-fakes).mean(), atol=1e-6)


@proves("patch_discriminator", "multi_scale_discriminator")
@pytest.mark.parametrize("name", ["patch_discriminator", "multi_scale_discriminator"])
def test_penalties_are_on_the_mean_answer_of_an_image_and_joint_batches_are_split_by_image(name):
    module, now, states = at_rest(small(NSGAN, tricks=[name, "r1:gamma=2"]))
    plain, _, _ = at_rest(small(NSGAN, tricks=[name]))
    z = torch.randn(8, module.latent_dim)
    term = discriminator_loss(module.game, z, now, states).loss - discriminator_loss(plain.game, z, now, states).loss
    x = now.real.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(module.discriminator(x).parts.mean(1).sum(), x)
    assert torch.allclose(term, gradient.square().sum((1, 2, 3)).mean(), atol=1e-5)
    whole = module.discriminator(pictures(6))
    first, rest = whole.split(4)
    assert torch.equal(torch.cat((first.parts, rest.parts)), whole.parts)
    assert len(first.parts) == len(first.mean_logits) == 4


@proves("multi_scale_discriminator")
def test_each_scale_has_a_d_of_its_own_that_sees_the_images_halved():
    module = small(DCGAN, tricks=["multi_scale_discriminator"], size=32)
    seen = [watch(network) for network in module.discriminator.at]
    x = pictures(4, size=32)
    module.discriminator(x)
    assert [own[0][0].shape[-1] for own in seen] == [32, 16, 8]
    half = F.avg_pool2d(F.pad(x, (1, 1, 1, 1)), 3, 2) * 9
    counts = F.avg_pool2d(F.pad(torch.ones(1, 1, 32, 32), (1, 1, 1, 1)), 3, 2) * 9
    assert torch.allclose(seen[1][0][0], half / counts, atol=1e-6)
    firsts = [layers(network, nn.Conv2d)[0].weight for network in module.discriminator.at]
    assert not torch.equal(firsts[0], firsts[1])
    assert len(small(DCGAN, tricks=["multi_scale_discriminator"]).discriminator.at) == 2  # 16 and 8 pixels
    assert "halved twice" in not_applicable(Recipe(tricks=("multi_scale_discriminator",), size=8))


# -- styles ----------------------------------------------------------------------------------------------------------


@proves("style_modulation")
def test_a_modulated_convolution_is_karras_et_al_equations_1_and_3():
    layer, x, w = ModulatedConvolution(5, 7, True, kernel=3, styles=4), torch.randn(3, 5, 6, 6), torch.randn(3, 4)
    nn.init.normal_(layer.bias)
    for image, style, ours in zip(x, 1 + layer.style(w), layer(x, w), strict=True):
        modulated = layer.layer.weight * style[None, :, None, None]
        modulated = modulated / (modulated.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        assert torch.allclose(ours, F.conv2d(image[None], modulated, layer.bias, padding=1)[0], atol=1e-5)


@proves("style_modulation")
def test_styles_of_two_zs_are_mixed_from_a_random_layer_on_in_training_alone():
    g = small(DCGAN, tricks=["style_modulation:mixing=0.5"], size=32).generator.train()
    torch.manual_seed(0)
    styles = torch.stack(g.styles(torch.randn(4000, 64), None))  # (L, N, 64)
    changed = (styles != styles[0]).any(2).float()  # (L, N)
    assert changed[0].sum() == 0
    assert (changed.diff(dim=0) >= 0).all()  # once another's, another's to the end
    places = len(styles) - 1
    expected = [0.5 * k / places for k in range(1, places + 1)]
    assert changed.mean(1)[1:].tolist() == pytest.approx(expected, abs=0.03)
    g.eval()
    z = torch.randn(4, 64)
    assert all(torch.equal(w, g.styles(z, None)[0]) for w in g.styles(z, None))


@proves("style_modulation")
def test_a_gs_images_depend_on_z_by_the_styles_alone_and_from_the_start():
    for cls in (DCGAN, NSGAN, WGANGP):
        g = small(cls, tricks=["style_modulation"], width=16).generator.eval()
        z = torch.randn(64, 64)
        images = g(z)
        assert images.std(0).mean() > 0.1 * images.std()
        assert torch.allclose(g(3 * z), images, atol=1e-4)  # z is normalised
        for layer in layers(g, ModulatedConvolution):
            nn.init.zeros_(layer.style.weight)
        assert g(z).std(0).max() < 1e-5


@proves("style_modulation", "equalised_learning_rate")
@pytest.mark.parametrize("order", [1, -1])
def test_styles_and_runtime_scales_stand_together_in_either_order(order):
    tricks = ["style_modulation", "equalised_learning_rate"][::order]
    g = small(NSGAN, tricks=tricks).generator
    for layer in layers(g.mapping, nn.Linear):
        assert layer.weight.std().item() == pytest.approx(math.sqrt(2 / layer.in_features), rel=0.1)
        scale = math.sqrt(2 / layer.in_features) * 0.01
        assert layer.parametrizations.weight.original.std().item() == pytest.approx(100, rel=0.1)
        assert math.prod(each.scale for each in layer.parametrizations.weight) == pytest.approx(scale)
        assert not layer.bias.any()


@proves("style_modulation")
def test_the_mapping_learns_at_a_hundredth_of_the_rate():
    """Adam's first step is lr in each number that is kept."""
    build = lambda **f: small(NSGAN, tricks=["style_modulation"], lr=0.01, **f)  # noqa: E731
    start, module = build(), fit(build(steps=1))[0]
    for name, rate in (("mapping.body.0.0", 1e-4), ("convolutions.0.style", 1e-2)):
        a, b = (dict(m.generator.named_modules())[name] for m in (module, start))
        assert (a.weight - b.weight).abs().median().item() == pytest.approx(rate, rel=0.05)
        assert (a.bias - b.bias).abs().median().item() == pytest.approx(rate, rel=0.05)  # as in the authors' code


@proves("style_modulation")
@pytest.mark.parametrize("other", ["pixel_shuffle", "layer_norm", "residual", "virtual_batch_norm", "self_attention"])
def test_what_a_g_by_style_has_no_place_for_is_refused(other):
    with pytest.raises(InputError):
        assemble(Recipe(tricks=("style_modulation", other)))


# -- path lengths ----------------------------------------------------------------------------------------------------


@proves("path_length")
def test_path_lengths_are_those_of_g_as_a_matrix():
    """G(z) = A z: ||J^T y||^2 has mean ||A||_F^2 / pixels, and the loss is its spread about the running mean."""
    a = torch.randn(3 * 4 * 4, 5)
    now = step(
        n=4000,
        g_parameters={},
        latent_dim=5,
        generate=lambda z: (z @ a.T).view(-1, 3, 4, 4),
        real=torch.zeros(4000, 3, 4, 4),
    )
    own = trick("path_length", weight=3.0)
    lengths = own._lengths(now, create_graph=False)
    assert lengths.square().mean().item() == pytest.approx((a.square().sum() / 16).item(), rel=0.05)
    state = {"mean": torch.tensor(2.0)}
    mean = 2.0 + 0.01 * (lengths.mean().item() - 2.0)
    expected = 3.0 * (lengths.var(correction=0) + (lengths.mean() - mean) ** 2)
    assert own.g_loss(torch.tensor(0.5), now, state).item() - 0.5 == pytest.approx(expected.item(), rel=0.05)
    assert own.advance(state, now)["mean"].item() == pytest.approx(mean, rel=0.01)


@proves("path_length")
def test_path_length_moves_g_towards_one_length_in_all_directions():
    """Of an orthogonal A all lengths are near one number; the loss's gradient leads there from a lopsided one."""
    scales = torch.tensor([0.2, 1.0, 3.0], requires_grad=True)
    basis = torch.linalg.qr(torch.randn(48, 3, generator=torch.Generator().manual_seed(0)))[0]
    generate = lambda z: ((z * scales) @ basis.T).view(-1, 3, 4, 4)  # noqa: E731
    now = step(n=512, latent_dim=3, generate=generate, real=torch.zeros(512, 3, 4, 4))
    own, optimizer = trick("path_length"), torch.optim.SGD([scales], 0.05)
    state = own.init(now)
    spread = []
    for _ in range(200):
        optimizer.zero_grad()
        own.g_loss(torch.zeros(()), now, state).backward()
        optimizer.step()
        state = own.advance(state, now)
        spread.append((scales.max() / scales.abs().min()).item())
    assert spread[-1] < spread[0] / 2


# -- progressive growing ---------------------------------------------------------------------------------------------


def grown(name, share, **fields):
    module = small(NSGAN, tricks=[name], **fields)
    for network in (module.generator, module.discriminator):
        grow(network, torch.tensor(share))
    return module


@proves("progressive_growing")
def test_resolutions_and_fades_take_turns_until_the_last_is_whole():
    g = grown("progressive_growing:until=0.8", 0.0, size=32).generator  # 4, 8, 16 and 32 pixels: 6 turns
    shares = {0.0: 0, 0.1: 0, 0.2: 0.5, 0.8 / 3: 1, 0.35: 1, 0.4 + 0.2 / 3: 1.5, 0.6: 2, 0.8: 3, 0.99: 3}
    for share, level in shares.items():
        grow(g, torch.tensor(share))
        assert g.level.item() == pytest.approx(level, abs=1e-5)


@proves("progressive_growing")
@pytest.mark.parametrize(("share", "pixels"), [(0.0, 4), (0.2, 8), (0.6, 16)])
def test_images_are_as_coarse_as_the_level_and_d_sees_no_finer(share, pixels):
    module = grown("progressive_growing", share)
    x = module.generator(torch.randn(3, 64))
    blocks = F.interpolate(F.avg_pool2d(x, 16 // pixels), scale_factor=16 / pixels)
    assert torch.allclose(x, blocks, atol=1e-6)
    assert pixels == 4 or not torch.allclose(x, F.interpolate(F.avg_pool2d(x, 32 // pixels), scale_factor=32 / pixels))
    y = pictures(3)
    coarse = F.interpolate(F.avg_pool2d(y, 16 // pixels), scale_factor=16 / pixels)
    answers = [module.discriminator(image).logits for image in (y, coarse)]
    assert torch.allclose(*answers, atol=1e-5)


@proves("progressive_growing")
def test_a_fade_is_a_blend_of_two_resolutions_in_both_players():
    """Karras et al., figure 2b: (1 - alpha) times the coarser one doubled, and alpha times the finer one."""
    module, z, x = grown("progressive_growing", 0.0), torch.randn(3, 64), pictures(3)
    output, ends = module.generator.output, []
    module.generator.output = nn.Identity()  # a blend of images before tanh
    for share in (0.0, 0.25, 0.1875):  # levels 0, 1 and 0.5
        for network in (module.generator, module.discriminator):
            grow(network, torch.tensor(share))
        ends.append((module.generator(z), module.discriminator(x).hidden[-1]))
    for coarse, fine, between in zip(*ends, strict=True):
        assert torch.allclose(between, (coarse + fine) / 2, atol=1e-5)
        assert not torch.allclose(coarse, fine, atol=1e-3)
    assert isinstance(output, nn.Tanh)


@proves("progressive_growing")
def test_layers_that_have_no_part_yet_stay_as_they_were_drawn_and_all_move_at_the_end():
    start, build = (
        small(NSGAN, tricks=["progressive_growing"]),
        lambda **f: small(NSGAN, tricks=["progressive_growing"], **f),
    )
    early, _ = fit(build(steps=40), max_steps=4)  # of 2 * 40 updates: level 0
    late, _ = fit(build(steps=8))
    for name in ("generator.up.1.0.weight", "generator.last.2.weight", "discriminator.first.0.0.weight"):
        drawn, soon, then = (dict(m.named_parameters())[name] for m in (start, early, late))
        assert torch.equal(drawn, soon)
        assert not torch.equal(drawn, then)
    assert not torch.equal(start.generator.project.weight, early.generator.project.weight)
