"""The nearest-neighbour ratio: closed cases, an independent search, and the way from a folder with a test split."""

import json

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.spatial import cKDTree

from gan_ablate.cli import main
from gan_ablate.evaluate import memorisation
from gan_ablate.evaluate.memorisation import Neighbours, held_out_of, nearest_neighbour_ratio, neighbours_of
from gan_ablate.evaluate.prdc import nearest_distances


def draws(count, seed, dim=6):
    return torch.randn(count, dim, generator=torch.Generator().manual_seed(seed)) + 3


def test_distances_are_those_of_another_search_and_exactly_zero_for_copies(monkeypatch):
    monkeypatch.setattr("gan_ablate.evaluate.prdc.ELEMENTS", 5000)  # several blocks
    x, y = draws(300, 0), draws(700, 1)
    found = nearest_distances(x, y)
    np.testing.assert_allclose(found, cKDTree(y.double().numpy()).query(x.double().numpy())[0], rtol=1e-9)
    assert torch.equal(nearest_distances(y[:100], y), torch.zeros(100, dtype=torch.float64))


def test_fresh_samples_have_ratio_one_and_copies_take_their_share_off():
    known, fresh = Neighbours(draws(2000, 1), draws(2000, 2)), draws(1000, 3)
    assert nearest_neighbour_ratio(fresh, known) == pytest.approx(1, abs=0.02)
    for share in (0.2, 0.5, 1.0):
        copies = round(share * len(fresh))
        mixed = torch.cat([known.train[:copies], fresh[copies:]])
        assert nearest_neighbour_ratio(mixed, known) == pytest.approx(1 - share, abs=0.03)
    poor = 4 * fresh  # far from both: what hides copies from a comparison with held-out images' own distances
    assert nearest_neighbour_ratio(poor, known) == pytest.approx(1, abs=0.02)
    assert np.isnan(nearest_neighbour_ratio(known.held_out, known))


def test_a_folder_that_copies_the_training_images_is_found_out(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_ABLATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("gan_ablate.evaluate.rotation.BUDGET", 640)
    pixels = torch.randint(0, 256, (120, 16, 16, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    places = {"real/train": pixels[:60], "real/test": pixels[60:90], "copies": pixels[:30], "fresh": pixels[90:]}
    for place, images in places.items():
        (tmp_path / place).mkdir(parents=True)
        for k, image in enumerate(images):
            Image.fromarray(image.numpy()).save(tmp_path / place / f"{k:03}.png")

    def measured(made, real="real"):
        argv = ["evaluate", str(tmp_path / real), str(tmp_path / made), "--extractor", "rotation", "--json"]
        assert main(argv) == 0
        return json.loads(capsys.readouterr().out)

    monkeypatch.setattr(memorisation, "KEPT", 60)
    copied, fresh = measured("copies")["metrics"]["nn_ratio"], measured("fresh")["metrics"]["nn_ratio"]
    assert copied < 0.7  # 30 of the 60 training images are compared, as many as are held out
    assert fresh == pytest.approx(1, abs=0.15)
    assert "nn_ratio" not in measured("copies", real="fresh")["metrics"]  # nothing is held out there
    argv = ["evaluate", str(tmp_path / "fresh"), str(tmp_path / "copies"), "--metrics", "memorisation"]
    assert main([*argv, "--extractor", "rotation"]) == 2
    assert "needs real images that were not trained on" in capsys.readouterr().err


def test_held_out_images_of_named_sets_are_loaded_once_for_all(tmp_path, monkeypatch):
    from gan_ablate.data import load
    from gan_ablate.evaluate import load_extractor

    monkeypatch.setenv("GAN_ABLATE_CACHE", str(tmp_path))
    train = load("shapes", size=16, channels=3, count=400)
    held_out, extractor = held_out_of("shapes", size=16, channels=3), load_extractor("classifier", dataset=train)
    few = memorisation.HeldOut(held_out.identity, lambda: load("shapes", size=16, channels=3, split="test", count=300))
    first = neighbours_of(train, few, extractor)
    assert first.train.shape == first.held_out.shape == (300, 128)
    again = neighbours_of(train, memorisation.HeldOut(held_out.identity, None), extractor)  # None would fail if called
    assert torch.equal(first.train, again.train)
    assert held_out_of("ring", size=1, channels=2) is None
