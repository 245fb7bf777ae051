"""One run in its folder: resuming after any death, outcomes, and loggers that never fail it."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from PIL import Image

from gan_ablate import cache, data
from gan_ablate.cli import main
from gan_ablate.errors import InputError
from gan_ablate.evaluate.callback import EvaluationCallback
from gan_ablate.outcomes import MEANINGS
from gan_ablate.recipe import Evaluation, Recipe
from gan_ablate.run import carry_out as carrying_out
from gan_ablate.run.carry_out import Stopped, carry_out, judge
from gan_ablate.run.measure import open_checkpoint


def tiny(**fields):
    defaults = {
        "steps": 20, "width": 4, "batch_size": 8, "precision": "fp32", "evaluation": Evaluation(samples=64, points=2)
    }  # fmt: skip
    return Recipe(**{**defaults, **fields})


def same(a, b):
    """Whether two runs ended with equal weights, optimisers and random state."""
    one, two = (torch.load(Path(p) / "checkpoints" / "last.ckpt", weights_only=True) for p in (a, b))
    assert one["state_dict"].keys() == two["state_dict"].keys()
    assert one["gan_ablate"]["g_steps"] == two["gan_ablate"]["g_steps"]
    tensors = [(one["state_dict"][k], two["state_dict"][k]) for k in one["state_dict"]]
    tensors += [(v, two["gan_ablate"]["random"][k]) for k, v in one["gan_ablate"]["random"].items()]
    return all(torch.equal(x, y) for x, y in tensors)


def test_a_stopped_run_goes_on_to_the_same_end(tmp_path):
    recipe = tiny(tricks=("instance_noise", "experience_replay:size=32,kept=8"))
    unbroken = carry_out(recipe, tmp_path / "a", threads=1)
    calls = []

    def soon():
        calls.append(1)
        return len(calls) == 7

    with pytest.raises(Stopped):
        carry_out(recipe, tmp_path / "b", threads=1, step="eager", should_stop=soon)
    with pytest.raises(Stopped):
        carry_out(recipe, tmp_path / "b", threads=1, should_stop=lambda: True)
    resumed = carry_out(recipe, tmp_path / "b", threads=1)
    assert same(tmp_path / "a", tmp_path / "b")
    assert resumed["resumed"] == 2
    assert [(p["step"], p["fid"]) for p in resumed["curve"]] == [(p["step"], p["fid"]) for p in unbroken["curve"]]
    assert resumed["metrics"] == unbroken["metrics"]
    rows = [json.loads(line) for line in (tmp_path / "b" / "metrics.jsonl").read_text().splitlines()]
    assert [r["step"] for r in rows if "evaluation" in r] == [0, 10, 20]  # nothing twice


def test_evaluation_does_not_disturb_training(tmp_path, monkeypatch):
    """200 steps: weights, optimisers and random state with an evaluation every 20 steps, and with none at all."""
    recipe = tiny(steps=200, tricks=("generator_dropout",), evaluation=Evaluation(samples=64, points=10))
    watched = carry_out(recipe, tmp_path / "a", threads=1)
    assert [row["step"] for row in watched["curve"]] == list(range(0, 201, 20))
    monkeypatch.setattr(EvaluationCallback, "evaluate", lambda self, module: None)
    assert carry_out(recipe, tmp_path / "b", threads=1)["curve"] == []
    assert same(tmp_path / "a", tmp_path / "b")


@pytest.mark.parametrize("split", ["train", "test"])
def test_what_a_server_holds_is_all_that_a_run_reads_and_changes_nothing(tmp_path, monkeypatch, split):
    monkeypatch.setattr(cache, "_HELD", {})
    monkeypatch.setattr(carrying_out, "_EXTRACTORS", {})
    recipe = tiny(evaluation=Evaluation(samples=64, points=2, split=split))
    read = carry_out(recipe, tmp_path / "a", threads=1)
    carrying_out.hold(recipe, threads=1, accelerator="auto")

    def refuse(*args, **options):
        raise AssertionError(f"reads {args}")

    for module, name in ((cache, "unseal"), (carrying_out, "load_extractor"), (data, "load_generated")):
        monkeypatch.setattr(module, name, refuse)
    held = carry_out(recipe, tmp_path / "b", threads=1)
    assert held["metrics"] == read["metrics"]
    assert held["metrics"]["nn_ratio"] is not None
    assert held["curve"][0]["fid"] == read["curve"][0]["fid"]


def test_a_server_holds_no_extractor_of_the_users(tmp_path, monkeypatch):
    monkeypatch.setattr(carrying_out, "load", lambda *args, **options: pytest.fail("reads data"))
    carrying_out.hold(tiny(evaluation=Evaluation(extractor="mine:network")))


def test_a_damaged_checkpoint_falls_back_to_the_one_before(tmp_path, capsys):
    recipe = tiny()
    carry_out(recipe, tmp_path / "a", threads=1)
    calls = []
    soon = lambda: calls.append(1) or len(calls) == 9  # noqa: E731
    with pytest.raises(Stopped):
        carry_out(recipe, tmp_path / "b", threads=1, step="eager", should_stop=soon)
    last = tmp_path / "b" / "checkpoints" / "last.ckpt"
    last.write_bytes(last.read_bytes()[:1000])
    result = carry_out(recipe, tmp_path / "b", threads=1)
    assert "cut short, or not a checkpoint of a run; moved aside" in capsys.readouterr().err
    assert result["resumed"] == 1
    assert same(tmp_path / "a", tmp_path / "b")


def test_a_diverged_run_is_a_result(tmp_path):
    result = carry_out(tiny(lr=1e30, steps=120), tmp_path, threads=1)
    assert result["outcome"] == "diverged"
    assert 1 <= result["diverged_at"] <= 120
    assert result["metrics"].get("fid") is None


@pytest.mark.parametrize(
    ("finite", "fid", "modes", "outcome"),
    [(False, 5.0, 60, "diverged"), (True, None, None, "diverged"), (True, math.nan, 60, "diverged"),
     (True, math.inf, 60, "diverged"), (True, 250.0, 60, "undertrained"), (True, 200.0, 1, "undertrained"),
     (True, 5.0, 31, "collapsed"), (True, 5.0, 32, "ok"), (True, 5.0, None, "ok"), (True, 0.0, 64, "ok")],
)  # fmt: skip
@pytest.mark.parametrize("key", ["modes", "assigned_modes"])  # stacked digits and points have no assigned ones
def test_failure_is_judged_by_rule(finite, fid, modes, outcome, key):
    curve = [{"step": 0, "fid": 200.0}, {"step": 9, "fid": fid, key: modes}]
    assert judge(finite, curve[-1], curve, 64)[0] == outcome
    assert outcome in MEANINGS


def test_diversity_is_judged_by_samples_of_any_quality():
    """Else a living generator whose samples are not yet as good as real ones would count as collapsed."""
    final = {"step": 9, "fid": 30.0, "modes": 0, "assigned_modes": 60}
    assert judge(True, final, [{"step": 0, "fid": 200.0}, final], 64)[0] == "ok"
    assert judge(True, {**final, "assigned_modes": 30}, [final], 64) == ("collapsed", "reaches 30 of 64 modes")


def test_no_final_evaluation_is_a_failure():
    assert judge(True, None, [], 64) == ("diverged", "no finite FID at the final step")


def test_metrics_are_logged_as_json_lines(tmp_path):
    carry_out(tiny(steps=60), tmp_path, threads=1, logger="csv")
    rows = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    assert {"d_loss", "d_of_real", "d_of_fake", "d_gradient", "step"} in [set(r) for r in rows]
    assert [r["step"] for r in rows if "evaluation" in r] == [0, 30, 60]
    table = pd.read_csv(tmp_path / "csv" / "metrics.csv")
    assert table["fid"].notna().sum() == 3
    assert table["d_loss"].notna().sum() == 60 // 10  # a record every tenth D step, the least distance


def test_wandb_offline_writes_a_run(tmp_path):
    pytest.importorskip("wandb")
    carry_out(tiny(steps=60), tmp_path, threads=1, wandb="offline")
    assert list((tmp_path / "wandb").rglob("run-*.wandb"))


def _argv(root):
    options = "--steps 300 --width 8 --batch-size 16 --precision fp32 --samples 64 --points 2 --threads 1 --logger none"
    tricks = "--trick generator_ema --trick generator_dropout --trick soft_labels"
    return ["train", "--root", str(root), *options.split(), *tricks.split()]


@pytest.mark.slow
def test_killed_with_kill_9_and_started_again_equals_unbroken(tmp_path):
    """Only what is killed needs a process of its own, which takes seconds to start."""
    assert main(_argv(tmp_path / "unbroken")) == 0
    argv = [sys.executable, "-m", "gan_ablate", *_argv(tmp_path / "killed")]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    process = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 200
    while not list((tmp_path / "killed").rglob("previous.ckpt")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert not list((tmp_path / "killed").rglob("result.json"))
    assert main(_argv(tmp_path / "killed")) == 0
    (a,), (b,) = ([*(tmp_path / name / "runs").iterdir()] for name in ("unbroken", "killed"))
    assert a.name == b.name
    assert json.loads((b / "result.json").read_text())["resumed"] == 1
    assert same(a, b)
    one, two = (json.loads((p / "result.json").read_text()) for p in (a, b))
    assert one["metrics"] == two["metrics"]


@pytest.mark.slow
def test_sweep_and_report_end_to_end(tmp_path):
    options = "--steps 4 --samples 128 --seeds 2 --only */base/* --only dcgan/projection/*"
    argv = [sys.executable, "-m", "gan_ablate", "sweep", "sweeps/smoke.yaml", "--root", str(tmp_path / "r")]
    argv += options.split()
    done = subprocess.run(argv, capture_output=True, text=True, timeout=500, check=False)
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "r" / "runs").glob("*/result.json"))) == 4
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "r" / "runs").glob("*/result.json")}
    again = subprocess.run(argv, capture_output=True, text=True, timeout=500, check=False)
    assert again.returncode == 0
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "r" / "runs").glob("*/result.json")}
    report = subprocess.run(
        [sys.executable, "-m", "gan_ablate.report", str(tmp_path / "r")], capture_output=True, text=True, check=False
    )
    assert report.returncode == 0, report.stderr
    assert "data:image/webp" in (tmp_path / "r" / "report" / "report.html").read_text()


def test_several_generator_steps_per_round_stop_and_evaluate_on_time(tmp_path):
    result = carry_out(tiny(steps=9, tricks=("n_generator:n=2",)), tmp_path, threads=1)
    assert (result["g_steps"], result["d_steps"]) == (9, 5)
    assert [point["step"] for point in result["curve"]] == [0, 4, 9]  # round(4.5) and the end


def test_a_trick_may_change_the_number_of_steps(tmp_path):
    result = carry_out(tiny(steps=8, tricks=("batch_size:size=16",)), tmp_path, threads=1)
    assert (result["g_steps"], result["images_seen"]) == (4, 64)
    assert [point["step"] for point in result["curve"]] == [0, 2, 4]
    assert result["metrics"]["fid"] is not None


def test_a_conditional_run_is_sampled_from_its_checkpoint_and_resumed(tmp_path):
    recipe = tiny(tricks=("conditional", "generator_ema:decay=0.9"))
    whole = carry_out(recipe, tmp_path / "a", threads=1)
    assert whole["recipe"]["classes"] == 64
    calls = []
    soon = lambda: calls.append(1) or len(calls) == 7  # noqa: E731
    with pytest.raises(Stopped):
        carry_out(recipe, tmp_path / "b", threads=1, step="eager", should_stop=soon)
    assert carry_out(recipe, tmp_path / "b", threads=1)["metrics"] == whole["metrics"]
    assert same(tmp_path / "a", tmp_path / "b")
    module = open_checkpoint(tmp_path / "a" / "checkpoints" / "last.ckpt")
    assert module.class_share.sum().item() == pytest.approx(1)
    assert module.generate(5, seed=0).shape == (5, 3, 16, 16)


def test_a_folder_without_classes_refuses_labels(tmp_path):
    folder = tmp_path / "photos"
    folder.mkdir()
    for k in range(16):
        Image.fromarray(torch.randint(0, 256, (16, 16, 3), dtype=torch.uint8).numpy()).save(folder / f"{k}.png")
    with pytest.raises(InputError, match="conditional needs a dataset with classes"):
        carry_out(tiny(dataset=str(folder), tricks=("conditional",)), tmp_path / "run", threads=1)


@pytest.mark.slow
def test_the_negative_control_fails_on_shapes_and_is_reported_as_a_failure(tmp_path):
    study = {"width": 24, "batch_size": 20, "lr": 5e-4, "evaluation": Evaluation(points=1)}  # ablation.yaml's
    base = carry_out(Recipe(steps=450, **study), tmp_path / "base", threads=1)
    control = carry_out(
        Recipe(tricks=("inverted_generator_loss",), steps=150, **study), tmp_path / "control", threads=1
    )
    assert base["outcome"] == "ok"
    assert control["outcome"] in ("undertrained", "collapsed")
    assert "untrained generator" in control["note"] or "modes" in control["note"]
    assert control["metrics"]["assigned_modes"] < 8
