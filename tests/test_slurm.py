"""Sweeps on Slurm: every run ends once whatever becomes of its job. Tested on a real Slurm of one machine."""

from __future__ import annotations

import importlib.util
import json
import os
import pickle
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest
import test_pool
from test_pool import expansion, tally, until

from gan_ablate.cli import main
from gan_ablate.errors import InputError
from gan_ablate.store.store import Store
from gan_ablate.study.cells import Expansion
from gan_ablate.sweep import slurm, workers
from gan_ablate.sweep.display import Display
from gan_ablate.sweep.slurm_job import Share
from gan_ablate.sweep.way import Way

HERE = Path(__file__).parent
CLUSTER = HERE.parents[1] / "shared" / "slurm" / "one-machine-cluster"
STUDY = """
name: on_slurm
base:
  {dataset: shapes, size: 16, channels: 3, width: 4, batch_size: 8, steps: 30, precision: fp32,
   evaluation: {extractor: classifier, samples: 64, points: 2}}
models: [dcgan]
arms: [label_smoothing, {arm: long, steps: 600}] # long enough to be warned in the middle of one
seeds: 4
"""
# what two carryings-out of one run may differ in; "seconds" stands in the curve too
PASSING = {"seconds", "train_seconds", "evaluation_seconds", "peak_memory_bytes", "resumed", "hardware", "attempts"}


def missing() -> str:
    """Why there is no cluster here; empty if there can be one."""
    programs = [p for p in ("slurmctld", "slurmd", "sbatch", "munged", "ip") if not shutil.which(p, path=PATH)]
    if programs:
        return f"no {', '.join(programs)}: apt-get install slurm-wlm munge iproute2"
    if os.geteuid() != 0:
        return "the one-machine cluster needs root"
    if not CLUSTER.exists():
        return f"no {CLUSTER}"
    return "" if importlib.util.find_spec("submitit") else "no submitit: pip install -e '.[slurm]'"


PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
needs_cluster = [pytest.mark.slurm, pytest.mark.slow, pytest.mark.skipif(bool(missing()), reason=missing() or "-")]


def on_cluster(scenario: str, root: Path) -> dict[str, Any]:
    """Calls a function of this file beside a cluster of two cores in a network of its own; returns what it found."""
    code = f"import sys; sys.path.insert(0, {str(HERE)!r}); import test_slurm as t; t.{scenario}(t.Path({str(root)!r}))"
    environment = {**os.environ, "PATH": PATH, "CPUS": "2", "GPUS": "2"}
    command = [str(CLUSTER), sys.executable, "-c", code]
    said = subprocess.run(command, capture_output=True, text=True, timeout=400, env=environment, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    return json.loads(said.stdout.splitlines()[-1])


def sweep(root: Path, run: str, seconds: float = 0.0, jobs_of: int = 3, **more: Any) -> slurm.Summary:
    options = slurm.SlurmOptions(partition="main", runs_per_job=jobs_of, cpus_per_task=1, gpus_per_node=1)
    way = Way(run=f"fake_runs:{run}", options={"seconds": seconds})
    return slurm.sweep_on_slurm(
        test_pool.STUDY, root, way=way, options=options, expansion=expansion(), display=Display(), ask_every=0.5, **more
    )


def shell(*command: str) -> str:
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=True).stdout


def meanwhile(act: Callable[[], None]) -> threading.Thread:
    """Does something to the cluster while this process watches its sweep."""
    thread = threading.Thread(target=act, daemon=True)
    thread.start()
    return thread


def start_again(job: str) -> None:
    """Slurm lets a job that is queued again wait for two minutes; a test does not."""
    until(lambda: (slurm.queue() or {}).get(job) == "PENDING", 30)
    time.sleep(4)  # it is pending before its first life has ended; started then, Slurm calls it failed
    shell("scontrol", "update", f"jobid={job}", "StartTime=now")


def last_array() -> str:
    return max((job.partition("_")[0] for job in slurm.queue() or {}), key=int)


def ways_to_end(root: Path) -> None:
    """Jobs that fail, refuse, are queued again and are cancelled, all with runs that only sleep."""
    found: dict[str, Any] = {}
    first = sweep(root / "fails", "raises", wait=False)
    again = sweep(root / "fails", "raises")
    records = list(Store.open(root / "fails").results())
    found["fails"] = {
        "first": asdict(first),
        "again": asdict(again),
        "arrays": len(list((root / "fails" / "slurm").glob("*.json"))),
        "errors": [r["error"] for r in records if "error" in r],
        "third": asdict(sweep(root / "fails", "carry_out", retry_failed=True)),
    }
    try:
        sweep(root / "refuses", "refuses", jobs_of=1)
    except InputError as error:
        found["refuses"] = str(error)
    until(lambda: not slurm.queue(), 20)

    def hand_back() -> None:
        until(lambda: list((root / "again").glob("runs/*/checkpoint")), 30)
        job = f"{last_array()}_0"
        shell("scontrol", "requeue", job)
        start_again(job)

    act = meanwhile(hand_back)
    found["again"] = {"summary": asdict(sweep(root / "again", "carry_out", seconds=2.0))}
    act.join()
    found["again"] |= {
        "resumed": sum(r["resumed"] > 0 for r in Store.open(root / "again").results()),
        "ends": tally(root / "again", "ends"),
        "threads": {r["omp"] for r in Store.open(root / "again").results()} == {"1"},
    }

    def cancel() -> None:
        until(lambda: list((root / "cancelled").glob("runs/*/checkpoint")), 30)
        shell("scancel", last_array())

    act = meanwhile(cancel)
    cancelled = sweep(root / "cancelled", "carry_out", seconds=4.0)
    act.join()
    found["cancelled"] = {
        "summary": asdict(cancelled),
        "code": cancelled.exit_code,
        "failed": len(list((root / "cancelled").glob("runs/*/failed.json"))),
        "then": asdict(sweep(root / "cancelled", "carry_out")),
        "resumed": sum(r["resumed"] > 0 for r in Store.open(root / "cancelled").results()),
    }
    print(json.dumps(found))


def adaptive(root: Path) -> None:
    """An adaptive study, look by look, by jobs; and by the local pool."""
    import test_adaptive

    options = slurm.SlurmOptions(partition="main", runs_per_job=30, cpus_per_task=1, gpus_per_node=1)
    more = {"way": Way(run="fake_runs:planted"), "options": options, "ask_every": 0.5}
    study, found = test_adaptive.STUDY, Expansion(test_adaptive.recipes(("dcgan",)))
    summary = slurm.sweep_on_slurm(study, root / "jobs", expansion=found, display=Display(), **more)
    test_adaptive.sweep(root / "here", expansion=found)
    ours, theirs = (
        {
            f"{place} {arm}": verdict
            for place, own in test_adaptive.verdicts(root / name).items()
            for arm, verdict in own.items()
        }
        for name in ("jobs", "here")
    )
    print(json.dumps({"left": summary.left, "arrays": len(list((root / "jobs" / "slurm").glob("*.json"))),
                      "same": ours == theirs, "arms": len(ours)}))  # fmt: skip


def real_runs(root: Path) -> None:
    """The command line with real runs; one job is warned, as before its time limit, in the middle of one."""

    def middle() -> Path | None:
        begun = (p.parents[1] for p in root.glob("runs/*/checkpoints/last.ckpt"))
        mine = set(json.loads(next((root / "slurm").glob("*.json")).read_text())["tasks"][0]["run_ids"])
        long = (p for p in begun if json.loads((p / "recipe.json").read_text())["recipe"]["arm"] == "long")
        return next((p for p in long if p.name in mine and not (p / "result.json").exists()), None)

    def warn() -> None:
        until(lambda: list((root / "slurm").glob("*.json")) and middle(), 300)
        job = f"{last_array()}_0"
        shell("scancel", "--signal=USR2", job)
        start_again(job)

    act = meanwhile(warn)
    options = "--executor slurm --slurm.partition main --slurm.gpus-per-node 1 --slurm.array-parallelism 2"
    more = "--slurm.cpus-per-task 1 --slurm.runs-per-job 6 --slurm.time 5 --accelerator cpu"
    code = main(["sweep", str(root / "study.yml"), "--root", str(root), *options.split(), *more.split()])
    act.join()
    jobs = shell("scontrol", "show", "job")
    print(json.dumps({"code": code, "restarts": jobs.count("Restarts=1"), "gpus": jobs.count("gres:gpu:1")}))


class TestOnACluster:
    pytestmark = needs_cluster

    def test_runs_end_once_whatever_becomes_of_their_jobs(self, tmp_path: Path) -> None:
        found = on_cluster("ways_to_end", tmp_path)
        ends = {"done": 4, "failed": 2, "skipped": 0, "left": 0, "stopped": 0, "spent": False}
        assert found["fails"]["first"] == {**ends, "done": 0, "failed": 0, "left": 6}
        # the second call may find runs that have ended since the first
        again = found["fails"]["again"]
        assert (again["done"] + again["failed"] + again["skipped"], again["left"]) == (6, 0)
        assert found["fails"]["arrays"] == 1  # and has submitted nothing
        assert found["fails"]["errors"] == ["ZeroDivisionError: a bug in two lines"] * 2
        assert found["fails"]["third"] == {**ends, "done": 2, "failed": 0, "skipped": 4}
        assert "no weights at /nowhere: give --weights" in found["refuses"]
        assert found["again"]["summary"] == {**ends, "done": 6, "failed": 0}
        assert found["again"]["resumed"] >= 1
        assert found["again"]["ends"] == [1] * 6
        assert found["again"]["threads"]
        cancelled = found["cancelled"]
        assert cancelled["summary"]["left"] == 6
        assert (cancelled["code"], cancelled["failed"]) == (1, 0)
        assert cancelled["then"] == {**ends, "done": 6, "failed": 0}
        assert cancelled["resumed"] >= 1

    def test_an_adaptive_study_takes_its_looks_as_it_does_here(self, tmp_path: Path) -> None:
        found = on_cluster("adaptive", tmp_path)
        assert found["same"] is True
        assert (found["left"], found["arms"]) == (0, 5)
        assert found["arrays"] >= 2  # one for each release

    def test_the_same_results_as_here_though_a_job_is_queued_again(self, tmp_path: Path) -> None:
        here, there = tmp_path / "here", tmp_path / "there"
        for root in (here, there):
            root.mkdir()
            (root / "study.yml").write_text(STUDY)
        found = on_cluster("real_runs", there)
        assert found == {"code": 0, "restarts": 1, "gpus": 2}
        assert main(["sweep", str(here / "study.yml"), "--root", str(here), "--accelerator", "cpu"]) == 0
        mine, theirs = ({r["run_id"]: r for r in Store.open(root).results()} for root in (here, there))
        assert len(mine) == 12
        assert sum(r["resumed"] for r in theirs.values()) >= 1
        assert {k: lasting(r) for k, r in theirs.items()} == {k: lasting(r) for k, r in mine.items()}


def lasting(record: Any) -> Any:
    """A result without what passes: times, memory, hardware."""
    if isinstance(record, dict):
        return {k: lasting(v) for k, v in record.items() if k not in PASSING}
    return [lasting(v) for v in record] if isinstance(record, list) else record


def test_jobs_share_all_runs_evenly() -> None:
    recipes = expansion(seeds=5).recipes
    dealt = slurm.shares(recipes, 4)
    assert [len(s) for s in dealt] == [3, 3, 4]
    assert [r for share in dealt for r in share] == list(recipes)
    with pytest.raises(InputError, match=r"10 runs make 10 jobs, over 4: --slurm\.runs-per-job 3 or more"):
        with_limit(4, lambda: slurm.shares(recipes, 1))


def with_limit(limit: int, call: Callable[[], Any]) -> Any:
    before, slurm.MAX_ARRAY = slurm.MAX_ARRAY, limit
    try:
        return call()
    finally:
        slurm.MAX_ARRAY = before


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ("--slurm.time 0", "--slurm.time 0: needs at least 1"),
        ("--slurm.runs-per-job 0", "--slurm.runs-per-job 0: needs at least 1"),
        ("--slurm.time 2", "--slurm.signal-delay 120: a job of 2 min"),
        ("--slurm.gpus-per-node -1", "--slurm.gpus-per-node -1: needs at least 0"),
        ("--slurm.sbatch nice", "--slurm.sbatch 'nice': write key=value"),
        ("--executor local --slurm.partition main", "--slurm.partition is for --executor slurm"),
        ("--executor local --no-wait", "--no-wait is for --executor slurm"),
        ("--executor slrm", "unknown --executor 'slrm': did you mean 'slurm'?"),
    ],
)
def test_bad_options_are_one_line(options: str, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "study.yml").write_text(STUDY)
    given = options.split() if "--executor" in options else ["--executor", "slurm", *options.split()]
    assert main(["sweep", str(tmp_path / "study.yml"), "--root", str(tmp_path / "root"), *given]) == 2
    said = capsys.readouterr().err
    assert line in said
    assert said.count("\n") == 1
    assert not (tmp_path / "root").exists()


def test_what_is_missing_is_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setitem(sys.modules, "submitit", None)  # what Python makes of a package that is not there
    with pytest.raises(InputError, match=r"needs submitit: pip install 'gan_ablate\[slurm\]'"):
        slurm.check_installed()
    monkeypatch.setitem(sys.modules, "submitit", sys)
    with pytest.raises(InputError, match="no sbatch here: start the sweep where jobs are submitted from"):
        slurm.check_installed()


def test_sbatch_is_asked_for_what_was_given() -> None:
    submitit_slurm = pytest.importorskip("submitit.slurm.slurm")
    options = slurm.SlurmOptions(
        partition="gpu",
        time=30,
        gpus_per_node=2,
        cpus_per_task=4,
        mem_gb=7.5,
        setup=("module load cuda",),
        sbatch=("nice=9",),
    )
    text = submitit_slurm._make_sbatch_string("python x", "/logs", map_count=40, **options.parameters("study"))
    asked = {line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH")}
    wanted = {"partition=gpu", "time=30", "gpus-per-node=2", "cpus-per-task=4", "mem=7680MB", "nice=9", "requeue"}
    assert wanted | {"array=0-39%32", "signal=USR2@120", "job-name=study", "open-mode=append"} <= asked
    assert "module load cuda" in text
    assert "srun --unbuffered" in text
    assert "--cpus-per-task=4 python x" in text


def test_a_share_survives_pickling_and_starts_again_as_it_was(tmp_path: Path) -> None:
    pytest.importorskip("submitit")
    share = Share(str(tmp_path), expansion().recipes, Way(run="fake_runs:carry_out", time_limit=5.0), ("/x",))
    assert pickle.loads(pickle.dumps(share)) == share
    assert share.checkpoint().function == share


def test_a_share_is_worked_off_and_leaves_what_others_hold(tmp_path: Path) -> None:
    recipes = expansion().recipes
    share = Share(str(tmp_path), recipes, Way(workers=2, run="fake_runs:carry_out"), tuple(sys.path))
    before = signal.getsignal(signal.SIGUSR2)
    with Store(tmp_path).claim(recipes[0].run_id):
        begun = time.monotonic()
        assert share() == {"done": 5, "failed": 0, "skipped": 0, "left": 1, "stopped": 0, "spent": False}
        assert time.monotonic() - begun < 10
    assert share() == {"done": 1, "failed": 0, "skipped": 5, "left": 0, "stopped": 0, "spent": False}
    assert signal.getsignal(signal.SIGUSR2) == before


def test_cores_are_those_of_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SLURM_CPUS_ON_NODE", raising=False)
    whole = workers.cores()
    monkeypatch.setenv("SLURM_CPUS_ON_NODE", "1")
    assert workers.cores() == 1
    monkeypatch.setenv("SLURM_CPUS_PER_TASK", str(whole + 5))
    assert workers.cores() == whole
