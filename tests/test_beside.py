"""An extractor that is trained beside the GAN: figures and weights are those of one trained before it."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest
import torch
from PIL import Image
from torch import nn

from gan_ablate.cli import main
from gan_ablate.errors import InputError
from gan_ablate.evaluate import classifier, rotation
from gan_ablate.evaluate.beside import ExtractorBeside
from gan_ablate.evaluate.callback import EvaluationCallback
from gan_ablate.evaluate.small_cnn import WATCH
from gan_ablate.recipe import Evaluation, Recipe
from gan_ablate.run.carry_out import Stopped, carry_out

STEPS = 30
TRAININGS = 64 * 128  # images: some 2 s


@pytest.fixture(autouse=True)
def _fresh(tmp_path, monkeypatch):
    monkeypatch.setenv("GAN_ABLATE_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(classifier, "BUDGET", TRAININGS)
    monkeypatch.setattr(rotation, "BUDGET", TRAININGS)


@pytest.fixture(scope="module")
def photos(tmp_path_factory) -> Path:
    """40 noisy grey pictures, the first half darker."""
    folder = tmp_path_factory.mktemp("photos")
    generator = torch.Generator().manual_seed(0)
    for i in range(40):
        pixels = torch.randint(0, 120, (16, 16), generator=generator) + 100 * (i >= 20)
        Image.fromarray(pixels.to(torch.uint8).numpy()).save(folder / f"{i}.png")
    return folder


def recipe(photos: Path, extractor: str = "rotation") -> Recipe:
    plan = Evaluation(extractor=extractor, samples=64, points=3)
    return Recipe(
        dataset=str(photos), size=16, channels=1, steps=STEPS, width=4, batch_size=8, precision="fp32", evaluation=plan
    )


def figures(result: dict) -> list[dict]:
    return [{k: v for k, v in row.items() if k != "seconds"} for row in result["curve"]]


def weights(folder: Path) -> dict:
    return torch.load(folder / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_a_run_whose_extractor_is_trained_beside_is_the_run_whose_extractor_was_there(photos, tmp_path, monkeypatch):
    at_ten, fit, waiting = tmp_path / "at_ten", rotation.fit, []
    evaluate, catch_up = EvaluationCallback.evaluate, EvaluationCallback.catch_up

    def slow(*args):
        for _ in range(600):
            if at_ten.exists():
                return fit(*args)
            time.sleep(0.1)
        raise InputError("the GAN waited for its extractor")

    def noted(self, module):
        found = evaluate(self, module)
        at_ten.touch() if module.g_steps >= 10 else None
        return found

    def caught_up(self):
        waiting.extend(point.step for point in self._waiting)
        catch_up(self)

    monkeypatch.setattr(rotation, "fit", slow)
    monkeypatch.setattr(EvaluationCallback, "evaluate", noted)
    monkeypatch.setattr(EvaluationCallback, "catch_up", caught_up)
    beside = carry_out(recipe(photos), tmp_path / "beside", threads=1, beside=True)
    assert waiting[:2] == [0, 10]
    before = carry_out(recipe(photos), tmp_path / "before", threads=1)
    assert figures(beside) == figures(before)
    assert beside["metrics"] == before["metrics"]
    assert beside["evaluation"] == before["evaluation"]
    one, two = weights(tmp_path / "beside"), weights(tmp_path / "before")
    assert all(torch.equal(one[k], two[k]) for k in two)


def test_a_run_that_is_stopped_before_its_extractor_is_there_goes_on(photos, tmp_path):
    calls = []
    with pytest.raises(Stopped):
        carry_out(
            recipe(photos),
            tmp_path / "stopped",
            threads=1,
            step="eager",
            beside=True,
            should_stop=lambda: len(calls.append(1) or calls) == 15,
        )
    resumed = carry_out(recipe(photos), tmp_path / "stopped", threads=1, beside=True)
    unbroken = carry_out(recipe(photos), tmp_path / "unbroken", threads=1)
    assert resumed["resumed"] == 1
    assert figures(resumed) == figures(unbroken)


def test_images_without_classes_are_refused_before_anything_is_trained(photos, tmp_path):
    with pytest.raises(InputError, match=r"no labels to train a classifier on"):
        carry_out(recipe(photos, "classifier"), tmp_path / "run", threads=1, beside=True)
    assert not (tmp_path / "run").exists()


def test_what_stops_the_other_process_stops_the_run():
    def load():
        raise InputError("these images cannot be read")

    with pytest.raises(InputError, match="these images cannot be read"):
        ExtractorBeside(load).get()


def test_an_extractor_whose_process_was_killed_is_trained_here():
    here, extractor = os.getpid(), nn.Identity()

    def load():
        if os.getpid() != here:
            os.kill(os.getpid(), signal.SIGKILL)
        return extractor

    assert ExtractorBeside(load).get() is extractor


def test_who_waits_is_told_the_share_that_is_done():
    here, extractor = os.getpid(), nn.Identity()

    def load():
        if os.getpid() != here:
            WATCH.get()(0.5)
            time.sleep(1.0)
        return extractor

    found, told = ExtractorBeside(load), []
    found.watch = told.append
    assert not found.ready
    assert found.get() is extractor
    assert found.ready
    assert told[-1] == 1.0
    assert 0.5 in told


def test_the_other_process_does_not_outlive_the_one_that_waits_for_it(tmp_path):
    mark = tmp_path / "alive"

    def load():
        while True:
            WATCH.get()(0.1)
            if not mark.exists():  # whole at once: it may be killed at any moment
                (tmp_path / "pid").write_text(str(os.getpid()))
                (tmp_path / "pid").rename(mark)
            time.sleep(0.05)

    first = os.fork()
    if first == 0:
        ExtractorBeside(load)
        while not mark.exists():
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGKILL)
    os.waitpid(first, 0)
    other = int(mark.read_text())
    for _ in range(100):
        if not Path(f"/proc/{other}").exists() or "Z" in Path(f"/proc/{other}/stat").read_text().split(")")[1][:3]:
            break
        time.sleep(0.05)
    else:
        pytest.fail("it still trains")


def test_train_says_at_the_end_what_the_extractor_is(photos, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    options = ["--size", "16", "--channels", "1", "--steps", "4", "--width", "4", "--samples", "64", "--points", "1"]
    options += ["--batch-size", "8"]
    assert main(["train", "--dataset", str(photos), *options, "--threads", "1", "--root", str(tmp_path / "root")]) == 0
    captured = capsys.readouterr()
    assert "outcome: " in captured.out
    assert "quarter turns of held-out images" in captured.out
    assert "rotation features once (16 px, 64 steps) ... accuracy" in captured.err
