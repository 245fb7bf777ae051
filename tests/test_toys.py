"""Datasets with known modes: points in the plane and stacked digits, what is measured on them, and runs over them."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from gan_ablate.cli import main
from gan_ablate.data import ImageSet, load, to_float, torchvision_sets, toys
from gan_ablate.errors import InputError
from gan_ablate.evaluate import Features, load_extractor, samples
from gan_ablate.evaluate.callback import EvaluationCallback
from gan_ablate.evaluate.extractors import Extractor, extract
from gan_ablate.evaluate.frechet import frechet_distance, moments
from gan_ablate.evaluate.known_modes import StackedExtractor, stacked_logits
from gan_ablate.evaluate.metrics import evaluate_images
from gan_ablate.evaluate.modes import mode_coverage
from gan_ablate.evaluate.real_statistics import real_statistics
from gan_ablate.models import DCGAN
from gan_ablate.recipe import CLASSES, TOYS, USUAL_SHAPES, Evaluation, Recipe, TrickSpec
from gan_ablate.tricks import not_applicable

SHARED = Path(os.environ.get("GAN_ABLATE_SHARED", "/work/shared/data"))
PERFECT = 1 - math.exp(-4.5)  # P(Rayleigh <= 3)
both = pytest.mark.parametrize("name", TOYS)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_ABLATE_CACHE", str(tmp_path / "cache"))


def toy_set(name: str, **options) -> ImageSet:
    return load(name, size=1, channels=2, **options)


# -- points ----------------------------------------------------------------------------------------------------------


@both
def test_points_have_the_published_modes_and_spread(name):
    data, toy = toy_set(name), toys.BY_NAME[name]
    assert data.images.shape == (100_000, 2, 1, 1)
    assert data.images.dtype == torch.float32
    assert data.images.abs().max() < 0.9
    assert len(data.classes) == len(set(data.classes)) == CLASSES[name]
    points = toy.points(data.images.double())
    published = {
        "ring": [(math.cos(k * math.pi / 4), math.sin(k * math.pi / 4)) for k in range(8)],
        "grid": [(x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)],
    }[name]
    std = {"ring": 0.01, "grid": 0.05}[name]
    for mode, centre in enumerate(published):
        own = points[data.labels == mode]
        assert len(own) == 100_000 / len(published)
        assert own.mean(0).tolist() == pytest.approx(centre, abs=5 * std / len(own) ** 0.5)
        assert own.std(0).tolist() == pytest.approx([std, std], rel=0.06)


@both
def test_points_are_the_same_every_time_and_no_test_point_is_a_training_point(name):
    one, again = toys.generate(name, count=512), toys.generate(name, count=512)
    assert one.fingerprint == again.fingerprint
    assert torch.equal(one.images, toy_set(name).images[:512])
    test = toy_set(name, split="test")
    assert len(test) == 10_000
    assert test.fingerprint != toy_set(name, count=10_000).fingerprint
    rounded = one.images.double() * toys.STEPS
    assert torch.equal(rounded, rounded.round())


def test_fingerprint_sees_the_last_bit_of_a_float():
    data = toy_set("ring", count=10)
    images = data.images.clone()
    images[3, 1] = torch.nextafter(images[3, 1], torch.ones(()))
    assert ImageSet.of(images, data.labels, data.classes, "ring").fingerprint != data.fingerprint


def test_floats_pass_through_unscaled():
    x = torch.linspace(-1, 1, 8).view(4, 2, 1, 1)
    assert to_float(x) is x


@pytest.mark.parametrize("bad", [{"size": 16}, {"channels": 3}, {"count": 0}, {"split": "val"}])
def test_points_of_another_shape_are_refused(bad):
    with pytest.raises(InputError, match=r"size=1, channels=2|count|split"):
        load("ring", **{"size": 1, "channels": 2, **bad})
    with pytest.raises(InputError, match="unknown toy 'rings'"):
        toys.generate("rings")


# -- recipes ---------------------------------------------------------------------------------------------------------


@both
def test_recipes_of_points_know_their_network_and_classes(name):
    recipe = Recipe(dataset=name, size=1, channels=2).validate()
    assert recipe.architecture == "mlp"
    assert recipe.classes == CLASSES[name]
    assert USUAL_SHAPES[name] == (1, 2)
    assert Recipe().validate().architecture == "conv"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"dataset": "ring", "size": 16, "channels": 3}, r"size=16, channels=3: ring has points.*size=1, channels=2"),
        ({"dataset": "grid", "size": 1, "channels": 1}, "grid has points.*size=1, channels=2"),
        ({"dataset": "ring", "architecture": "conv"}, "architecture='conv': ring has points, not images.*mlp"),
        ({"dataset": "grid", "architecture": "resnet"}, "architecture='resnet': grid has points, not images.*mlp"),
        ({"dataset": "ring", "evaluation": Evaluation(extractor="inception")}, "inception.*points, not images"),
        ({"dataset": "shapes"}, "size=1: needs a multiple of 4 from 8 to 1024, such as 8.*ring, grid"),
        ({"dataset": "mnist", "size": 28}, "channels=2: choose one of 1, 3"),
        ({"dataset": "stacked_mnist", "size": 28, "channels": 1}, "channels=1: needs 3"),
    ],
)
def test_shapes_that_do_not_suit_the_dataset_are_refused_in_one_line(fields, said):
    with pytest.raises(InputError, match=said) as caught:
        Recipe(**{"size": 1, "channels": 2, **fields}).validate()
    assert "\n" not in str(caught.value)


def test_identities_of_recipes_of_images_have_not_moved():
    assert Recipe().run_id == "51fa4ca1b2aec95b"


@pytest.mark.parametrize("name", ["ada", "diff_augment", "consistency", "residual", "kernel_5"])
def test_tricks_on_pixels_do_not_apply_to_points(name):
    recipe = Recipe(dataset="ring", size=1, channels=2, tricks=(TrickSpec(name),))
    assert "needs" in not_applicable(recipe)
    assert not_applicable(Recipe(tricks=(TrickSpec(name),))) is None


# -- what is measured on points --------------------------------------------------------------------------------------


@both
def test_a_perfect_generator_has_nearly_all_its_samples_on_all_the_modes(name):
    """The golden: 1 - exp(-4.5) of high quality, not all of them; every mode; no divergence beyond chance."""
    real, fake = toy_set(name), toy_set(name, split="test")
    extractor = load_extractor("classifier", dataset=real)
    assert extractor.name == f"{name} points and modes"
    share = extractor.high_quality(fake.images)
    assert share == pytest.approx(PERFECT, abs=4 * math.sqrt(PERFECT * (1 - PERFECT) / len(fake)))
    metrics = evaluate_images(fake.images[:2500], extractor, real_statistics(real, extractor))
    assert metrics["modes"] == CLASSES[name]
    assert metrics["mode_kl"] == pytest.approx(0, abs=1e-5)  # every mode has its equal share
    spread = float(toys.BY_NAME[name].points(real.images).square().mean())
    assert metrics["fid"] < 1e-3 * spread
    assert abs(metrics["kid"]) < 0.02 * spread**3
    # drawn without regard to the mode, its KL is about (K - 1) / 2N
    rows = torch.randint(len(fake), (2500,), generator=torch.Generator().manual_seed(0))
    chance = evaluate_images(fake.images[rows], extractor, real_statistics(real, extractor))["mode_kl"]
    assert 0 < chance < 3 * CLASSES[name] / 5000


@both
def test_the_edge_of_high_quality_is_at_three_standard_deviations(name):
    toy, extractor = toys.BY_NAME[name], load_extractor("classifier", dataset=toy_set(name))
    centres = torch.tensor(toy.centres, dtype=torch.float64)
    for share, far in ((1.0, 2.99), (0.0, 3.01)):
        images = toy.images(centres + far * toy.std * torch.tensor([0.6, 0.8])).float()
        assert extractor.high_quality(images) == share
        found = extract(extractor, images)
        assert torch.equal(found.logits.argmax(1), torch.arange(len(centres)))  # the nearest mode in either case
        counts = torch.ones(len(centres))
        assert mode_coverage(found.logits, counts)[0] == share * len(centres)
        assert mode_coverage(found.logits, counts)[1] == pytest.approx(0, abs=1e-12)
        assert torch.allclose(found.features[:, :2].double(), toy.points(images.double()), atol=1e-6)
        assert found.features[:, 2:].diagonal().numpy() == pytest.approx(math.exp(-0.5 * (far / 3) ** 2), abs=1e-3)


def test_modes_and_divergence_of_a_collapsed_generator():
    real, toy = toy_set("ring"), toys.BY_NAME["ring"]
    extractor = load_extractor("classifier", dataset=real)
    statistics = real_statistics(real, extractor)
    half = real.images[real.labels % 2 == 0][:2000]
    metrics = evaluate_images(half, extractor, statistics)
    assert metrics["modes"] == 4
    assert metrics["mode_kl"] == pytest.approx(math.log(2))
    # every other mode: the mean and covariance of points are the same, those of how near they are to each mode are not
    assert frechet_distance(half.flatten(1), moments(real.images.flatten(1))) < 1e-4
    assert metrics["fid"] > 0.3
    between = toy.images(torch.tensor(toy.centres).roll(1, 0) / 2 + torch.tensor(toy.centres) / 2).repeat(50, 1, 1, 1)
    assert evaluate_images(between, extractor, statistics)["modes"] == 0
    assert extractor.high_quality(between) == 0


def test_the_extractor_of_points_takes_points_only():
    extractor = load_extractor("classifier", dataset=toy_set("ring"))
    with pytest.raises(TypeError, match="float32"):
        extract(extractor, torch.zeros(2, 2, 1, 1, dtype=torch.uint8))
    with pytest.raises(InputError, match="ring points and modes: expected points 2 x 1 x 1, got 3 x 1 x 1"):
        extract(extractor, torch.zeros(2, 3, 1, 1))
    with pytest.raises(InputError, match="points, not images"):
        load_extractor("package:extractor", dataset=toy_set("grid"))
    other = ImageSet.of(torch.zeros(4, 2, 1, 1), None, (), "mine")
    with pytest.raises(InputError, match="mine: float images"):
        load_extractor("classifier", dataset=other)
    assert extractor.digest != load_extractor("classifier", dataset=toy_set("grid")).digest


def callback(tmp_path: Path, real: ImageSet, extractor: Extractor) -> EvaluationCallback:
    return EvaluationCallback(Evaluation(samples=300, points=1), 1, real, extractor, samples_dir=tmp_path / "samples")


def test_evaluation_of_points_measures_floats_and_draws_them(tmp_path):
    real = toy_set("ring")
    run = callback(tmp_path, real, load_extractor("classifier", dataset=real))

    class Perfect(torch.nn.Module):
        g_steps = 1

        def generate(self, n: int, *, seed: int) -> Tensor:
            return real.images[-n:]

    point = run.evaluate(Perfect())
    assert point["modes"] == 8
    assert point["high_quality"] > 0.96
    assert run.labels()["high_quality"] == "high-quality share@300 (ring points and modes)"
    picture = np.asarray(Image.open(tmp_path / "samples" / "final.png"))
    side = samples.SIDE
    assert picture.shape == (2 * side, side, 3)  # generated ones above, real ones below
    for half in (picture[:side], picture[side:]):
        for x, y in toys.BY_NAME["ring"].centres:
            column, row = round((x / 1.25 + 1) / 2 * (side - 1)), round((1 - y / 1.25) / 2 * (side - 1))
            assert half[row, column].min() < 120
        assert (half[side // 2 - 20 : side // 2 + 20, side // 2 - 20 : side // 2 + 20] == 255).all()

    class Broken(Perfect):
        def generate(self, n: int, *, seed: int) -> Tensor:
            return torch.full((n, 2, 1, 1), math.nan)

    nothing = run.evaluate(Broken())
    assert nothing["fid"] is None
    assert nothing["high_quality"] is None


def test_images_are_of_high_quality_where_they_are_as_near_to_real_ones_as_those_are(tmp_path):
    real = load("shapes", size=16, channels=3, count=640)
    run = callback(tmp_path, real, load_extractor("classifier", dataset=real))

    class Copy(torch.nn.Module):
        g_steps = 1

        def generate(self, n: int, *, seed: int) -> Tensor:
            return real.images[:n]

    assert run.evaluate(Copy())["high_quality"] == 1
    assert run.labels()["high_quality"] == "high-quality share@300 (shapes classifier)"


# -- runs over points ------------------------------------------------------------------------------------------------


def test_generate_gives_points_as_floats():
    module = DCGAN(dataset="grid", size=1, channels=2, width=2, precision="fp32")
    points = module.generate(9, seed=0)
    assert points.shape == (9, 2, 1, 1)
    assert points.dtype == torch.float32
    assert len(points.unique()) > 2
    with torch.no_grad():
        module.generator.last.weight.fill_(math.nan)
    assert module.generate(2, seed=0).isnan().all()


def test_training_on_the_ring_from_the_command_line_and_sampling_from_it(tmp_path, capsys):
    root = tmp_path / "r"
    arguments = "train --dataset ring --steps 40 --width 4 --samples 250 --points 2 --precision fp32 --trick r1".split()
    assert main([*arguments, "--accelerator", "cpu", "--logger", "none", "--threads", "1", "--root", str(root)]) == 0
    assert "high-quality share@250 (ring points and modes)" in capsys.readouterr().out
    (folder,) = (root / "runs").iterdir()
    result = json.loads((folder / "result.json").read_text())
    assert result["recipe"]["architecture"] == "mlp"
    assert result["metrics"]["high_quality"] is not None
    assert [point["step"] for point in result["curve"]] == [0, 20, 40]
    out = tmp_path / "grid.png"
    assert main(["sample", str(folder / "checkpoints" / "last.ckpt"), "--out", str(out)]) == 0
    assert Image.open(out).size == (samples.SIDE, samples.SIDE)


# -- stacked digits --------------------------------------------------------------------------------------------------


def numbered_digits(per_class: int = 7) -> ImageSet:
    """Digit d of number j: 4 x 4 pixels, of value 10 * d + j."""
    labels = torch.arange(10).repeat(per_class)
    value = 10 * labels + torch.arange(per_class).repeat_interleave(10)
    images = value.view(-1, 1, 1, 1).expand(-1, 1, 4, 4).to(torch.uint8).contiguous()
    return ImageSet.of(images, labels, tuple("0123456789"), "mnist")


def test_stacks_show_the_digits_that_name_them():
    digits = numbered_digits()
    data = torchvision_sets.stack(digits, 3000, seed=0)
    assert data.images.shape == (3000, 3, 4, 4)
    assert data.name == "stacked_mnist"
    assert data.labels.bincount().tolist() == [3] * 1000
    assert data.classes[407] == "407"
    shown = data.images[:, :, 0, 0].long()
    named = torch.tensor([[int(c) for c in data.classes[k]] for k in data.labels])
    assert torch.equal(shown // 10, named)
    assert (shown.flatten() % 10).bincount().min() > 1000  # each of 7 images about as often: 9000 / 7
    assert data.drawn_from is digits
    assert torch.equal(data.images, torchvision_sets.stack(digits, 3000, seed=0).images)
    assert not torch.equal(data.images, torchvision_sets.stack(digits, 3000, seed=1).images)


def test_stacks_need_every_digit():
    digits = numbered_digits()
    with pytest.raises(InputError, match="no image of 0"):
        torchvision_sets.stack(digits.rows((digits.labels > 0).nonzero().squeeze(1)), 10, seed=0)
    with pytest.raises(InputError, match="stacked_mnist: channels=1: needs 3"):
        torchvision_sets.read_stacked(size=28, channels=1, split="train")


class Reads(Extractor):
    """Sees the digit of `numbered_digits` for sure, or with the given probability."""

    name, digest, dim = "mnist classifier", "0" * 64, 2

    def __init__(self, sure: float = 1 - 1e-6) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(sure))
        self.freeze()

    def forward(self, images: Tensor) -> Features:
        value = images[:, 0, 0, 0].long()
        p = torch.full((len(value), 10), (1 - float(self.weight)) / 9)
        p[torch.arange(len(value)), value // 10] = float(self.weight)
        return Features(torch.stack([value // 10, value % 10], 1).float(), p.log())


def test_the_extractor_of_stacks_reads_each_channel():
    data = torchvision_sets.stack(numbered_digits(), 2000, seed=0)
    extractor = StackedExtractor(Reads(), data.name, data.classes)
    assert (extractor.name, extractor.dim) == ("stacked_mnist classifier", 6)
    found = extract(extractor, data.images)
    assert torch.equal(found.logits.argmax(1), data.labels)
    assert torch.allclose(found.logits.exp().sum(1), torch.ones(2000), atol=1e-4)  # log-probabilities already
    assert found.features[5].tolist() == [part for v in data.images[5, :, 0, 0].tolist() for part in divmod(v, 10)]
    assert mode_coverage(found.logits, data.labels.bincount())[0] == 1000
    unsure = StackedExtractor(Reads(0.95), data.name, data.classes)  # 0.95 cubed is under the confidence
    assert mode_coverage(extract(unsure, data.images).logits, data.labels.bincount())[0] == 0
    with pytest.raises(InputError, match="expected 3 channels, got 1"):
        extract(extractor, data.images[:, :1])


def test_stacked_logits_are_products_of_probabilities():
    logits = torch.randn(5, 3, 10, generator=torch.Generator().manual_seed(0))
    p = logits.softmax(2)
    by_loops = [[float(q[0][m // 100] * q[1][m // 10 % 10] * q[2][m % 10]) for m in range(1000)] for q in p]
    assert torch.allclose(stacked_logits(logits).exp(), torch.tensor(by_loops), atol=1e-7)


def test_a_perfect_stack_of_26_000_has_the_golden_divergence():
    """KL about 999 / 52,000 = 0.0192, with a standard deviation of sqrt(999 / 2) / 26,000 = 0.0009."""
    labels = torch.randint(1000, (26_000,), generator=torch.Generator().manual_seed(0))
    covered, kl = mode_coverage(20 * torch.nn.functional.one_hot(labels, 1000).float(), torch.full((1000,), 128))
    assert covered == 1000
    assert kl == pytest.approx(0.0192, abs=0.003)


def test_load_extractor_gives_stacks_the_classifier_of_their_digits(monkeypatch):
    data = torchvision_sets.stack(numbered_digits(), 1000, seed=0)
    asked = []
    monkeypatch.setattr(
        "gan_ablate.evaluate.known_modes.classifier_for", lambda digits, device, kept_only: asked.append(digits) or Reads()
    )
    extractor = load_extractor("classifier", dataset=data)
    assert asked == [data.drawn_from]
    assert real_statistics(data, extractor).class_counts.tolist() == [1] * 1000


@pytest.mark.parametrize(("split", "each"), [("train", 128), ("test", 26)])
def test_real_stacked_mnist(split, each):
    if not (SHARED / "MNIST" / "raw" / "train-images-idx3-ubyte").exists():
        pytest.skip(f"no MNIST at {SHARED}; set GAN_ABLATE_SHARED")
    data = load("stacked_mnist", size=28, channels=3, split=split, data_root=SHARED)
    assert data.images.shape == (each * 1000, 3, 28, 28)
    assert (data.labels.bincount() == each).all()
    assert len(data.classes) == CLASSES["stacked_mnist"] == 1000
    digits = data.drawn_from
    assert len(digits) == {"train": 60_000, "test": 10_000}[split]
    # image 407, channel by channel, is an image of a 4, of a 0 and of a 7
    for channel, digit in enumerate((4, 0, 7)):
        same = (digits.images[:, 0] == data.images[407, channel]).flatten(1).all(1)
        assert digits.labels[same].unique().tolist() == [digit]
