"""3D-GAN and `voxels`: volumes of known solids, their pictures, and the game in three dimensions."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import lru_cache, partial
from types import SimpleNamespace

import pytest
import test_models
import test_rounds
import test_tricks
import torch
from test_models import fit, small
from test_rounds import ROUNDS, differing, train
from test_tricks import SOONER
from torch import nn

from gan_ablate import DCGAN, GAN3D
from gan_ablate.cli import main
from gan_ablate.data import voxels
from gan_ablate.data.images import ImageSet
from gan_ablate.errors import InputError
from gan_ablate.evaluate import load_extractor, views
from gan_ablate.evaluate.classifier import WEIGHTS, read
from gan_ablate.evaluate.prdc import RandomCNN
from gan_ablate.nets.layers import UniformLatents
from gan_ablate.optim import accuracy_up_to
from gan_ablate.penalties import gradient_penalty
from gan_ablate.recipe import Evaluation, Recipe, usual_fields
from gan_ablate.tricks import not_applicable, trick_names

OWN = {"dataset": "voxels", "size": 8, "channels": 1}
AT_ONCE = {**SOONER, "loss_balancing": "loss_balancing:d=5"}  # in two steps D's loss stays between 0.69 and 5
FITTING = [
    AT_ONCE.get(name, name)
    for name in trick_names()
    if not_applicable(Recipe(model="dcgan", tricks=(name,), **OWN)) is None
]


def volumes(*_):
    """64 random volumes of 8 voxels a side, of four classes."""
    occupied = torch.rand(64, 1, 8, 8, 8, generator=torch.Generator().manual_seed(0)) < 0.3
    return ImageSet.of(occupied.to(torch.uint8) * 255, torch.arange(64) % 4, tuple("abcd"), "noise")


def tiny(cls=GAN3D, *tricks, **fields):
    return small(cls, **{**OWN, "classes": 4, "steps": 2, "tricks": tricks, **fields})


# -- the dataset -----------------------------------------------------------------------------------------------------


def test_voxels_are_deterministic_balanced_binary_and_differ_between_splits():
    one, two = voxels.generate(16, 1, "test", 400), voxels.generate(16, 1, "test", 400, chunk=7)
    assert torch.equal(one.images, two.images)
    assert one.images.shape == (400, 1, 16, 16, 16)
    assert one.images.unique().tolist() == [0, 255]
    assert one.labels.bincount().tolist() == [40] * 10
    other = voxels.generate(16, 1, "train", 400)
    assert len(torch.cat((one.images, other.images)).flatten(1).unique(dim=0)) == 800


def test_things_do_not_depend_on_the_size_and_have_the_volume_of_their_solids():
    fine = voxels.generate(32, 1, "test", 200).images.float() / 255
    coarse = voxels.generate(16, 1, "test", 200).images.float() / 255
    pooled = nn.functional.avg_pool3d(fine, 2)
    assert ((pooled > 0.5) == (coarse > 0.5)).float().mean() > 0.97
    # of these radii in units of half a side; the factor of the height is 1 on average
    images = voxels.generate(20, 1, "test", 1000).images.float() / 255
    spheres, boxes = (images[k::10].mean() for k in (0, 1))
    a, b = voxels.RADIUS
    cubed = (b**4 - a**4) / (4 * (b - a))  # E[r^3]
    assert float(spheres) == pytest.approx(4 / 3 * math.pi * 0.75**3 * cubed / 8, rel=0.05)
    assert float(boxes) == pytest.approx(8 * 0.65 * 0.45 * 0.4 * cubed / 8, rel=0.05)


def test_the_shipped_classifier_reads_them():
    meta = read(WEIGHTS / "voxels-16x16x16x1.pt")["meta"]
    assert meta["fingerprint"] == voxels.generate(16, 1, "train").fingerprint
    test = voxels.generate(16, 1, "test", 500)
    extractor = load_extractor("classifier", dataset=test)
    features, logits = extractor(test.images)
    assert features.shape == (500, 128)
    assert (logits.argmax(1) == test.labels).float().mean() > 0.98
    for flat in ("rotation", "inception"):
        with pytest.raises(InputError, match="voxels has volumes, not images, which need classifier"):
            load_extractor(flat, dataset=test)


# -- pictures --------------------------------------------------------------------------------------------------------


def test_a_view_shows_three_faces_of_a_cube_and_near_voxels_before_far_ones():
    cube = torch.zeros(1, 1, 16, 16, 16, dtype=torch.uint8)
    assert (views.views(cube) == views.BACKGROUND).all()
    cube[:, :, 4:12, 4:12, 4:12] = 255
    picture = views.views(cube)[0, 0].float()
    right, left, top = picture[36, 40], picture[36, 24], picture[20, 32]  # rows from the top
    assert views.BACKGROUND > top > right > left
    # a voxel behind the cube changes nothing, one in front of it does; x and y lead away from the viewer, z up
    behind, before = cube.clone(), cube.clone()
    behind[:, :, 4, 12:, 12:], before[:, :, 4:8, :4, :4] = 255, 255
    assert torch.equal(views.views(behind)[0, 0].float(), picture)
    assert not torch.equal(views.views(before)[0, 0].float(), picture)


def test_what_is_half_empty_is_not_drawn():
    half = torch.full((2, 1, 8, 8, 8), 127, dtype=torch.uint8)
    half[1] = 128
    empty, full = views.views(half)
    assert (empty == views.BACKGROUND).all()
    assert (full != views.BACKGROUND).any()


# -- the game --------------------------------------------------------------------------------------------------------


def test_networks_are_the_papers_in_three_dimensions():
    module = small(GAN3D, dataset="voxels", size=16, channels=1, width=4)
    out = module.generator(torch.randn(3, 64))
    assert out.shape == (3, 1, 16, 16, 16)
    assert out.min() >= -1
    assert out.max() <= 1
    shape = lambda m: (type(m).__name__, tuple(m.kernel_size), tuple(m.stride))  # noqa: E731
    up = [shape(m) for m in module.generator.modules() if isinstance(m, nn.ConvTranspose3d)]
    down = [shape(m) for m in module.discriminator.modules() if isinstance(m, nn.Conv3d)]
    assert up == [("ConvTranspose3d", (4, 4, 4), (2, 2, 2))] * 2
    assert down == [("Conv3d", (4, 4, 4), (2, 2, 2))] * 2
    assert {type(m).__name__ for m in module.modules() if "Norm" in type(m).__name__} == {"BatchNorm3d"}
    g, d = (o.options["lr"] for o in (module.blueprint.g_optimizer, module.blueprint.d_optimizer))
    assert g == d == 1e-3


def test_z_is_uniform_around_0():
    z = UniformLatents()(torch.randn(100_000, generator=torch.Generator().manual_seed(0)))
    at = torch.linspace(-0.8, 0.8, 9)
    assert torch.allclose((z[:, None] < at).float().mean(0), (at + 1) / 2, atol=0.01)
    assert "needs a G that is given normal latents" in not_applicable(
        Recipe(model="gan3d", tricks=("uniform_latents",), **OWN)
    )


def test_d_is_trained_only_where_it_is_right_on_at_most_a_share():
    def gate(real, fake):
        answers = (SimpleNamespace(logits=torch.tensor(logits)) for logits in (real, fake))
        step = SimpleNamespace(**dict(zip(("real_critique", "fake_critique"), answers, strict=True)))
        return bool(accuracy_up_to(torch.zeros(()), step, most=0.8))

    assert gate([1.0, 1.0, 1.0, 1.0, -1.0], [-1.0, -1.0, -1.0, -1.0, 1.0])  # 8 of 10
    assert not gate([1.0] * 5, [-1.0, -1.0, -1.0, -1.0, 1.0])  # 9 of 10
    assert tiny().blueprint.d_gate.options == {"most": 0.95}


@pytest.mark.parametrize(("most", "moves"), [(-0.1, False), (1.0, True)])
def test_the_gate_holds_d_and_never_g(most, moves):
    module, start = tiny(), tiny()
    module.blueprint = replace(module.blueprint, d_gate=module.blueprint.d_gate.but(most=most))
    fit(module, volumes())
    moved = [
        any(not torch.equal(p, q) for p, q in zip(after.parameters(), before.parameters(), strict=True))
        for after, before in ((module.discriminator, start.discriminator), (module.generator, start.generator))
    ]
    assert moved == [moves, True]


def test_a_line_between_volumes_has_one_epsilon_for_each_pair():
    # D(x) = |x|^2 / 2 has gradient x, so with target 0 the penalty is E[|x|^2] at x = e r + (1 - e) f
    real, fake = torch.randn(64, 1, 2, 2, 2), torch.randn(64, 1, 2, 2, 2) + 3
    half = lambda x: x.square().flatten(1).sum(1) / 2  # noqa: E731
    ours = gradient_penalty(half, real, fake, test_models.step_of(real), weight=1.0, target=0.0)
    epsilon = torch.rand(64, 1, 1, 1, 1, generator=torch.Generator().manual_seed(0))
    between = fake + epsilon * (real - fake)
    assert torch.allclose(ours, between.flatten(1).square().sum(1).mean(), rtol=1e-4)


@lru_cache
def base():
    return fit(tiny(DCGAN), volumes())[0]


@pytest.mark.parametrize("name", FITTING)
def test_every_trick_that_acts_on_volumes_trains_finite_and_changes_the_outcome(name):
    arm = fit(tiny(DCGAN, name), volumes())[0]
    assert arm.finite
    assert all(torch.isfinite(v).all() for v in arm.state_dict().values())
    z = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    same = torch.equal(base()(z), arm(z)) and torch.equal(base().generate(32, seed=1), arm.generate(32, seed=1))
    assert same == (name == "flipped_generator_labels")
    assert arm.generate(2, seed=0).shape == (2, 1, 8, 8, 8)


@pytest.mark.parametrize(
    ("trick", "reason"),
    [
        *((t, "needs images, not points in the plane or volumes") for t in ("diff_augment", "ada", "residual")),
        *((t, "needs images or points, not volumes") for t in ("conditional", "pixel_shuffle")),
    ],
)
def test_what_needs_a_plane_is_refused_with_a_reason(trick, reason):
    assert reason in not_applicable(Recipe(model="gan3d", tricks=(trick,), **OWN))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"architecture": "resnet"}, "architecture='resnet': voxels has volumes, not images, which need conv or mlp"),
        ({"channels": 3}, "channels=3: needs 1"),
        ({"size": 10}, "size=10: needs a multiple of 4"),
        ({"evaluation": Evaluation(extractor="rotation")}, "evaluation.extractor='rotation': voxels has volumes"),
    ],
)
def test_recipes_of_what_volumes_cannot_have_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        Recipe(model="gan3d", **{**OWN, **fields}).validate()


def test_mismatched_volumes_are_named():
    with pytest.raises(InputError, match="images are 1x8x8x8 but the model was built for 1x16x16x16"):
        fit(tiny(size=16), volumes())


def test_any_model_plays_with_volumes_and_3d_gan_with_images():
    assert fit(tiny(DCGAN, architecture="mlp"), volumes())[0].finite
    flat = fit(small(GAN3D, dataset="digits", size=8, channels=1, steps=2))[0]
    assert flat.generate(2, seed=0).shape == (2, 1, 8, 8)
    assert [usual_fields(m) for m in ("gan3d", "dcgan", "my.Model")] == [{"dataset": "voxels"}, {}, {}]


def test_random_features_of_volumes_are_of_unit_variance():
    images = volumes().images
    network = RandomCNN.fitted(images)
    again = RandomCNN(1, network.statistics, dims=3)
    assert network(images).shape == (64, 64)
    assert torch.allclose(network(images), again(images))
    first = network.convolutions[0]((images.float() / 127.5) - 1)
    assert torch.allclose(first.std((0, 2, 3, 4), correction=0), torch.ones(32), atol=1e-3)


def test_rounds_many_at_a_time_and_resumed_train_the_same(monkeypatch, tmp_path):
    monkeypatch.setattr(test_rounds, "images", volumes)
    eager, *_ = train(tiny(steps=ROUNDS), "eager")
    captured, *_ = train(tiny(steps=ROUNDS), "captured", pauses=[7])
    assert differing(eager, captured) == []
    monkeypatch.setattr(test_models, "images", volumes)
    monkeypatch.setitem(test_tricks.CLASSES, "gan3d", partial(GAN3D, **OWN))
    test_tricks.test_is_deterministic_and_survives_a_checkpoint_bit_for_bit(
        "gan3d", "generator_ema:decay=0.5", tmp_path
    )  # fmt: skip


def test_a_run_is_trained_measured_and_shown_by_one_command(tmp_path, capsys):
    command = "train --model gan3d --steps 2 --width 2 --batch-size 8 --samples 64 --points 1 --precision fp32 --root"
    assert main([*command.split(), str(tmp_path)]) == 0
    (folder,) = (tmp_path / "runs").iterdir()
    result = json.loads((folder / "result.json").read_text())
    assert result["recipe"]["dataset"] == "voxels"
    assert result["labels"]["fid"] == "FID@64 (voxels classifier)"
    assert all(result["metrics"][k] is not None for k in ("fid", "kid", "precision", "modes", "nn_ratio"))
    assert (folder / "samples" / "final.png").exists()
