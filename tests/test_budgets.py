"""Two budgets: all arms at the first, at the second those that the first has found worth it, against base at as many."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml
from fake_runs import PLANTED
from test_pool import until

from gan_ablate.claims import judging
from gan_ablate.claims.claim import Claim, Contrast
from gan_ablate.claims.looks import compared
from gan_ablate.claims.measures import MEASURES
from gan_ablate.claims.planned_tests import planned_tests
from gan_ablate.claims.sentence import conclude
from gan_ablate.claims.verdict import Evidence
from gan_ablate.cli import main
from gan_ablate.findings.looks import GOES_ON, open_root
from gan_ablate.findings.replication import decided
from gan_ablate.formatting import percent
from gan_ablate.recipe import BASE, Recipe
from gan_ablate.report import report
from gan_ablate.report.comparison import moves, read_arms
from gan_ablate.results.frames import load, run_tables
from gan_ablate.store.merge import merge
from gan_ablate.store.show import find_run
from gan_ablate.store.store import Store
from gan_ablate.study.budgets import Budgets
from gan_ablate.study.seed_plan import SeedPlan
from gan_ablate.study.study import Expansion, Study, expand, from_dict, override
from gan_ablate.sweep import pool
from gan_ablate.sweep.display import Display

HERE = Path(__file__).parent
BUDGETS = Budgets(4, ("worse",))
GIVEN = {"factors": ["1x", "4x"], "also": ["worse"]}
SEEDS = {"base": 6, "looks": [3, 6]}
PLAN = SeedPlan(6, (3, 6), (1 / 2, 1 / 2))
FIRST = {"better": "helps", "worse": "hurts", "fails": "fails more"}
SECOND = {"better": "hurts", "worse": "helps", "fails": "hurts"}  # `better` and `fails` by verdict, `worse` by name
MODELS = ("dcgan", "nsgan")
LISTED = (2, 3, 5, 7, 11, 13)  # seeds of the plain study, which need not begin at 0


def study(kind: str) -> Study:
    if kind == "plain":
        return Study(name="budgets", seeds=LISTED, budgets=BUDGETS, source={"seeds": list(LISTED), "budgets": GIVEN})
    return Study(name="budgets", seed_plan=PLAN, budgets=BUDGETS, source={"seeds": SEEDS, "budgets": GIVEN})


def recipes(kind: str, models: tuple[str, ...] = MODELS) -> tuple[Recipe, ...]:
    def asked(arm: str) -> tuple[int, ...]:
        return LISTED if kind == "plain" else tuple(range(PLAN.base if arm == BASE else PLAN.looks[-1]))

    return tuple(
        Recipe(model=m, arm=a, tricks=() if a == BASE else (a,), seed=s, steps=2)
        for s in range(14) for m in models for a in PLANTED if s in asked(a)
    )  # fmt: skip


def sweep(root: Path, kind: str, models: tuple[str, ...] = MODELS, **more: Any) -> pool.Summary:
    first = recipes(kind, models)
    plan = Expansion(first, longer=tuple(replace(r, steps=8) for r in first), budget="4x")
    return pool.sweep(
        study(kind), root, run="fake_runs:planted", **{"workers": 2, "display": Display(), "expansion": plan, **more}
    )


def cells(root: Path) -> set[tuple[str, ...]]:
    return {(c.model, c.arm, str(c.seed), c.budget, c.run_id) for c in Store.open(root).cells}


def verdicts(root: Path) -> dict[tuple[str, str], dict[str, str]]:
    """(model, budget) -> arm -> verdict, by the report's tables."""
    found = [t for t in report_tables(root) if t.verdicts]
    return {(t.model, t.budget): {a: v.verdict for a, v in t.verdicts.arms.items()} for t in found}


def report_tables(root: Path) -> Any:
    from gan_ablate.findings.tables import tables

    return tables(load(root))


@pytest.fixture(scope="module", params=["adaptive", "plain"])
def kind(request):
    return request.param


@pytest.fixture(scope="module")
def undisturbed(kind, tmp_path_factory):
    root = tmp_path_factory.mktemp(kind) / "root"
    assert sweep(root, kind).exit_code == 0
    return root


# -- what is trained --------------------------------------------------------------------------------------------------


def test_the_second_budget_has_base_what_helps_or_fails_more_and_what_is_named(kind, undisturbed) -> None:
    found = verdicts(undisturbed)
    for model in MODELS:
        first = found[model, ""]
        assert {a: v for a, v in first.items() if a in FIRST} == FIRST
        # one more where noise calls `unclear` a help; such an arm goes on too
        assert set(found[model, "4x"]) == {a for a, v in first.items() if v in GOES_ON} | {"worse"}
        assert {a: v for a, v in found[model, "4x"].items() if a in SECOND} == SECOND
    runs = load(undisturbed).runs
    steps = {budget: set(own) for budget, own in runs.groupby("budget")["steps"]}
    assert steps == {"": {2}, "4x": {8}}
    assert sweep(undisturbed, kind).done == 0


def test_ratios_of_the_second_budget_are_to_base_at_the_second(undisturbed) -> None:
    loaded = load(undisturbed)
    for table in report_tables(undisturbed):
        runs = loaded.runs[(loaded.runs.model == table.model) & (loaded.runs.budget == table.budget)]
        base = table.groups[BASE]
        assert set(base["run_id"]) == set(runs[runs.arm == BASE].run_id)
        assert table.title == table.model + " at 4x the steps" * bool(table.budget)


def test_ended_by_budgets_it_releases_nothing_early_and_ends_the_same(kind, tmp_path, undisturbed) -> None:
    for number in range(9):
        summary = sweep(tmp_path, kind, budget_runs=15 if number < 5 else 1000)
        opened = open_root(tmp_path)
        assert opened is not None
        for model in {c.model for c in Store.open(tmp_path).cells if c.budget}:
            assert opened.looks[model, "shapes", ""].is_over(opened.plan)
        if not summary.left and not summary.done:
            break
    assert (cells(tmp_path), verdicts(tmp_path)) == (cells(undisturbed), verdicts(undisturbed))


SWEEPER = """
import sys
sys.path.insert(0, {here!r})
import test_budgets
sys.exit(test_budgets.sweep(test_budgets.Path({root!r}), {kind!r}, ("dcgan",), options={{"seconds": 0.03}}).exit_code)
"""


def test_killed_in_the_second_budget_it_ends_the_same(kind, tmp_path, undisturbed) -> None:
    code = SWEEPER.format(here=str(HERE), root=str(tmp_path), kind=kind)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def begun() -> bool:
        longer = (
            {c.run_id for c in Store.open(tmp_path).cells if c.budget} if (tmp_path / "study.yaml").exists() else ()
        )
        return sum((tmp_path / "runs" / run_id / "result.json").exists() for run_id in longer) > 2

    until(begun, 120)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert sweep(tmp_path, kind, ("dcgan",)).exit_code == 0
    assert cells(tmp_path) == {cell for cell in cells(undisturbed) if cell[0] == "dcgan"}
    assert verdicts(tmp_path) == {place: v for place, v in verdicts(undisturbed).items() if place[0] == "dcgan"}


def test_a_choice_of_runs_is_refused(kind, tmp_path) -> None:
    with pytest.raises(ValueError, match="needs every arm"):
        sweep(tmp_path, kind, only="better")


# -- what is said of it -----------------------------------------------------------------------------------------------


def test_status_next_and_verdicts_tell_the_budgets_apart(tmp_path, undisturbed, capsys) -> None:
    assert main(["status", str(undisturbed)]) == 0
    out = capsys.readouterr().out
    assert "dcgan on shapes at 4x the steps: " in out
    assert main(["status", str(undisturbed), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["arms"]
    assert {r.get("budget", "") for r in rows} == {"", "4x"}
    assert sum(r["done"] for r in rows) == len(cells(undisturbed))
    assert main(["verdicts", str(undisturbed), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["arms"]
    found = {(m, b, a): v for (m, b), own in verdicts(undisturbed).items() for a, v in own.items()}
    assert {(r["model"], r["budget"] or "", r["arm"]): r["verdict"] for r in rows} == found
    shutil.copytree(undisturbed, tmp_path / "r")
    taken = [c for c in Store.open(undisturbed).cells if c.model == "dcgan" and c.budget and c.arm == BASE][:2]
    for cell in taken:
        shutil.rmtree(tmp_path / "r" / "runs" / cell.run_id)
    assert main(["next", str(tmp_path / "r")]) == 0
    out = capsys.readouterr().out
    assert f"  dcgan@4x/base: seeds {taken[0].seed}, {taken[1].seed}  about 0.2 min" in out
    assert out.endswith("2 runs; the sweep's own command trains them\n")


def _first_told(changed: pd.DataFrame) -> tuple[tuple[str, str], pd.Series]:
    """Of changed arms: one that turns round where there is one, of these the one whose ratio moves most."""
    better, worse = {"helps", "rescues"}, {"hurts", "fails more"}
    turned = changed["first_verdict"].isin(better) & changed["second_verdict"].isin(worse)
    turned |= changed["first_verdict"].isin(worse) & changed["second_verdict"].isin(better)
    moved = np.log(changed["second_ratio"] / changed["first_ratio"]).abs()
    return next(changed.assign(turned=turned, moved=moved).sort_values(["turned", "moved"]).iloc[::-1].iterrows())


def test_the_report_shows_in_one_table_where_a_verdict_changes(undisturbed, tmp_path) -> None:
    out = report([undisturbed], tmp_path / "o").parent
    frame = pd.read_csv(out / "tables" / "more-steps.csv").set_index(["model", "arm"])
    tables = {(t.model, t.budget): {a.arm: a for a in t.arms} for t in report_tables(undisturbed)}
    assert len(frame) == sum(len(own) - 1 for (_, budget), own in tables.items() if budget)
    for (model, arm), line in frame.iterrows():
        for name, budget in (("first", ""), ("second", "4x")):
            own = tables[model, budget][arm]
            assert line[f"{name}_verdict"] == own.verdict
            assert (line[f"{name}_ratio"], line[f"{name}_low"], line[f"{name}_high"]) == pytest.approx(
                tuple(own.ratio), nan_ok=True
            )
        if arm in SECOND:
            assert line["changed"] == "yes"
    page, text = ((out / name).read_text() for name in ("report.html", "report.md"))
    yes, no = ((frame["changed"] == word).sum() for word in ("yes", "no"))
    assert yes >= len(MODELS) * len(SECOND)
    assert f"{yes} of {yes + no} arms that both budgets decide have another verdict at 4x the steps." in page
    said = next(line for line in text.splitlines() if line.startswith("At 4x the steps "))
    assert said.startswith(f"At 4x the steps {yes} of {yes + no} verdicts change: ")
    assert said in unescape(page)
    changed = frame[frame["changed"] == "yes"]
    (model, arm), line = _first_told(changed)
    told = f"{arm} on {model} ({line.first_verdict}, "
    assert said.partition(": ")[2].startswith(told)
    assert f"; then {line.second_verdict}, {percent(line.second_ratio)})" in said
    assert "Verdicts at 1x and at 4x the steps" in text
    assert "dcgan at 4x the steps" in text
    assert f" of {len(MODELS) * (len(PLANTED) - 1)} tests of a trick on a model" in page  # each arm counts once
    assert set(pd.read_csv(out / "tables" / "over-models.csv")["arm"]) == set(PLANTED)  # at the first budget only
    assert {m.what for m in moves(read_arms(undisturbed), read_arms(out))} == {"unmoved"}  # read back, told apart


def test_claims_merges_and_replications_tell_the_budgets_apart(undisturbed, tmp_path) -> None:
    tables = run_tables([load(undisturbed)])
    assert [(t.study, t.budget) for t in tables] == [("budgets", ""), ("budgets", "4x")]
    assert {r.recipe["steps"] for t in tables[1:] for m in t.arms.values() for a in m.values() for r in a.values()} == {
        8
    }
    assert {one.table.budget for one in decided(load(undisturbed))} == {""}
    assert merge([undisturbed], tmp_path / "m")["skipped"] == 0
    assert cells(tmp_path / "m") == cells(undisturbed)
    longer = find_run("dcgan@4x/base/3", undisturbed)
    assert longer.cell is not None
    assert longer.run_id != find_run("dcgan/base/3", undisturbed).run_id


def test_a_claim_is_judged_at_each_budget_as_the_arms_own_verdict_there(undisturbed, monkeypatch) -> None:
    there, own = run_tables([load(undisturbed)]), {(t.model, t.budget): t.verdicts for t in report_tables(undisturbed)}
    for table in there:
        for model in table.arms:
            held, judged = compared(table, model), own[model, table.budget]
            ours, theirs = ({a: repr(v.evidence) for a, v in x.items()} for x in (held.verdicts, judged.arms))
            assert ours == theirs  # as text, for some of it is NaN
            assert held.runs == {**judged.runs, BASE: judged.base}
    contrasts = {arm: Contrast("D", arm, BASE, "lower") for arm in own["dcgan", ""].arms}
    asked = {arm: list(planned_tests(contrast, MEASURES, there)) for arm, contrast in contrasts.items()}
    for arm, tests in asked.items():  # nothing is awaited of an arm that does not go on
        assert [t.table.budget for t in tests] == ["", *["4x"] * (arm in own["dcgan", "4x"].arms)]
    claim = Claim("x", "better is better", "S0", "nobody", (Contrast("D", "better", BASE, "lower"),))
    monkeypatch.setattr(judging, "registry", lambda: {"x": claim})
    (found,) = judging.judge([load(undisturbed)])
    assert [e.p for e in found.evidence] == [own["dcgan", b].arms["better"].evidence.p for b in ("", "4x")]
    assert [e.model for e in found.evidence] == ["dcgan", "dcgan at 4x the steps"]
    assert (found.verdict, [e.says for e in found.evidence]) == ("mixed", ["supports", "contradicts"])
    assert "; but " not in found.summary  # it tells both already


def test_the_sentence_says_where_a_second_budget_disagrees() -> None:
    claim = Claim("x", "better is better", "S0", "nobody", (Contrast("D", "better", BASE, "lower"),))
    place = {"dataset": "digits", "contrast": "better v base", "measure": "FID", "expects": "lower"}
    first = Evidence(model="dcgan", says="supports", p=0.001, q=0.002, **place)
    longer = Evidence(model="dcgan at 4x the steps", says="same", budget="4x", p=0.5, q=0.5, q_same=0.01, **place)
    others = [
        Evidence(model="nsgan", says="same", p=0.5, q=0.5, **place),
        Evidence(model="dcgan at 4x the steps", says="open", budget="4x", **{**place, "contrast": "other v base"}),
    ]
    said = conclude(claim, (first, longer, first, *others), 9, ["digits"]).summary
    assert said.endswith("; but better v base, dcgan at 4x the steps, makes no difference.")
    assert said.count("; but ") == 1
    assert "; but " not in conclude(claim, (first, replace(longer, says="supports"), *others), 9, ["digits"]).summary


# -- the study's file -------------------------------------------------------------------------------------------------

PLAIN: dict[str, Any] = {"name": "s", "models": ["dcgan", "wgan_gp"], "arms": ["lsgan", "hinge"], "seeds": 3}


def test_a_study_expands_to_both_budgets_and_without_budgets_to_what_it_did(tmp_path) -> None:
    for seeds in (3, SEEDS):
        one = expand(from_dict({**PLAIN, "seeds": seeds}))
        two = expand(from_dict({**PLAIN, "seeds": seeds, "budgets": ["1x", 1.5], "base": {"steps": 7}}))
        assert not one.longer
        assert (two.budget, {r.steps for r in two.recipes}, {r.steps for r in two.longer}) == ("1.5x", {7}, {10})
        assert [(r.model, r.arm, r.seed) for r in two.recipes] == [(r.model, r.arm, r.seed) for r in one.recipes]
        assert [replace(r, steps=7) for r in two.longer] == list(two.recipes)
        store = Store.create(tmp_path / str(seeds), name="s", source={}, **vars(one))
        assert "budget" not in (store.root / "study.yaml").read_text()
    named = from_dict({**PLAIN, "budgets": {"factors": [1, 4], "also": ["hinge"]}})
    assert {r.arm for r in expand(override(named, arms=["lsgan"])).longer} == {BASE, "lsgan"}


@pytest.mark.parametrize(("changes", "words"), [
    ({"budgets": [4, 1]}, "the first is 4: it must be 1"),
    ({"budgets": [1, 1]}, "the second must be larger"),
    ({"budgets": ["1x", "0.5x"]}, "the second must be larger"),
    ({"budgets": ["one", "four"]}, "'one': needs a number up to 10,000"),
    ({"budgets": [1, ".inf"]}, "needs a number"),
    ({"budgets": [True, 4]}, "'True': needs a number"),
    ({"budgets": [1, 2, 4]}, "needs two factors of the steps, as [1x, 4x]"),
    ({"budgets": 4}, "needs two factors"),
    ({"budgets": {"factors": [1, 4], "also": ["lsgam"]}}, "lsgan"),
    ({"budgets": {"factors": [1, 4], "also": "lsgan"}}, "needs a list of arms"),
    ({"budgets": {"factors": [1, 4], "alos": []}}, "also"),
    ({"budgets": [1, 4], "design": "factorial", "factors": ["hinge", "ema"], "arms": []}, "design factorial has one"),
    ({"budgets": [1, 4], "tune": {"lr": [0.5, 1]}}, "tune and budgets: a study has one of them"),
    ({"budgets": [1, 4], "arms": [{"arm": "long", "steps": 4000}]}, "dcgan/base is the same run as long at the first"),
])  # fmt: skip
def test_wrong_budgets_are_one_line_and_exit_code_2(changes, words, tmp_path, capsys) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({**PLAIN, **changes}))
    assert main(["sweep", str(path), "--root", str(tmp_path / "r"), "--dry-run"]) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(("seeds", "least", "most"), [(3, 2 * 3 + 3, 2 * 3 + 6), (SEEDS, 2 * 6 + 3, 2 * 6 + 12)])
def test_dry_run_says_what_the_second_budget_takes(seeds, least, most, tmp_path, capsys) -> None:
    path = tmp_path / "s.yaml"
    path.write_text(yaml.safe_dump({**PLAIN, "seeds": seeds, "budgets": {"factors": [1, 4], "also": ["hinge"]}}))
    assert main(["sweep", str(path), "--root", str(tmp_path / "r"), "--dry-run"]) == 0
    said = f"{least} runs at the least, {most} at the most, 0 of them finished"
    assert (
        f"then at 4x the steps: base, hinge, and arms that help, rescue or fail more: {said}" in capsys.readouterr().out
    )


# -- for real ---------------------------------------------------------------------------------------------------------


def test_points_in_the_plane_are_trained_at_both_budgets(tmp_path) -> None:
    small = {
        "dataset": "ring",
        "size": 1,
        "channels": 2,
        "width": 8,
        "batch_size": 32,
        "precision": "fp32",
        "steps": 20,
    }
    text = {
        "name": "s", "models": ["dcgan"], "arms": ["lsgan", "hinge"], "seeds": 1,
        "base": {**small, "evaluation": {"samples": 128, "points": 4}}, "budgets": {"factors": ["1x", "3x"], "also": ["hinge"]},
    }  # fmt: skip
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(text))
    assert main(["sweep", str(tmp_path / "s.yaml"), "--root", str(tmp_path / "r"), "--workers", "1"]) == 0
    runs = load(tmp_path / "r").runs
    assert not (runs["outcome"] == "missing").any()
    made = runs.groupby("budget")["steps"].agg(["min", "max", "size"])
    assert made.loc[""].tolist() == [20, 20, 3]
    assert made.loc["3x", ["min", "max"]].tolist() == [60, 60]
    assert {BASE, "hinge"} <= set(runs.loc[runs.budget == "3x", "arm"])
