"""Whole evaluations against torch-fidelity's own: the same folders, the same weights file, both extractors."""

from __future__ import annotations

import hashlib
import json

import pytest
import torch
from PIL import Image
from torch import Tensor

from gan_ablate.cli import main
from gan_ablate.data import load
from gan_ablate.evaluate import Features, inception, load_extractor
from gan_ablate.evaluate.extractors import extract
from gan_ablate.run.measure import folders

pytest.importorskip("torch_fidelity")
from torch_fidelity import calculate_metrics, register_feature_extractor
from torch_fidelity.feature_extractor_base import FeatureExtractorBase


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_ABLATE_CACHE", str(tmp_path / "cache"))


class ShapesClassifier(FeatureExtractorBase):
    """Our classifier of `shapes` as an extractor of torch-fidelity's."""

    def __init__(self, name: str, features_list: list[str], **_: object) -> None:
        super().__init__(name, features_list)
        self.network = load_extractor("classifier", dataset=load("shapes", size=16, channels=3, count=640))

    @staticmethod
    def get_provided_features_list() -> tuple[str, ...]:
        return ("features", "logits")

    @staticmethod
    def get_default_feature_layer_for_metric(metric: str) -> str:
        return "logits" if metric == "isc" else "features"

    @staticmethod
    def can_be_compiled() -> bool:
        return False

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        found = dict(zip(("features", "logits"), self.network(images)))
        return tuple(found[name] for name in self.features_list)


def folder_of(images: Tensor, path) -> str:
    path.mkdir()
    for k, image in enumerate(images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path / f"{k:04}.png")
    return str(path)


def two_folders(tmp_path, count: int) -> tuple[str, str]:
    """Real images, and others that are noisy, darker and of half of the classes."""
    images = load("shapes", size=16, channels=3, count=1280)
    real, other = images.images[:count], images.images[count:][images.labels[count:] < 32][:count]
    noise = torch.randint(-8, 9, other.shape, generator=torch.Generator().manual_seed(0))
    made = (other * 0.8 + noise).round().clamp(0, 255).to(torch.uint8)
    return folder_of(real, tmp_path / "real"), folder_of(made, tmp_path / "made")


def theirs(real: str, made: str, count: int, **extractor: object) -> dict[str, float]:
    return calculate_metrics(
        input1=made, input2=real, cuda=False, fid=True, kid=True, isc=True, prc=True, isc_splits=1, kid_subsets=1,
        kid_subset_size=count, cache=False, verbose=False, save_cpu_ram=False, **extractor,
    )  # fmt: skip


def agree(ours: dict[str, float], expected: dict[str, float], rounding: float = 1e-5) -> None:
    assert ours["fid"] == pytest.approx(expected["frechet_inception_distance"], rel=rounding)
    assert ours["is_mean"] == pytest.approx(expected["inception_score_mean"], rel=1e-5)
    assert ours["kid"] == pytest.approx(expected["kernel_inception_distance_mean"], rel=1e-5, abs=1e-6)
    assert ours["precision"] == pytest.approx(expected["precision"], abs=1e-6)
    assert ours["recall"] == pytest.approx(expected["recall"], abs=1e-6)
    # nothing is shown by a case where all figures are at an end of their range
    assert expected["inception_score_mean"] > 1.001  # a hundred times the tolerance
    assert expected["frechet_inception_distance"] > 1e-3
    assert 0 < expected["precision"] < 1 or 0 < expected["recall"] < 1


def test_the_classifiers_figures_are_torch_fidelitys(tmp_path):
    register_feature_extractor("shapes-classifier", ShapesClassifier)
    real, made = two_folders(tmp_path, 320)
    expected = theirs(real, made, 320, feature_extractor="shapes-classifier")
    ours = folders(tmp_path / "real", tmp_path / "made", extractor="test_agreement:OurClassifier")["metrics"]
    agree(ours, expected)


class OurClassifier(torch.nn.Module):
    """What `--extractor test_agreement:OurClassifier` loads."""

    def __init__(self) -> None:
        super().__init__()
        self.network = load_extractor("classifier", dataset=load("shapes", size=16, channels=3, count=640))

    def forward(self, images: torch.Tensor) -> Features:
        return self.network(images)


@pytest.mark.slow
def test_inceptions_figures_are_torch_fidelitys_from_the_same_file(random_weights, tmp_path, monkeypatch, capsys):
    right = hashlib.sha256(random_weights.read_bytes()).hexdigest()
    defaults = {**inception.inception_for.__kwdefaults__, "sha256": right}
    monkeypatch.setattr(inception.inception_for, "__kwdefaults__", defaults)
    real, made = two_folders(tmp_path, 24)
    options = {"feature_extractor": "inception-v3-compat", "feature_extractor_weights_path": str(random_weights)}
    expected = theirs(real, made, 24, **options)
    argv = ["evaluate", real, made, "--extractor", "inception", "--weights", str(random_weights), "--json"]
    assert main(argv) == 0
    found = json.loads(capsys.readouterr().out)
    # with fewer images than features they take roots of 2,000 eigenvalues that are 0 but for rounding of 1e-17
    agree(found["metrics"], expected, rounding=1e-4)
    images = [load(path, size=16, channels=3).images for path in (real, made)]
    network = inception.inception_for(random_weights)
    x, y = (extract(network, i).features.double() for i in images)
    centred = [f - f.mean(0) for f in (x, y)]
    overlap = torch.linalg.matrix_norm(centred[0] @ centred[1].T, "nuc") / 23  # of rank 23: exact, and another way
    spreads = sum(f.square().sum() / 23 for f in centred)
    exact = (x.mean(0) - y.mean(0)).square().sum() + spreads - 2 * overlap
    assert found["metrics"]["fid"] == pytest.approx(exact.item(), rel=1e-7)
    assert found["labels"]["fid"] == "FID@24"  # the bare name is the literature's extractor's alone
