"""Images without labels: the rotation extractor, who is given it, and the way from a folder to a report."""

import json

import pytest
import torch
from PIL import Image
from torch import nn

from gan_ablate.cli import main
from gan_ablate.data.images import ImageSet
from gan_ablate.errors import InputError
from gan_ablate.evaluate import load_extractor, rotation
from gan_ablate.evaluate.extractors import CustomExtractor, extract
from gan_ablate.evaluate.metrics import evaluate_images, metric_labels
from gan_ablate.evaluate.real_statistics import real_statistics
from gan_ablate.layout import extractor_for
from gan_ablate.recipe import Evaluation, Recipe
from gan_ablate.study.study import expand, from_dict

TINY = ["--steps", "4", "--width", "4", "--batch-size", "8", "--samples", "16", "--points", "1", "--threads", "1"]


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_ABLATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(rotation, "BUDGET", 2560)


def skies(count=400, seed=0, upright=True):
    """(count, 1, 16, 16) noise, under a bright sky where it has an upright."""
    images = torch.randint(0, 120, (count, 1, 16, 16), generator=torch.Generator().manual_seed(seed))
    if upright:
        images[:, :, :6] += 100
    return ImageSet.of(images.to(torch.uint8), None, (), "skies")


def photos(folder, count=24, classes=0):
    """Unlabelled PNGs of mixed sizes and modes."""
    generator = torch.Generator().manual_seed(0)
    for k in range(count):
        place = folder / f"class{k % classes}" if classes else folder
        place.mkdir(parents=True, exist_ok=True)
        height, width = torch.randint(20, 60, (2,), generator=generator).tolist()
        pixels = torch.randint(0, 256, (height, width, 3), generator=generator).to(torch.uint8)
        image = Image.fromarray(pixels.numpy())
        (image.convert("L") if k % 3 == 0 else image).save(place / f"{k}.png")
    return folder


def test_turns_are_quarter_turns_and_know_their_names():
    images = torch.arange(2 * 3 * 16).view(2, 3, 4, 4)
    seen, named = rotation.turned(images), rotation.turns(2)
    for image, turn, whose in zip(seen, named.tolist(), [0, 1] * 4, strict=True):
        assert torch.equal(torch.rot90(image, -turn, (1, 2)), images[whose])


def test_it_is_sure_where_images_have_an_upright_and_at_chance_where_they_have_none(monkeypatch):
    before = torch.get_rng_state()
    found = load_extractor("rotation", dataset=skies())
    assert torch.equal(torch.get_rng_state(), before)
    assert found.accuracy > 0.95
    assert f"{found.accuracy:.1%}" in found.note
    assert found.name == "skies rotation features"
    held_out = 200  # images, each in four turns
    noise = rotation.train(skies(20 * held_out, upright=False), budget=1280)["meta"]["accuracy"]
    assert abs(noise - 0.25) < 4 * (0.25 * 0.75 / (4 * held_out)) ** 0.5
    monkeypatch.setattr(rotation, "train", None)  # would fail if called
    torch.manual_seed(5)
    assert load_extractor("rotation", dataset=skies()).digest == found.digest


def test_training_repeats_to_the_bit():
    one, other = (rotation.train(skies(), budget=640)["state"] for _ in range(2))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_features_alone_give_all_figures_but_those_of_classes():
    real, extractor = skies(), load_extractor("rotation", dataset=skies())
    statistics = real_statistics(real, extractor)
    same, other = (evaluate_images(skies(300, 1, up).images, extractor, statistics) for up in (True, False))
    for figure in ("is_mean", "is_std", "modes", "assigned_modes"):
        assert same[figure] is None
    assert 10 * same["fid"] < other["fid"]
    assert same["coverage"] > other["coverage"]
    labels = metric_labels(extractor, 300)
    assert labels["fid"] == "FID@300 (skies rotation features)"
    assert "is_mean" not in labels
    with pytest.raises(InputError, match="gives features only"):
        evaluate_images(real.images, extractor, statistics, only=["is"])


def test_an_extractor_of_ones_own_may_give_features_alone():
    class Means(nn.Module):
        def forward(self, images):
            return images.float().mean((2, 3))

    extractor, images = CustomExtractor("my:Means", Means()), skies(600).images
    assert extract(extractor, images).logits is None
    assert "is_mean" not in metric_labels(extractor, 600)


def test_auto_is_the_classifier_where_there_are_classes():
    shapes = load_extractor("auto", dataset=ImageSet.of(torch.zeros(64, 3, 16, 16).byte(), None, (), "plain"))
    assert shapes.name == "plain rotation features"
    from gan_ablate.data import load

    assert load_extractor("auto", dataset=load("shapes", size=16, channels=3, count=64)).name == "shapes classifier"
    assert Recipe(evaluation=Evaluation("auto")).run_id == Recipe().run_id


def test_a_plan_looks_at_what_lies_at_the_path(tmp_path):
    flat, classes = str(photos(tmp_path / "flat")), str(photos(tmp_path / "classes", classes=2))
    one = str(photos(tmp_path / "one", classes=1))
    assert [extractor_for(p) for p in (flat, one, classes)] == ["rotation", "rotation", "classifier"]
    assert extractor_for(str(tmp_path / "gone")) == "classifier"  # whoever loads it says that it is gone
    assert extractor_for(flat, "inception") == "inception"
    assert extractor_for("mnist") == "classifier"

    def planned(dataset, **evaluation):
        base = {"dataset": dataset, "steps": 4, "evaluation": {"samples": 16, **evaluation}}
        study = {"name": "s", "base": base, "models": ["dcgan"], "arms": ["spectral_norm"], "seeds": 1}
        return expand(from_dict(study)).recipes

    assert {r.evaluation.extractor for r in planned(flat)} == {"rotation"}
    said, unsaid = planned(classes, extractor="classifier"), planned(classes)
    assert [r.run_id for r in said] == [r.run_id for r in unsaid]


def test_a_folder_of_unlabelled_images_comes_to_a_report(capsys, tmp_path):
    root = str(tmp_path / "r")
    argv = ["train", "--dataset", str(photos(tmp_path / "photos")), "--root", root, "--logger", "none", *TINY]
    assert main(argv) == 0
    out = capsys.readouterr().out
    assert "FID@16 (photos rotation features): " in out
    assert "IS@" not in out
    assert "of quarter turns of held-out images (chance: 25 %)" in out
    (file,) = (tmp_path / "r").glob("runs/*/result.json")
    settings = json.loads(file.read_text())["evaluation"]
    assert "quarter turns of held-out images" in settings["note"]
    assert main(["report", root, "--partial"]) == 0
    page = (tmp_path / "r" / "report" / "report.md").read_text()
    assert "photos rotation features" in page
    assert "quarter turns of held-out images" in page
