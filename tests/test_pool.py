"""The pool: every run ends exactly once, whoever is killed and whenever."""

from __future__ import annotations

import gc
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fake_runs import carry_out, count

from gan_ablate.errors import InputError
from gan_ablate.formatting import clock
from gan_ablate.recipe import Evaluation, Recipe
from gan_ablate.store import attempts
from gan_ablate.store.store import Store
from gan_ablate.study.study import Expansion, NotApplicable, Study
from gan_ablate.sweep import pool, sweeper, workers
from gan_ablate.sweep.display import Display, Plain, TimeLeft, matrix
from gan_ablate.sweep.run_queue import LOOKS, Job, RunQueue
from gan_ablate.sweep.sweeper import Sweeper
from gan_ablate.sweep.way import Way

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
    options = {"workers": 2, "display": Display(), "expansion": expansion(), **more}
    run = run if ":" in run else f"fake_runs:{run}"
    return pool.sweep(STUDY, root, run=run, options={"seconds": seconds}, **options)  # type: ignore[arg-type]


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


@pytest.mark.parametrize(("run", "first"), [("carry_out", 0), ("first_fails", 1)])
def test_the_server_reads_what_runs_share_once_a_run_has_given_a_result(tmp_path: Path, run: str, first: int) -> None:
    cells = tuple(Recipe(dataset=d, seed=s, steps=1) for d in ("digits", "shapes") for s in range(3))
    sweep(tmp_path, f"holding_runs:{run}", expansion=Expansion(cells, ()), workers=1)
    held = {(r["recipe"]["dataset"], r["recipe"]["seed"]): r.get("held") for r in Store.open(tmp_path).results()}
    digits, shapes = (f"{name} after seed {first}" for name in ("digits", "shapes"))
    assert held["digits", first] == []
    assert held["digits", 2] == [digits]  # once, in the fork that had it from the server
    assert held["shapes", first] == [digits]
    assert held["shapes", 2] == [digits, shapes]  # that raised: tried once, and no run's concern


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
        pool.sweep(Study(name="other"), tmp_path, expansion=expansion(), display=Display(), run="fake_runs:carry_out")


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


def hungry(recipe: Recipe, folder: Path, **options: Any) -> dict[str, Any]:
    """Wants more memory than there is; at seed 0 always, at seed 1 the first time."""
    if recipe.seed == 0 or (recipe.seed == 1 and count(folder, "attempts") == 1):
        resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
        bytearray(1 << 31)
    return carry_out(recipe, folder, **options)


def test_a_run_out_of_memory_is_tried_again_then_recorded(tmp_path: Path) -> None:
    summary = sweep(tmp_path, "test_pool:hungry")
    assert (summary.done, summary.failed) == (4, 2)
    failed = [r for r in Store.open(tmp_path).results() if "error" in r]
    assert {(r["recipe"]["seed"], r["error"], r["attempts"]) for r in failed} == {(0, "MemoryError: MemoryError", 2)}


def test_a_server_that_dies_twice_is_no_failure_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    one_arm = expansion(arms=1)
    summary = sweep(tmp_path / "twice", "kills_the_server", expansion=one_arm)
    assert (summary.done + summary.skipped, summary.failed) == (3, 0)  # one may publish and die before it says so
    assert [r["outcome"] for r in Store.open(tmp_path / "twice").results()] == ["ok"] * 3
    monkeypatch.setenv("KILLS", "99")
    monkeypatch.setattr(workers, "DEATHS", 1)
    with pytest.raises(InputError, match=r"died 2 times in a row .* no run was recorded as failed"):
        sweep(tmp_path / "ever", "kills_the_server", expansion=expansion(1, 1))
    assert not list(tmp_path.glob("*/runs/*/failed.json"))


def test_forks_that_fail_are_waited_for_and_no_failure_of_a_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sweeper, "PAUSE", 0.01)
    monkeypatch.setattr(sweeper, "POLL", 0.01)
    monkeypatch.setenv("FORKS_THAT_FAIL", "5")
    assert sweep(tmp_path / "some", "failing_forks:carry_out").done == 6
    monkeypatch.setenv("FORKS_THAT_FAIL", "1000")
    with pytest.raises(InputError, match="no process can be started for a run"):
        sweep(tmp_path / "ever", "failing_forks:carry_out")
    assert not list(tmp_path.glob("*/runs/*/failed.json"))
    assert tally(tmp_path / "some", "starts") == [1] * 6


def test_a_run_whose_lock_was_removed_publishes_nothing_and_is_looked_at_again(tmp_path: Path) -> None:
    summary = sweep(tmp_path, "loses_its_lock", expansion=expansion(arms=1))
    assert (summary.done + summary.skipped, summary.failed, summary.left) == (3, 0, 0)
    assert sorted(tally(tmp_path, "attempts")) == [1, 2, 2]
    assert tally(tmp_path, "deaf") == []
    ends = [[a.get("outcome") for a in attempts.read_attempts(folder)] for folder in tmp_path.glob("runs/*")]
    assert sorted(ends) == [["left", "ok"], ["left", "ok"], ["ok"]]


def test_results_of_other_data_are_not_nothing_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GAN_ABLATE_CACHE", str(tmp_path / "cache"))
    data = tmp_path / "photos"
    data.mkdir()
    (data / "1.png").write_bytes(b"one")
    cells = [Recipe(dataset=str(data), seed=seed, steps=4) for seed in range(3)]
    two, three = Expansion(tuple(cells[:2])), Expansion(tuple(cells))
    assert sweep(tmp_path / "root", "of_a_path", expansion=two).done == 2
    os.utime(data / "1.png", (1e9, 1e9))  # a copy
    assert sweep(tmp_path / "root", "of_a_path", expansion=two).skipped == 2
    (data / "1.png").write_bytes(b"two")
    for each in (two, three):
        with pytest.raises(InputError, match=rf"this run and 1 more were made of other data than {data} holds now"):
            sweep(tmp_path / "root", "of_a_path", expansion=each)
    assert len(tally(tmp_path / "root", "starts")) == 2
    for folder in (tmp_path / "root" / "runs").iterdir():
        shutil.rmtree(folder)
    assert sweep(tmp_path / "root", "of_a_path", expansion=three).done == 3


def limits(recipe: Recipe, folder: Path, **_: Any) -> dict[str, Any]:
    """How the kernel would choose this process when memory runs out, and what signals it does not hear."""
    status = Path("/proc/self/status").read_text()
    blocked = int(next(line for line in status.splitlines() if line.startswith("SigBlk")).split()[1], 16)
    facts = {"oom": int(Path("/proc/self/oom_score_adj").read_text()), "blocked": blocked, "gc": gc.isenabled()}
    return {"recipe": recipe.to_dict(), "outcome": "ok", "parent": os.getppid(), **facts}


def test_where_memory_runs_out_a_run_dies_and_not_the_sweeper(tmp_path: Path) -> None:
    sweep(tmp_path, "test_pool:limits", expansion=expansion(1, 1))
    (record,) = Store.open(tmp_path).results()
    assert record["oom"] > int(Path("/proc/self/oom_score_adj").read_text())
    assert record["blocked"] == 1 << (signal.SIGTERM - 1)  # which `should_stop` sees, and Lightning does not
    assert record["gc"]  # which the server does without while it imports


def deaf_once(recipe: Recipe, folder: Path, **options: Any) -> dict[str, Any]:
    """The first attempt hangs after a checkpoint."""
    if count(folder, "attempts") == 1:
        (folder / "checkpoint").write_text("2")
        time.sleep(60)
    return carry_out(recipe, folder, **options)


def test_a_run_over_the_time_limit_is_cut_tried_again_then_recorded(tmp_path: Path) -> None:
    one = expansion(1, 1)
    begun = time.monotonic()
    limit = {"expansion": one, "time_limit": 0.5, "grace": 0.5}
    assert sweep(tmp_path / "hung", "deaf", **limit).failed == 1  # does not hear the signal: killed
    (record,) = Store.open(tmp_path / "hung").results()
    assert (record["error"], record["attempts"]) == ("over the time limit of 0:00:00", 2)
    assert time.monotonic() - begun < 10
    assert sweep(tmp_path / "hung", "deaf", **limit).skipped == 1
    assert sweep(tmp_path / "again", "test_pool:deaf_once", **limit).done == 1  # goes on from its checkpoint
    (record,) = Store.open(tmp_path / "again").results()
    assert record["resumed"] == 2
    # a slow one writes its checkpoint when told, and what one attempt cannot do two may
    assert sweep(tmp_path / "slow", seconds=1.6, expansion=one, time_limit=1.0, grace=5.0).done == 1
    (record,) = Store.open(tmp_path / "slow").results()
    assert record["resumed"] >= 2
    with pytest.raises(InputError, match="time_limit=0"):
        sweep(tmp_path, time_limit=0)


def test_the_time_limit_cuts_only_the_run_that_is_over_it(tmp_path: Path) -> None:
    summary = sweep(tmp_path, "test_pool:one_hangs", seconds=0.4, time_limit=2.0, grace=0.2, workers=3)
    assert (summary.done, summary.failed) == (5, 1)
    assert tally(tmp_path, "ends") == [1] * 5
    assert tally(tmp_path, "starts") == [1] * 5


def one_hangs(recipe: Recipe, folder: Path, **options: Any) -> dict[str, Any]:
    if (recipe.arm, recipe.seed) == ("base", 0):
        time.sleep(60)
    return carry_out(recipe, folder, **options)


def test_a_signal_from_outside_costs_a_run_no_attempt(tmp_path: Path) -> None:
    sweeper = start(tmp_path, seconds=2.0)
    until(lambda: len(list(tmp_path.glob("runs/*/checkpoint"))) == 2)
    for number in (signal.SIGTERM, signal.SIGUSR2):
        os.kill(pids(tmp_path)[0], number)
    out, _ = sweeper.communicate(timeout=30)
    assert "done=6, failed=0" in out
    assert sorted(r["resumed"] > 0 for r in Store.open(tmp_path).results()) == [False] * 5 + [True]


def test_a_signal_to_every_process_is_for_the_runs(tmp_path: Path) -> None:
    """As Slurm sends it: the server must live on, or its runs die without a checkpoint."""
    sweeper = start(tmp_path, seconds=4.0)
    until(lambda: len(list(tmp_path.glob("runs/*/checkpoint"))) == 2)
    server = parent(pids(tmp_path)[0])
    for pid in (server, *pids(tmp_path), sweeper.pid):
        os.kill(pid, signal.SIGTERM)
    out, _ = sweeper.communicate(timeout=30)
    assert "left=6, stopped=15" in out
    assert sweep(tmp_path).done == 6
    assert sum(r["resumed"] > 0 for r in Store.open(tmp_path).results()) == 2


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def listeners() -> set[str]:
    """Inodes of the sockets that wait for others on a network address: TCP in LISTEN, UDP without a peer."""
    found = set()
    for table in ("tcp", "tcp6", "udp", "udp6"):
        path = Path("/proc/net") / table
        for line in path.read_text().splitlines()[1:] if path.exists() else ():
            if line.split()[3] in ("0A", "07"):
                found.add(line.split()[9])
    return found


def sockets(pid: int) -> set[str]:
    """Inodes of all sockets that a process and its descendants hold."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, IndexError):
            children.setdefault(parent(int(path.name)), []).append(int(path.name))
    found, family = set(), [pid]
    for member in family:
        family += children.get(member, [])
        for link in Path(f"/proc/{member}/fd").iterdir():
            with suppress(OSError):
                found.add(os.readlink(link))
    assert len(family) >= 3  # sweeper, server, a run
    return {name[8:-1] for name in found if name.startswith("socket:[")}


REAL = """
name: real
base: {dataset: shapes, size: 16, channels: 3, width: 4, batch_size: 8, steps: 100000, precision: fp32}
models: [dcgan]
seeds: 1
"""


@pytest.mark.slow
def test_nothing_of_a_local_sweep_listens_on_a_network_address(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as control:  # the check sees a listener where there is one
        assert str(os.fstat(control.fileno()).st_ino) in listeners()
    (tmp_path / "real.yml").write_text(REAL)
    command = "sweep real.yml --root root --accelerator cpu --logger tensorboard"
    sweeper = subprocess.Popen(
        [sys.executable, "-m", "gan_ablate", *command.split()], cwd=tmp_path, stdout=subprocess.PIPE, text=True
    )
    until(lambda: list(tmp_path.glob("root/runs/*/metrics.jsonl")), 200)
    held = sockets(sweeper.pid)
    assert held  # the pair that sweeper and server talk over
    assert not held & listeners()
    sweeper.send_signal(signal.SIGINT)
    sweeper.communicate(timeout=60)
    assert sweeper.returncode == 130
    assert list(tmp_path.glob("root/runs/*/checkpoints/last.ckpt"))


def test_slots_spread_over_gpus_and_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2, 5")
    assert [s.gpu for s in workers.slots(per_gpu=2)] == ["2", "5", "2", "5"]
    assert [s.gpu for s in workers.slots(3)] == ["2", "5", "2"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "-1")
    assert workers.gpus() == ()
    assert len(workers.slots()) == workers.cores()
    assert len(workers.slots(threads=10_000)) == 1
    monkeypatch.setattr(workers, "cores", lambda: 16)
    assert workers.threads_each(workers.slots(devices=["0", "1"], per_gpu=4)) == 2  # beside GPUs the cores are divided
    assert workers.threads_each(workers.slots(devices=["0"], workers=40)) == 1
    assert workers.threads_each(workers.slots(devices=[], workers=2)) == 1
    assert [s.gpu for s in Way(options={"accelerator": "cpu"}, workers=2).places()] == [None, None]
    monkeypatch.undo()
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "7")
    sweep(tmp_path)
    assert {r["cuda"] for r in Store.open(tmp_path).results()} == {"7"}


LISTED = """GPU 0: NVIDIA H200 (UUID: GPU-aaaa-1)
GPU 1: NVIDIA H200 (UUID: GPU-bbbb-2)
"""


def test_where_mps_runs_gpus_go_by_uuid(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """MPS numbers the GPUs that it serves anew, so that a number may name another one or none."""
    nvidia_smi = tmp_path / "nvidia-smi"
    nvidia_smi.write_text(f"#!/bin/sh\ncat <<'E'\n{LISTED}E\n")
    nvidia_smi.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("CUDA_MPS_PIPE_DIRECTORY", str(tmp_path / "mps"))
    assert workers.gpus() == ("0", "1")
    (tmp_path / "mps").mkdir()
    (tmp_path / "mps" / "control").touch()
    daemon = subprocess.Popen(["sleep", "60"])
    (tmp_path / "mps" / "nvidia-cuda-mps-control.pid").write_text(f"{daemon.pid}\n")
    try:
        assert workers.gpus() == ("GPU-aaaa-1", "GPU-bbbb-2")
    finally:
        daemon.kill()
        daemon.wait()
    assert workers.gpus() == ("0", "1")  # it left its files behind


def test_in_line_until_near_the_end_then_the_longest_run_first(tmp_path: Path) -> None:
    """So that no place stands idle for long while a look's last run ends; seed by seed until then."""
    jobs = [Job(Recipe(seed=k, steps=100 * (k + 1)), str(k)) for k in range(10)]
    places = [workers.Slot(0), workers.Slot(1)]
    setup = Way().setup(tmp_path, places, [])
    sweep = Sweeper(Store(tmp_path), (), places, setup, Display(), Way())
    sweep.queue.waiting.extend(jobs)
    sweep.estimate.add("dcgan", "base", 10.0, 100)
    order = [job.recipe.seed for _ in jobs if (job := sweep.queue.next(sweep.limits.allows))]
    assert order == [0, 1, 2, 3, 9, 8, 7, 6, 5, 4]
    assert sweep.queue.next(sweep.limits.allows) is None


def test_a_queue_gives_no_run_that_another_sweeper_has_or_finished(tmp_path: Path) -> None:
    """Without a process forked for it; a held one comes back once its sweeper has left it unfinished."""
    recipes = [Recipe(seed=k, steps=4) for k in range(3)]
    store = Store.create(tmp_path, name="test", source={}, recipes=recipes)
    held, finished, free = (recipe.run_id for recipe in recipes)
    queue = RunQueue(store, places=1)
    for recipe in recipes:
        queue.add(Job(recipe, recipe.run_id), None)
    with store.claim(finished) as claim:
        assert claim is not None
        claim.publish_result({"recipe": recipes[1].to_dict(), "outcome": "ok"})
    with store.claim(held):
        job = queue.next(lambda job: True)
        assert job is not None
        assert job.run_id == free
        assert queue.next(lambda job: True) is None
        assert (len(queue), queue.skipped) == (1, 1)
        queue.held[0].look_again = 0.0
        queue.look_at_held()
        assert queue.next(lambda job: True) is None
    queue.held[0].look_again = 0.0
    queue.look_at_held()
    job = queue.next(lambda job: True)
    assert job is not None
    assert job.run_id == held


def test_many_held_runs_are_looked_at_no_more_often_than_few(tmp_path: Path) -> None:
    queue = RunQueue(Store(tmp_path), places=1)
    for k in range(1000):
        queue.hold(Job(Recipe(seed=k), str(k)))
    due = sorted(job.look_again - time.monotonic() for job in queue.held)
    for seconds in (5.0, 20.0, 45.0):
        assert sum(moment <= seconds for moment in due) <= LOOKS * seconds + 1


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
    left = TimeLeft([("dcgan", "base", 10.0, 4), ("dcgan", "a", 30.0, 4)])
    assert [left.expect("dcgan", arm, 4) for arm in ("base", "a", "new")] == [10.0, 30.0, 20.0]
    assert left.expect("dcgan", "base", 16) == 40.0  # four times the steps
    assert left.left(plan.recipes, [(plan.recipes[0], 4.0)], 2) == (3 * 10 + 3 * 30 + 6) / 2
    assert clock(None) == "?"


def test_time_left_follows_this_machine_once_it_has_run_something() -> None:
    """A root that is gone on with elsewhere, such as an unpacked archive, has the seconds of another machine."""
    left = TimeLeft([("dcgan", "base", 10.0, 4), ("dcgan", "a", 30.0, 4), ("nsgan", "base", 50.0, 4)])
    left.add("dcgan", "new", 8.0, 4)  # an arm that the other never ran says nothing of the pace
    assert left.expect("dcgan", "a", 4) == 30.0
    left.add("dcgan", "base", 30.0, 4)  # three times as slow here
    assert [left.expect("dcgan", arm, 4) for arm in ("base", "a", "new")] == [30.0, 90.0, 8.0]
    assert left.expect("nsgan", "base", 8) == 300.0
    left.add("dcgan", "a", 50.0, 4)
    assert left.pace == 2.0
    assert left.expect("dcgan", "a", 4) == 50.0  # its own run counts for more than the pace


def test_time_left_of_a_root_that_two_machines_have_worked_on() -> None:
    """What ran on a machine four times as slow as the first is the minority, and does not count four times over."""
    left = TimeLeft([("dcgan", "a", seconds, 4) for seconds in (20.0, 80.0, 20.0, 20.0)] + [("dcgan", "b", 20.0, 4)])
    left.add("dcgan", "a", 80.0, 4)  # on the slow one again
    assert (left.pace, left.expect("dcgan", "b", 4)) == (4.0, 80.0)


def test_time_left_of_arms_that_never_ran_is_the_mean_of_those_that_did() -> None:
    """The sum over many of them is right only so: here one arm in three takes five times as long."""
    left = TimeLeft()
    for arm, seconds in (("a", 10.0), ("b", 10.0), ("c", 50.0)):
        left.add("dcgan", arm, seconds, 4)
    assert left.expect("dcgan", "new", 4) == pytest.approx(70 / 3)


@pytest.mark.gpu
def test_a_sweep_on_a_gpu_trains_several_runs_at_a_time_on_it(tmp_path: Path) -> None:
    if not workers.gpus():
        pytest.skip("no GPU")
    recipes = [
        Recipe(size=16, width=4, batch_size=8, steps=40, seed=s, evaluation=Evaluation(samples=64)) for s in (0, 1, 2)
    ]
    summary = pool.sweep(STUDY, tmp_path, per_gpu=2, display=Display(), expansion=Expansion(tuple(recipes), ()))
    assert (summary.done, summary.failed) == (3, 0)
    results = Store.open(tmp_path).results()
    assert all(r["hardware"]["gpu"] for r in results)
    print([(r["seconds"], r["train_seconds"], r["evaluation_seconds"]) for r in results])
