"""Replication: fresh seeds that no first study can have used, and an honest count of the verdicts that hold."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from fake_runs import PLANTED
from test_pool import until

from gan_ablate import tricks
from gan_ablate.cli import main
from gan_ablate.errors import InputError
from gan_ablate.findings.replication import compare, first_fresh_seed
from gan_ablate.recipe import BASE, Recipe, TrickSpec
from gan_ablate.results.frames import Results, load
from gan_ablate.store.pack import pack
from gan_ablate.store.store import Store
from gan_ablate.study.entries import MOST_SEEDS, read_seeds
from gan_ablate.study.study import Expansion, Study
from gan_ablate.sweep import pool
from gan_ablate.sweep.display import Display
from gan_ablate.sweep.replicate import plan, replicate

HERE = Path(__file__).parent
MODELS, SEEDS = ("dcgan", "nsgan"), 8
TRUTH = {"better": "helps", "worse": "hurts", "equal": "same", "fails": "fails more"}
WAY: dict[str, Any] = {"run": "fake_runs:planted", "workers": 2, "display": Display()}


def recipes(seeds: range = range(SEEDS)) -> tuple[Recipe, ...]:
    found = []
    for seed in seeds:
        for model in MODELS:
            for k, arm in enumerate(PLANTED):
                if arm == "unclear" and seed:
                    continue  # of one run nothing is decided
                held = () if arm == BASE else (TrickSpec("instance_noise", {"std": k / 10}),)
                found.append(tricks.complete(Recipe(model=model, arm=arm, tricks=held, seed=seed, steps=2)))
    return tuple(found)


@pytest.fixture(scope="module")
def first(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("first") / "runs" / "first"
    assert (
        pool.sweep(Study(name="first", source={"seeds": SEEDS}), root, expansion=Expansion(recipes()), **WAY).exit_code
        == 0
    )
    return root


@pytest.fixture(scope="module")
def second(first) -> Path:
    root = first.parent / "first-replication"
    assert replicate(plan(load(first), 5), root, **WAY).exit_code == 0
    return root


def begun(tmp_path: Path, source: dict[str, Any], seeds: list[int]) -> Results:
    """A root of a study with this source, whose cells have these seeds."""
    asked = [Recipe(seed=s, steps=2) for s in seeds]
    Store.create(tmp_path, name="begun", source=source, recipes=asked)
    return load(tmp_path)


@pytest.mark.parametrize(
    ("source", "seeds"),
    [
        ({"seeds": 3}, [0, 1, 2]),
        ({"seeds": 5}, list(range(9))),  # --seeds 9
        ({"seeds": [3, 77_000]}, [3]),  # the other one is still to come
        ({"seeds": {"base": 40, "looks": [5, 10, 20]}}, [0, 1]),
        ({}, [0, 10_004]),
    ],
)
def test_fresh_seeds_are_none_that_the_study_has_used_or_can_come_to_use(tmp_path, source, seeds) -> None:
    start = first_fresh_seed(begun(tmp_path, source, seeds))
    given = source.get("seeds", 1)
    may_use = {*seeds, *range(40), *read_seeds(given if isinstance(given, list) else MOST_SEEDS, "")}
    assert max(may_use) < start
    assert start <= max(MOST_SEEDS, max(may_use) + 1)


def test_a_replication_has_the_decided_arms_and_twice_as_many_bases_and_no_run_of_the_first(first) -> None:
    loaded = load(first)
    study, expansion = plan(loaded, 5)
    asked = {(m, a): [r.seed for r in expansion.recipes if (r.model, r.arm) == (m, a)] for m in MODELS for a in PLANTED}
    assert {m: {a: len(s) for (n, a), s in asked.items() if n == m} for m in MODELS} == {
        m: {"base": 10, "better": 5, "worse": 5, "equal": 5, "fails": 5, "unclear": 0} for m in MODELS
    }
    assert {s for own in asked.values() for s in own}.isdisjoint(run.seed for run in loaded.each)
    assert {r.run_id for r in expansion.recipes}.isdisjoint(run.run_id for run in loaded.each)
    assert study.seed_plan is None
    again, _ = plan(load(first), 5)
    assert again.source == study.source
    by_hand = {r.run_id for r in recipes(range(study.seeds[0], study.seeds[0] + 10))}
    assert {r.run_id for r in expansion.recipes} <= by_hand


def test_true_verdicts_hold_and_their_fresh_ratios_are_those_of_the_fresh_runs_alone(first, second) -> None:
    found = compare(load(first), load(second))
    assert {(a.model, a.arm): a.verdict for a in found.arms} == {(m, a): v for m in MODELS for a, v in TRUTH.items()}
    assert all(a.holds(found.margin) for a in found.arms)
    assert dict(found.shares()) == {
        "verdicts hold": (8, 8), "same side of base again": (6, 6), "outside the margin again (helps, hurts)": (4, 4),
        "inside the margin again (same)": (2, 2), "turned into the opposite verdict": (0, 6),
    }  # fmt: skip
    logs: dict[tuple[str, str], list[float]] = {}
    for path in second.glob("runs/*/result.json"):
        record = json.loads(path.read_text())
        place = record["recipe"]["model"], record["recipe"]["arm"]
        logs.setdefault(place, []).append(math.log(record["metrics"]["fid"]))
    mean = {place: sum(x) / len(x) for place, x in logs.items()}
    for a in found.arms:
        if a.arm != "fails":
            assert a.fresh_ratio.point == pytest.approx(math.exp(mean[a.model, a.arm] - mean[a.model, BASE]))
            assert a.fresh_ratio.low < math.exp(PLANTED[a.arm]) < a.fresh_ratio.high or a.arm == "equal"
        assert (a.fresh.finished, a.fresh_base.finished) == (5, 10)
        assert a.fresh.failed == 5 * (a.arm == "fails")


def lucky(first: Path, root: Path) -> Path:
    """The first study as if luck had made `equal` look good on one model, `worse` good, and `fails` the same."""
    factor = {"equal": 0.5, "worse": 0.3, "fails": 1.0}
    root.mkdir()
    for path in first.rglob("*"):
        target = root / path.relative_to(first)
        if path.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        elif path.name in ("study.yaml", "result.json"):
            text = path.read_bytes()
            record = json.loads(text) if path.name == "result.json" else {"recipe": {"model": "", "arm": ""}}
            if record["recipe"]["model"] == "nsgan" and record["recipe"]["arm"] in factor:
                record["metrics"]["fid"] *= factor[record["recipe"]["arm"]]
                record["outcome"] = "ok"
                text = json.dumps(record).encode()
            target.write_bytes(text)
    return root


def test_luck_does_not_hold(first, second, tmp_path) -> None:
    found = compare(load(lucky(first, tmp_path / "lucky")), load(second))
    held = {(a.model, a.arm): (a.verdict, a.holds(found.margin), a.turned) for a in found.arms}
    assert held["nsgan", "equal"][:1] == ("helps",)
    assert held["nsgan", "worse"] == ("helps", False, True)
    assert held["nsgan", "fails"][:2] == ("same", False)  # every fresh run of it fails: it has no FID
    assert held["dcgan", "worse"] == ("hurts", True, False)
    shares = dict(found.shares())
    assert shares["turned into the opposite verdict"] == (1, 6)
    far = shares["outside the margin again (helps, hurts)"]
    assert far == (3, 5)


SWEEPER = """
import sys
sys.path.insert(0, {here!r})
import test_replicate as t
way = {{**t.WAY, "options": {{"seconds": 0.05}}}}
sys.exit(t.replicate(t.plan(t.load({first!r}), 5), {root!r}, **way).exit_code)
"""


def test_killed_and_called_again_it_ends_the_same_and_trains_nothing_twice(first, second, tmp_path) -> None:
    process = subprocess.Popen(
        [sys.executable, "-c", SWEEPER.format(here=str(HERE), first=str(first), root=str(tmp_path))]
    )
    until(lambda: len(list(tmp_path.glob("runs/*/result.json"))) > 9, 60)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert replicate(plan(load(first), 5), tmp_path, **WAY).exit_code == 0
    one, two = (compare(load(first), load(root)) for root in (second, tmp_path))
    assert one.arms == two.arms
    assert all(len(p.read_text().splitlines()) == 1 for p in tmp_path.glob("runs/*/ends"))


def test_what_is_no_replication_of_a_study_is_refused(first, second, tmp_path) -> None:
    ours, fresh = load(first), load(second)
    with pytest.raises(InputError, match="no replication of study 'first'"):
        compare(ours, ours)
    used = Expansion(tuple(r for r in recipes() if r.arm in (BASE, "better")))
    pool.sweep(Study(name="used", source={"replicates": "first"}), tmp_path / "used", expansion=used, **WAY)
    with pytest.raises(InputError, match="they are not fresh"):
        compare(ours, load(tmp_path / "used"))
    other = Expansion(tuple(
        tricks.complete(Recipe(model="dcgan", arm=a, seed=s, steps=3, tricks=() if a == BASE else ("instance_noise",)))
        for a in (BASE, "better") for s in range(10_000, 10_005)
    ))  # fmt: skip
    pool.sweep(Study(name="other", source={"replicates": "first"}), tmp_path / "other", expansion=other, **WAY)
    with pytest.raises(InputError, match="has another recipe"):
        compare(ours, load(tmp_path / "other"))
    with pytest.raises(InputError, match="was begun for other verdicts"):
        replicate(plan(load(lucky(first, tmp_path / "lucky")), 5), second, **WAY)
    with pytest.raises(InputError, match="no arm is decided"):
        plan(begun(tmp_path / "begun", {}, [0, 1]), 5)
    with pytest.raises(InputError, match="whole number of 2"):
        plan(ours, 1)
    assert fresh.name == "first-replication"


def test_of_arms_without_a_fresh_run_nothing_is_known(first, tmp_path) -> None:
    planned = plan(load(first), 5)
    replicate(planned, tmp_path, budget_runs=1, **WAY)
    found = compare(load(first), load(tmp_path))
    assert {a.holds(found.margin) for a in found.arms} == {None}
    assert found.open == 8
    assert all(share[1] == 0 for _, share in found.shares())


def test_the_page_and_the_terminal_say_the_same_from_roots_and_from_archives(
    first, second, tmp_path, monkeypatch, capsys
) -> None:
    monkeypatch.chdir(first.parents[1])
    for root in (first, second):
        (tmp_path / f"{root.name}.zip").write_bytes(pack(root, {}))
    archives = [str(tmp_path / f"{root.name}.zip") for root in (first, second)]
    pages = []
    for k, (one, two) in enumerate([("runs/first", "runs/first-replication"), archives]):
        out = tmp_path / f"page{k}"
        assert main(["report", one, "--replication", two, "--out", str(out)]) == 0
        assert "Do the verdicts hold?" in (out / "report.md").read_text()
        assert "Do the verdicts hold?" in (out / "report.html").read_text()
        pages.append({p.name: p.read_bytes() for p in out.rglob("*") if p.is_file()})
    assert pages[0] == pages[1]
    rows = pd.read_csv(tmp_path / "page0" / "tables" / "replication.csv")
    found = compare(load(first), load(second))
    assert rows["holds"].tolist() == ["yes"] * 8
    assert sorted(rows["fresh_ratio"].dropna()) == pytest.approx(
        sorted(x for a in found.arms if not math.isnan(x := a.fresh_ratio.point))
    )
    capsys.readouterr()
    assert main(["replicate", archives[0], "--out", str(second)]) == 0  # all is done: nothing is trained
    said = capsys.readouterr().out
    assert "verdicts hold: 8 of 8 (100 %)" in said
    assert said.count(" yes\n") == 8
    assert main(["report", str(first), str(second), "--replication", str(second)]) == 2
    assert main(["report", str(second), "--out", str(tmp_path / "own")]) == 0
    assert (
        "gan-ablate replicate runs/first --seeds 5 --base-seeds 10 --out runs/first-replication"
        in (tmp_path / "own" / "report.md").read_text()
    )


def test_the_plan_is_shown_before_anything_is_trained(first, tmp_path, capsys) -> None:
    assert main(["replicate", str(first), "--seeds", "3", "--out", str(tmp_path / "new"), "--dry-run"]) == 0
    said = capsys.readouterr().out
    assert "8 decided arms of first on 3 fresh seeds each, base on 6: seeds from 10,000 on" in said
    assert "36 runs" in said
    assert not (tmp_path / "new").exists()
