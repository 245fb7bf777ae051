"""torchmetrics-style objects against the functions that runs use, and against torchmetrics' own FID."""

import math

import pytest
import torch
from torchmetrics import MetricCollection
from torchmetrics.image.fid import FrechetInceptionDistance

from gan_ablate import PRDC, FrechetDistance, ModeCoverage
from gan_ablate.errors import InputError
from gan_ablate.evaluate.extractors import Features
from gan_ablate.evaluate.metrics import Stored, evaluate_features
from gan_ablate.evaluate.modes import mode_coverage
from gan_ablate.evaluate.real_statistics import RealStatistics


def features(n, shift=0.0, seed=0):
    return torch.randn(n, 12, generator=torch.Generator().manual_seed(seed)) * torch.linspace(0.5, 2, 12) + shift


REAL, FAKE = features(300), features(260, shift=0.3, seed=1)


def test_in_pieces_as_in_a_report_and_as_torchmetrics():
    ours = MetricCollection({"fid": FrechetDistance(), "prdc": PRDC()})
    theirs = FrechetInceptionDistance(feature=Stored(12)).set_dtype(torch.float64)
    for real, whole in ((True, REAL), (False, FAKE)):
        for part in whole.split(64):
            ours.update(part, real=real)
            theirs.update(part.double(), real=real)
    found = ours.compute()
    report = evaluate_features(Features(FAKE, FAKE), RealStatistics.of(REAL), only=["fid", "prdc"])
    assert {k: v.item() for k, v in found.items()} == pytest.approx(report, rel=1e-12)
    assert found["fid"].item() == pytest.approx(theirs.compute().item(), rel=1e-6)


@pytest.mark.parametrize("kind", [FrechetDistance, PRDC])
def test_reset_forgets_what_it_is_asked_to(kind):
    metric, kept = kind(), kind(reset_real_features=False)
    for each in (metric, kept):
        each.update(REAL, real=True)
        each.update(features(50, shift=9.0), real=False)
        each.compute()
        each.reset()
    kept.update(FAKE, real=False)
    metric.update(REAL, real=True)
    metric.update(FAKE, real=False)
    assert kept.compute() == metric.compute()
    metric.reset()
    with pytest.raises(InputError, match="needs features of at least 2 real images"):
        metric.compute()
    with pytest.raises(InputError, match=r"features are \(4, 3\), not \(N, 12\)"):
        kept.update(torch.zeros(4, 3), real=False)


def test_features_that_are_not_finite_have_no_distance():
    metric = FrechetDistance()
    metric.update(REAL, real=True)
    metric.update(FAKE * math.inf, real=False)
    assert metric.compute().isnan()


def test_modes_in_pieces():
    logits = 5 * torch.randn(200, 6, generator=torch.Generator().manual_seed(0)) - torch.tensor([0, 0, 0, 0, 9, 99])
    counts = torch.tensor([10, 20, 30, 40, 50, 60])
    metric = ModeCoverage(counts, confidence=0.95)
    for part in logits.split(33):
        metric.update(part)
    modes, divergence = mode_coverage(logits, counts, confidence=0.95)
    assert (metric.compute()["modes"].item(), metric.compute()["mode_kl"].item()) == (modes, divergence)
    assert 0 < modes < 6
    metric.reset()
    with pytest.raises(InputError, match="at least 1 generated image"):
        metric.compute()
    with pytest.raises(InputError, match=r"logits are \(2, 5\), not \(N, 6\)"):
        metric.update(torch.zeros(2, 5))
