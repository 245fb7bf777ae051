"""What a root shows of itself: status, show, merge, gc, and the record of attempts."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gan_ablate.cli import main
from gan_ablate.errors import InputError
from gan_ablate.recipe import SCHEMA, Evaluation, Recipe, TrickSpec
from gan_ablate.store import attempts
from gan_ablate.store.gc import find_waste
from gan_ablate.store.merge import merge
from gan_ablate.store.show import command, describe_run, find_run, train_command
from gan_ablate.store.status import overview, table, throughput, watch
from gan_ablate.store.store import Store
from gan_ablate.study.study import Expansion, Study
from gan_ablate.sweep import pool
from gan_ablate.sweep.display import Display
from gan_ablate.tricks import complete, not_applicable, trick_names

BASE = complete(Recipe(steps=10))
NOISE = complete(Recipe(steps=10, tricks=("instance_noise:std=0.2",), arm="noise"))
RECIPES = tuple(replace(r, seed=seed) for seed in (0, 1) for r in (BASE, NOISE))
HOLD = """
import sys, time
from gan_ablate.store.store import Store
with Store(sys.argv[1]).claim(sys.argv[2]) as claim:
    print(claim is not None, flush=True)
    time.sleep(60)
"""


def result(recipe: Recipe, **more: Any) -> dict[str, Any]:
    curve = [{"step": s, "fid": f, "seconds": 0.1} for s, f in ((0, 200.0), (10, 12.5 + recipe.seed))]
    labels = {"fid": "FID@2048 (shapes classifier)"}
    return {
        "recipe": recipe.to_dict(), "outcome": "ok", "metrics": {"fid": curve[-1]["fid"]}, "curve": curve, "labels": labels,
        "best": {"fid": 12.5, "step": 10}, "signs": {"g_loss_falls": 7, "d_loss_spikes": None}, "seconds": 3.0,
        "stability": {"volatility": 0.25}, **more,
    }  # fmt: skip


def create(root: Path, recipes: tuple[Recipe, ...] = RECIPES, name: str = "one", **more: Any) -> Store:
    return Store.create(root, name=name, source={}, recipes=recipes, **more)


def finish(store: Store, recipe: Recipe, **more: Any) -> Path:
    with store.claim(recipe.run_id) as claim:
        assert claim is not None
        folder = claim.prepare(recipe)
        (folder / "checkpoints").mkdir(exist_ok=True)
        (folder / "checkpoints" / "last.ckpt").write_bytes(b"w" * 1000)
        claim.publish_result(result(recipe, **more))
    return folder


def fail(store: Store, recipe: Recipe) -> None:
    with store.claim(recipe.run_id) as claim:
        assert claim is not None
        claim.prepare(recipe)
        claim.publish_failed(recipe, "ValueError: boom", "Traceback:\n  here\nValueError: boom", 2)


@contextmanager
def held(store: Store, recipe: Recipe) -> Iterator[None]:
    """The run is locked by another process."""
    words = [sys.executable, "-c", HOLD, str(store.root), recipe.run_id]
    holder = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline().strip() == "True"
    try:
        yield
    finally:
        holder.kill()
        holder.wait()


def lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return capsys.readouterr().out.splitlines()


# -- attempts ------------------------------------------------------------------------------------------------


def test_each_attempt_is_recorded_with_versions_hardware_and_its_end(tmp_path: Path) -> None:
    store = create(tmp_path)
    folder = store.folder(BASE.run_id)
    code = (
        "import os, sys; sys.path.insert(0, 'tests'); from test_inspect import *\n"
        "with Store(sys.argv[1]).claim(BASE.run_id) as claim: claim.prepare(BASE); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False).returncode == -signal.SIGKILL
    fail(store, BASE)
    with store.claim(BASE.run_id) as claim:
        assert claim is not None
        claim.prepare(BASE)
        claim.ended("stopped")
    with suppress(KeyError), store.claim(BASE.run_id) as claim:
        assert claim is not None
        claim.prepare(BASE)
        raise KeyError
    finish(store, BASE, hardware={"gpu": "H"}, versions={"torch": "9"})
    tried = attempts.read_attempts(folder)
    assert [a["attempt"] for a in tried] == [1, 2, 3, 4, 5]
    assert [a.get("outcome") for a in tried] == [None, "crashed", "stopped", "left", "ok"]
    assert tried[0]["pid"] != tried[1]["pid"] == os.getpid()
    assert tried[1]["traceback"].endswith("boom")
    assert {"gan_ablate", "python", "torch", "lightning"} <= set(tried[0]["versions"])
    assert tried[0]["hardware"]["cores"] == os.cpu_count()
    assert (tried[4]["hardware"], tried[4]["versions"]) == ({"gpu": "H"}, {"torch": "9"})
    assert all(a["started"] <= a["ended"] for a in tried[1:])


def test_the_sweeper_ends_the_attempt_of_a_worker_that_was_killed(tmp_path: Path) -> None:
    way = {"run": "fake_runs:always_killed", "expansion": Expansion(RECIPES[:1]), "display": Display(), "workers": 1}
    assert pool.sweep(Study(name="test"), tmp_path, **way).failed == 1  # type: ignore[arg-type]
    tried = attempts.read_attempts(Store(tmp_path).folder(BASE.run_id))
    assert [a.get("outcome") for a in tried] == [None, "crashed"]
    assert tried[1]["error"] == "killed by SIGKILL"


# -- status --------------------------------------------------------------------------------------------------


def test_status_counts_by_model_dataset_and_arm_and_tells_the_pace(tmp_path: Path, capsys: Any) -> None:
    mnist = replace(BASE, dataset="mnist", channels=1, size=28)
    store = create(tmp_path, (*RECIPES, mnist))
    for k, recipe in enumerate(RECIPES[:2]):
        os.utime(finish(store, recipe) / "result.json", (1e9 + 600 * k,) * 2)
    fail(store, RECIPES[2])
    os.utime(store.folder(RECIPES[2].run_id) / "failed.json", (1e9 + 1200,) * 2)
    with held(store, RECIPES[3]):
        seen = overview(store, now=1e9 + 1260)
    assert [(r.dataset, r.arm, r.done, r.running, r.crashed, r.left) for r in seen.rows] == [
        ("shapes", "base", 1, 0, 1, 0), ("shapes", "noise", 1, 1, 0, 0), ("mnist", "base", 0, 0, 0, 1)
    ]  # fmt: skip
    assert (seen.per_hour, seen.seconds_left, seen.idle) == (6.0, 1200.0, 60.0)  # a run per 600 s; two of them to go
    text = table(seen).splitlines()
    assert text[0].split() == ["model", "dataset", "arm", "done", "running", "crashed", "left"]
    assert text[4].split() == ["all", "2", "1", "1", "1"]
    assert text[-1] == "6.0 runs an hour over the last 3; time left 0:20:00"
    assert main(["status", str(tmp_path), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert (data["study"], data["runs"], data["done"], data["crashed"], data["left"]) == ("one", 5, 2, 1, 2)
    assert data["runs_per_hour"] == 6.0
    assert main(["status", str(tmp_path)]) == 0
    assert lines(capsys)[-1].endswith("once a sweep goes on (none is running)")


def test_throughput_is_that_of_the_recent_runs() -> None:
    assert throughput([]) is throughput([(5.0, None)]) is throughput([(5.0, None), (5.0, None)]) is None
    slow_then_fast = [100.0 * k for k in range(50)] + [5000.0 + k for k in range(50)]
    assert throughput([(when, None) for when in slow_then_fast]) == pytest.approx(3600)


def test_a_pause_of_the_sweep_is_not_counted_and_workers_side_by_side_are() -> None:
    two_workers = [(10.0 * k, 10.0 * k - 20) for k in range(1, 11)]  # each run takes 20 s, one is published every 10 s
    later = [(when + 50_000, begun + 50_000) for when, begun in two_workers]
    assert throughput(two_workers) == pytest.approx(360)
    assert throughput([*two_workers, *later]) == pytest.approx(19 / (90 + 110) * 3600)  # its first run took 20 s anew


def test_watch_ends_when_nothing_is_left_and_waits_between_looks(tmp_path: Path) -> None:
    store, shown, slept = create(tmp_path, RECIPES[:2]), [], []

    def look() -> Any:
        finish(store, RECIPES[len(shown)])
        return overview(store)

    watch(look, shown.append, 2.0, sleep=slept.append)
    assert [text.splitlines()[-1] for text in shown][-1] == "nothing is left to do"
    assert (len(shown), slept) == (2, [2.0])
    watch(lambda: overview(create(tmp_path)), shown.append, 0.5, times=3, sleep=slept.append)
    assert slept == [2.0, 0.5, 0.5]


def test_status_of_ten_thousand_runs_is_quick(tmp_path: Path) -> None:
    recipes = tuple(replace(BASE, seed=s, lr=1e-4 * (k + 1), arm=f"arm {k}") for k in range(100) for s in range(100))
    store = create(tmp_path, recipes)
    for recipe in recipes[:3000]:  # a result is read once: fewer, so that writing them is quick
        store.folder(recipe.run_id).mkdir()
        record = {"schema": SCHEMA, "run_id": recipe.run_id, "recipe": recipe.to_dict(), "outcome": "ok"}
        (store.folder(recipe.run_id) / "result.json").write_text(json.dumps(record))
    start = time.process_time()
    for _ in range(2):
        seen = overview(Store.open(tmp_path))
    assert time.process_time() - start < 2
    assert (seen.total("done"), seen.total("left"), len(seen.rows)) == (3000, 7000, 100)


# -- show ----------------------------------------------------------------------------------------------------


def test_show_finds_a_run_by_every_name_and_tells_all(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    root = tmp_path / "runs" / "mine"
    store = create(root)
    finish(store, NOISE)
    fail(store, BASE)
    monkeypatch.chdir(tmp_path)
    names = [NOISE.run_id, NOISE.run_id[:6], "dcgan/noise/0", "shapes/dcgan/noise/0"]
    for text in names:
        assert find_run(text, root).run_id == NOISE.run_id == find_run(text).run_id
    assert find_run(str(root / "runs" / NOISE.run_id)).run_id == NOISE.run_id
    assert main(["show", "dcgan/noise/0", "--root", str(root)]) == 0
    out = capsys.readouterr().out
    for piece in (
        "dcgan/noise/seed 0 on shapes: ok", "steps = 10", "tricks = instance_noise", "hook inputs",
        "FID@2048 (shapes classifier): 12.5", "g_loss_falls: from step 7", "d_loss_spikes: no", "volatility = 0.25",
        "step   fid", "  10  12.5", "1. 20", ": ok", "gan-ablate train --model dcgan",
    ):  # fmt: skip
        assert piece in out, piece
    assert main(["show", BASE.run_id]) == 0
    out = capsys.readouterr().out
    assert "dcgan/base/seed 0 on shapes: crashed" in out
    assert "nothing: it has no tricks" in out
    assert out.endswith("error\n  Traceback:\n    here\n  ValueError: boom\n")
    for text, said in (("dcgan/nose/0", "did you mean 'dcgan/noise/0'"), ("", "could be any of 4"), ("zz", "no run")):
        with pytest.raises(InputError, match=said):
            find_run(text, None if text == "zz" else root)
    waiting = find_run("dcgan/noise/1", root)
    with pytest.raises(InputError, match="has not begun yet"):
        describe_run(waiting)


def every_recipe() -> Iterator[Recipe]:
    """Each registered trick with its defaults on the first model where it acts, and unusual values of each field."""
    yield replace(BASE, lr=1e-5, beta1=0.25, seed=7, precision="fp32", evaluation=Evaluation(samples=99, points=1))
    yield complete(Recipe(model="wgan_gp", dataset="mnist", size=28, channels=1, architecture="mlp"))
    yield complete(Recipe(dataset="ring", size=1, channels=2))
    yield complete(Recipe(dataset="/tmp/my images.zip", size=32))
    for name in trick_names():
        for model in ("dcgan", "nsgan", "wgan_gp"):
            try:
                recipe = complete(Recipe(model=model, tricks=(name,)))
                if not_applicable(recipe) is None:
                    yield recipe
                    break
            except InputError:
                continue


def test_the_command_of_every_run_trains_that_very_run(monkeypatch: Any) -> None:
    """Parsed as a shell and the command line do, and stopped where training would begin: the run id is the same."""
    from gan_ablate.commands import train

    seen: list[str] = []

    def claim(self: Store, run_id: str) -> Any:
        seen.append(run_id)
        raise InputError("stop here")

    monkeypatch.setattr(Store, "claim", claim)
    recipes = list(every_recipe())
    assert len(recipes) > 80
    for recipe in recipes:
        line = train_command(recipe)
        assert line is not None, recipe
        words = shlex.split(line)
        assert words[0] == "gan-ablate"
        assert main([*words[1:], "--root", "/nowhere"]) == 2
        assert seen.pop() == recipe.run_id, line
    assert train.COMMANDS  # the command that was parsed


def test_what_train_cannot_say_is_said_with_the_study(tmp_path: Path) -> None:
    odd = [replace(BASE, evaluation=Evaluation(split="test")), replace(BASE, tricks=(TrickSpec("x", {"a": "1,2"}),))]
    store = create(tmp_path, tuple(odd[:1]))
    assert [train_command(recipe) for recipe in odd] == [None, None]
    assert f"--root {tmp_path} --only dcgan/base/0" in command(odd[0], find_run("dcgan/base/0", store.root))


# -- merge ---------------------------------------------------------------------------------------------------


def test_merge_takes_the_union_and_the_better_half_of_each_run(tmp_path: Path, capsys: Any) -> None:
    a, b = create(tmp_path / "a", RECIPES[:3]), create(tmp_path / "b", RECIPES[1:], factors={"noise": {"std": 1}})
    finish(a, RECIPES[0])
    finish(a, RECIPES[1], seconds=3.0)
    finish(b, RECIPES[1], seconds=9.0, hardware={"gpu": "other"})  # the same but for its circumstances
    fail(a, RECIPES[2])
    folder = finish(b, RECIPES[2])
    (folder / "samples").mkdir()
    (folder / "samples" / "final.png").write_bytes(b"png")
    assert main(["merge", str(a.root), str(b.root), "--out", str(tmp_path / "c")]) == 0
    assert lines(capsys) == [f"{tmp_path / 'c'}: 3 runs copied, 0 there before, 1 not begun"]
    c = Store.open(tmp_path / "c")
    assert [cell.run_id for cell in c.cells] == [r.run_id for r in RECIPES]
    assert c.study.factors == {"noise": {"std": 1}}
    assert [r["outcome"] for r in c.results()] == ["ok"] * 3
    for recipe, source in zip(RECIPES[:3], (a, a, b), strict=True):
        one, two = c.folder(recipe.run_id), source.folder(recipe.run_id)
        for name in ("recipe.json", "result.json", "checkpoints/last.ckpt", attempts.NAME):
            assert (one / name).read_bytes() == (two / name).read_bytes()
    assert (c.folder(RECIPES[2].run_id) / "samples" / "final.png").exists()
    assert not (c.folder(RECIPES[2].run_id) / "failed.json").exists()
    before = {p: p.stat().st_mtime_ns for p in c.root.rglob("*")}
    assert merge([a.root, b.root], c.root) == {"kept": 3, "open": 1}  # again: nothing to do, nothing touched
    assert {p: p.stat().st_mtime_ns for p in c.root.rglob("*")} == before
    assert merge([a.root, b.root], a.root) == {"copied": 1, "kept": 2, "open": 1}  # into one of them
    assert Store.open(a.root).finished(RECIPES[2].run_id) is not None
    assert a.finished(RECIPES[1].run_id) == c.finished(RECIPES[1].run_id)


def test_merge_of_an_unfinished_run_takes_its_checkpoint(tmp_path: Path) -> None:
    a, b = create(tmp_path / "a"), create(tmp_path / "b")
    for store, files in (
        (a, ["metrics.jsonl"]),
        (b, ["metrics.jsonl", "checkpoints/last.ckpt", "checkpoints/.9.ckpt"]),
    ):
        with store.claim(BASE.run_id) as claim:
            assert claim is not None
            folder = claim.prepare(BASE)
            for name in files:
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_text(str(store.root))
    assert merge([a.root, b.root], a.root)["copied"] == 1
    folder = a.folder(BASE.run_id)
    assert (folder / "metrics.jsonl").read_text() == (folder / "checkpoints" / "last.ckpt").read_text() == str(b.root)
    assert [p.name for p in (folder / "checkpoints").iterdir()] == ["last.ckpt"]
    assert a.glance(BASE.run_id)[0] == "left"


def test_merge_skips_what_is_being_trained(tmp_path: Path, capsys: Any) -> None:
    a, b = create(tmp_path / "a"), create(tmp_path / "b")
    for recipe in RECIPES[:2]:
        finish(b, recipe)
    with held(b, RECIPES[0]), held(a, RECIPES[1]):
        assert main(["merge", str(a.root), str(b.root)]) == 1
    out = lines(capsys)
    assert out[0].startswith(f"dcgan/base/0 ({BASE.run_id}): being trained in {b.root}; skipped")
    assert out[1].startswith(f"dcgan/noise/0 ({NOISE.run_id}): being trained in {a.root}; skipped")
    assert out[2].endswith("0 runs copied, 0 there before, 2 not begun, 2 skipped")
    assert merge([a.root, b.root], a.root)["copied"] == 2


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda a, b: finish(b, BASE, metrics={"fid": 13.0}), rf"run {BASE.run_id} \(dcgan/base/0\) differs in metrics"),
        (lambda a, b: finish(b, BASE, curve=[]), "differs in curve between"),
        (lambda a, b: create(b.root, (replace(BASE, steps=20),)), r"dcgan/base/0 is run .*\(steps: 10, 20\): not the same"),
        (lambda a, b: (b.root / "study.yaml").write_text(f"schema: {SCHEMA + 1}\nname: one"), "written by a newer version"),
        (lambda a, b: create(b.root, factors={"noise": {"std": 2}}), "arm 'noise' has other levels"),
        (lambda a, b: create(b.root, design={"name": "grid"}), "has another design"),
    ],
)  # fmt: skip
def test_merge_refuses_what_contradicts_and_changes_nothing(
    tmp_path: Path, change: Callable[[Store, Store], Any], said: str
) -> None:
    a = create(tmp_path / "a", design={"name": "one_at_a_time"}, factors={"noise": {"std": 1}})
    b = create(tmp_path / "b")
    finish(a, BASE)
    with b.claim((other := replace(BASE, steps=20)).run_id) as claim:
        assert claim is not None
        claim.prepare(other)
    change(a, b)
    with pytest.raises(InputError, match=said):
        merge([a.root, b.root], tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_merge_of_two_studies_is_refused(tmp_path: Path) -> None:
    a, b = create(tmp_path / "a"), create(tmp_path / "b", name="two")
    with pytest.raises(InputError, match=r"holds study 'one', .* holds 'two': only stores of one study"):
        merge([a.root, b.root], a.root)


# -- gc ------------------------------------------------------------------------------------------------------


def test_gc_says_first_and_removes_only_with_yes(tmp_path: Path, capsys: Any) -> None:
    stray = replace(BASE, seed=9)
    store = create(tmp_path)
    folders = {r: finish(store, r) for r in (*RECIPES[:2], stray)}
    (folders[BASE] / ".result.json.1-ab.tmp").write_bytes(b"half")
    with store.claim(RECIPES[2].run_id) as claim:  # begun: its checkpoint is needed
        assert claim is not None
        open_ = claim.prepare(RECIPES[2])
        (open_ / "checkpoints").mkdir()
        (open_ / "checkpoints" / "last.ckpt").write_bytes(b"needed")
    before = sorted(tmp_path.rglob("*"))
    for argv in (["gc", str(tmp_path)], ["gc", str(tmp_path), "--dry-run"]):
        assert main(argv) == 0
        assert sorted(tmp_path.rglob("*")) == before
        out = lines(capsys)
        assert out[0].split()[:4] == ["checkpoints", "2", "2.0", "kB"]
        assert out[1].split()[:4] == ["temporaries", "1", "4", "bytes"]
        assert out[2].split()[:2] == ["strays", "1"]
        assert out[3].split()[0] == stray.run_id
        assert out[3].endswith("HAS A RESULT")
        assert out[-1].startswith("nothing was removed: the same command with --yes frees")
    assert main(["gc", str(tmp_path), "--yes", "--what", "checkpoints,temporaries"]) == 0
    assert folders[stray].exists()
    assert (open_ / "checkpoints" / "last.ckpt").read_bytes() == b"needed"
    assert sorted(p.name for p in folders[BASE].iterdir()) == ["attempts.jsonl", "lock", "recipe.json", "result.json"]
    assert main(["gc", str(tmp_path), "--yes"]) == 0
    assert not folders[stray].exists()
    assert [r["outcome"] for r in store.results()] == ["ok", "ok"]
    assert list(find_waste(store)) == []
    assert "--what" in (main(["gc", str(tmp_path), "--what", "checkpoint"]), capsys.readouterr().err)[1]


def test_gc_never_touches_a_locked_run_even_one_locked_after_it_looked(tmp_path: Path, monkeypatch: Any) -> None:
    from gan_ablate.store.gc import remove

    store, stray = create(tmp_path), replace(BASE, seed=9)
    folders = [finish(store, r) for r in (BASE, stray)]
    found = list(find_waste(store))
    assert {w.kind for w in found} == {"checkpoints", "strays"}
    with held(store, BASE), held(store, stray):
        assert [remove(store, w) for w in found] == [False, False]
        assert list(find_waste(store)) == []
    assert all((f / "checkpoints" / "last.ckpt").exists() for f in folders)


def test_a_claim_that_meets_gc_gets_the_new_lock_or_none(tmp_path: Path) -> None:
    """Two processes never hold locks on two files of one name, even while `gc` removes the folder under them."""
    code = (
        "import sys, time; from gan_ablate.store.store import Store\n"
        "from gan_ablate.store.gc import Waste, remove\n"
        "store = Store(sys.argv[1]); end = time.time() + 2\n"
        "while time.time() < end: remove(store, Waste('strays', store.folder('x'), 0, 'x'))"
    )
    store = Store(tmp_path)
    remover = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)])
    claimed = removed = 0
    while remover.poll() is None:
        try:
            with store.claim("x") as claim:
                if claim is not None:
                    claimed += 1
                    (claim.folder / "mine").write_text("")  # the folder is there, and stays while the lock is held
                    assert (claim.folder / "mine").exists()
        finally:
            removed += not store.folder("x").exists()
    assert claimed > 20
    assert removed > 0
