"""Reports on synthetic roots with planted truths."""

import csv
import json
import os
import re
import resource
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import yaml
from planted_runs import HOSTILE, VERDICTS, plant, result, run

import gan_ablate.report
from gan_ablate.errors import InputError
from gan_ablate.recipe import SCHEMA
from gan_ablate.report import load, report, tables
from gan_ablate.report.verdict_columns import verdict
from gan_ablate.results.frames import run_tables
from gan_ablate.store.store import Store


def test_planted_truths_get_their_verdicts(tmp_path):
    for table in tables(load(plant(tmp_path, seeds=8))):
        verdicts = {a.arm: a.verdict for a in table.arms}
        assert verdicts == VERDICTS
        by_name = {a.arm: a for a in table.arms}
        assert by_name["died"].failures == by_name["died"].runs == 8
        assert by_name["null"].missing == 1
        assert by_name["helped"].ratio.point == pytest.approx(np.exp(-0.8), rel=0.1)


def test_an_arm_that_is_base_takes_no_place_in_the_family_and_one_of_bases_weights_is_named(tmp_path):
    effects = {"base": 0.0, "flipped": 0.0, "lerp": 0.02, "a": 0.1, "b": -0.1, "c": 0.05}

    def root(name, **tie):
        made = plant(tmp_path / name, models=("dcgan",), effects=effects, pictures=False)
        study = yaml.safe_load((made / "study.yaml").read_text())
        for cell in study["cells"]:
            cell |= tie.get(cell["arm"], {})
        for seed in range(5):
            fid = json.loads((made / "runs" / run("dcgan", "base", seed) / "result.json").read_text())["metrics"]["fid"]
            for arm, factor in (("flipped", 1.0), ("lerp", 1.03 + seed / 1000)):
                path = made / "runs" / run("dcgan", arm, seed) / "result.json"
                data = json.loads(path.read_text())
                data["metrics"]["fid"] = fid * factor
                path.write_text(json.dumps(data))
        (made / "study.yaml").write_text(yaml.safe_dump(study))
        (table,) = tables(load(made))
        return table, {a.arm: a for a in table.arms}, made

    flipped = {"same_as_base": "the same loss", "shares_weights": True}
    before, old, _ = root("before")
    table, arms, made = root("after", flipped=flipped, lerp={"shares_weights": True})
    assert (before.family, table.family) == (5, 4)
    assert (old["flipped"].verdict, old["flipped"].certain) == ("same", True)  # such a root is read as ever
    assert (arms["flipped"].verdict, arms["flipped"].judged) == ("is base", None)
    assert arms["flipped"].fid == arms["base"].fid
    assert arms["lerp"].verdict == "same"
    assert arms["lerp"].ratio.point == pytest.approx(1.032, abs=0.001)
    notes = " ".join(table.notes)
    assert "flipped is base by construction (the same loss)" in notes
    assert "The FIDs of 5 of 5 seeds are equal to base's, bit for bit." in notes
    assert "Sampled from base's own trained weights: lerp." in notes
    text = (report([made], tmp_path / "out").parent / "report.md").read_text()
    assert "4 arms against base" in text
    assert "1 that is base by construction left out" in text
    for wrong in ([], {"a": 1}, 3):  # a stranger's study
        with pytest.raises(InputError, match=r"a field of another kind|aliases"):
            root(f"wrong{wrong}", flipped={"same_as_base": wrong, "shares_weights": "yes"})


def test_the_page_is_safe_self_contained_and_the_same_twice(tmp_path):
    plant(tmp_path / "r")
    first, second = report([tmp_path / "r"], tmp_path / "a"), report([tmp_path / "r"], tmp_path / "b")
    page = first.read_text()
    assert page.count("<script") == 1
    assert not re.findall(r"(?:src|href)=['\"](?!data:|#)", page)
    assert "&lt;script&gt;" in page
    assert "data:image/webp" in page
    assert "<script" not in (first.parent / "report.md").read_text()
    ours = {p.relative_to(first.parent): p.read_bytes() for p in first.parent.rglob("*") if p.is_file()}
    theirs = {p.relative_to(second.parent): p.read_bytes() for p in second.parent.rglob("*") if p.is_file()}
    assert ours == theirs
    assert {p.suffix for p in ours} == {".html", ".md", ".csv", ".svg", ".tex"}


def test_tables_hold_every_run(tmp_path):
    out = report([plant(tmp_path)], tmp_path / "out").parent
    runs = pd.read_csv(out / "tables" / "runs.csv")
    assert len(runs) == 60
    assert dict(runs["outcome"].value_counts()) == {"ok": 48, "diverged": 8, "crashed": 2, "missing": 2}
    arms = pd.read_csv(out / "tables" / "dcgan.csv")
    ok = runs[(runs["model"] == "dcgan") & (runs["arm"] == "helped")]
    assert arms.set_index("arm").loc["helped", "fid"] == pytest.approx(np.exp(np.log(ok["fid"]).mean()))


def test_files_have_the_digits_that_every_processor_agrees_on(tmp_path):
    root = plant(tmp_path)
    out = report([root], tmp_path / "out").parent / "tables"
    exact = {str(json.loads(p.read_bytes())["metrics"].get("fid")) for p in root.glob("runs/*/result.json")}
    measured = pd.read_csv(out / "runs.csv", dtype=str)["fid"].dropna()
    assert set(measured) <= exact
    assert measured.str.replace(".", "").str.len().max() > 12  # as measured, in full
    with open(out / "all-arms.csv") as file:
        cells = [cell for row in csv.reader(file) for cell in row if re.fullmatch(r"-?\d+\.\d+(e-\d+)?", cell)]
    assert len(cells) > 100
    assert all(repr(float(f"{float(cell):.9g}")) == cell or float(cell).is_integer() for cell in cells)


def test_extractors_are_never_mixed_in_one_table(tmp_path):
    root = plant(tmp_path, models=("dcgan",), effects={"base": 0.0, "helped": -0.5})
    path = root / "runs" / run("dcgan", "helped", 0) / "result.json"
    path.write_text(json.dumps(result("dcgan", "helped", 0, 20.0, extractor="other")))
    found = tables(load(root))
    assert {t.label for t in found} == {"FID@2048 (shapes classifier)", "FID@2048 (other)"}
    assert sum(a.runs for t in found for a in t.arms) == 10


def test_damaged_results_are_named_and_count_as_missing(tmp_path):
    root = plant(tmp_path, models=("dcgan",))
    (root / "runs" / run("dcgan", "base", 0) / "result.json").write_text('{"recipe": ')
    loaded = load(root)
    assert loaded.problems == (f"{run('dcgan', 'base', 0)}/result.json cannot be read; the run counts as missing",)
    assert "cannot be read" in report([root], tmp_path / "o").read_text()


FOREIGN = {
    "another run's": (lambda data, other: other, "record"),
    "another schema": (lambda data, other: data | {"schema": 99}, "schema 99 instead of"),
    "no id": (lambda data, other: data | {"run_id": ""}, "run ''"),
    "another recipe": (lambda data, other: data | {"recipe": data["recipe"] | {"steps": 7}}, "its recipe is run"),
    "no recipe": (lambda data, other: data | {"recipe": {}}, "no whole recipe"),
}


@pytest.mark.parametrize("kind", FOREIGN)
@pytest.mark.parametrize("name", ["result.json", "failed.json"])
def test_a_foreign_result_is_refused_by_all_readers_alike(tmp_path, kind, name):
    change, why = FOREIGN[kind]
    root = plant(tmp_path / "r", models=("dcgan",), effects={"base": 0.0, "died": 0.0}, seeds=2, pictures=False)
    arm = "base" if name == "result.json" else "died"  # whose seed 0 crashed
    mine = run("dcgan", arm, 0)
    path = root / "runs" / mine / name
    other = json.loads((root / "runs" / run("dcgan", "base", 1) / "result.json").read_text()) | {"error": "its own"}
    path.write_text(json.dumps(change(json.loads(path.read_text()), other)))
    store, loaded = Store.open(root), load(root)
    assert (store.glance(mine)[0], store.finished(mine, warn=False)) == ("left", None)
    assert loaded.runs.set_index("run_id").loc[mine, "outcome"] == "missing"
    assert list(loaded.problems) == [problem for problem in loaded.problems if why in problem and mine in problem]
    assert len(loaded.problems) == 1
    assert mine not in loaded.records
    assert mine not in set(loaded.curves["run_id"])
    (table,) = (
        t.arms["dcgan"][arm] for t in run_tables([loaded]) if arm in t.arms["dcgan"] and 0 in t.arms["dcgan"][arm]
    )
    assert (table[0].outcome, table[0].record) == ("missing", {})
    assert f"{mine}/{name} is refused" in report([root], tmp_path / "o").read_text()
    for cell in store.cells:  # nothing else is refused
        assert (cell.run_id in loaded.records) == (cell.run_id != mine) == (store.glance(cell.run_id)[0] != "left")


def test_no_reader_takes_a_figure_that_is_not_finite(tmp_path):
    root = plant(tmp_path, models=("dcgan",), effects={"base": 0.0}, seeds=1, pictures=False)
    path = root / "runs" / run("dcgan", "base", 0) / "result.json"
    data = json.loads(path.read_text()) | {"seconds": float("nan"), "peak_memory_bytes": True}
    path.write_text(json.dumps(data).replace('"images_seen": 6400', '"images_seen": 1e999'))
    read = Store.open(root).finished(path.parent.name)
    assert read is not None
    assert (read["seconds"], read["images_seen"]) == (None, None)
    assert load(root).runs[["seconds", "images_seen", "peak_memory_bytes"]].isna().all(axis=None)


def _change(root, run, **fields):
    path = root / "runs" / run / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


@pytest.mark.parametrize(
    ("fields", "outcome"),
    [
        ({"curve": [3]}, "missing"),
        ({"recipe": "x"}, "missing"),
        ({"labels": None}, "missing"),
        ({"evaluation": {"samples": 3}}, "missing"),
        ({"best": "x"}, "missing"),
        ({"seconds": "fast"}, "missing"),
        ({"metrics": {"fid": "low"}}, "missing"),
        ({"metrics": None}, "diverged"),
        ({"metrics": {"fid": float("inf")}}, "diverged"),
        ({"metrics": {"fid": float("nan")}}, "diverged"),
        ({"outcome": ["ok"]}, "crashed"),
        ({"outcome": "diverged", "note": "lone \ud800 surrogate"}, "diverged"),
        ({"curve": None, "versions": None, "hardware": None, "sample_grid": "/etc/passwd"}, "ok"),
    ],
)
def test_a_malformed_result_spoils_no_report(tmp_path, fields, outcome):
    root = plant(tmp_path, models=("dcgan",), effects={"base": 0.0, "helped": -0.8})
    _change(root, run("dcgan", "helped", 0), **fields)
    loaded = load(root)
    assert loaded.runs.set_index("run_id").loc[run("dcgan", "helped", 0), "outcome"] == outcome
    assert bool(loaded.problems) == (outcome == "missing")
    assert report([root], tmp_path / "o").is_file()


def test_a_damaged_picture_spoils_no_report(tmp_path):
    root = plant(tmp_path, models=("dcgan",))
    (root / "runs" / run("dcgan", "base", 0) / "samples" / "final.png").write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    assert report([root], tmp_path / "o").is_file()


@pytest.mark.parametrize(
    "cell", [3, {"run_id": "x"}, {"run_id": "x", "model": "m", "dataset": "d", "arm": "a", "seed": "b"}]
)
def test_a_malformed_cell_is_said_in_one_line(tmp_path, cell):
    root = plant(tmp_path, models=("dcgan",))
    study = yaml.safe_load((root / "study.yaml").read_text())
    (root / "study.yaml").write_text(yaml.safe_dump(study | {"cells": [*study["cells"], cell]}))
    with pytest.raises(InputError, match="not a study's file"):
        load(root)


def test_load_stays_callable_once_a_report_was_written(tmp_path):
    report([plant(tmp_path)], tmp_path / "o")
    assert callable(gan_ablate.report.load)


def test_an_arm_that_collapses_at_a_low_fid_has_not_helped(tmp_path):
    root = plant(tmp_path, models=("dcgan",), seeds=8)
    for seed in range(8):
        _change(root, run("dcgan", "helped", seed), outcome="collapsed")
    (table,) = tables(load(root))
    helped = next(a for a in table.arms if a.arm == "helped")
    assert (helped.verdict, helped.failures) == ("fails more", 8)
    assert np.isnan(helped.fid.point)  # a collapsed run's FID is no score
    assert np.isnan(helped.ratio.point)
    assert helped.improvement == 0
    page = report([root], tmp_path / "o").read_text()
    assert page.count("every run failed") == 2 * 2  # died, too; in the short plot and in the whole one


def test_crashed_and_missing_runs_stay_where_extractors_differ(tmp_path):
    root = plant(tmp_path, models=("dcgan",))
    path = root / "runs" / run("dcgan", "helped", 0) / "result.json"
    path.write_text(json.dumps(result("dcgan", "helped", 0, 20.0, extractor="other")))
    found = tables(load(root))
    assert len(found) == 2
    assert sum(a.runs + a.missing for t in found for a in t.arms) == 30


def test_too_few_runs_are_undecided_and_say_what_they_would_take(tmp_path):
    root = plant(tmp_path / "r", models=("dcgan",), effects={"base": 0.0, "a": 0.1, "died": 0.0}, seeds=2)
    (table,) = tables(load(root))
    assert {a.arm: verdict(a) for a in table.arms} == {"base": "base", "a": "undecided", "died": "undecided"}
    words = {"a": "4 seeds and 4 of base, 40 s", "died": "2 seeds and 2 of base, 20 s"}  # two runs of base say little
    assert {a.arm: a.to_decide for a in table.arms[1:]} == words
    out = report([root], tmp_path / "o").parent
    drawn = (out / "figures" / "forest-dcgan.svg").read_text()
    # in the figure as many words as fit beside the plot
    assert all(drawn.count(f">{text.partition(' and ')[0]} + base<") == 1 for text in words.values())
    page = (out / "report.html").read_text()
    assert page.count("<td data-k='2'>2 seeds and 2 of base, 20 s</td>") == 2  # in the list, and among the numbers
    assert "<p>Undecided. 2 runs, 2 failed (1 crashed, 1 diverged). To decide: 2 seeds and 2 of base, 20 s.</p>" in page
    frame = pd.read_csv(out / "tables" / "dcgan.csv").set_index("arm")
    assert frame.loc["died", ["seeds_to_decide", "minutes_to_decide"]].tolist() == [2, pytest.approx(20 / 60)]
    assert frame.loc["base", ["seeds_to_decide", "minutes_to_decide"]].isna().all()


def test_hostile_models_and_study_names_stay_text(tmp_path):
    root = plant(tmp_path, models=(HOSTILE,), seeds=2)
    study = yaml.safe_load((root / "study.yaml").read_text())
    (root / "study.yaml").write_text(yaml.safe_dump(study | {"name": f"n```\n{HOSTILE}; rm -rf /"}))
    page = report([root], tmp_path / "o")
    text = (page.parent / "report.md").read_text()
    assert page.read_text().count("<script") == 1
    outside = re.sub(r"^```$.*?^```$", "", text, flags=re.M | re.S)
    assert "<script" not in outside
    assert text.count("```") == 2
    assert {p.name for p in page.parent.parent.iterdir()} == {"o", "runs", "study.yaml"}


def test_the_locale_does_not_matter(tmp_path):
    plant(tmp_path / "r", models=("dcgan",))
    env = os.environ | {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    command = [sys.executable, "-m", "gan_ablate.report", str(tmp_path / "r"), "--out"]
    done = subprocess.run([*command, str(tmp_path / "a")], check=False, capture_output=True, env=env)
    assert done.returncode == 0, done.stderr
    ours = report([tmp_path / "r"], tmp_path / "b").read_bytes()
    assert (tmp_path / "a" / "report.html").read_bytes() == ours


def test_one_seed_says_that_nothing_can_be_tested(tmp_path):
    page = report([plant(tmp_path, seeds=1)], tmp_path / "o").read_text()
    assert "One seed: nothing can be tested" in page


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda r: r / "none", "no such folder"),
        (lambda r: r, "no study here"),
        (lambda r: (r / "study.yaml").write_text("a: [") and r, "cannot be read"),
        (lambda r: (r / "study.yaml").write_text("schema: 99") and r, "schema 99"),
        (
            lambda r: (
                (r / "study.yaml").write_text(
                    f"{{schema: {SCHEMA}, name: n, cells: [{{run_id: ../../x, model: m, dataset: d, arm: base, seed: 0}}]}}"
                )
                and r
            ),
            "leads out of the root",
        ),
        (
            lambda r: (
                (r / "study.yaml").write_text(
                    f"{{schema: {SCHEMA}, name: n, cells: [{{run_id: x, model: m, dataset: d, arm: base, seed: 0}}]}}"
                )
                and r
            ),
            "no run has finished",
        ),
    ],
)
def test_what_cannot_be_reported_is_said_in_one_line(tmp_path, make, message):
    with pytest.raises(InputError) as caught:
        report([make(tmp_path)])
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_thousand_runs_in_seconds(tmp_path):
    effects = {"base": 0.0, **{f"arm{i}": 0.0 for i in range(66)}}
    root = plant(tmp_path, models=("dcgan", "nsgan", "wgan_gp"), effects=effects, pictures=False)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-m", "gan_ablate.report", str(root)], check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (
        after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 15
    )  # of the processor: others may work too
