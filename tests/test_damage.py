"""Files that are not what they were: none of them is trained on or published as if nothing had happened."""

from __future__ import annotations

import os
import random
import zipfile
from pathlib import Path

import pytest
import torch
from PIL import Image

from benchmarks import damage
from gan_ablate.evaluate.extractors import CustomExtractor
from gan_ablate.recipe import Evaluation, Recipe
from gan_ablate.run import carry_out as run
from gan_ablate.run.carry_out import carry_out
from gan_ablate.run.checkpoints import DamagedCheckpoint, read_sealed, write_sealed
from gan_ablate.run.log import START, RunLog
from gan_ablate.sources import Sources, identity
from gan_ablate.store.merge import differing


def test_a_damaged_foreign_or_orphaned_checkpoint_leads_to_the_undisturbed_result(tmp_path: Path) -> None:
    """benchmarks/damage.py at small size: resumed from the checkpoint before, or from the start."""
    found = damage.damage(tmp_path / "d", flips=2, others=1, seed=0)
    assert found["wrong"] == 0, found
    assert found["rounds"] == 5
    assert found["went on"]["bit of last.ckpt"] == {"from previous.ckpt": 1}
    assert found["went on"]["bit of both"] == {"from the start": 1}
    assert found["went on"]["foreign last.ckpt"] == {"from previous.ckpt": 1}
    assert found["went on"]["log cut short"] == {"from the start": 1}  # as in a slow copy of a live root


def test_any_flipped_bit_and_any_cut_of_a_checkpoint_shows(tmp_path: Path) -> None:
    path, draw = tmp_path / "last.ckpt", random.Random(0)
    write_sealed(path, {"weights": torch.randn(20), "step": 3})
    whole = path.read_bytes()
    assert zipfile.ZipFile(path).testzip() is None  # still a zip as others read it
    assert torch.load(path, weights_only=True)["step"] == read_sealed(path)["step"] == 3
    for bit in draw.sample(range(8 * len(whole)), 300):
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        with pytest.raises(DamagedCheckpoint):
            read_sealed(path)
    for length in (0, 1, 40, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:length])
        with pytest.raises(DamagedCheckpoint):
            read_sealed(path)
    torch.save({"weights": torch.randn(20)}, path)  # whole, but not sealed: of another program, or an older version
    with pytest.raises(DamagedCheckpoint, match="not a checkpoint of a run"):
        read_sealed(path)


def test_a_checkpoint_replaces_the_one_before_it_beside_its_target_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing passes through the temporary folder, which may be full or read-only."""
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp" / "none"))
    with damage.no_pictures():
        folder = damage.stopped(damage.RECIPE, tmp_path / "run")
    steps = [read_sealed(folder / name)["gan_ablate"]["g_steps"] for name in (damage.LAST, damage.BEFORE)]
    assert steps == [14, 12]
    assert sorted(os.listdir(folder / "checkpoints")) == ["last.ckpt", "previous.ckpt"]


def photos(folder: Path, seed: int) -> Path:
    draw = torch.Generator().manual_seed(seed)
    folder.mkdir(exist_ok=True)
    for k in range(12):
        pixels = torch.randint(0, 256, (16, 16, 3), dtype=torch.uint8, generator=draw).numpy()
        Image.fromarray(pixels).save(folder / f"{k}.png")
    return folder


def archive(path: Path, folder: Path) -> Path:
    with zipfile.ZipFile(path, "w") as file:
        for image in sorted(folder.iterdir()):
            file.write(image, image.name)
    return path


class Pixels(torch.nn.Module):
    """Features without a classifier, whose training for each set of photos would take longer than all else here."""

    def forward(self, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        means = images.float().mean((2, 3)) / 255  # (N, 3)
        return means, means


def test_data_swapped_in_the_middle_of_a_run_start_it_afresh(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAN_ABLATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(run, "_extractor", lambda *_: CustomExtractor("pixels", Pixels()))
    data = archive(tmp_path / "photos.zip", photos(tmp_path / "one", 1))
    plan = Evaluation(samples=16, points=1)
    recipe = Recipe(dataset=str(data), width=4, steps=20, batch_size=4, precision="fp32", evaluation=plan)
    folder = damage.stopped(recipe, tmp_path / "run")
    data.unlink()
    archive(data, photos(tmp_path / "two", 2))
    result = carry_out(recipe, folder, threads=1)
    assert "of another run: data is name photos.zip, fingerprint" in capsys.readouterr().err
    assert result["resumed"] == 0
    assert differing(result, carry_out(recipe, tmp_path / "fresh", threads=1)) == []
    assert result["data"]["fingerprint"] == result["evaluation"]["real_fingerprint"]
    assert result["data"]["images"] == 12
    sources = Sources()
    assert not sources.changed(result)
    archive(data, tmp_path / "one")
    assert not sources.changed(result)  # looks once
    assert Sources().changed(result)
    data.unlink()
    assert not Sources().changed(result)  # gone: it tells nothing


def test_a_folder_is_known_by_its_content_whatever_its_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAN_ABLATE_CACHE", str(tmp_path / "cache"))
    data = photos(tmp_path / "photos", 1)
    record = {"recipe": {"dataset": str(data)}, "data": {"source": identity(data)}}
    (data / "loop").symlink_to(data)
    (data / "notes.txt").write_text("no image")
    assert identity(data) == record["data"]["source"]
    os.utime(data / "3.png", (1e9, 1e9))
    assert identity(data)["listing"] != record["data"]["source"]["listing"]
    assert not Sources().changed(record)
    whole = (data / "3.png").read_bytes()
    (data / "3.png").write_bytes((data / "4.png").read_bytes())
    assert Sources().changed(record)
    (data / "3.png").write_bytes(whole)
    assert not Sources().changed(record)
    (data / "3.png").unlink()
    assert Sources().changed(record)
    assert not Sources().changed({"recipe": {"dataset": "shapes"}, "data": {"name": "shapes"}})


def test_whoever_lost_the_log_to_another_writes_no_line_into_it(tmp_path: Path) -> None:
    one, two = RunLog(tmp_path / "metrics.jsonl"), RunLog(tmp_path / "metrics.jsonl")
    one.rewind(START)
    one.log_metrics({"d_loss": 1.0}, step=1)
    two.rewind(START)
    two.log_metrics({"d_loss": 2.0}, step=1)
    one.log_metrics({"d_loss": 3.0}, step=2)
    assert (tmp_path / "metrics.jsonl").read_text() == '{"step": 1, "d_loss": 2.0}\n'
    assert two.holds(two.position())
    assert not two.holds(one.position())
