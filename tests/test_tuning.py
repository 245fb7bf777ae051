"""Tuned studies: every arm is tried on seeds of its own, and judged on others at its best setting."""

from __future__ import annotations

import csv
import itertools
import json
import math
import random
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_pool import until

from gan_ablate import tricks
from gan_ablate.cli import main
from gan_ablate.errors import InputError
from gan_ablate.findings.looks import open_root
from gan_ablate.findings.replication import first_fresh_seed
from gan_ablate.findings.tables import tables
from gan_ablate.findings.tuning import choices, open_tuned
from gan_ablate.recipe import BASE, Recipe
from gan_ablate.report import report
from gan_ablate.results.frames import load
from gan_ablate.results.runs import Run
from gan_ablate.store.merge import merge
from gan_ablate.store.pack import pack
from gan_ablate.store.store import Store
from gan_ablate.study.entries import MOST_SEEDS
from gan_ablate.study.study import expand, from_dict
from gan_ablate.study.tuning import FIRST_SEED, Tune, read_tune, settings, tune_of
from gan_ablate.sweep import pool
from gan_ablate.sweep.display import Display

HERE = Path(__file__).parent
ARMS = ["spectral_norm", "label_smoothing", "lsgan", "hinge", "adam_lr:lr=0.0007"]
SOURCE: dict[str, Any] = {
    "name": "tuned", "base": {"dataset": "digits", "channels": 1, "steps": 2},
    "models": {"dcgan": {"lr": 0.001}, "nsgan": {"lr": 0.004}}, "arms": ARMS,
    "tune": {"lr": [0.5, 1, 2], "seeds": 2}, "seeds": 5,
}  # fmt: skip
LOOKS = {"base": 8, "looks": [3, 6], "until": "decided"}
PICKED = {
    BASE: "lr x1", "spectral_norm": "lr x2", "label_smoothing": "lr x1", "lsgan": "lr x1", "hinge": "lr x1",
}  # fmt: skip
TRIED = 3 * 2 * 5  # runs of a model: adam_lr has nothing to try


def study(**changes: Any) -> Any:
    return from_dict({**SOURCE, **changes}, "s.yaml")


def sweep(root: Path, adaptive: bool = False, **more: Any) -> pool.Summary:
    options = {"workers": 2, "display": Display(), **more}
    return pool.sweep(study(seeds=LOOKS) if adaptive else study(), root, run="fake_runs:tuned", **options)


def results(root: Path) -> dict[str, Any]:
    """What a root says in the end, as can be compared: its study file, and what each run found."""
    found = {p.parent.name: json.loads(p.read_text())["metrics"] for p in root.glob("runs/*/result.json")}
    return {"study": (root / "study.yaml").read_text(), **found}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    root = tmp_path_factory.mktemp("tuned") / "root"
    assert sweep(root).exit_code == 0
    return root


# -- what is tried ----------------------------------------------------------------------------------------------------


def at(model: str, arm: str, **grid: list[float]) -> dict[str, Recipe]:
    own = {"dcgan": {"lr": 0.001}, "wgan_gp": {"lr": 0.004}}[model]
    tune = read_tune(grid, "s")
    return settings(tricks.complete(Recipe(model=model, tricks=(arm,) if arm else (), **own)), tune)


def rates(recipe: Recipe) -> tuple[float, float]:
    """The learning rates of G and D that a recipe really trains with."""
    blueprint = tricks.assemble(recipe)[1]
    return blueprint.g_optimizer.options["lr"], blueprint.d_optimizer.options["lr"]


@pytest.mark.parametrize(
    ("model", "arm"),
    [("dcgan", ""), ("dcgan", "lsgan"), ("wgan_gp", "ttur:factor=4"), ("wgan_gp", "wgan_clip:lr=0.001"),
     ("wgan_gp", "rmsprop:lr=0.01"), ("dcgan", "sgd_discriminator"), ("dcgan", "lr_decay")],
)  # fmt: skip
def test_a_factor_multiplies_the_rates_that_an_arm_really_uses(model, arm) -> None:
    found = at(model, arm, lr=[0.25, 1, 2])
    own = rates(found["lr x1"])
    for factor in (0.25, 1, 2):
        assert rates(found[f"lr x{factor:g}"]) == pytest.approx([factor * rate for rate in own])


def test_an_arm_that_is_another_number_of_the_field_keeps_it() -> None:
    assert list(at("dcgan", "adam_lr:lr=0.0002", lr=[0.5, 1, 2])) == ["lr x1"]
    found = at("dcgan", "adam_beta1:beta1=0.9", lr=[0.5, 1], beta1=[0, 0.5])
    assert list(found) == ["lr x0.5, beta1 0.5", "lr x1, beta1 0.5"]
    assert {tricks.assemble(r)[1].g_optimizer.options["betas"][0] for r in found.values()} == {0.9}


def test_the_grid_is_the_product_and_the_arm_s_own_setting_is_the_study_s_own_run() -> None:
    found = at("dcgan", "", lr=[0.5, 1], beta1=[0, 0.5, 0.9], batch_size=[64, 128])
    assert len(found) == len({r.run_id for r in found.values()}) == 12
    assert found["lr x1, beta1 0.5, batch_size 128"].run_id == at("dcgan", "", lr=[1, 2])["lr x1"].run_id
    assert found["lr x0.5, beta1 0, batch_size 64"].batch_size == 64


@pytest.mark.parametrize("seeds", [1, 5, [3, 19_999], {"base": 40, "looks": [5, 10, 20]}])
def test_tuning_seeds_are_none_that_is_judged(seeds, tmp_path) -> None:
    own = study(seeds=seeds, models={"dcgan": {}}, arms=[])
    found = expand(own)
    tried = {r.seed for r in found.recipes if r.run_id in found.tuning}
    judged = {r.seed for r in found.recipes if r.run_id not in found.tuning}
    assert tried == {FIRST_SEED, FIRST_SEED + 1}
    assert not tried & judged
    assert FIRST_SEED > MOST_SEEDS  # the most that a number of seeds may be
    few = [r for r in found.recipes if r.run_id in found.tuning or r.seed < 3]
    Store.create(tmp_path, name="t", source=own.source, recipes=few, tuning=found.tuning)
    assert first_fresh_seed(load(tmp_path)) > max(tried | judged)  # of a replication


def test_judged_runs_are_the_same_runs_as_without_tuning_where_nothing_better_is_found() -> None:
    found = expand(study())
    plain = expand(from_dict({k: v for k, v in SOURCE.items() if k != "tune"}, "s.yaml"))
    assert [r for r in found.recipes if r.run_id not in found.tuning] == list(plain.recipes)
    assert not plain.tuning


# -- the rule ---------------------------------------------------------------------------------------------------------


def tuning_run(setting: str, seed: int, fid: float | None, own: bool = False) -> Run:
    outcome = "ok" if fid else "collapsed"
    return Run(Path(), "m", "a", seed, outcome, fid or 1.0, {}, "d", tuning=setting, own_setting=own)


def test_the_rule_is_fewest_failures_then_the_lowest_mean_log_fid_then_its_own_setting() -> None:
    rng = random.Random(0)
    for _ in range(300):
        grid = {f"lr x{x:g}": [rng.choice([None, 1.0, 2.0, 4.0]) for _ in range(2)] for x in (0.5, 1, 2)}
        runs = [tuning_run(s, k, fid, own=s == "lr x1") for s, own in grid.items() for k, fid in enumerate(own)]
        order = list(runs)
        rng.shuffle(order)
        (found,) = choices(order, Tune({"lr": (0.5, 1, 2)})).values()

        def rank(setting: str, grid: dict[str, list[float | None]] = grid) -> tuple[int, float]:
            fids = [x for x in grid[setting] if x]
            return 2 - len(fids), math.prod(fids) ** (1 / len(fids)) if fids else math.inf

        best = min(map(rank, grid))
        tied = [s for s in grid if rank(s) == pytest.approx(best)]
        assert found.chosen is not None
        assert found.chosen.setting == ("lr x1" if "lr x1" in tied else tied[0])
        assert found.edge == (() if found.chosen.own else ("lr",))


def test_nothing_is_picked_before_every_setting_has_its_runs_and_an_end_that_nothing_lies_beyond_is_no_edge() -> None:
    runs = [tuning_run("beta1 0", 0, 1.0), tuning_run("beta1 0.5", 0, 2.0, own=True)]
    tune = Tune({"beta1": (0.0, 0.5)})
    (found,) = choices(runs, tune).values()
    assert found.chosen is not None
    assert (found.chosen.setting, found.edge) == ("beta1 0", ())
    (left,) = choices([*runs, replace(runs[0], seed=1, outcome="missing")], tune).values()
    assert (left.chosen, left.edge) == (None, ())


# -- sweeps -----------------------------------------------------------------------------------------------------------


def test_each_arm_is_judged_on_fresh_seeds_at_its_own_best_setting(undisturbed) -> None:
    loaded = load(undisturbed)
    picked = {place: c.chosen.setting for place, c in choices(loaded.tuning).items() if c.chosen}
    assert picked == {(m, "digits", a): s for m in ("dcgan", "nsgan") for a, s in PICKED.items()}
    factor = {a: float(s.removeprefix("lr x")) for a, s in PICKED.items()}
    base = {"dcgan": 0.001, "nsgan": 0.004}
    for run in loaded.each:
        assert run.recipe["lr"] == base[run.model] * factor.get(run.arm, 1)
        assert run.seed < 5
    assert len(loaded.each) == len(loaded.runs) == 2 * 6 * 5
    assert len(loaded.tuning) == 2 * TRIED
    # at base's own rate spectral_norm is 1.65 times as bad; at its own best it is the same
    for table in tables(loaded):
        assert table.verdicts is not None
        assert table.verdicts.arms["spectral_norm"].verdict == "same"
        assert {n.finished for n in table.verdicts.runs.values()} == {5}


def test_again_there_is_nothing_to_do_and_another_grid_or_a_choice_of_runs_is_refused(undisturbed) -> None:
    again = sweep(undisturbed)
    assert (again.done, again.left, again.exit_code) == (0, 0, 0)
    other = study(tune={"lr": [0.5, 1, 2, 4], "seeds": 2})
    with pytest.raises(InputError, match=r"begun with tune: {lr: \[0.5, 1, 2\], seeds: 2}"):
        pool.sweep(other, undisturbed, run="fake_runs:tuned", display=Display())
    with pytest.raises(InputError, match="--only: the choice of settings of a tuned study needs every arm"):
        sweep(undisturbed, only="base")


@pytest.mark.parametrize("adaptive", [False, True])
def test_a_budget_ends_it_anywhere_and_every_state_is_a_plain_root(adaptive, tmp_path, undisturbed, capsys) -> None:
    root = tmp_path / "root"
    for number in itertools.count(1):
        summary = sweep(root, adaptive, budget_runs=50)
        assert summary.exit_code == 0
        if not summary.left and not summary.done:
            break
        assert number < 12
        loaded, opened = load(root), open_tuned(root)
        done = len(list(root.glob("runs/*/result.json")))
        assert opened is not None
        assert len(loaded.records) + sum(bool(r.record) for r in loaded.tuning) == done
        for argv in (["status", root], ["next", root], ["next", root, "--json"], ["verdicts", root],
                     ["report", root, "--out", tmp_path / "page"], ["pack", root, "--out", tmp_path / "a.zip"]):  # fmt: skip
            assert main(list(map(str, argv))) == 0, argv
        out = capsys.readouterr().out
        assert "digits: tuning: " in out
        if number == 1:
            assert not loaded.each
            assert "nothing is judged before every arm has its setting" in out
            assert f"Tuning goes on: {done} of {2 * TRIED} tuning runs" in (tmp_path / "page/report.md").read_text()
    if adaptive:
        whole = tmp_path / "whole"
        assert sweep(whole, adaptive).exit_code == 0
        found = [open_root(r) for r in (root, whole)]
        assert found[0] is not None
        assert found[1] is not None
        assert found[0].looks == found[1].looks
        assert {len(looked.seeds) for looked in found[0].looks.values()} == {6}
    else:
        assert results(root) == results(undisturbed)


SWEEPER = """
import sys
sys.path.insert(0, {here!r})
import test_tuning
sys.exit(test_tuning.sweep(test_tuning.Path({root!r}), options={{"seconds": 0.05}}).exit_code)
"""


@pytest.mark.parametrize("after", [11, 2 * TRIED + 5])  # in tuning, and in the judged part
def test_killed_and_resumed_it_ends_as_undisturbed(after, tmp_path, undisturbed) -> None:
    process = subprocess.Popen([sys.executable, "-c", SWEEPER.format(here=str(HERE), root=str(tmp_path))])
    until(lambda: len(list(tmp_path.glob("runs/*/result.json"))) >= after, 120)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert sweep(tmp_path).exit_code == 0
    assert results(tmp_path) == results(undisturbed)


def test_an_archive_and_a_merge_keep_the_tuning_runs_apart(tmp_path, undisturbed) -> None:
    other = tmp_path / "half"
    sweep(other, budget_runs=31)
    counts = merge([other, undisturbed], tmp_path / "both")
    assert counts["copied"] == 2 * (TRIED + 30)
    assert len(load(tmp_path / "both").tuning) == 2 * TRIED
    (tmp_path / "a.zip").write_bytes(pack(undisturbed, {}))
    pages = [tmp_path / "of-root", tmp_path / "of-archive"]
    for place, page in zip((undisturbed, tmp_path / "a.zip"), pages, strict=True):
        assert main(["report", str(place), "--out", str(page)]) == 0
    for name in ("dcgan-tuning.csv", "tuning-runs.csv", "dcgan.csv"):
        assert len({(page / "tables" / name).read_bytes() for page in pages}) == 1


# -- what is shown ----------------------------------------------------------------------------------------------------


def test_the_report_says_the_same_in_every_format(tmp_path, undisturbed) -> None:
    page = report([undisturbed], tmp_path)
    html, text = page.read_text(), (tmp_path / "report.md").read_text()
    tex = (tmp_path / "tables" / "dcgan-tuning.tex").read_text()
    with open(tmp_path / "tables" / "dcgan-tuning.csv") as file:
        rows = {row["arm"]: row for row in csv.DictReader(file)}
    assert {arm: row["picked"] for arm, row in rows.items() if row["picked"]} == PICKED
    assert rows["spectral_norm"]["at_the_edge"] == "lr"
    assert rows["lsgan"]["failed lr x2"] in ("1", "1.0")
    logs: dict[str, list[float]] = {}
    for path in undisturbed.glob("runs/*/result.json"):
        record = json.loads(path.read_text())
        recipe = record["recipe"]
        if (recipe["model"], recipe["arm"]) == ("dcgan", BASE) and recipe["seed"] >= FIRST_SEED:
            logs.setdefault(f"fid lr x{recipe['lr'] / 0.001:g}", []).append(math.log(record["metrics"]["fid"]))
    assert len(logs) == 3
    for column, own in logs.items():
        assert float(rows[BASE][column]) == pytest.approx(math.exp(sum(own) / len(own)))
    for said in (html, text, tex):
        assert "at the edge: a wider grid may do better" in said
        assert "keeps its own number" in said
    for said in (html, text):
        assert "ties go to the setting that the study gives it" in said
        assert "stands at the setting that it picked on 2 other seeds per setting" in said
    assert (tmp_path / "tables" / "runs.csv").read_text().count("\n") == 1 + 2 * 6 * 5
    assert (tmp_path / "tables" / "tuning-runs.csv").read_text().count("\n") == 1 + 2 * TRIED


def test_a_study_without_tune_has_nothing_of_it(tmp_path) -> None:
    plain = from_dict({k: v for k, v in SOURCE.items() if k != "tune"} | {"arms": ["lsgan"], "seeds": 2}, "s.yaml")
    assert pool.sweep(plain, tmp_path, run="fake_runs:tuned", workers=2, display=Display()).exit_code == 0
    keys = {key for line in (tmp_path / "study.yaml").read_text().splitlines() if line.startswith('- {"')
            for key in json.loads(line[2:])}  # fmt: skip
    assert keys == {"run_id", "model", "dataset", "arm", "seed"}
    assert "setting that it picked" not in report([tmp_path], tmp_path / "page").read_text()
    assert not list((tmp_path / "page" / "tables").glob("*tuning*"))
    assert open_tuned(tmp_path) is None


def test_dry_run_shows_both_parts(tmp_path, capsys) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(json.dumps(SOURCE))
    assert main(["sweep", str(path), "--root", str(tmp_path / "r"), "--dry-run"]) == 0
    out = capsys.readouterr().out
    assert "3 settings of each arm, 2 seeds each: {lr: [0.5, 1, 2], seeds: 2}" in out
    assert f"{2 * TRIED} runs, 0 finished" in out
    assert f"{2 * 6 * 5} runs, 0 finished" in out
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize(("changes", "words"), [
    ({"tune": {"lrr": [1, 2]}}, "unknown field to tune 'lrr': did you mean 'lr'?"),
    ({"tune": {"steps": [100, 200]}}, "steps cannot be tuned, only lr, beta1"),
    ({"tune": {"lr": []}}, "lr=[]: needs a list of numbers"),
    ({"tune": {"lr": 2}}, "lr=2: needs a list of numbers"),
    ({"tune": {"lr": ["a"]}}, "needs a list of numbers"),
    ({"tune": {"lr": [True, 2]}}, "needs a list of numbers"),
    ({"tune": {"lr": [0.5, 2]}}, "1 must be among them"),
    ({"tune": {"lr": [0, 1]}}, "factors of the arm's own lr are over 0"),
    ({"tune": {"lr": [1, 1.0]}}, "a number is given twice"),
    ({"tune": {"lr": [1]}}, "leaves nothing to choose"),
    ({"tune": {"seeds": 3}}, "leaves nothing to choose"),
    ({"tune": {"lr": [1, 2], "seeds": 0}}, "seeds=0: needs a whole number of 1 to 1,000 tuning seeds"),
    ({"tune": {"lr": list(range(1, 200))}}, "199 settings, at most 100"),
    ({"tune": [1, 2]}, "expected recipe fields with lists of numbers"),
    ({"tune": None}, "expected recipe fields with lists of numbers"),
    ({"tune": {"beta1": [0, 0.3]}}, "tune: dcgan/base: its own beta1=0.5 is none of [0, 0.3]: add it"),
    ({"tune": {"lr": [1, 1e9]}, "arms": ["wgan_clip"], "models": ["wgan_gp"]}, "at lr x1000000000: wgan_clip: lr="),
    ({"arms": [{"arm": "slow", "lr": 0.1}]}, "tune: lr: arm 'slow' sets it itself"),
    ({"seeds": [0, 20_001]}, "seeds=20001: a study with tune has judged seeds under 20,000 only"),
    ({"design": "factorial", "arms": [], "factors": ["lsgan", "hinge"]}, "in design factorial make the field a factor"),
])  # fmt: skip
def test_wrong_input_is_one_line_and_exit_code_2(changes, words, tmp_path, capsys) -> None:
    (tmp_path / "s.yaml").write_text(json.dumps({**SOURCE, **changes}))
    assert main(["sweep", str(tmp_path / "s.yaml"), "--root", str(tmp_path / "r"), "--dry-run"]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


def test_a_damaged_grid_in_a_root_is_none(tmp_path, undisturbed) -> None:
    assert tune_of({"tune": {"lr": "x"}}) is None
    assert tune_of(load(undisturbed).source) == study().tune


# -- a real one -------------------------------------------------------------------------------------------------------


def test_a_real_sweep_of_ring_tunes_and_judges(tmp_path) -> None:
    source = {
        "name": "ring", "base": {"dataset": "ring", "size": 1, "channels": 2, "width": 4, "latent_dim": 4, "steps": 6,
                                 "batch_size": 8, "precision": "fp32", "evaluation": {"samples": 64, "points": 1}},
        "models": ["nsgan"], "arms": ["lsgan"], "tune": {"lr": [1, 50], "seeds": 1}, "seeds": 2,
    }  # fmt: skip
    real = from_dict(source, "s.yaml")
    assert pool.sweep(real, tmp_path, workers=1, display=Display(), options={"accelerator": "cpu"}).exit_code == 0
    loaded = load(tmp_path)
    picked = choices(loaded.tuning, real.tune)
    assert len(loaded.tuning) == 4
    assert len(loaded.each) == 4
    for run in loaded.each:
        chosen = picked["nsgan", "ring", run.arm].chosen
        assert chosen is not None
        assert run.recipe["lr"] == pytest.approx(2e-4 * float(chosen.setting.removeprefix("lr x")))
        assert run.outcome != "missing"
