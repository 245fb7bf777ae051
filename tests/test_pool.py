"""The pool: every run ends exactly once, whoever is killed and whenever."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from gan_ablate.errors import InputError
from gan_ablate.recipe import Recipe
from gan_ablate.sweep import pool, slots
from gan_ablate.sweep.display import Plain, Quiet, TimeLeft, clock, matrix
from gan_ablate.sweep.store import Store
from gan_ablate.sweep.study import Expansion, NotApplicable, Study

HERE = Path(__file__).parent
STUDY = Study(name="test")


def expansion(seeds: int = 3, arms: int = 2, steps: int = 4, first: int = 0) -> Expansion:
    names = ["base", "a", "b", "c"][:arms]
    cells = [
        Recipe(arm=n, tricks=() if n == "base" else (n,), seed=s, steps=steps)
        for s in range(first, first + seeds)
        for n in names
    ]
    return Expansion(tuple(cells), (NotApplicable("wgan_gp", "shapes", "a", "no targets"),))


def sweep(root: Path, run: str = "carry_out", seconds: float = 0.0, **more: object) -> pool.Summary:
    options = {"workers": 2, "display": Quiet(), "expansion": expansion(), **more}
    return pool.sweep(STUDY, root, run=f"fake_runs:{run}", options={"seconds": seconds}, **options)  # type: ignore[arg-type]


SWEEPER = """
import sys
sys.path.insert(0, {here!r})
import test_pool
summary = test_pool.sweep(test_pool.Path({root!r}), {run!r}, {seconds}, display=test_pool.Plain(), grace={grace})
print(summary)
sys.exit(summary.exit_code)
"""


def start(root: Path, run: str = "carry_out", seconds: float = 1.0, grace: float = 20.0) -> subprocess.Popen[str]:
    """A sweeper in a process of its own."""
    code = SWEEPER.format(here=str(HERE), root=str(root), run=run, seconds=seconds, grace=grace)
    return subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)


def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "nothing happened"
        time.sleep(0.02)


def tally(root: Path, what: str) -> list[int]:
    """How often each run started or ended, by its own count."""
    return [len(path.read_text().splitlines()) for path in sorted(root.glob(f"runs/*/{what}"))]


def pids(root: Path) -> list[int]:
    return [int(line) for path in root.glob("runs/*/starts") for line in path.read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_all_runs_end_once_and_a_second_sweep_does_nothing(tmp_path: Path) -> None:
    assert sweep(tmp_path) == pool.Summary(done=6, failed=0, skipped=0, left=0)
    records = list(Store.open(tmp_path).results())
    assert len(records) == 6
    assert all(r["outcome"] == "ok" and r["omp"] == "1" for r in records)
    assert "trained base" in (tmp_path / "runs" / records[0]["run_id"] / "log.txt").read_text()
    again = sweep(tmp_path)
    assert again == pool.Summary(done=0, failed=0, skipped=6, left=0)
    assert again.exit_code == 0
    assert sweep(tmp_path, expansion=expansion(arms=3)).done == 3  # an arm more: only its runs
    assert tally(tmp_path, "starts") == [1] * 9


def test_only_runs_what_the_pattern_names(tmp_path: Path) -> None:
    assert sweep(tmp_path, only="a").done == 3
    assert len(Store.open(tmp_path).cells) == 6
    with pytest.raises(InputError, match="matches no run"):
        sweep(tmp_path, only="zzz")


def test_a_killed_worker_is_tried_again_and_resumes(tmp_path: Path) -> None:
    assert sweep(tmp_path, "killed_once").done == 6
    records = {(r["recipe"]["arm"], r["recipe"]["seed"]): r for r in Store.open(tmp_path).results()}
    assert {key: r["resumed"] for key, r in records.items() if r["resumed"]} == {("base", 0): 1, ("a", 0): 1}


@pytest.mark.parametrize(
    ("run", "error", "trace"),
    [
        ("always_killed", "killed by SIGKILL", "last words"),
        ("raises", "ZeroDivisionError: a bug in two lines", "fake_runs.py"),
    ],
)
def test_a_run_that_never_works_is_recorded_and_the_sweep_goes_on(
    tmp_path: Path, run: str, error: str, trace: str
) -> None:
    summary = sweep(tmp_path, run)
    assert (summary.done, summary.failed, summary.left, summary.exit_code) == (4, 2, 0, 1)
    failed = [r for r in Store.open(tmp_path).results() if "error" in r]
    assert [(r["error"], r["attempts"]) for r in failed] == [(error, 2)] * 2
    assert all(trace in r["traceback"] for r in failed)
    assert sweep(tmp_path).skipped == 6  # a recorded failure is not tried again by itself
    assert sweep(tmp_path, retry_failed=True).done == 2
    assert not [r for r in Store.open(tmp_path).results() if "error" in r]


def test_bad_input_that_a_run_finds_stops_the_sweep_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="dcgan/base/0: no weights at /nowhere"):
        sweep(tmp_path, "refuses", workers=1)
    assert not list(tmp_path.glob("runs/*/failed.json"))
    with pytest.raises(InputError, match="workers=0"):
        sweep(tmp_path, workers=0)


def test_a_run_function_that_cannot_be_imported_is_said(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="fake_runs:missing cannot be imported"):
        sweep(tmp_path, "missing")


def test_root_of_another_study(tmp_path: Path) -> None:
    sweep(tmp_path, expansion=expansion(1, 1))
    with pytest.raises(InputError, match="belongs to study 'test', not 'other'"):
        pool.sweep(Study(name="other"), tmp_path, expansion=expansion(), display=Quiet(), run="fake_runs:carry_out")


def test_a_damaged_result_is_done_again(tmp_path: Path) -> None:
    sweep(tmp_path)
    path = next(tmp_path.glob("runs/*/result.json"))
    path.write_text('{"schema": 1, "outc')
    assert sweep(tmp_path).done == 1
    assert json.loads(path.read_text())["outcome"] == "ok"


def test_killed_sweeper_takes_its_workers_along_and_the_next_one_does_the_rest(tmp_path: Path) -> None:
    sweeper = start(tmp_path, seconds=1.0)
    until(lambda: len(tally(tmp_path, "ends")) >= 2 and len(pids(tmp_path)) >= 4)
    sweeper.send_signal(signal.SIGKILL)
    sweeper.wait()
    until(lambda: not any(alive(pid) for pid in pids(tmp_path)), 5)
    finished = len(list(Store.open(tmp_path).results()))
    assert 2 <= finished < 6
    summary = sweep(tmp_path)
    assert (summary.skipped, summary.done) == (finished, 6 - finished)
    assert len(list(Store.open(tmp_path).results())) == 6
    assert tally(tmp_path, "ends") == [1] * 6


def test_two_sweepers_on_one_root_share_the_runs(tmp_path: Path) -> None:
    other = start(tmp_path, seconds=0.4)
    until(lambda: pids(tmp_path))
    mine = sweep(tmp_path, seconds=0.4)
    out, _ = other.communicate(timeout=20)
    assert other.returncode == 0
    assert mine.left == 0
    assert mine.done + out.count("  ok  ") == 6
    assert tally(tmp_path, "starts") == [1] * 6


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_lets_runs_checkpoint_and_leave(tmp_path: Path, number: signal.Signals) -> None:
    sweeper = start(tmp_path, seconds=8.0)
    until(lambda: len(list(tmp_path.glob("runs/*/checkpoint"))) == 2, 20)
    sweeper.send_signal(number)
    out, _ = sweeper.communicate(timeout=10)
    assert sweeper.returncode == 128 + number
    assert "left=6" in out
    assert not list(tmp_path.glob("runs/*/result.json"))
    assert not list(tmp_path.glob("runs/*/failed.json"))
    assert not any(alive(pid) for pid in pids(tmp_path))
    assert sweep(tmp_path).done == 6
    assert sum(r["resumed"] > 0 for r in Store.open(tmp_path).results()) == 2


def test_a_second_signal_and_a_spent_grace_kill(tmp_path: Path) -> None:
    for root, grace, signals in ((tmp_path / "twice", 60.0, 2), (tmp_path / "grace", 0.5, 1)):
        sweeper = start(root, "deaf", grace=grace)
        until(lambda root=root: len(pids(root)) == 2)  # type: ignore[misc]
        for _ in range(signals):
            sweeper.send_signal(signal.SIGINT)
            time.sleep(0.4)
        sweeper.communicate(timeout=10)
        assert sweeper.returncode == 130
        assert not any(alive(pid) for pid in pids(root))
        assert not list(root.glob("runs/*/failed.json"))


def test_nothing_listens_on_a_network_address(tmp_path: Path) -> None:
    def listeners() -> set[str]:
        found = set()
        for table in ("tcp", "tcp6", "udp", "udp6"):
            path = Path("/proc/net") / table
            for line in path.read_text().splitlines()[1:] if path.exists() else ():
                if line.split()[3] in ("0A", "07"):
                    found.add(line.split()[9])  # the socket's inode
        return found

    with socket.create_server(("127.0.0.1", 0)) as control:  # the check sees a listener where there is one
        assert str(os.fstat(control.fileno()).st_ino) in listeners()
    sweeper = start(tmp_path, seconds=4.0)
    until(lambda: len(pids(tmp_path)) == 2)
    worker = pids(tmp_path)[0]
    server = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
    family = [sweeper.pid, server, *pids(tmp_path)]
    links = [os.readlink(f) for pid in family for f in Path(f"/proc/{pid}/fd").iterdir() if os.path.lexists(f)]
    sockets = {link[8:-1] for link in links if link.startswith("socket:[")}
    assert sockets  # the pair they talk over
    assert not sockets & listeners()
    sweeper.send_signal(signal.SIGINT)
    sweeper.communicate(timeout=10)


def test_slots_spread_over_gpus_and_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5")
    assert [s.gpu for s in slots.slots(per_gpu=2)] == ["2", "5", "2", "5"]
    assert [s.gpu for s in slots.slots(3)] == ["2", "5", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert slots.gpus() == ()
    assert len(slots.slots()) == slots.cores()
    assert len(slots.slots(threads=10_000)) == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    sweep(tmp_path)
    assert {r["cuda"] for r in Store.open(tmp_path).results()} == {"7"}


def test_plan_and_time_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plan = expansion()
    assert "6 runs, 0 finished, 6 to do: time not known" in matrix(plan, tmp_path, workers=2)
    sweep(tmp_path, only="*/*/0", display=Plain(), seconds=1.0)
    out = capsys.readouterr().out
    assert "[2/2] dcgan/" in out
    assert "FID@2 (fake) 10.0" in out
    text = matrix(plan, tmp_path, workers=2)
    assert "6 runs, 2 finished, 4 to do: about 0:00:02 on 2 workers" in text
    assert "wgan_gp/a: no targets" in text
    assert [line.split() for line in text.splitlines()[1:3]] == [["base", "1/3", "-"], ["a", "1/3", "n/a"]]
    left = TimeLeft.of([("dcgan", "base", 10.0), ("dcgan", "a", 30.0)])
    assert [left.expect("dcgan", arm) for arm in ("base", "a", "new")] == [10.0, 30.0, 20.0]
    assert left.left(plan.recipes, [(plan.recipes[0], 4.0)], 2) == (3 * 10 + 3 * 30 + 6) / 2
    assert clock(None) == "?"
