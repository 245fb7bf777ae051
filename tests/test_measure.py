"""`gan-ablate evaluate`: figures of checkpoints and folders, extractors of one's own, and measures without one."""

import json
import math
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from gan_ablate.cli import main
from gan_ablate.data import load
from gan_ablate.errors import InputError
from gan_ablate.evaluate import load_extractor
from gan_ablate.evaluate.metrics import checkerboard_energy
from gan_ablate.models import DCGAN
from gan_ablate.recipe import Evaluation, Recipe
from gan_ablate.run.carry_out import carry_out
from gan_ablate.run.measure import gradient_at_optimum


class Means(nn.Module):
    """An extractor of one's own: four numbers per image, two classes."""

    def forward(self, images):
        x = images.float().mean((2, 3)) / 255
        features = torch.cat((x, x.std(1, keepdim=True)), 1)
        return features, features[:, :2]


class NotFinite(Means):
    def forward(self, images):
        features, logits = super().forward(images)
        return features / 0 - features / 0, logits


class Wrong(nn.Module):
    def forward(self, images):
        return images


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run")
    recipe = Recipe(width=4, batch_size=8, steps=10, precision="fp32", evaluation=Evaluation(samples=256, points=1))
    return folder / "checkpoints" / "last.ckpt", carry_out(recipe, folder, threads=1)


def folder_of(images, path):
    path.mkdir()
    for k, image in enumerate(images):
        Image.fromarray(image.permute(1, 2, 0).numpy()).save(path / f"{k:04}.png")
    return str(path)


def evaluated(capsys, *argv):
    assert main(["evaluate", *map(str, argv), "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def refused(capsys, *argv):
    assert main(["evaluate", *map(str, argv)]) == 2
    err = capsys.readouterr().err
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err


# -- checkerboards --------------------------------------------------------------------------------------------------


def test_checkerboard_energy_of_known_images():
    i = torch.arange(16)
    board = ((i[:, None] + i) % 2 * 2.0 - 1).expand(2, 3, 16, 16)
    stripes = (i % 2 * 2.0 - 1).expand(2, 3, 16, 16)
    slow = (2 * math.pi * i / 16).sin().expand(2, 3, 16, 16)
    assert checkerboard_energy(board) == pytest.approx(1)
    assert checkerboard_energy(stripes) == pytest.approx(1)
    assert checkerboard_energy(slow) == pytest.approx(0, abs=1e-12)
    assert checkerboard_energy((slow + stripes * 0.5**0.5) * 3 + 9) == pytest.approx(0.5)  # powers 1/2 and 1/2
    noise = torch.randn(500, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    assert checkerboard_energy(noise) == pytest.approx(31 / 255, rel=0.02)  # 31 of 255 frequencies


def test_a_kernel_that_the_stride_does_not_divide_leaves_more_of_it():
    from gan_ablate.nets.layers import transposed_convolution

    def energy(kernel):
        layer = transposed_convolution(1, 1, False, kernel=kernel)
        nn.init.ones_(layer.weight)
        x = torch.rand(200, 1, 16, 16, generator=torch.Generator().manual_seed(0)) + 1
        return checkerboard_energy(layer(x).detach()[..., 4:-4, 4:-4])

    assert energy(3) > 5 * energy(4)
    assert energy(5) > 5 * energy(4)


# -- checkpoints ----------------------------------------------------------------------------------------------------


def test_a_checkpoint_is_measured_as_its_run_was(capsys, run):
    path, result = run
    found = evaluated(capsys, path)
    assert found["metrics"]["fid"] == pytest.approx(result["metrics"]["fid"], rel=1e-6)
    assert found["extractor_digest"] == result["evaluation"]["extractor_digest"]
    assert found["labels"]["fid"] == "FID@256 (shapes classifier)"


def test_interpolation_sampling_and_checkerboards_of_one_generator(capsys, run):
    path, _ = run
    found = evaluated(capsys, path, "--metrics", "fid,interpolation,sampling,checkerboard,optimum", "--samples", 300)[
        "metrics"
    ]
    assert set(found) == {
        "fid", "fid_slerp", "fid_lerp", "fid_eval_mode", "fid_train_mode", "checkerboard", "checkerboard_real", "optimum_g_gradient",
    }  # fmt: skip
    assert found["fid"] == pytest.approx(found["fid_eval_mode"])
    assert len({round(found[k], 9) for k in ("fid", "fid_slerp", "fid_lerp", "fid_train_mode")}) == 4


def test_wrong_input_is_one_line(capsys, run, tmp_path):
    path, _ = run
    assert "did you mean 'fid'" in refused(capsys, path, "--metrics", "fidd")
    assert "no such checkpoint" in refused(capsys, tmp_path / "none.ckpt")
    (tmp_path / "cut.ckpt").write_bytes(path.read_bytes()[:2000])
    assert "not a checkpoint" in refused(capsys, tmp_path / "cut.ckpt")
    assert "--samples 1" in refused(capsys, path, "--samples", 1)
    broken = torch.load(path, weights_only=True)
    broken["state_dict"]["generator.last.weight"].fill_(math.nan)
    torch.save(broken, tmp_path / "nan.ckpt")
    assert "weights are not finite" in refused(capsys, tmp_path / "nan.ckpt")


def test_a_saturating_g_learns_nothing_from_a_d_at_its_optimum():
    """Arjovsky & Bottou 2017: its gradient vanishes, the non-saturating one's does not. The module stays as it was."""
    images = load("shapes", size=16, channels=3, count=640)

    def gradients(*tricks):
        module = DCGAN(width=4, batch_size=16, lr=0.001, precision="fp32", tricks=tricks)
        before = {k: v.clone() for k, v in module.state_dict().items()}
        found = [gradient_at_optimum(module, images, d_steps) for d_steps in (5, 150, 150)]
        assert all(torch.equal(v, module.state_dict()[k]) for k, v in before.items())
        assert module.g_steps == module.d_steps == 0
        assert found[1] == found[2]  # seeded
        return found

    early, late, _ = gradients("saturating")
    assert late < 0.05 * early
    early, late, _ = gradients()
    assert late > 0.5 * early


def test_a_d_that_does_not_stay_finite_has_no_optimum():
    """Without gradients G's norm would be 0: the most vanished gradient of all."""
    images = load("shapes", size=16, channels=3, count=320)
    module = DCGAN(width=4, batch_size=16, lr=1e30, precision="fp32")
    with pytest.raises(InputError, match="D alone did not stay finite over 12 steps"):
        gradient_at_optimum(module, images, 12)


# -- folders --------------------------------------------------------------------------------------------------------


def test_two_folders_by_an_extractor_of_ones_own(capsys, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    shapes = load("shapes", size=16, channels=3, count=96).images
    a, b = folder_of(shapes[:48], tmp_path / "a"), folder_of(shapes[48:].flip(2) // 2, tmp_path / "b")
    options = ("--extractor", "test_measure:Means", "--size", 16, "--metrics", "fid,checkerboard")
    same, other = evaluated(capsys, a, a, *options), evaluated(capsys, a, b, *options)
    assert evaluated(capsys, a, b, *options[:2], *options[4:]) == other  # the images' own size
    assert same["metrics"]["fid"] == pytest.approx(0, abs=1e-6)
    x, y = (Means()(s)[0].double() for s in (shapes[:48], shapes[48:].flip(2) // 2))
    from torchmetrics.image.fid import _compute_fid

    expected = _compute_fid(x.mean(0), x.T.cov(), y.mean(0), y.T.cov())
    assert other["metrics"]["fid"] == pytest.approx(expected.item(), rel=1e-4)
    assert other["extractor"] == "test_measure:Means"
    assert "(test_measure:Means)" in other["labels"]["fid"]
    assert other["metrics"]["checkerboard"] != other["metrics"]["checkerboard_real"]


def test_wrong_folders_and_extractors_are_one_line(capsys, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    a = folder_of(load("shapes", size=16, channels=3, count=8).images, tmp_path / "a")
    own = ("--extractor", "test_measure:Means", "--size", 16)
    assert "has 8 images, 9 were asked for" in refused(capsys, a, a, "--samples", 9, *own)
    assert "give one checkpoint" in refused(capsys, a, a, "--metrics", "interpolation", *own)
    assert "no such folder" in refused(capsys, tmp_path / "none", a, *own)
    assert "cannot import Nothing" in refused(capsys, a, a, "--extractor", "test_measure:Nothing")
    assert "features are (8, 3, 16, 16), not (8, d)" in refused(
        capsys, a, a, "--extractor", "test_measure:Wrong", "--size", 16
    )
    assert "features of the real images are not finite" in refused(
        capsys, a, a, "--extractor", "test_measure:NotFinite", "--size", 16
    )
    assert "neither a torch.nn.Module nor" in refused(capsys, a, a, "--extractor", "math:pi", "--size", 16)


def test_a_custom_extractor_serves_a_run_and_names_its_figures(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).parent))
    plan = Evaluation(extractor="test_measure:Means", samples=64, points=1)
    result = carry_out(Recipe(width=4, batch_size=8, steps=4, evaluation=plan), tmp_path, threads=1)
    assert result["labels"]["fid"] == "FID@64 (test_measure:Means)"
    assert result["metrics"]["fid"] > 0


def test_load_extractor_names_what_it_knows():
    with pytest.raises(InputError, match="unknown extractor 'inceptoin': did you mean 'inception'"):
        load_extractor("inceptoin", dataset=load("shapes", size=16, channels=3, count=8))
