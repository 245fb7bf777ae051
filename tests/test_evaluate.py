"""Evaluation: metrics against closed forms, double loops and torch-fidelity; extractors, their files; the callback."""

from __future__ import annotations

import copy
import hashlib
import math
import os
import threading
import time
import urllib.error
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import lightning
import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from gan_ablate import outcomes
from gan_ablate.data import ImageSet, load
from gan_ablate.errors import InputError
from gan_ablate.evaluate import Extractor, Features, classifier, inception, load_extractor, metrics
from gan_ablate.evaluate import real_statistics as statistics
from gan_ablate.evaluate.callback import EvaluationCallback
from gan_ablate.evaluate.extractors import extract
from gan_ablate.evaluate.metrics import evaluate_features, evaluate_images
from gan_ablate.evaluate.modes import mode_coverage
from gan_ablate.evaluate.real_statistics import RealStatistics, real_statistics
from gan_ablate.evaluate.samples import GAP, grid, save_grid
from gan_ablate.recipe import Evaluation, seed_for

SHARED = Path(os.environ.get("GAN_ABLATE_SHARED") or Path(__file__).parents[2] / "shared" / "data")

needs_fidelity = pytest.mark.skipif(find_spec("torch_fidelity") is None, reason="torch-fidelity is not installed")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_ABLATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(inception.VARIABLE, raising=False)
    torch.manual_seed(0)


@pytest.fixture(scope="module")
def shapes() -> ImageSet:
    return load("shapes", size=16, channels=3, count=640)


def correlated(n: int, d: int, seed: int) -> Tensor:
    """(n, d) float32 rows with unequal, correlated coordinates and a mean."""
    g = torch.Generator().manual_seed(seed)
    mix = torch.randn(d, d, generator=torch.Generator().manual_seed(99)) / math.sqrt(d)
    return torch.randn(n, d, generator=g) @ mix + torch.linspace(0, 1, d)


# -- metrics ---------------------------------------------------------------------------------------------------------


def test_fid_of_equal_covariances_is_the_squared_distance_of_the_means():
    x, shift = correlated(3000, 128, 0).double(), torch.linspace(-1, 1, 128).double()
    assert metrics.frechet_distance(x + shift, RealStatistics.of(x)) == pytest.approx(
        float(shift.square().sum()), rel=1e-8
    )
    assert metrics.frechet_distance(x, RealStatistics.of(x)) == pytest.approx(0, abs=1e-8)


def test_fid_of_a_scaled_gaussian_has_its_closed_form():
    x = correlated(3000, 32, 0).double()
    # X and aX: (1 - a)^2 (|m|^2 + tr S)
    expected = (1 - 1.7) ** 2 * (x.mean(0).square().sum() + torch.cov(x.T).trace())
    assert metrics.frechet_distance(1.7 * x, RealStatistics.of(x)) == pytest.approx(float(expected), rel=1e-8)


@needs_fidelity
def test_fid_equals_that_of_torch_fidelity_on_the_same_features():
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    real, fake = correlated(2000, 64, 0), correlated(1500, 64, 1) * 1.1
    theirs = fid_statistics_to_metric(
        fid_features_to_statistics(real.double()), fid_features_to_statistics(fake.double()), False
    )["frechet_inception_distance"]
    assert metrics.frechet_distance(fake, RealStatistics.of(real)) == pytest.approx(theirs, rel=1e-5)


def test_fid_is_finite_with_fewer_images_than_features_and_for_one_image_repeated():
    real = RealStatistics.of(correlated(2000, 64, 0))
    few, one = correlated(20, 64, 1), correlated(1, 64, 1).repeat(300, 1)
    assert math.isfinite(metrics.frechet_distance(few, real))
    spread = metrics_covariance(real).trace()
    expected = (one[0].double() - real.mean).square().sum() + spread  # a point mass
    assert metrics.frechet_distance(one, real) == pytest.approx(float(expected), rel=1e-5)


def metrics_covariance(real: RealStatistics) -> Tensor:
    return real.factor @ real.factor.T


@needs_fidelity
def test_kid_equals_the_double_loop_and_that_of_torch_fidelity():
    from torch_fidelity.metric_kid import kid_features_to_metric

    real, fake = correlated(40, 8, 0), correlated(40, 8, 1) * 1.3
    kernel = lambda a, b: float((a @ b / 8 + 1) ** 3)  # noqa: E731
    x, y, n = fake.double(), real.double(), 40
    within = sum(kernel(s[i], s[j]) for s in (x, y) for i in range(n) for j in range(n) if i != j) / (n * (n - 1))
    across = sum(kernel(x[i], y[j]) for i in range(n) for j in range(n)) / n**2
    ours = metrics.kernel_distance(fake, RealStatistics.of(real))  # subsets of all 40: no chance in it
    assert ours == pytest.approx(within - 2 * across, rel=1e-9)
    theirs = kid_features_to_metric(
        real.double(), fake.double(), kid_subsets=1, kid_subset_size=40, verbose=False, rng_seed=0
    )
    assert ours == pytest.approx(theirs["kernel_inception_distance_mean"], rel=1e-6)


def test_kid_of_the_same_distribution_is_near_zero_and_far_from_it_otherwise():
    real = RealStatistics.of(correlated(4000, 32, 0))
    same, other = (metrics.kernel_distance(correlated(2000, 32, 1) + s, real, subsets=10) for s in (0.0, 0.3))
    assert abs(same) < 0.02
    assert other > 0.2


@pytest.mark.parametrize(("count", "splits"), [(400, 1), (5000, 10)])
@needs_fidelity
def test_inception_score_equals_that_of_torch_fidelity(count, splits):
    from torch_fidelity.metric_isc import isc_features_to_metric

    logits = 3 * torch.randn(count, 10, generator=torch.Generator().manual_seed(0))
    mean, deviation = metrics.inception_score(logits)
    if splits == 1:
        p = logits.double().softmax(1)
        by_formula = (p * (p.log() - p.mean(0).log())).sum(1).mean().exp()
        assert mean == pytest.approx(float(by_formula), rel=1e-10)
        assert mean == pytest.approx(isc_features_to_metric(logits, splits=1)["inception_score_mean"], rel=1e-5)
        assert deviation is None
    else:  # which image falls into which split is left to chance in both
        theirs = isc_features_to_metric(logits, splits=10)
        assert mean == pytest.approx(theirs["inception_score_mean"], rel=0.01)
        assert deviation is not None
        assert 0 < deviation < 0.2


def test_inception_score_bounds_hold_even_where_probabilities_underflow():
    sure = 5000.0 * torch.eye(10).repeat(7, 1)
    assert metrics.inception_score(sure)[0] == pytest.approx(10, rel=1e-9)
    assert metrics.inception_score(sure[:1].repeat(70, 1))[0] == pytest.approx(1, rel=1e-9)


def test_metrics_repeat_exactly_and_leave_the_random_state_alone():
    real = RealStatistics.of(correlated(3000, 32, 0), torch.ones(10, dtype=torch.long))
    fake = Features(correlated(2000, 32, 1), torch.randn(2000, 10))
    before = torch.get_rng_state()
    first = evaluate_features(fake, real)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(1234)
    assert evaluate_features(fake, real) == first


def test_features_that_are_not_finite_give_no_figures():
    real = RealStatistics.of(correlated(100, 8, 0))
    broken = Features(correlated(100, 8, 1).fill_(math.nan), torch.randn(100, 10))
    assert set(evaluate_features(broken, real).values()) == {None}


def test_modes_count_sure_samples_only_and_the_kl_counts_all():
    counts = torch.full((4,), 25)
    sure = 20 * torch.eye(4)
    covered, kl = mode_coverage(sure.repeat(5, 1), counts)
    assert (covered, kl) == (4, pytest.approx(0, abs=1e-12))
    assert mode_coverage(sure[:1].repeat(9, 1), counts) == (1, pytest.approx(math.log(4)))
    unsure = torch.eye(4) * 0.1
    assert mode_coverage(unsure, counts) == (0, pytest.approx(0, abs=1e-12))
    assert mode_coverage(sure[:2], torch.tensor([75, 25, 0, 0]))[1] == pytest.approx(
        0.5 * math.log(0.5 / 0.75) + 0.5 * math.log(0.5 / 0.25)
    )


# -- real statistics -------------------------------------------------------------------------------------------------


def test_real_statistics_come_from_the_cache_and_a_damaged_file_is_made_anew(shapes, tmp_path, monkeypatch):
    extractor = load_extractor("classifier", dataset=shapes)
    fresh = real_statistics(shapes, extractor)
    assert fresh.count == 640
    assert fresh.class_counts is not None
    assert fresh.class_counts.tolist() == [10] * 64
    features = extract(extractor, shapes.images).features.double()
    torch.testing.assert_close(fresh.mean, features.mean(0))
    torch.testing.assert_close(metrics_covariance(fresh), torch.cov(features.T), rtol=1e-6, atol=1e-8)

    calls: list[int] = []
    compute = statistics._compute
    monkeypatch.setattr(statistics, "_compute", lambda *a: calls.append(1) or compute(*a))
    again = real_statistics(shapes, extractor)
    assert not calls
    assert torch.equal(again.factor, fresh.factor)
    assert torch.equal(again.kid_features, fresh.kid_features)

    (file,) = (tmp_path / "cache" / "statistics").glob("*.npz")
    file.write_bytes(file.read_bytes()[:1000])
    assert torch.equal(real_statistics(shapes, extractor).factor, fresh.factor)
    assert calls == [1]
    monkeypatch.setattr(extractor, "digest", "other weights")
    real_statistics(shapes, extractor)
    assert calls == [1, 1]


def test_a_cache_that_cannot_be_written_is_a_clear_error(shapes, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("GAN_ABLATE_CACHE", str(tmp_path / "file"))
    with pytest.raises(InputError, match="set GAN_ABLATE_CACHE"):
        real_statistics(shapes, load_extractor("classifier", dataset=shapes))


# -- the classifier --------------------------------------------------------------------------------------------------


def test_the_shipped_classifier_reads_over_99_percent_of_the_test_split():
    test = load("shapes", size=16, channels=3, split="test", count=2000)
    extractor = load_extractor("classifier", dataset=test)
    logits = extract(extractor, test.images).logits
    assert float((logits.argmax(1) == test.labels).float().mean()) > 0.99
    assert extractor.accuracy > 0.99
    assert extractor.name == "shapes classifier"
    assert max(f.stat().st_size for f in classifier.WEIGHTS.iterdir()) < 1_000_000


def mnist_named(images: torch.Tensor) -> ImageSet:
    labels = torch.arange(len(images)) % 10
    return ImageSet.of(images, labels, tuple("0123456789"), "mnist")


def test_the_shipped_classifier_of_mnist_serves_the_real_files_alone(monkeypatch):
    """Other images of that name are nothing that it was trained on: they get their own."""
    made = []
    monkeypatch.setattr(classifier, "read_or_make", lambda folder, key, **_: made.append(key) or None)
    other = mnist_named(torch.randint(0, 256, (40, 1, 28, 28), dtype=torch.uint8))
    with pytest.raises(TypeError):  # of nothing, which stands in for a trained one here
        load_extractor("classifier", dataset=other)
    assert len(made) == 1
    shipped = classifier.read(classifier.WEIGHTS / "mnist-28x28x1.pt")
    same = replace(other, fingerprint=shipped["meta"]["fingerprint"])
    extractor = load_extractor("classifier", dataset=same)
    assert len(made) == 1
    assert extractor.name == "mnist classifier"
    assert extractor.accuracy > 0.99


@pytest.mark.skipif(not (SHARED / "MNIST").exists(), reason="no real MNIST beside the project")
def test_the_shipped_classifier_of_mnist_reads_over_99_percent_of_the_real_test_split(monkeypatch):
    monkeypatch.setattr(classifier, "train", None)  # would fail if called
    extractor = load_extractor("classifier", dataset=load("mnist", size=28, channels=1, data_root=SHARED))
    test = load("mnist", size=28, channels=1, split="test", data_root=SHARED)
    logits = extract(extractor, test.images).logits
    assert float((logits.argmax(1) == test.labels).float().mean()) > 0.99


def test_extraction_is_deterministic_never_trains_and_takes_uint8_only(shapes):
    extractor = load_extractor("classifier", dataset=shapes)
    extractor.train()
    first = extract(extractor, shapes.images)
    assert first.features.shape == (640, extractor.dim)
    assert first.logits.shape == (640, 64)
    with torch.autocast("cpu", torch.bfloat16):
        second = extract(extractor, shapes.images)
    assert second.features.dtype == torch.float32
    assert torch.equal(first.features, second.features)
    assert not any(m.training for m in extractor.modules())
    with pytest.raises(TypeError, match="uint8"):
        extract(extractor, shapes.images.float())
    with pytest.raises(InputError, match="3 x 16 x 16"):
        extract(extractor, shapes.images[:, :1])


def two_classes(labels: bool = True) -> ImageSet:
    """Dark and bright noise, 28 px grey."""
    y = torch.arange(300) % 2
    noise = torch.randint(0, 60, (300, 1, 28, 28), generator=torch.Generator().manual_seed(0))
    images = (noise + 150 * y.view(-1, 1, 1, 1)).to(torch.uint8)
    return ImageSet.of(images, y if labels else None, ("dark", "bright") if labels else (), "noise")


def test_other_datasets_train_a_classifier_once_with_a_fixed_seed(monkeypatch, capsys):
    monkeypatch.setattr(classifier, "BUDGET", 6400)
    data, before = two_classes(), torch.get_rng_state()
    first = load_extractor("classifier", dataset=data)
    assert torch.equal(torch.get_rng_state(), before)
    assert "training the noise classifier" in capsys.readouterr().err
    assert first.name == "noise classifier"
    assert first.accuracy > 0.9
    assert classifier.train(data, budget=6400)["meta"]["accuracy"] == first.accuracy
    assert "accuracy 100.0%" in capsys.readouterr().err
    monkeypatch.setattr(classifier, "train", None)  # would fail if called
    torch.manual_seed(5)
    again = load_extractor("classifier", dataset=data)
    assert again.digest == first.digest
    assert capsys.readouterr().err == ""


def test_two_workers_train_it_once_between_them(monkeypatch):
    checkpoint, calls = classifier.train(two_classes(), budget=128), []

    def slow(*args, **kwargs):
        calls.append(1)
        time.sleep(0.3)
        return checkpoint

    monkeypatch.setattr(classifier, "train", slow)
    threads = [threading.Thread(target=classifier.classifier_for, args=(two_classes(),)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert calls == [1]


@pytest.mark.parametrize(("size", "channels"), [(16, 1), (28, 1), (32, 3), (64, 3)])
def test_the_network_fits_every_size_with_the_same_features(size, channels):
    out = classifier.SmallCNN(size, channels, 10).eval()(torch.zeros(2, channels, size, size))
    assert out.features.shape == (2, 128)
    assert out.logits.shape == (2, 10)


def test_without_labels_the_classifier_says_what_to_use():
    with pytest.raises(InputError, match=r"noise: no labels .* --extractor inception"):
        load_extractor("classifier", dataset=two_classes(labels=False))
    with pytest.raises(InputError, match="did you mean 'classifier'"):
        load_extractor("clasifier", dataset=two_classes())


# -- Inception -------------------------------------------------------------------------------------------------------


@needs_fidelity
def test_inception_gives_torch_fidelitys_features_and_score_from_the_same_file(random_weights, shapes):
    from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3
    from torch_fidelity.metric_isc import isc_features_to_metric

    right = hashlib.sha256(random_weights.read_bytes()).hexdigest()
    before = torch.get_rng_state()
    ours = inception.inception_for(random_weights, sha256=right)
    assert torch.equal(torch.get_rng_state(), before)
    assert (ours.name, ours.dim, ours.digest, ours.note) == ("inception", 2048, right, "")
    images = shapes.images[:8]
    found = extract(ours, images)
    theirs = FeatureExtractorInceptionV3("r", ["2048", "logits_unbiased"], str(random_weights))
    features, logits = theirs(images)
    assert found.features.shape == (8, 2048)
    assert found.logits.shape == (8, 1008)
    # a random network could map all images to nearly one point, where any code would agree with any other
    assert float(features.std(0).norm() / features.norm(dim=1).mean()) > 0.05
    torch.testing.assert_close(found.features, features, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(found.logits, logits, rtol=1e-5, atol=1e-6)
    score = isc_features_to_metric(logits, splits=1)["inception_score_mean"]
    assert metrics.inception_score(found.logits)[0] == pytest.approx(score, rel=1e-5)

    grey = images[:2, :1]
    repeated = inception.inception_for(random_weights, channels=1, sha256=None)
    assert "repeated to 3 channels" in repeated.note
    assert torch.equal(extract(repeated, grey).features, extract(ours, grey.repeat(1, 3, 1, 1)).features)


@needs_fidelity
def test_the_clean_resize_is_pils_and_the_rest_is_the_same_network(random_weights, shapes):
    images = torch.cat([shapes.images[:2], shapes.images[2:4].flip(3)], 2)[..., :12]  # 32 x 12
    ours = inception.inception_for(random_weights, clean=True, sha256=None)
    found = inception.clean_resize(images)
    for image, resized in zip(images, found, strict=True):
        for channel, got in zip(image, resized, strict=True):  # as clean-fid: each channel as floats, not rounded
            plane = Image.fromarray(channel.numpy().astype(np.float32), mode="F")
            theirs = np.asarray(plane.resize((299, 299), Image.Resampling.BICUBIC))
            np.testing.assert_allclose(got.numpy(), theirs, atol=1e-3)
    assert found.min() < 0  # bicubic overshoots, and nothing is cut off
    large = torch.randint(0, 256, (1, 1, 500, 700), generator=torch.Generator().manual_seed(0)).byte()
    plane = Image.fromarray(large[0, 0].numpy().astype(np.float32), mode="F")
    theirs = np.asarray(plane.resize((299, 299), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(inception.clean_resize(large)[0, 0].numpy(), theirs, atol=1e-3)
    full = torch.randint(0, 256, (2, 3, 299, 299), generator=torch.Generator().manual_seed(0)).byte()
    plain = extract(inception.inception_for(random_weights, sha256=None), full)
    for mine, its in zip(extract(ours, full), plain, strict=True):
        torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-6)
    assert metrics.metric_labels(ours, 50)["fid"] == "FID@50 (inception with clean resize)"


@needs_fidelity
def test_weights_of_another_hash_and_truncated_weights_are_refused(random_weights, tmp_path, monkeypatch):
    with pytest.raises(InputError, match=r"random\.pth: SHA-256 .* expected 6726825d0af5f729"):
        inception.inception_for(random_weights)
    cut = tmp_path / "cut.pth"
    cut.write_bytes(random_weights.read_bytes()[:1_000_000])
    right = hashlib.sha256(random_weights.read_bytes()).hexdigest()
    monkeypatch.setenv(inception.VARIABLE, str(cut))
    with pytest.raises(InputError, match=r"cut\.pth: SHA-256 .*1,000,000 bytes.*cut short"):
        inception.inception_for(sha256=right)
    with pytest.raises(InputError, match="cannot be read as PyTorch weights"):
        inception.inception_for(sha256=None)


@needs_fidelity
def test_code_in_a_weights_file_does_not_run(tmp_path):
    class Evil:
        def __reduce__(self):
            return (Path.touch, (tmp_path / "ran",))

    torch.save({"fc.weight": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(InputError, match="cannot be read"):
        inception.inception_for(tmp_path / "evil.pth", sha256=None)
    assert not (tmp_path / "ran").exists()
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "other.pth")
    with pytest.raises(InputError, match="not the weights of"):
        inception.inception_for(tmp_path / "other.pth", sha256=None)


@needs_fidelity
def test_no_weights_and_no_network_names_the_file_the_place_and_the_way_out(tmp_path, monkeypatch, shapes):
    def offline(url, target, **kwargs):
        raise urllib.error.URLError("Network is unreachable")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    with pytest.raises(InputError) as caught:
        load_extractor("inception", dataset=shapes)
    message = str(caught.value)
    assert "\n" not in message
    for part in (str(tmp_path / "hub" / "checkpoints" / inception.FILE), "Network is unreachable", "--weights"):
        assert part in message
    with pytest.raises(InputError, match=r"nowhere\.pth: no such file \(--weights\)"):
        load_extractor("inception", dataset=shapes, weights=str(tmp_path / "nowhere.pth"))


@needs_fidelity
def test_a_download_is_checked_against_the_hash(tmp_path, monkeypatch, shapes):
    source = tmp_path / "source.pth"
    source.write_bytes(b"not it")
    monkeypatch.setattr(inception._torch_fidelity(), "URL_INCEPTION_V3", source.as_uri())
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    with pytest.raises(InputError, match="its SHA-256 differs"):
        load_extractor("inception", dataset=shapes)
    assert not (tmp_path / "hub" / "checkpoints" / inception.FILE).exists()


# -- pictures --------------------------------------------------------------------------------------------------------


def test_a_grid_holds_every_pixel_enlarged_without_smoothing(tmp_path, shapes):
    save_grid(shapes.images[:10], tmp_path / "deep" / "grid.png", columns=4)
    picture = np.asarray(Image.open(tmp_path / "deep" / "grid.png"))
    assert picture.shape == (3 * (48 + GAP) + GAP, 4 * (48 + GAP) + GAP, 3)
    fifth = picture[2 * GAP + 48 :, GAP:][:48:3, :48:3]  # second row, first column
    assert np.array_equal(fifth, shapes.images[4].permute(1, 2, 0).numpy())
    assert (picture[-48:, -48:] == 255).all()
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["grid.png"]
    assert grid(shapes.images[:1, :1], columns=1, cell=8).shape == (1, 16 + 2 * GAP, 16 + 2 * GAP)


# -- the callback ----------------------------------------------------------------------------------------------------


class Model(lightning.LightningModule):
    """As much of a GAN as the callback sees: the "images" are drawn from z and one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.automatic_optimization = False
        self.weight = nn.Parameter(torch.ones(()))
        self.generator = nn.Sequential(nn.BatchNorm1d(1), nn.Dropout(0.5))
        self.g_steps = 0
        self.asked: list[tuple[int, int]] = []

    def generate(self, n: int, *, seed: int, batch_size: int = 256) -> Tensor:
        self.asked.append((n, seed))
        torch.rand(5)  # a careless model: the callback still protects the training's random state
        noise = torch.Generator().manual_seed(seed)
        return torch.randint(0, 256, (n, 3, 16, 16), generator=noise, dtype=torch.uint8)

    def training_step(self, batch: Tensor, batch_idx: int) -> None:
        self.g_steps += batch_idx % 2  # every other batch is a D step only

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), 0.0)


@pytest.fixture
def callback(shapes, tmp_path) -> EvaluationCallback:
    extractor = load_extractor("classifier", dataset=shapes)
    plan = Evaluation(samples=300, points=2)
    return EvaluationCallback(plan, 4, shapes, extractor, samples_dir=tmp_path / "samples", seed=7)


def test_it_evaluates_at_the_planned_steps_and_once_each(callback, tmp_path):
    records: list[dict] = []
    callback.record = records.append
    model = Model()
    lightning.Trainer(
        max_epochs=1, accelerator="cpu", callbacks=[callback], logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, default_root_dir=tmp_path,
    ).fit(model, torch.utils.data.DataLoader(torch.zeros(8, 1), batch_size=1))  # fmt: skip
    assert [r["step"] for r in records] == [2, 4]
    assert records == callback.curve
    assert set(records[0]) == {"step", *outcomes.METRICS, "seconds"}
    assert records[0]["fid"] > 10
    assert callback.seconds >= sum(r["seconds"] for r in records) - 1e-3
    # the same z at every point: this generator does not learn, so its figures stay
    assert records[0]["fid"] == records[1]["fid"]
    assert (300, seed_for(7, "evaluation")) in model.asked
    names = sorted(p.name for p in (tmp_path / "samples").iterdir())
    assert names == ["final.png", "step_000002.png", "step_000004.png"]
    images = model.generate(300, seed=seed_for(7, "evaluation"))
    expected = evaluate_images(images, callback.extractor, real_statistics(callback.real, callback.extractor))
    assert {k: records[1][k] for k in expected} == expected


def test_a_resumed_run_does_not_evaluate_a_point_twice_nor_lose_one(callback):
    model = Model()
    model.g_steps = 2
    callback.on_train_start(None, model)
    saved = copy.deepcopy(callback.state_dict())
    fresh = EvaluationCallback(callback.plan, 4, callback.real, callback.extractor, seed=7)
    fresh.load_state_dict(saved)
    assert fresh.evaluate_if_due(model) is None
    assert fresh.curve == callback.curve
    assert fresh.seconds == callback.seconds
    model.g_steps = 4
    assert fresh.evaluate_if_due(model)["step"] == 4
    assert callback.curve == saved["curve"]  # the saved state is a copy


def test_training_does_not_notice_it(callback):
    model = Model().train()
    model.generator[1].eval()
    model.g_steps, before = 2, torch.get_rng_state()
    modes, numpy_state = [m.training for m in model.modules()], np.random.get_state()[1].copy()
    assert callback.evaluate_if_due(model) is not None
    assert torch.equal(torch.get_rng_state(), before)
    assert np.array_equal(np.random.get_state()[1], numpy_state)
    assert [m.training for m in model.modules()] == modes
    assert torch.is_grad_enabled()
    assert not any("extractor" in key for key in model.state_dict())


@pytest.mark.parametrize("where", ["weight", "batch norm", "images"])
def test_a_diverged_generator_gives_nulls_and_no_exception(callback, where, monkeypatch):
    model = Model()
    model.g_steps = 4
    if where == "weight":
        model.weight.data.fill_(math.nan)
    elif where == "batch norm":
        model.generator[0].running_var.fill_(math.inf)
    else:
        monkeypatch.setattr(model, "generate", lambda n, *, seed: torch.full((n, 3, 16, 16), math.nan))
    record = callback.evaluate_if_due(model)
    assert record["step"] == 4
    assert {record[name] for name in outcomes.METRICS} == {None}


def test_only_the_literatures_extractor_gives_the_bare_name(callback):
    names = {"fid": "FID", "kid": "KID", "nn_ratio": "NN ratio", "is_mean": "IS"}
    prdc = metrics.METRICS["prdc"]
    assert callback.labels() == {k: f"{name}@300 (shapes classifier)" for k, name in names.items()} | {
        **{k: f"{k}@300 (random CNN)" for k in prdc},
        "high_quality": "high-quality share@300 (shapes classifier)",
    }
    settings = callback.settings()
    assert (settings["dataset"], settings["split"], settings["real_images"]) == ("shapes", "train", 640)
    literature = Extractor()
    literature.name = "inception"
    assert metrics.metric_labels(literature, 50_000) == {k: f"{name}@50000" for k, name in names.items()} | {
        k: f"{k}@50000" for k in prdc
    }
