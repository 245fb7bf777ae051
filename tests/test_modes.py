"""Modes by distance within the class, and PRDC in the random CNN's space: what must count, and what must not."""

import math

import pytest
import torch

from gan_ablate.data import load
from gan_ablate.evaluate import load_extractor
from gan_ablate.evaluate.callback import EvaluationCallback
from gan_ablate.evaluate.extractors import Features
from gan_ablate.evaluate.metrics import evaluate_features, evaluate_images
from gan_ablate.evaluate.modes import class_reach, good_samples, mode_coverage, reached
from gan_ablate.evaluate.prdc import RandomCNN
from gan_ablate.evaluate.real_statistics import RealStatistics, real_statistics
from gan_ablate.outcomes import FAILURES, MEANINGS, explained, listed
from gan_ablate.recipe import Evaluation


def rounded(images):
    return images.round().clamp(0, 255).to(torch.uint8)


def degraded(images):
    """Ways to be wrong, of uint8 images (N, C, H, W), by name."""
    g = torch.Generator().manual_seed(0)
    x = images.float()
    return {
        "mean of two": rounded((x + x[torch.randperm(len(x), generator=g)]) / 2),
        "noise": rounded(x + 20 * torch.randn(x.shape, generator=g)),
        "uniform": torch.randint(0, 256, x.shape, generator=g, dtype=torch.uint8),
    }


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Figures of held-out shapes and of what is made of them, by name."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GAN_ABLATE_CACHE", str(tmp_path_factory.mktemp("cache")))
        train, test = (
            load("shapes", size=16, channels=3, split=s, count=n) for s, n in (("train", 3200), ("test", 1280))
        )
        extractor = load_extractor("classifier", dataset=train)
        real = real_statistics(train, extractor)
        sets = {"real": test.images, "half": test.images[test.labels < 32], **degraded(test.images)}
        return {name: evaluate_images(x, extractor, real, only=["prdc", "modes"]) for name, x in sets.items()}


def test_real_images_reach_every_mode_and_are_good(measured):
    assert measured["real"]["modes"] == measured["real"]["assigned_modes"] == 64
    assert measured["real"]["high_quality"] > 0.95
    assert measured["half"]["modes"] == measured["half"]["assigned_modes"] == 32
    assert measured["half"]["mode_kl"] == pytest.approx(math.log(2), abs=0.02)


@pytest.mark.parametrize(("name", "share"), [("mean of two", 0.1), ("noise", 0.1), ("uniform", 0.0)])
def test_ghosts_and_noise_are_not_good_although_the_classifier_is_sure_of_them(measured, name, share):
    assert measured[name]["modes"] <= 6  # of 64
    assert measured[name]["high_quality"] <= share
    if name != "uniform":
        assert measured[name]["assigned_modes"] > 48  # what the classifier alone would have said


def test_prdc_tells_degrees_of_likeness_apart(measured):
    precision = {name: m["precision"] for name, m in measured.items()}
    assert precision["real"] > 0.8
    assert 0.1 < precision["mean of two"] < 0.5
    assert 0.1 < precision["noise"] < 0.6
    assert precision["uniform"] == 0
    assert measured["half"]["coverage"] < measured["real"]["coverage"]


def test_one_lucky_sample_reaches_no_mode():
    counts = torch.full((4,), 25)
    mode = torch.tensor([0] * 61 + [1, 2, 3])
    assert reached(mode, counts, 64) == 1
    assert reached(torch.arange(4).repeat_interleave(4), counts, 64) == 4  # a quarter of 16 each
    assert reached(torch.arange(4).repeat_interleave(3), counts, 64) == 0
    assert mode_coverage(20.0 * torch.nn.functional.one_hot(mode, 4), counts)[0] == 4  # the literature's rule
    skewed = torch.tensor([97, 1, 1, 1])
    assert reached(torch.arange(4).repeat_interleave(10), skewed, 40) == 4  # a quarter of 97 % is 9.7
    assert reached(torch.tensor([3]), torch.tensor([5, 5, 0, 5]), 1) == 1
    assert reached(torch.tensor([0]), torch.tensor([5, 5, 0, 5]), 1) == 1  # a class without real images is no mode


def test_the_reach_of_a_class_is_its_own_and_small_classes_share_one():
    g = torch.Generator().manual_seed(0)
    tight, wide = 0.1 * torch.randn(200, 2, generator=g), 10 + torch.randn(200, 2, generator=g)
    few = -10 + torch.randn(3, 2, generator=g)
    features, labels = torch.cat([tight, wide, few]), torch.tensor([0] * 200 + [1] * 200 + [2] * 3)
    reach = class_reach(features, labels, 4)
    by_loop = sorted(
        min(float((a - b).square().sum()) for j, b in enumerate(tight) if i != j) for i, a in enumerate(tight)
    )
    assert by_loop[197] <= float(reach[0]) <= by_loop[199]
    assert float(reach[1]) > 10 * float(reach[0])
    assert reach[2] == reach[3] > reach[0]
    x = torch.tensor([[0.0, 0.0], [10.0, 10.0], [10.0, 10.0], [0.0, 0.0]])
    assert good_samples(x, torch.tensor([0, 1, 0, 3]), features, labels, reach).tolist() == [True, True, False, False]
    assert not class_reach(features[:2], torch.tensor([0, 1]), 2).any()


def test_the_random_cnn_is_the_same_from_its_statistics_and_standardised_on_real_images():
    images = load("shapes", size=16, channels=3, count=256).images
    before = torch.get_rng_state()
    fitted = RandomCNN.fitted(images)
    again = RandomCNN(3, fitted.statistics)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(fitted(images), again(images))
    maps = fitted.layers[0](images.float() / 127.5 - 1)
    assert torch.allclose(maps.mean((0, 2, 3)), torch.zeros(32), atol=1e-4)
    assert torch.allclose(maps.std((0, 2, 3)), torch.ones(32), atol=1e-3)
    assert torch.isfinite(RandomCNN.fitted(torch.zeros(4, 1, 28, 28, dtype=torch.uint8))(images[:, :1])).all()


def test_statistics_in_the_random_space_want_features_of_it():
    images = torch.randint(0, 256, (40, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    features = torch.randn(40, 6, generator=torch.Generator().manual_seed(1))
    real = RealStatistics.of(features, images=images)
    fake = Features(features, torch.zeros(40, 2))
    with pytest.raises(ValueError, match="random CNN"):
        evaluate_features(fake, real)
    same = RandomCNN(3, real.random_cnn)(images)
    assert evaluate_features(fake, real, only="prdc", random=same)["precision"] == 1


def test_labels_and_settings_name_the_space_and_the_rule():
    shapes = load("shapes", size=16, channels=3, count=64)
    plan = Evaluation(samples=300)
    found = EvaluationCallback(plan, 4, shapes, load_extractor("classifier", dataset=shapes))
    assert found.labels()["precision"] == "precision@300 (random CNN)"
    assert found.labels()["fid"] == "FID@300 (shapes classifier)"
    assert found.settings()["prdc_space"] == "random CNN"
    assert "distance" in found.settings()["modes_by"]
    ring = load("ring", size=1, channels=2)
    points = EvaluationCallback(plan, 4, ring, load_extractor("classifier", dataset=ring)).settings()
    assert (points["prdc_space"], points["modes_by"]) == ("ring points and modes", "one sample over 0.9")


def test_each_failure_has_one_word():
    assert set(FAILURES) == {"crashed", "diverged", "undertrained", "collapsed"}
    assert set(MEANINGS) == {"ok", *FAILURES}
    assert listed() == "crashed, diverged, undertrained or collapsed"
    assert all(f"{word} (" in explained() for word in FAILURES)
