"""Adaptive studies: seeds go where they are needed, and the verdicts hold whatever happened on the way."""

from __future__ import annotations

import itertools
import json
import math
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_runs import PLANTED
from test_pool import until

from gan_ablate.cli import main
from gan_ablate.errors import InputError
from gan_ablate.findings.compared import compare
from gan_ablate.findings.looks import look, open_root
from gan_ablate.findings.replication import decided
from gan_ablate.findings.tables import tables
from gan_ablate.recipe import BASE, Recipe
from gan_ablate.results.frames import load
from gan_ablate.results.runs import MISSING
from gan_ablate.stats.two_part import Runs, decide, over_looks, weigh
from gan_ablate.store.store import Store
from gan_ablate.study.seed_plan import RECOMMENDED, SeedPlan, plan_of, read_seed_plan
from gan_ablate.study.study import Expansion, Study, expand, from_dict, override
from gan_ablate.sweep import pool
from gan_ablate.sweep.display import Display
from gan_ablate.sweep.releases import Releases

HERE = Path(__file__).parent
SEEDS = {"base": 8, "looks": [3, 6, 12], "until": "decided"}
PLAN = SeedPlan(8, (3, 6, 12), (1 / 3, 1 / 3, 1 / 3))
STUDY = Study(name="adaptive", seed_plan=PLAN, source={"seeds": SEEDS})
MODELS = ("dcgan", "nsgan")
TRUTH = {"better": "helps", "worse": "hurts", "equal": "same", "fails": "fails more"}


def recipes(models: tuple[str, ...] = MODELS) -> tuple[Recipe, ...]:
    most = {arm: PLAN.base if arm == BASE else PLAN.looks[-1] for arm in PLANTED}
    return tuple(
        Recipe(model=m, arm=a, tricks=() if a == BASE else (a,), seed=s, steps=2)
        for s in range(12) for m in models for a in PLANTED if s < most[a]
    )  # fmt: skip


def sweep(root: Path, **more: Any) -> pool.Summary:
    options = {"workers": 2, "display": Display(), "expansion": Expansion(recipes()), **more}
    return pool.sweep(STUDY, root, run="fake_runs:planted", **options)


def verdicts(root: Path) -> dict[tuple[str, str], dict[str, tuple[str, float, int]]]:
    """(model, dataset) -> arm -> verdict, its p, and the seeds that it rests on."""
    opened = open_root(root)
    assert opened is not None
    return {
        place: {a: (v.verdict, v.evidence.p, looked.seeds[a]) for a, v in looked.verdicts.items()}
        for place, looked in opened.looks.items()
    }


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    root = tmp_path_factory.mktemp("adaptive") / "root"
    assert sweep(root).exit_code == 0
    return root


# -- looks ------------------------------------------------------------------------------------------------------------


def planted(n: int = 12) -> dict[str, dict[int, float | None]]:
    """Log FIDs by arm and seed, as the runs have them."""
    import random

    def value(arm: str, seed: int) -> float | None:
        return None if arm == "fails" else PLANTED[arm] + random.Random(f"dcgan {arm} {seed}").gauss(0, 0.08)

    return {a: {s: value(a, s) for s in range(PLAN.base if a == BASE else n)} for a in PLANTED}


def told(found: dict[str, Any]) -> dict[str, tuple[Any, ...]]:
    """Verdicts as they can be compared: rounded, since sums in another order round otherwise, and NaN as text."""
    return {
        a: (v.verdict, v.certain, v.seeds_to_decide, *(f"{x:.9g}" for x in (*v.evidence.ratio, v.evidence.p, v.q_same)))
        for a, v in found.items()
    }


def test_planted_truths_get_their_verdicts_at_the_first_look_that_can_tell() -> None:
    found = look(planted(), PLAN)
    assert {a: v.verdict for a, v in found.verdicts.items() if a in TRUTH} == TRUTH
    assert found.seeds["better"] == 3
    assert found.seeds["unclear"] > 3
    assert found.seeds[BASE] == 8


def test_one_look_with_all_the_weight_is_the_plain_table() -> None:
    outcomes, plan = planted(), SeedPlan(8, (12,), (1.0,))
    arms = {
        a: Runs(tuple(x for x in own.values() if x is not None), sum(x is None for x in own.values()))
        for a, own in outcomes.items()
    }
    base = arms.pop(BASE)
    assert told(look(outcomes, plan).verdicts) == told(decide(weigh(arms, base)))


def test_runs_beyond_a_look_do_not_change_it_and_missing_ones_hold_it_back() -> None:
    whole = look(planted(), PLAN)
    stopped = {a: n for a, n in whole.seeds.items() if a != BASE}
    lean = {a: {s: x for s, x in own.items() if a == BASE or s < stopped[a]} for a, own in planted().items()}
    assert told(look(lean, PLAN).verdicts) == told(whole.verdicts)
    assert look(lean, PLAN).seeds == whole.seeds
    del lean["equal"][0]
    held_back = look(lean, PLAN)
    assert held_back.look == 0
    assert "equal" not in held_back.verdicts
    assert set(held_back.open) == set(PLANTED) - {BASE}
    assert set(held_back.seeds.values()) == {8, 3}
    lean = planted()
    del lean[BASE][7]
    held_back = look(lean, PLAN)
    assert (held_back.look, held_back.verdicts, held_back.rounds) == (0, {}, ())


def under_way(there: Iterable[str]) -> dict[str, dict[int, float | None]]:
    """Outcomes at the first look, for which all arms but these still lack a seed."""
    return {a: {s: x for s, x in own.items() if a == BASE or s < 3 - (a not in there)} for a, own in planted().items()}


def test_arms_that_have_their_seeds_are_judged_early_the_others_counting_as_nothing_found() -> None:
    there = ("better", "unclear")
    held = look(under_way(there), PLAN)
    runs = {a: Runs.of(planted()[a][s] for s in PLAN.first(3)) for a in there}
    first = weigh(runs, Runs.of(planted()[BASE].values()))
    spent = {a: over_looks([e], PLAN.weights) for a, e in first.items()}
    alone = decide(spent, planned=len(PLANTED) - 1)
    assert {a: v._replace(early=False) for a, v in held.verdicts.items()} == alone
    assert {a: (v.verdict, v.early) for a, v in held.verdicts.items()} == {
        "better": ("helps", True), "unclear": ("undecided", False),
    }  # fmt: skip
    assert held.under_way(PLAN) == "2 of 5 arms have the 3 seeds of look 1"
    assert not any(v.early for v in look(planted(), PLAN).verdicts.values())
    assert look(planted(), PLAN).under_way(PLAN) == ""


def test_early_verdicts_are_those_of_the_whole_look_in_whatever_order_arms_come() -> None:
    whole = look(under_way(PLANTED), PLAN)
    shown = 0
    for order in itertools.permutations(a for a in PLANTED if a != BASE):
        for n in range(1, len(order)):
            early = {a: v for a, v in look(under_way(order[:n]), PLAN).verdicts.items() if v.verdict != "undecided"}
            assert {a: v.verdict for a, v in early.items()} == {a: whole.verdicts[a].verdict for a in early}
            shown += len(early)
    assert shown > 100


def test_at_a_later_look_under_way_the_others_keep_what_they_had_and_what_may_decide_them() -> None:
    first = look(under_way(PLANTED), PLAN)
    some, other = sorted(first.open)[:2]
    assert (first.look, len(first.rounds)) == (1, 1)
    outcomes = planted()
    lean = {a: {s: x for s, x in own.items() if a in (BASE, some) or s < 3} for a, own in outcomes.items()}
    held = look(lean, PLAN)
    assert (held.look, len(held.rounds)) == (1, 2)
    assert held.verdicts[other].evidence == first.verdicts[other].evidence
    assert held.verdicts[some].evidence != first.verdicts[some].evidence
    assert held.verdicts[some].early == (held.verdicts[some].verdict != "undecided")
    assert held.seeds[other] == 6
    compared = compare(lean, PLAN)
    assert (compared.looks_of(some), compared.looks_of(other), compared.looks_of(some, other)) == ([0, 1], [0], [0])
    found = compared.with_seeds_to_decide()
    most = {a: v.most_to_decide for a, v in found.items() if v.verdict == "undecided"}
    assert most
    assert most == {a: PLAN.looks[-1] - (6 if a == some else 3) for a in most}


def test_the_order_of_arms_and_seeds_does_not_matter() -> None:
    outcomes = planted()
    turned = {a: dict(reversed(outcomes[a].items())) for a in reversed(list(outcomes))}
    one, two = look(outcomes, PLAN), look(turned, PLAN)
    assert told(one.verdicts) == told(two.verdicts)
    assert one.seeds == two.seeds


def test_a_look_spends_its_weight_and_no_more() -> None:
    outcomes = planted()
    first = look(outcomes, SeedPlan(8, (3,), (1.0,))).verdicts
    spent = look(outcomes, SeedPlan(8, (3, 6), (0.25, 0.75))).verdicts
    for arm in ("better", "worse", "fails"):
        assert spent[arm].evidence.p == pytest.approx(4 * first[arm].evidence.p)


# -- the study's file -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("seeds", "words"), [
    ({"base": 40, "looks": [8, 4]}, "each look needs more seeds than the one before"),
    ({"base": 40, "looks": [4, 4]}, "each look needs more seeds"),
    ({"base": 40, "looks": [4, 8], "weights": [0.5, 0.4]}, "they sum to 0.9, and must sum to 1"),
    ({"base": 40, "looks": [4, 8], "weights": [1]}, "one weight for each of the 2 looks"),
    ({"base": 40, "looks": [4, 8], "weights": [1.5, -0.5]}, "numbers over 0"),
    ({"base": 4, "looks": [4, 8]}, "at least 5 seeds of base"),
    ({"base": True, "looks": [4]}, "at least 5 seeds of base"),
    ({"base": 40, "looks": []}, "a list of whole numbers of at least 2"),
    ({"base": 40, "looks": [1, 2]}, "at least 2"),
    ({"base": 40, "looks": [4], "until": "tired"}, "only `decided` is known"),
    ({"base": 40, "look": [4]}, "looks"),
])  # fmt: skip
def test_a_wrong_plan_is_refused_with_what_would_be_right(seeds, words) -> None:
    with pytest.raises(InputError, match=r"s\.yaml: seeds") as caught:
        read_seed_plan(seeds, "s.yaml")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_without_numbers_a_plan_has_those_that_the_simulation_chose() -> None:
    assert read_seed_plan({"until": "decided"}, "s.yaml") == RECOMMENDED == SeedPlan(40, (5, 10, 20), (1 / 3,) * 3)


def test_a_study_expands_to_all_that_it_may_train() -> None:
    study = from_dict({"name": "s", "models": ["dcgan"], "arms": ["lsgan", "hinge"], "seeds": SEEDS}, "s.yaml")
    assert study.seed_plan == PLAN == plan_of(study.source)
    found = expand(study).recipes
    assert {a: sum(r.arm == a for r in found) for a in ("base", "lsgan", "hinge")} == {
        "base": 8,
        "lsgan": 12,
        "hinge": 12,
    }
    with pytest.raises(InputError, match="--seeds"):
        override(study, seeds=3)
    with pytest.raises(InputError, match="looks are for arms against base"):
        from_dict({"name": "s", "design": "factorial", "factors": ["lsgan"], "seeds": SEEDS}, "s.yaml")


# -- sweeps -----------------------------------------------------------------------------------------------------------


def test_decided_arms_stop_and_undecided_ones_go_on(undisturbed) -> None:
    for place, found in verdicts(undisturbed).items():
        assert {a: v[0] for a, v in found.items() if a in TRUTH} == TRUTH, place
        trained = {a: sum(c.model == place[0] and c.arm == a for c in Store.open(undisturbed).cells) for a in PLANTED}
        assert trained == {BASE: 8, **{a: n for a, (_, _, n) in found.items()}}
    assert len(Store.open(undisturbed).cells) < len(recipes())


def test_within_a_look_base_comes_first_then_arm_by_arm(tmp_path) -> None:
    wanted = Releases(tmp_path, Expansion(recipes()), PLAN).wanted().recipes
    order = [(r.model, r.arm, r.seed) for r in wanted]
    assert order == [(m, a, s) for m in MODELS for a in PLANTED for s in range(8 if a == BASE else 3)]


def test_again_there_is_nothing_to_do(undisturbed) -> None:
    again = sweep(undisturbed)
    assert (again.done, again.left, again.exit_code) == (0, 0, 0)


@pytest.mark.parametrize("budget", [1, 7, 20])
def test_a_budget_ends_it_cleanly_and_with_more_it_ends_the_same(budget, tmp_path, undisturbed) -> None:
    for number in itertools.count(1):
        summary = sweep(tmp_path, budget_runs=budget)
        assert summary.exit_code == 0
        if not summary.left and not summary.done:
            break
        assert summary.done <= budget
        assert number < 10
        assert open_root(tmp_path) is not None  # every state can be read
        if number == 3:
            budget = 1000
    assert verdicts(tmp_path) == verdicts(undisturbed)


SWEEPER = """
import sys
sys.path.insert(0, {here!r})
import test_adaptive
sys.exit(test_adaptive.sweep(test_adaptive.Path({root!r}), options={{"seconds": 0.05}}).exit_code)
"""


def start(root: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen([sys.executable, "-c", SWEEPER.format(here=str(HERE), root=str(root))])


def test_killed_in_the_middle_of_a_look_it_ends_the_same(tmp_path, undisturbed) -> None:
    process = start(tmp_path)
    until(lambda: len(list(tmp_path.glob("runs/*/result.json"))) > 9, 60)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert sweep(tmp_path).exit_code == 0
    assert verdicts(tmp_path) == verdicts(undisturbed)


def test_two_sweepers_share_a_root_and_find_the_same(tmp_path, undisturbed) -> None:
    both = [start(tmp_path), start(tmp_path)]
    assert [process.wait(120) for process in both] == [0, 0]
    assert verdicts(tmp_path) == verdicts(undisturbed)
    assert all(len(p.read_text().splitlines()) == 1 for p in tmp_path.glob("runs/*/ends"))


def test_other_looks_in_a_begun_root_and_a_choice_of_runs_are_refused(undisturbed) -> None:
    other = replace(STUDY, seed_plan=PLAN._replace(looks=(3, 6, 13)))
    with pytest.raises(InputError, match="looks are fixed beforehand"):
        pool.sweep(other, undisturbed, expansion=Expansion(recipes()), display=Display(), run="fake_runs:planted")
    with pytest.raises(InputError, match="a look of an adaptive study needs every arm"):
        sweep(undisturbed, only="better")


def test_base_by_construction_takes_no_part_in_a_look(tmp_path) -> None:
    found = [replace(r, tricks=("flipped_generator_labels",)) if r.arm == "equal" else r for r in recipes(("dcgan",))]
    assert sweep(tmp_path, expansion=Expansion(tuple(found))).exit_code == 0
    (own,) = verdicts(tmp_path).values()
    assert "equal" not in own
    assert sum(c.arm == "equal" for c in Store.open(tmp_path).cells) == PLAN.looks[0]


def test_a_replication_waits_for_the_whole_look(tmp_path, undisturbed) -> None:
    root = shutil.copytree(undisturbed, tmp_path / "root")
    first = next(r for r in recipes() if (r.model, r.arm, r.seed) == ("dcgan", "unclear", 0))
    shutil.rmtree(root / "runs" / first.run_id)
    early = {(t.model, a) for t in tables(load(root)) for a, v in t.verdicts.arms.items() if v.early}
    assert early >= {("dcgan", a) for a in ("better", "worse", "fails")}
    assert {one.table.model for one in decided(load(root))} == {"nsgan"}
    shutil.rmtree(root / "runs" / next(r for r in recipes() if (r.model, r.arm) == ("nsgan", "unclear")).run_id)
    with pytest.raises(InputError, match="its verdicts are early, of a look under way"):
        decided(load(root))


# -- the commands -----------------------------------------------------------------------------------------------------


def test_status_next_and_verdicts_say_where_it_stands(tmp_path, undisturbed, capsys) -> None:
    sweep(tmp_path, budget_runs=9)
    assert main(["next", str(tmp_path)]) == 0
    out = capsys.readouterr().out
    each = 8 + 5 * 3  # runs of a model's first look
    done = sum(r.outcome != MISSING for r in open_root(tmp_path).runs if r.model == "dcgan")
    assert (
        "dcgan on shapes: 0 of 3 looks taken; next: 5 arms to 3 seeds, each judged once it has them and base its 8 "
        f"(runs left: {each - done})" in out
    )
    assert main(["next", str(tmp_path), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["runs"]
    held = {(r["model"], r["arm"]): r["seeds"] for r in rows}
    assert sum(len(seeds) for seeds in held.values()) == 2 * each - 9
    minutes = [math.inf if r["minutes"] is None else r["minutes"] for r in rows]
    assert minutes == sorted(minutes)
    assert main(["status", str(undisturbed)]) == 0
    opened = open_root(undisturbed)
    assert opened is not None
    out = capsys.readouterr().out
    assert opened.describe()
    assert all(line in out for line in opened.describe())
    assert main(["verdicts", str(undisturbed), "--json"]) == 0
    found = {(r["model"], r["arm"]): (r["verdict"], r["runs"]) for r in json.loads(capsys.readouterr().out)["arms"]}
    assert found == {(m, a): (v, n) for (m, _, _), own in verdicts(undisturbed).items() for a, (v, _, n) in own.items()}


def test_a_sweep_ends_with_what_its_looks_have_found_and_what_the_next_one_waits_for(
    tmp_path, monkeypatch, capsys
) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("name: s\nmodels: [dcgan]\narms: [lsgan, hinge]\nseeds: {base: 5, looks: [2, 3]}\n")
    real, fake = pool.sweep, {"run": "fake_runs:carry_out", "display": Display()}
    monkeypatch.setattr(pool, "sweep", lambda *args, **options: real(*args, **{**options, **fake}))
    command = ["sweep", str(path), "--root", str(tmp_path / "r")]
    assert main([*command, "--budget", "6runs"]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    assert last.endswith(
        ": 0 of 2 looks taken; next: 2 arms to 2 seeds, each judged once it has them and base its 5 (runs left: 3)"
    )
    assert main([*command, "--budget", "1runs"]) == 0
    *_, last = capsys.readouterr().out.splitlines()
    assert ": 0 of 2 looks taken; 1 of 2 arms have the 2 seeds of look 1: " in last
    assert last.endswith("; next: 2 arms to 2 seeds (runs left: 2)")
    assert main(["verdicts", str(tmp_path / "r")]) == 0
    assert "1 of 2 arms have the 2 seeds of look 1: one verdict is early" in capsys.readouterr().out
    assert main(["verdicts", str(tmp_path / "r"), "--json"]) == 0
    assert [(a["arm"], a["early"]) for a in json.loads(capsys.readouterr().out)["arms"]] == [("lsgan", True)]
    assert main(command) == 0
    *_, last = capsys.readouterr().out.splitlines()
    assert "looks taken: " in last
    assert last.endswith("; nothing more is trained")


def test_dry_run_shows_the_looks_with_the_least_and_the_most_runs(tmp_path, capsys) -> None:
    path = tmp_path / "s.yaml"
    path.write_text("name: s\nmodels: [dcgan]\narms: [lsgan, hinge]\nseeds: {base: 8, looks: [3, 6, 12]}\n")
    assert main(["sweep", str(path), "--root", str(tmp_path / "r"), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "14 runs at the least, 32 at the most; each look's runs of arms: at most 6, 6, 12" in out
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(("argv", "words"), [
    (["sweep", "S", "--budget", "0runs"], "a budget of nothing"),
    (["sweep", "S", "--budget", "soon"], "write a time as 30m or 2h, or a number of runs as 800runs"),
    (["sweep", "S", "--budget", "0h"], "write a time as 30m or 2h"),
    (["sweep", "S", "--seeds", "3"], "the study fixes its looks beforehand"),
    (["next", "R"], "not an adaptive study"),
    (["verdicts", "A", "--margin", "1.1"], "an adaptive study stopped its arms by a margin of 1.25"),
    (["next", "nowhere"], "no such folder"),
])  # fmt: skip
def test_wrong_input_is_one_line_and_exit_code_2(argv, words, tmp_path, capsys, undisturbed) -> None:
    (tmp_path / "s.yaml").write_text("name: s\nmodels: [dcgan]\narms: [lsgan]\nseeds: {base: 8, looks: [3, 6]}\n")
    pool.sweep(Study(name="p"), tmp_path / "r", run="fake_runs:carry_out", display=Display(),
               expansion=Expansion((Recipe(steps=1),)))  # fmt: skip
    names = {"S": str(tmp_path / "s.yaml"), "R": str(tmp_path / "r"), "A": str(undisturbed)}
    assert main([names.get(part, part) for part in argv]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


# -- several runs on one GPU ----------------------------------------------------------------------------------------------


def test_the_multi_process_service_runs_for_the_sweep_that_shares_a_gpu(tmp_path, monkeypatch, capsys) -> None:
    """A stand-in for NVIDIA's control program, which notes how it is called and what it is told."""
    calls = tmp_path / "calls"
    control = tmp_path / "nvidia-cuda-mps-control"
    control.write_text(f'#!/bin/sh\necho "$1 $CUDA_MPS_PIPE_DIRECTORY $(cat)" >> {calls}\n')
    control.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0")
    monkeypatch.delenv("CUDA_MPS_PIPE_DIRECTORY", raising=False)
    sweep(tmp_path / "alone", per_gpu=1, workers=None, budget_runs=1)
    assert not calls.exists()
    sweep(tmp_path / "shared", per_gpu=2, workers=None, budget_runs=2)
    (begun, ended) = (line.split() for line in calls.read_text().splitlines())
    assert begun[0] == "-d"
    assert ended[-1] == "quit"
    assert begun[1] == ended[0] != ""
    assert "CUDA_MPS_PIPE_DIRECTORY" not in os.environ
    control.write_text("#!/bin/sh\necho no such service >&2\nexit 1\n")
    assert sweep(tmp_path / "without", per_gpu=2, workers=None, budget_runs=2).done == 2
    assert (
        "runs share a GPU by turns: nvidia-cuda-mps-control does not start: no such service" in capsys.readouterr().err
    )
