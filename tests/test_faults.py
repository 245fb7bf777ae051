"""Whatever fails while a store is written, and wherever: the root opens, goes on from there, and nothing is lost."""

from __future__ import annotations

import errno
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gan_ablate import publishing, untrusted
from gan_ablate.cli import main
from gan_ablate.errors import InputError
from gan_ablate.publishing import publish
from gan_ablate.recipe import Recipe
from gan_ablate.results.files import json_lines
from gan_ablate.store.merge import differing
from gan_ablate.store.status import overview, pace
from gan_ablate.store.store import Store
from gan_ablate.study.study import Expansion, Study
from gan_ablate.sweep import pool, server
from gan_ablate.sweep.display import Display

HERE = Path(__file__).parent


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """In memory where that can be: thousands of syncs are slow on a disk."""
    memory = Path("/dev/shm") / f"gan_ablate-{os.getpid()}"
    yield memory if os.access("/dev/shm", os.W_OK) else tmp_path / "f"
    shutil.rmtree(memory, ignore_errors=True)


def struck(scenario: str, fault: str, folder: Path) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, str(HERE / "faulty.py"), scenario, fault, str(folder)],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    return json.loads(done.stdout)


@pytest.mark.parametrize(
    ("scenario", "fault", "least"),
    [
        ("sweep", "kill", 60),
        ("sweep", "full", 60),
        ("merge", "kill", 60),
        ("merge", "full", 60),
        ("gc", "kill", 15),
        ("gc", "full", 15),
        ("checkpoints", "kill", 12),
    ],
)
def test_a_fault_at_each_operation_in_turn_loses_nothing(folder: Path, scenario: str, fault: str, least: int) -> None:
    """Killed there, or the disk full from there on: every file is whole, and the same call ends as if undisturbed."""
    found = struck(scenario, fault, folder)
    assert found["operations"] >= least
    assert found["problems"] == []
    if fault == "kill":
        assert found["codes"] == {"77": found["operations"]}  # each of them really died


def test_the_harness_sees_a_store_that_writes_in_place(folder: Path) -> None:
    problems = struck("careless", "kill", folder)["problems"]
    assert any("is damaged" in problem for problem in problems)


def recipes(seeds: int = 3) -> tuple[Recipe, ...]:
    return tuple(Recipe(steps=2, seed=seed) for seed in range(seeds))


def sweep(root: Path, run: str = "fake_runs:carry_out", **more: Any) -> pool.Summary:
    study, expansion = Study(name="test"), Expansion(recipes())
    return pool.sweep(study, root, run=run, expansion=expansion, display=Display(), workers=1, **more)


def full_disk(recipe: Recipe, folder: Path, **_: Any) -> dict[str, Any]:
    """A run function: the second seed meets a full disk half way."""
    if recipe.seed == 1:
        (folder / "checkpoint").write_text("1")
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder / "checkpoint"))
    return {"recipe": recipe.to_dict(), "outcome": "ok", "metrics": {"fid": 1.0}, "seconds": 0.1}


def test_a_full_disk_ends_the_sweep_with_a_line_and_is_no_failure_of_the_run(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"checkpoint: the disk is full: free some space \(gan-ablate gc"):
        sweep(tmp_path, "test_faults:full_disk")
    assert not list(tmp_path.glob("runs/*/failed.json"))
    before = len(list(Store.open(tmp_path).results()))
    summary = sweep(tmp_path)
    assert (summary.skipped, summary.done, summary.failed) == (before, 3 - before, 0)
    assert [r.get("resumed") for r in Store.open(tmp_path).results()][1] == 1


def outside(recipe: Recipe, folder: Path, **_: Any) -> dict[str, Any]:
    """A run function: a library meets the error that the seed stands for, and raises one of its own for it."""
    try:
        raise OSError(recipe.seed, os.strerror(recipe.seed), str(folder / "file"))
    except OSError as error:
        raise RuntimeError("cannot write") from error


def attempt(root: Path, recipe: Recipe, run: Any) -> server.Message:
    """The last attempt at a run, in this process."""
    setup = server.Setup(str(root), "", {"threads": 1}, 1, [])
    return server._attempt(setup, server.Task(recipe, recipe.run_id, last_attempt=True), run, server._Stop())


@pytest.mark.parametrize(
    ("code", "said"),
    [
        (errno.EACCES, "permission denied"),
        (errno.EDQUOT, "your disk quota is used up"),
        (errno.EFBIG, "larger than a file may be"),
        (errno.EMFILE, "too many open files in this process"),
        (errno.ENFILE, "too many open files on this machine"),
        (errno.EIO, "input/output error"),
    ],
)
def test_an_error_from_outside_a_run_is_never_its_failure(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int, said: str
) -> None:
    monkeypatch.setattr(server, "_write_output_to", lambda _: None)
    recipe = Recipe(seed=code)
    message = attempt(tmp_path, recipe, outside)
    assert message.outcome == "refused"  # which ends a sweep with that line and exit code 2
    assert message.error.startswith(f"{tmp_path}/runs/{recipe.run_id}/file: {said}")
    assert not list(tmp_path.glob("runs/*/failed.json"))


def test_a_disk_without_inodes_is_not_called_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    error = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(tmp_path / "not" / "there"))
    disk = dict.fromkeys(("f_files", "f_favail", "f_bavail"), 10)
    for change, said in (({}, "the disk is full"), ({"f_favail": 0}, "no inodes are left")):
        monkeypatch.setattr(os, "statvfs", lambda _, c=change: SimpleNamespace(**disk | c))
        assert said in (publishing.trouble(error) or "")
    monkeypatch.setattr(os, "statvfs", lambda _: SimpleNamespace(**dict.fromkeys(disk, 0)))  # btrfs counts none
    assert "the disk is full" in (publishing.trouble(error) or "")


def test_no_right_to_write_checkpoints_in_the_middle_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real training: Lightning's own way of saving swallows the error."""
    from gan_ablate.recipe import Evaluation
    from gan_ablate.run.carry_out import carry_out

    recipe = Recipe("dcgan", "ring", size=1, channels=2, width=4, steps=6, evaluation=Evaluation(samples=64, points=1))

    def denied(path: Any, *_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))

    def guarded(real: Any, at: int) -> Any:
        def call(*args: Any, **options: Any) -> Any:
            name = str(args[at])
            writes = at or set(str(args[1] if len(args) > 1 else options.get("mode", "r"))) & set("wxa+")
            return (denied if "/checkpoints/" in name and writes else real)(*args, **options)

        return call

    for target, at in (("builtins.open", 0), ("io.open", 0), ("os.rename", 1), ("os.replace", 1)):
        module, _, name = target.partition(".")
        monkeypatch.setattr(target, guarded(getattr(sys.modules[module], name), at))
    monkeypatch.setattr(server, "_write_output_to", lambda _: None)
    said = attempt(tmp_path, recipe, carry_out)
    assert said.outcome == "refused"
    assert "last.ckpt" in said.error
    assert "permission denied" in said.error
    assert not list(tmp_path.glob("runs/*/failed.json"))


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES])
def test_each_entrance_to_a_root_that_refuses_says_so(
    tmp_path: Path, code: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store.create(tmp_path, name="test", source={}, recipes=recipes(1))
    run_id = recipes(1)[0].run_id
    real = untrusted._open

    def refuse(path: Path, flags: int) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR):
            raise OSError(code, os.strerror(code), str(path))
        return real(path, flags)

    def refuse_open(path: Any, mode: str = "r", *rest: Any, **more: Any) -> Any:
        if set(mode) & set("wxa+") and str(path).startswith(str(tmp_path)):
            raise OSError(code, os.strerror(code), str(path))
        return open(path, mode, *rest, **more)

    monkeypatch.setattr("gan_ablate.untrusted._open", refuse)
    monkeypatch.setattr("gan_ablate.publishing.open", refuse_open, raising=False)
    said = publishing.TROUBLES[code].split(":")[0]
    with pytest.raises(InputError, match=said), store.claim(run_id):
        raise AssertionError("claimed")
    with pytest.raises(InputError, match=said):
        Store.create(tmp_path, name="test", source={}, recipes=recipes(2))
    assert len(Store.open(tmp_path).cells) == 1
    Store.create(tmp_path, name="test", source={}, recipes=recipes(1))  # nothing new to write: no right to write needed
    assert main(["status", str(tmp_path)]) == 0  # readers write nothing
    assert main(["gc", str(tmp_path)]) == 0
    assert not list(tmp_path.rglob("*.tmp"))


@pytest.mark.skipif(os.geteuid() == 0, reason="permissions do not bind root")
def test_a_root_without_the_right_to_write(tmp_path: Path) -> None:
    sweep(tmp_path)
    tmp_path.chmod(0o500)
    try:
        assert sweep(tmp_path).skipped == 3
    finally:
        tmp_path.chmod(0o700)


def test_a_damaged_result_is_moved_aside_and_done_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sweep(tmp_path)
    path = Store(tmp_path).folder(recipes()[1].run_id) / "result.json"
    whole = json.loads(path.read_bytes())
    path.write_bytes(path.read_bytes()[:50])
    assert (summary := sweep(tmp_path)).done == 1, summary
    assert json.loads(path.read_bytes())["metrics"] == whole["metrics"]
    assert path.with_name("result.json.corrupt").stat().st_size == 50


def test_a_clock_that_goes_backwards_changes_no_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sweep(tmp_path)
    store = Store.open(tmp_path)
    for k, cell in enumerate(store.cells):  # published in the far future, each later one earlier
        os.utime(store.folder(cell.run_id) / "result.json", (4e9 - 100 * k,) * 2)
    seen = overview(store)
    assert seen.idle is None
    assert seen.per_hour == pytest.approx(2 / 200 * 3600)
    grown = Store.create(tmp_path, name="test", source={}, recipes=recipes(4))
    assert overview(grown).seconds_left == pytest.approx(100)
    assert pace(overview(grown)).startswith("36.0 runs an hour over the last 3; time left 0:01:40")
    same = 1e9
    for cell in store.cells:
        os.utime(store.folder(cell.run_id) / "result.json", (same, same))
    assert overview(grown).per_hour is None
    with monkeypatch.context() as patch:
        patch.setattr(time, "time", lambda: 0.0)
        assert sweep(tmp_path).skipped == 3


def test_two_studies_that_start_on_one_empty_root(tmp_path: Path) -> None:
    """One of them gets it, all the others are told whose it is; many rounds, since it is a race."""
    for k in range(20):
        root, came, gate = tmp_path / str(k), [], threading.Barrier(3)

        def start(name: str, root: Path = root, came: list[str] = came, gate: threading.Barrier = gate) -> None:
            gate.wait()
            try:
                Store.create(root, name=name, source={}, recipes=recipes(1))
            except InputError as error:
                came.append(str(error))
            else:
                came.append(name)

        threads = [threading.Thread(target=start, args=(name,)) for name in ("a", "b", "c")]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        winner = Store.open(root).name
        assert sorted(map(len, came))[0] == 1
        assert [line for line in came if len(line) == 1] == [winner]
        assert all(f"belongs to study {winner!r}" in line for line in came if len(line) > 1)


def test_a_line_cut_short_by_a_kill_does_not_spoil_the_next(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    publishing.append(path, {"n": 1})
    path.write_bytes(path.read_bytes() + b'{"n": 2, "te')
    publishing.append(path, {"n": 3})
    assert [row["n"] for row in json_lines(path)] == [1, 3]
    publish(path, b"")
    assert json_lines(path) == []


def test_the_log_of_a_run_that_died_between_two_d_steps_of_one_g_step_holds_each_line_once(tmp_path: Path) -> None:
    """Its checkpoint (D step 48) and a line logged after that (D step 50) are of the same G step, of three D steps."""
    from gan_ablate.recipe import Evaluation
    from gan_ablate.run.carry_out import carry_out

    fields: dict[str, Any] = {"dataset": "ring", "size": 1, "channels": 2, "width": 8, "steps": 20, "batch_size": 8}
    recipe = Recipe(**fields, tricks=("n_critic:n=3",), precision="fp32", evaluation=Evaluation(samples=64, points=2))
    calls: list[int] = []

    def dies() -> bool:
        calls.append(1)
        if len(calls) == 51:
            raise KeyError("as if killed")
        return False

    unbroken = carry_out(recipe, tmp_path / "a", threads=1)
    with pytest.raises(KeyError):
        carry_out(recipe, tmp_path / "b", threads=1, step="eager", should_stop=dies)
    log = tmp_path / "b" / "metrics.jsonl"
    log.write_bytes(log.read_bytes() + b'{"step": 17, "d_lo')  # and cut short
    resumed = carry_out(recipe, tmp_path / "b", threads=1)
    assert resumed["resumed"] == 1
    assert differing(unbroken, resumed) == []
    rows = [json_lines(tmp_path / name / "metrics.jsonl") for name in "ab"]
    for row in (r for half in rows for r in half if "evaluation" in r):
        del row["evaluation"]["seconds"]
    assert rows[0] == rows[1]
    assert sum("d_loss" in row for row in rows[0]) == 60 // 10  # a record every tenth of 60 D steps
