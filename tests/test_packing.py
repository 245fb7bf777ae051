"""How many runs share a GPU: the rule, and trials that really train, on the CPU here."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from gan_ablate.recipe import Evaluation, Recipe
from gan_ablate.sweep import packing
from gan_ablate.sweep.packing import Trial, choose

TINY = Recipe(dataset="digits", size=8, channels=1, width=4, batch_size=4, evaluation=Evaluation(samples=64))


@pytest.mark.parametrize(
    ("trials", "runs"),
    [
        ([(1, 663, 0.05), (2, 1105, 0.1), (4, 1679, 0.2), (8, 2119, 0.4)], 8),  # MPS on an H200 (docs/speed.md)
        ([(1, 522, 0.05), (2, 797, 0.1), (4, 798, 0.2), (8, 800, 0.4)], 2),  # processes that take turns
        ([(1, 100, 0.5), (2, 190, 0.95)], 1),  # two runs fill the memory
        ([(1, 100, 0.1), (2, 90, 0.2)], 1),
        ([], 1),  # the trial failed
    ],
)
def test_the_fewest_runs_that_are_nearly_as_fast_as_any_number(trials: list[tuple[int, float, float]], runs: int):
    assert choose([Trial(*t) for t in trials]) == runs


def test_a_trial_trains_so_many_runs_at_a_time():
    one, two = packing.measure(TINY, "cpu", {}, counts=(1, 2), seconds=0.3)
    assert (one.runs, two.runs) == (1, 2)
    assert min(one.rate, two.rate) > 0
    assert (one.used, two.used) == (0.0, 0.0)  # of a GPU's memory


def test_a_trial_in_which_a_run_dies_ends_and_is_no_trial(tmp_path: Path):
    (tmp_path / "dying.py").write_text(
        "import os\nfrom dataclasses import dataclass\nfrom gan_ablate.trick import Trick\n\n\n"
        "@dataclass(frozen=True)\nclass Dies(Trick):\n"
        "    def d_loss(self, loss, step, state):\n        raise MemoryError('out of memory')\n"
    )
    script = (
        "from gan_ablate.sweep import packing; from gan_ablate.trust import trust; trust('dying')\n"
        "from test_packing import TINY; from dataclasses import replace\n"
        "print(packing.measure(replace(TINY, tricks=('dying.Dies',)), 'cpu', {}, counts=(2,), seconds=0.1))"
    )
    path = f"{tmp_path}:{Path(__file__).parent}:{Path(__file__).parents[1]}"
    done = subprocess.run(
        [sys.executable, "-c", script], env={"PYTHONPATH": path, "HOME": str(tmp_path)}, capture_output=True, text=True,
        check=True, timeout=120,
    )  # fmt: skip
    assert done.stdout.strip() == "[]"


def test_without_a_gpu_nothing_is_tried(monkeypatch: pytest.MonkeyPatch):
    from gan_ablate.sweep.way import Way

    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr("gan_ablate.sweep.way.runs_per_gpu", lambda *_: pytest.fail("there is no GPU to try"))
    with Way(per_gpu=None).open_places(TINY) as places:
        assert all(place.gpu is None for place in places)


def test_places_follow_the_trial(monkeypatch: pytest.MonkeyPatch):
    from gan_ablate.sweep.way import Way

    asked = []
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    monkeypatch.setattr("gan_ablate.sweep.way.runs_per_gpu", lambda recipe, gpu, options: asked.append(gpu) or 3)
    with Way(per_gpu=None).open_places(TINY) as places:
        assert [place.gpu for place in places] == ["2", "5"] * 3
    assert asked == ["2"]
    with Way(per_gpu=None).open_places(None) as places:  # nothing is left to train
        assert [place.gpu for place in places] == ["2", "5"]
