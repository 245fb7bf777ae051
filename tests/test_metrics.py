"""Frechet distance, its limit, precision, recall, density, coverage: closed forms, double loops, the field's own tools."""

from __future__ import annotations

import dataclasses
import math
from importlib.util import find_spec

import pytest
import torch
from torch import Tensor
from torchmetrics.image.fid import FrechetInceptionDistance

from gan_ablate import outcomes
from gan_ablate.data import load
from gan_ablate.errors import InputError
from gan_ablate.evaluate import Features, frechet, load_extractor, metrics, prdc
from gan_ablate.evaluate import real_statistics as statistics
from gan_ablate.evaluate.frechet import factor, frechet_distance, frechet_distance_infinity
from gan_ablate.evaluate.memorisation import Neighbours
from gan_ablate.evaluate.metrics import evaluate_features, evaluate_images
from gan_ablate.evaluate.prdc import precision_recall_density_coverage, squared_radii
from gan_ablate.evaluate.real_statistics import RealStatistics, real_statistics

needs_fidelity = pytest.mark.skipif(find_spec("torch_fidelity") is None, reason="torch-fidelity is not installed")


def features(n: int, d: int, seed: int, *, decay: float = 2.0) -> Tensor:
    """(n, d) float32 as extractors give them: correlated, of unequal spread, cut off at 0."""
    mix = torch.linalg.qr(torch.randn(d, d, generator=torch.Generator().manual_seed(99))).Q
    spread = torch.logspace(0, -decay, d)
    return ((torch.randn(n, d, generator=torch.Generator().manual_seed(seed)) * spread) @ mix + 0.05).relu()


def brute_force(fake: Tensor, real: RealStatistics) -> float:
    """The definition, with the root of the real covariance by `eigh` and the d x d covariance of the generated side."""
    values, vectors = torch.linalg.eigh(real.factor @ real.factor.T)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    x = fake.double()
    covariance = torch.cov(x.T)
    overlap = torch.linalg.eigvalsh(root @ covariance @ root).clamp(min=0).sqrt().sum()
    traces = root.square().sum() + covariance.trace()
    return float((x.mean(0) - real.mean).square().sum() + traces - 2 * overlap)


# -- Frechet distance ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rows", [3000, 300, 40])  # more and fewer than the 64 features; 300: more than one block
def test_equal_covariances_give_the_squared_distance_of_the_means(rows):
    d = 300 if rows == 3000 else 64
    x, shift = features(rows, d, 0).double(), torch.linspace(-1, 1, d).double()
    real = RealStatistics.of(x)
    assert frechet_distance(x + shift, real) == pytest.approx(float(shift.square().sum()), rel=1e-7)
    assert frechet_distance(x, real) == pytest.approx(0, abs=1e-6)


@pytest.mark.parametrize("rows", [2000, 40])
def test_a_scaled_gaussian_has_its_closed_form(rows):
    x = features(rows, 64, 0).double()
    expected = (1 - 1.7) ** 2 * (
        x.mean(0).square().sum() + torch.cov(x.T).trace()
    )  # X and aX: (1 - a)^2 (|m|^2 + tr S)
    assert frechet_distance(1.7 * x, RealStatistics.of(x)) == pytest.approx(float(expected), rel=1e-6)


@needs_fidelity
@pytest.mark.parametrize("decay", [0.0, 2.0, 4.0])
def test_it_agrees_with_torch_fidelity_and_torchmetrics_on_the_same_features(decay):
    from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

    real, fake = features(2000, 96, 0, decay=decay), 1.2 * features(1500, 96, 1, decay=decay)
    ours = frechet_distance(fake, RealStatistics.of(real))
    # not a case that any code would get right: the covariances differ, matter, and are far from isotropic and diagonal
    first, second = torch.cov(real.double().T), torch.cov(fake.double().T)
    means = float((real.double().mean(0) - fake.double().mean(0)).square().sum())
    assert ours - means > 0.2 * means
    assert float((first @ second - second @ first).norm() / (first @ second).norm()) > 0.01
    spectrum = torch.linalg.eigvalsh(first)
    assert float(spectrum[-1] / spectrum[0]) > (1.5, 20, 300)[int(decay / 2)]

    theirs = fid_statistics_to_metric(
        fid_features_to_statistics(real.double()), fid_features_to_statistics(fake.double()), False
    )["frechet_inception_distance"]
    assert ours == pytest.approx(theirs, rel=1e-5)
    metric = FrechetInceptionDistance(metrics.Stored(96)).set_dtype(torch.float64)
    metric.update(real.double(), real=True)
    metric.update(fake.double(), real=False)
    assert ours == pytest.approx(metric.compute().item(), rel=1e-5)


def test_fewer_rows_than_features_give_the_distance_of_the_definition():
    real, fake = RealStatistics.of(features(2000, 64, 0, decay=0.5)), features(40, 64, 1, decay=0.5)
    assert frechet_distance(fake, real) == pytest.approx(brute_force(fake, real), rel=1e-5)


def test_a_singular_real_covariance_is_factored_too():
    x = features(2000, 64, 0)
    x[:, 5] = 0  # a feature that never fires
    x[:, 7] = x[:, 6]
    real = RealStatistics.of(x)
    assert torch.equal(real.factor, real.factor.tril())
    torch.testing.assert_close(real.factor @ real.factor.T, torch.cov(x.double().T), rtol=1e-9, atol=1e-12)
    fake = features(1500, 64, 1)
    assert frechet_distance(fake, real) == pytest.approx(brute_force(fake, real), rel=1e-5)
    few = RealStatistics.of(x[:30])  # fewer real images than features
    assert frechet_distance(fake, few) == pytest.approx(brute_force(fake, few), rel=1e-5)


def test_both_ways_to_factor_give_the_same_distance(monkeypatch):
    x, fake = features(2000, 64, 0), features(1500, 64, 1)
    by_cholesky = frechet_distance(fake, RealStatistics.of(x))
    monkeypatch.setattr(torch.linalg, "cholesky_ex", lambda c: (c, torch.tensor(1)))
    lower = factor(torch.cov(x.double().T))
    assert torch.equal(lower, lower.tril())
    assert frechet_distance(fake, RealStatistics.of(x)) == pytest.approx(by_cholesky, rel=1e-9)


# -- FID-infinity ----------------------------------------------------------------------------------------------------


def test_fid_infinity_finds_the_distance_that_a_finite_sample_overstates():
    d, n, runs = 32, 1000, 12
    exact = RealStatistics.of(torch.randn(100, d, generator=torch.Generator().manual_seed(0)))
    exact = dataclasses.replace(exact, mean=torch.zeros(d).double(), factor=torch.eye(d).double())
    truth = 0.5**2 + d * (1.2 - 1) ** 2  # N(0, 1) against N(m, 1.2^2)
    at_n, limit = [], []
    for seed in range(runs):
        fake = 1.2 * torch.randn(n, d, generator=torch.Generator().manual_seed(seed + 1))
        fake[:, 0] += 0.5
        at_n.append(frechet_distance(fake, exact))
        limit.append(frechet_distance_infinity(fake, exact))
    bias = sum(at_n) / runs - truth
    assert 0.15 < bias < 0.5  # of the order of d^2 / 4N = 0.26
    assert abs(sum(limit) / runs - truth) < 0.2 * bias
    assert frechet_distance_infinity(fake, exact) == limit[-1]  # the subsets are seeded


def test_fid_infinity_needs_more_rows_than_its_line_holds_for():
    real = RealStatistics.of(features(500, 64, 0))
    with pytest.raises(InputError, match="fid_infinity: 64 features need at least 256 images, got 255"):
        frechet_distance_infinity(features(255, 64, 1), real)
    assert math.isfinite(frechet_distance_infinity(features(256, 64, 1), real))


# -- precision, recall, density, coverage ----------------------------------------------------------------------------


def four(fake: Tensor, real: Tensor) -> dict[str, float]:
    return precision_recall_density_coverage(fake, real, squared_radii(real))


@needs_fidelity
@pytest.mark.parametrize(("scale", "shift"), [(1.0, 0.0), (0.7, 0.0), (1.3, 0.05)])
def test_precision_and_recall_are_torch_fidelitys(scale, shift):
    from torch_fidelity.metric_prc import prc_features_to_metric

    real, fake = features(900, 16, 0, decay=0.5), scale * features(700, 16, 1, decay=0.5) + shift
    ours = four(fake, real)
    theirs = prc_features_to_metric(
        fake.double(), real.double(), prc_neighborhood=3, prc_batch_size=10_000, save_cpu_ram=False, verbose=False
    )
    assert 0.05 < ours["recall"] < 0.99  # nothing is to be learned from all or none
    assert 0.05 < ours["precision"] < 0.999
    assert ours["precision"] == pytest.approx(theirs["precision"], abs=1e-6)
    assert ours["recall"] == pytest.approx(theirs["recall"], abs=1e-6)


def test_all_four_equal_a_literal_double_loop():
    real, fake = features(60, 6, 0, decay=0.3), 1.2 * features(45, 6, 1, decay=0.3)
    distance = lambda a, b: float((a.double() - b.double()).norm())  # noqa: E731

    def reach(points: Tensor, k: int) -> list[float]:
        return [sorted(distance(p, q) for j, q in enumerate(points) if j != i)[k - 1] for i, p in enumerate(points)]

    real3, real5, fake3 = reach(real, 3), reach(real, 5), reach(fake, 3)
    expected = {
        "precision": sum(any(distance(f, r) <= s for r, s in zip(real, real3)) for f in fake) / 45,
        "recall": sum(any(distance(r, f) <= s for f, s in zip(fake, fake3)) for r in real) / 60,
        "density": sum(distance(f, r) <= s for f in fake for r, s in zip(real, real5)) / (5 * 45),
        "coverage": sum(any(distance(f, r) <= s for f in fake) for r, s in zip(real, real5)) / 60,
    }
    assert all(0 < value < 2 for value in expected.values())
    assert four(fake, real) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("offset", [0.0, 100.0])  # far from the origin float32 would lose the distances
def test_a_copy_of_the_real_images_lies_on_the_surface_of_their_balls_and_counts(offset):
    real = (features(800, 32, 0) + offset).float()
    order = torch.randperm(800, generator=torch.Generator().manual_seed(1))
    found = four(real[order], real)
    # each ball holds its centre and five neighbours, the fifth of them on its surface
    assert found == {"precision": 1, "recall": 1, "density": pytest.approx(6 / 5, abs=1e-12), "coverage": 1}


def test_a_collapsed_generator_is_precise_and_recalls_nothing():
    real = features(800, 16, 0)
    found = four(real[3:4].repeat(500, 1), real)
    assert found["precision"] == 1
    assert found["recall"] == 1 / 800
    assert 0 < found["coverage"] < 0.1


def test_far_away_images_score_zero_and_an_equal_distribution_about_one():
    real = features(1500, 16, 0, decay=0.5)
    assert set(four(real[:200] + 50, real).values()) == {0}
    same = four(features(1500, 16, 1, decay=0.5), real)
    assert same["density"] == pytest.approx(1, abs=0.05)
    assert same["coverage"] == pytest.approx(1 - 0.5**5, abs=0.03)  # expected for N = M: Naeem et al. 2020, lemma 2


def test_blocks_bound_the_memory_and_change_nothing(monkeypatch):
    real, fake = features(300, 16, 0), features(200, 16, 1)
    whole = four(fake, real)
    sizes: list[int] = []
    blocks = prdc._blocks

    def counted(x, y):
        for rows, distances in blocks(x, y):
            sizes.append(distances.numel())
            yield rows, distances

    monkeypatch.setattr(prdc, "_blocks", counted)
    monkeypatch.setattr(prdc, "ELEMENTS", 1000)
    assert four(fake, real) == whole
    assert max(sizes) <= 1000


def test_fewer_rows_than_neighbours_reach_to_the_farthest():
    found = four(features(2, 4, 0), features(3, 4, 1))
    assert all(math.isfinite(value) for value in found.values())


# -- what is computed, and when not ----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def case() -> tuple[Features, RealStatistics]:
    logits = torch.randn(600, 8, generator=torch.Generator().manual_seed(0))
    real = RealStatistics.of(features(900, 16, 0), torch.full((8,), 10), torch.arange(900) % 8)
    return Features(features(600, 16, 1), logits), real


def test_only_the_metrics_that_are_asked_for_are_computed(case, monkeypatch):
    fake, real = case
    known = Neighbours(real.kid_features[:100], real.kid_features[100:200])
    everything = evaluate_features(fake, real, neighbours=known, cmmd=True)
    assert tuple(everything) == tuple(outcomes.METRICS)
    assert None not in {value for name, value in everything.items() if name != "is_std"}
    for name, figures in metrics.METRICS.items():
        some = evaluate_features(fake, real, only=[name], neighbours=known, cmmd=True)
        assert tuple(some) == figures
        assert all(everything[k] == v for k, v in some.items() if k in everything)
    assert tuple(evaluate_features(fake, real, only={"prdc", "fid"})) == (
        "fid", "precision", "recall", "density", "coverage",
    )  # fmt: skip
    assert tuple(evaluate_features(fake, real, only="kid")) == ("kid",)
    monkeypatch.setattr(metrics, "kernel_distance", None)  # would fail if called
    assert evaluate_features(fake, real, only=["fid", "is"])["fid"] == everything["fid"]


def test_unknown_metrics_are_refused_with_near_names_before_anything_is_computed(case, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="unknown metric 'fid_infinty': did you mean 'fid_infinity'"):
        evaluate_features(*case, only=["fid", "fid_infinty"])
    with pytest.raises(
        InputError, match="unknown metric 'recall': known: cmmd, fid, fid_infinity, is, kid, memorisation, m"
    ):
        evaluate_images(torch.zeros(4, 3, 16, 16), None, case[1], only=["recall"])  # no extractor was asked


def test_figures_of_features_that_are_not_finite_are_none(case):
    fake, real = case
    broken = Features(fake.features.clone().index_fill_(0, torch.tensor([7]), math.inf), fake.logits)
    assert evaluate_features(broken, real) == dict.fromkeys(outcomes.METRICS)
    assert evaluate_features(broken, real, only=["fid_infinity"]) == {"fid_infinity": None}


def test_too_few_rows_and_other_features_are_clear_errors(case):
    fake, real = case
    with pytest.raises(InputError, match="at least 2 generated images, got 1"):
        evaluate_features(Features(fake.features[:1], fake.logits[:1]), real)
    with pytest.raises(InputError, match="at least 2 images, got 1"):
        RealStatistics.of(fake.features[:1])
    with pytest.raises(InputError, match="8 features per image, but the real statistics have 16"):
        evaluate_features(Features(fake.features[:, :8], fake.logits), real)
    two = evaluate_features(Features(fake.features[:2], fake.logits[:2]), real)
    assert all(math.isfinite(value) for value in two.values() if value is not None)


def test_the_disk_cache_keeps_every_field(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_ABLATE_CACHE", str(tmp_path))
    shapes = load("shapes", size=16, channels=3, count=640)
    extractor = load_extractor("classifier", dataset=shapes)
    made = real_statistics(shapes, extractor)
    monkeypatch.setattr(statistics, "_compute", None)  # would fail if called
    read = real_statistics(shapes, extractor)
    for field in dataclasses.fields(RealStatistics):
        first, second = getattr(made, field.name), getattr(read, field.name)
        assert torch.equal(first, second) if isinstance(first, Tensor) else first == second
        assert getattr(first, "dtype", None) == getattr(second, "dtype", None)
    assert read.radii.shape == (640, 2)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_a_gpu_gives_the_same_figures(case):
    fake, real = case
    found = evaluate_features(fake.to("cuda"), real, only=["fid", "prdc", "fid_infinity"])
    assert found == pytest.approx(evaluate_features(fake, real, only=["fid", "prdc", "fid_infinity"]), rel=1e-6)
    few = fake.features[:10]
    assert frechet_distance(few.cuda(), real) == pytest.approx(frechet_distance(few, real), rel=1e-6)
    assert frechet.factor(torch.zeros(4, 4, dtype=torch.float64, device="cuda")).abs().sum().item() == 0
