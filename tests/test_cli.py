"""The command line: wrong input is one line and exit code 2, and help has an example."""

import gc
import json
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch
import yaml
from PIL import Image

from gan_ablate.cli import COMMANDS, main
from gan_ablate.commands import importing
from gan_ablate.commands.train import threads_for
from gan_ablate.recipe import Recipe
from gan_ablate.tricks import trick_names

TINY = ["--steps", "4", "--width", "4", "--batch-size", "8", "--samples", "16", "--points", "1", "--threads", "1"]


def refused(capsys, *argv):
    """The one line that a wrong command line gets."""
    assert main(list(argv)) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1, lines
    assert lines[0].startswith("gan-ablate: ")
    return lines[0]


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["train", "--trick", "label_smothing"], "did you mean 'label_smoothing'"),
        (["train", "--model", "wgan_gp", "--trick", "label_smoothing"], "would change nothing on wgan_gp"),
        (["train", "--model", "wgan"], "did you mean 'wgan_gp'"),
        (["train", "--steps", "-5"], "steps=-5: needs a whole number of at least 1"),
        (["train", "--steps", "many"], "many"),
        (["train", "--wandb", "ofline"], "did you mean 'offline'"),
        (["train", "--trick", "instance_noise:std=high"], "std='high' is not a number"),
        (["train", "--stps", "3"], "--stps"),
        (["sweep", "sweeps/smok.yaml"], "sweeps/smok.yaml"),
        (["report", "/no/such/root"], "no such folder"),
        (["status", "/no/such/root"], "no such folder"),
        (["tricks", "instnce_noise"], "did you mean 'instance_noise'"),
        (["sample", "/no/such.ckpt"], "no such checkpoint"),
        (["sample", "README.md"], "not a checkpoint"),
        (["trin"], "trin"),
    ],
)
def test_wrong_input(capsys, argv, message):
    assert message in refused(capsys, *argv)


def test_missing_data_files_say_where_they_were_looked_for(capsys, tmp_path, monkeypatch):
    def offline(*_, **__):
        raise OSError("Name or service not known")

    monkeypatch.setattr("torchvision.datasets.mnist.download_and_extract_archive", offline)
    line = refused(
        capsys, "train", "--dataset", "mnist", "--size", "28", "--channels", "1", "--data-root", str(tmp_path),
        "--root", str(tmp_path / "r"), *TINY,
    )  # fmt: skip
    assert str(tmp_path) in line
    assert "--data-root" in line


def test_an_unreadable_image_is_named(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_ABLATE_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "images" / "cats"
    folder.mkdir(parents=True)
    Image.new("RGB", (20, 20)).save(folder / "a.png")
    (folder / "broken.png").write_bytes(b"not an image")
    line = refused(capsys, "train", "--dataset", str(tmp_path / "images"), "--root", str(tmp_path / "r"), *TINY)
    assert "broken.png" in line


def test_bad_input_leaves_no_run_to_wait_for(capsys, tmp_path):
    assert "did you mean 'shapes'" in refused(capsys, "train", "--dataset", "shaps", "--root", str(tmp_path), *TINY)
    assert not (tmp_path / "study.yaml").exists()


def test_no_inception_weights_and_no_network(capsys, tmp_path, monkeypatch):
    pytest.importorskip("torch_fidelity")

    def offline(*_, **__):
        raise OSError("Name or service not known")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    monkeypatch.setattr(torch.hub, "get_dir", lambda: str(tmp_path / "hub"))
    monkeypatch.delenv("GAN_ABLATE_INCEPTION", raising=False)
    line = refused(capsys, "train", "--extractor", "inception", "--root", str(tmp_path / "r"), *TINY)
    assert "weights-inception-2015-12-05" in line
    assert "--weights" in line
    assert str(tmp_path / "hub") in line


def test_broken_yaml_is_placed(capsys, tmp_path):
    study = tmp_path / "s.yaml"
    study.write_text("name: s\nbase: {steps: 3\narms: [x]\n")
    line = refused(capsys, "sweep", str(study), "--dry-run")
    assert "s.yaml" in line
    assert "line" in line


def test_a_root_of_another_study(capsys, tmp_path):
    for name in ("one", "two"):
        (tmp_path / f"{name}.yaml").write_text(f"name: {name}\nmodels: [dcgan]\narms: [label_smoothing]\nseeds: 1\n")
    from gan_ablate.store.store import Store
    from gan_ablate.study.study import expand, load_study

    study = load_study(tmp_path / "one.yaml")
    Store.create(tmp_path / "r", name="one", source={}, recipes=expand(study).recipes)
    line = refused(capsys, "sweep", str(tmp_path / "two.yaml"), "--root", str(tmp_path / "r"))
    assert "belongs to study 'one'" in line
    assert "belongs to study 'one'" in refused(capsys, "train", "--root", str(tmp_path / "r"), *TINY)


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_single_runs_of_an_adaptive_study(more, capsys, tmp_path):
    chosen = ("--root", str(tmp_path / "r"), "--only", "dcgan/base/0", *more)
    assert "choose by --arms and --models" in refused(capsys, "sweep", "sweeps/ablation.yaml", *chosen)
    assert not (tmp_path / "r").exists()


def test_dry_run_prints_the_matrix_and_trains_nothing(capsys, tmp_path):
    assert main(["sweep", "sweeps/ablation.yaml", "--dry-run", "--root", str(tmp_path / "r")]) == 0
    out = capsys.readouterr().out
    assert "not applicable" in out
    assert "runs, 0 finished" in out
    assert not (tmp_path / "r").exists()


def test_tricks_lists_all_with_papers(capsys):
    assert main(["tricks"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in trick_names())
    assert main(["tricks", "no_batch_norm"]) == 0
    out = capsys.readouterr().out
    assert "- g_norm: batch_norm  + g_norm: none" in out
    assert "against: S0.3 S4" in out
    assert main(["tricks", "f_gan"]) == 0
    assert "kl | reverse_kl | pearson" in capsys.readouterr().out
    assert main(["tricks", "flipped_generator_labels"]) == 0
    assert (
        "is base by construction on dcgan, nsgan, bigan, infogan, aae, lapgan, so no test: base's G loss"
        in capsys.readouterr().out
    )
    assert main(["tricks", "interpolation"]) == 0
    assert "always paired by seed" in capsys.readouterr().out


def test_the_sweeps_of_the_catalogue_hold_every_trick():
    names = ("ablation", "modern_tricks", "projected")  # the last one needs a weights file
    studies = [yaml.safe_load(Path(f"sweeps/{name}.yaml").read_text()) for name in names]
    old, new, own = ({a.partition(":")[0] for a in study["arms"] if isinstance(a, str)} for study in studies)
    assert old | new | own == set(trick_names())
    assert {k: v for k, v in studies[0].items() if k in ("base", "models")} == {
        k: v for k, v in studies[1].items() if k in ("base", "models")
    }


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_help_has_an_example(command):
    done = subprocess.run(
        [sys.executable, "-m", "gan_ablate", command, "--help"], capture_output=True, text=True, check=True
    )
    assert f"gan-ablate {command}" in " ".join(done.stdout.split())  # lines are broken to the terminal's width
    assert "Example:" in done.stdout


def test_train_report_and_sample_and_again(capsys, tmp_path):
    root = str(tmp_path / "r")
    argv = ["train", "--root", root, "--trick", "generator_ema", "--seed", "3", *TINY]
    assert main(argv) == 0
    first = capsys.readouterr().out
    assert "FID@16 (shapes classifier)" in first
    (result,) = (tmp_path / "r" / "runs").glob("*/result.json")
    written = result.read_bytes()
    data = json.loads(written)
    assert data["g_steps"] == 4
    assert [row["step"] for row in data["curve"]] == [0, 4]
    assert data["run_id"] == result.parent.name
    assert main(argv) == 0
    assert "already done" in capsys.readouterr().out
    assert result.read_bytes() == written
    assert main(["train", "--root", root, *TINY]) == 0
    assert main(["status", root]) == 0
    assert "generator_ema" in capsys.readouterr().out
    assert main(["report", root]) == 0
    grid = tmp_path / "grid.png"
    checkpoint = result.parent / "checkpoints" / "last.ckpt"
    assert main(["sample", str(checkpoint), "--count", "9", "--out", str(grid)]) == 0
    assert Image.open(grid).width > 100


def test_a_zip_of_images_trains(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_ABLATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("gan_ablate.evaluate.classifier.BUDGET", 6400)  # however good its classifier is
    noise = torch.randint(0, 256, (24, 20, 20, 3), generator=torch.Generator().manual_seed(0)).to(torch.uint8)
    with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
        for k, pixels in enumerate(noise):
            Image.fromarray(pixels.numpy()).save(tmp_path / "one.png")
            archive.write(tmp_path / "one.png", f"{'ab'[k % 2]}/{k}.png")
    argv = ["train", "--dataset", str(tmp_path / "z.zip"), "--root", str(tmp_path / "r"), "--logger", "none", *TINY]
    assert main(argv) == 0
    assert "FID@16 (" in capsys.readouterr().out


def test_garbage_is_collected_again_once_all_is_imported():
    with importing():
        assert not gc.isenabled()
    assert gc.isenabled()


def test_the_map_of_the_tricks_is_what_the_command_prints(capsys):
    assert main(["tricks", "--markdown"]) == 0
    assert Path("docs/tricks.md").read_text().split("## All rows\n\n")[1] == capsys.readouterr().out


@pytest.mark.parametrize(
    ("size", "width", "batch", "told", "threads"),
    [(16, 24, 32, "", 1), (64, 64, 64, "", 8), (64, 64, 64, "2", 2), (16, 24, 32, "3", 3), (16, 24, 32, "many", 1)],
)
def test_threads_are_what_the_environment_tells_and_one_for_a_small_net(size, width, batch, told, threads):
    assert threads_for(Recipe(size=size, width=width, batch_size=batch), told, cores=8) == threads
