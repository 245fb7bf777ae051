"""Roots that someone wrote to break the report, and roots with nothing good in them: safe, and clear about it."""

import json
import math
import os
import re
import sys
import time
from collections import Counter
from html.parser import HTMLParser
from xml.etree import ElementTree

import pandas as pd
import pytest
import yaml
from planted_runs import HOSTILE, plant, plant_factorial, result, run

from gan_ablate.errors import InputError
from gan_ablate.recipe import SCHEMA, run_id_of
from gan_ablate.report import comparison, load, report, tables
from gan_ablate.report.figures import samples
from gan_ablate.results.frames import Results
from gan_ablate.untrusted import read_regular


class Tags(HTMLParser):
    """What a browser would take for tags."""

    def __init__(self, text):
        super().__init__()
        self.count, self.attributes, self.sources = Counter(), set(), []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.count[tag] += 1
        self.attributes |= {name for name, _ in attrs}
        self.sources += [value for name, value in attrs if name == "src"]


BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcdefghij", "bcdefghijk")
)
CELL = "{run_id: x, model: m, dataset: d, arm: base, seed: 0}"


@pytest.mark.parametrize(
    "study",
    [
        f"{BOMB}schema: {SCHEMA}\nname: *k\ncells: [{CELL}]",
        f"{BOMB}schema: {SCHEMA}\nname: n\ncells: [{{run_id: x, model: m, dataset: d, arm: *k, seed: 0}}]",
        f"{BOMB}schema: {SCHEMA}\nname: n\ncells: [{CELL}]\nnot_applicable: [{{model: m, dataset: d, arm: a, reason: *k}}]",
        f"{BOMB}schema: {SCHEMA}\nname: n\ncells: *k",
    ],
)
def test_a_yaml_bomb_is_refused_at_once(tmp_path, study):
    (tmp_path / "study.yaml").write_text(study)
    began = time.process_time()
    with pytest.raises(InputError):
        load(tmp_path)
    assert time.process_time() - began < 2


def test_a_bomb_in_a_design_is_refused_at_once(tmp_path):
    plant(tmp_path, models=("dcgan",), seeds=2)
    text = (tmp_path / "study.yaml").read_text()
    (tmp_path / "study.yaml").write_text(f"{BOMB}{text}\ndesign: {{name: full, factors: *k}}\nfactors: {{base: *k}}\n")
    began = time.process_time()
    with pytest.raises(InputError, match="aliases"):
        load(tmp_path)
    assert time.process_time() - began < 2


def test_merge_keys_that_grow_ninefold_are_refused(tmp_path):
    levels = "".join(f"{b}: &{b}\n  <<: [{', '.join([f'*{a}'] * 9)}]\n  {b}: 1\n" for a, b in zip("abcde", "bcdef"))
    (tmp_path / "study.yaml").write_text(f"a: &a {{x: 1, y: 2}}\n{levels}schema: {SCHEMA}\nname: n\ncells: [{CELL}]")
    with pytest.raises(InputError, match=r"merge keys \(<<\) are not allowed") as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


def test_only_a_regular_file_in_the_root_is_a_result(tmp_path):
    root = plant(tmp_path / "r", models=("dcgan",), effects={"base": 0.0}, seeds=3, pictures=False)
    linked, piped, _ = (root / "runs" / run("dcgan", "base", k) / "result.json" for k in range(3))
    linked.rename(tmp_path / "outside.json")
    linked.symlink_to(tmp_path / "outside.json")
    piped.unlink()
    os.mkfifo(piped)
    loaded = load(root)
    assert list(loaded.runs["outcome"]) == ["missing", "missing", "ok"]
    assert loaded.problems == tuple(
        f"{run('dcgan', 'base', k)}/result.json cannot be read (not a regular file); the run counts as missing"
        for k in range(2)
    )


def test_a_study_that_is_a_link_is_refused(tmp_path):
    (tmp_path / "study.yaml").symlink_to("/dev/zero")
    with pytest.raises(InputError, match="not a regular file"):
        load(tmp_path)


def test_a_file_over_the_cap_is_not_read(tmp_path):
    (tmp_path / "large").write_bytes(bytes(11))
    assert len(read_regular(tmp_path / "large", 11)) == 11
    with pytest.raises(OSError, match="over 10 bytes"):
        read_regular(tmp_path / "large", 10)


@pytest.mark.parametrize("run_id", ["../../x", "/etc", "..", ".", "", "a/b", "a\0b"])
def test_a_run_id_cannot_lead_out_of_the_root(tmp_path, run_id):
    cell = {"run_id": run_id, "model": "m", "dataset": "d", "arm": "base", "seed": 0}
    (tmp_path / "study.yaml").write_text(yaml.safe_dump({"schema": SCHEMA, "name": "n", "cells": [cell]}))
    with pytest.raises(InputError, match=r"leads out of the root|no name of a folder"):
        load(tmp_path)


def test_a_linked_run_folder_cannot_lead_out_of_the_root(tmp_path):
    root = plant(tmp_path / "r", models=("dcgan",), seeds=2)
    secret = tmp_path / "secret"
    (root / "runs" / run("dcgan", "helped", 0)).rename(secret)
    (root / "runs" / run("dcgan", "helped", 0)).symlink_to(secret)
    loaded = load(root)
    assert run("dcgan", "helped", 0) not in loaded.records
    assert any("the folder is a link" in problem for problem in loaded.problems)


def test_a_picture_cannot_lead_out_of_its_run(tmp_path):
    root = plant(tmp_path / "r", models=("dcgan",), effects={"base": 0.0, "helped": -0.8})
    (tmp_path / "secret.png").write_bytes(
        (root / "runs" / run("dcgan", "base", 0) / "samples" / "final.png").read_bytes()
    )
    for path in root.glob("runs/*/result.json"):
        data = json.loads(path.read_text()) | {"sample_grid": "../../../secret.png"}
        path.write_text(json.dumps(data))
    assert "<img" not in report([root], tmp_path / "o").read_text()


@pytest.mark.parametrize("name", ["a\0b", "x" * 300, "ring.png"])
def test_what_cannot_be_a_file_is_no_picture(tmp_path, name):
    root = plant(tmp_path / "r", models=("dcgan",), effects={"base": 0.0}, seeds=1)
    (root / "runs" / run("dcgan", "base", 0) / "ring.png").symlink_to("ring.png")
    path = root / "runs" / run("dcgan", "base", 0) / "result.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"sample_grid": name}))
    loaded = load(root)
    assert samples.grids(loaded, list(tables(loaded)[0].groups.values())) == [[]]


def test_a_run_id_too_long_for_a_file_is_said_in_one_line(tmp_path):
    (tmp_path / "runs").mkdir()
    (tmp_path / "study.yaml").write_text(f"schema: {SCHEMA}\nname: n\ncells: [{CELL.replace('x', 'x' * 300, 1)}]")
    with pytest.raises(InputError, match="no name of a folder"):
        load(tmp_path)


def test_control_characters_leave_every_figure_whole_xml(tmp_path):
    root = plant(tmp_path / "r", models=("dcgan\x01",), effects={"base": 0.0, "a\x02\x1bb": -0.8}, pictures=False)
    files = list(report([root], tmp_path / "o").parent.rglob("*.svg"))
    assert {f.name.partition("-")[0] for f in files} >= {"forest", "heatmap.svg", "curves", "budget"}
    for file in files:
        ElementTree.fromstring(file.read_text())


FORMULAS = ["=cmd()", "+1", "-1", "@x", "\ty", "'=quoted", "it's"]


def test_a_spreadsheet_is_given_no_formulas_and_we_read_the_names_back(tmp_path):
    root = plant(tmp_path / "r", models=("dcgan",), effects=dict.fromkeys(["base", *FORMULAS], 0.0), pictures=False)
    out = report([root], tmp_path / "o").parent
    for file in out.rglob("*.csv"):
        frame = pd.read_csv(file, dtype=str, keep_default_na=False)
        for column in frame.columns[[not _numeric(frame[c]) for c in frame.columns]]:
            assert not [v for v in frame[column] if v[:1] in tuple("=+-@\t\r")], (file, column)
    assert set(comparison.read_arms(out)["arm"]) == {"base", *FORMULAS}


def _numeric(column):
    return pd.to_numeric(column[column != ""], errors="coerce").notna().all()


def test_a_strangers_table_cannot_name_a_verdict_of_its_own(tmp_path):
    root = plant(tmp_path / "r", models=("dcgan",), effects={"base": 0.0, "helped": -0.8}, pictures=False)
    table = report([root], tmp_path / "o").parent / "tables" / "all-arms.csv"
    pd.read_csv(table).assign(verdict="' onmouseover='alert(1)").to_csv(table, index=False)
    with pytest.raises(InputError, match="not a report's table: verdict"):
        comparison.read_arms(tmp_path / "o")
    table.unlink()
    table.symlink_to("/dev/zero")
    with pytest.raises(InputError, match="not a regular file"):
        comparison.read_arms(tmp_path / "o")


def test_names_and_reasons_with_markup_stay_text(tmp_path):
    effects = {
        "base": 0.0,
        HOSTILE: -0.8,
        "a' onmouseover='alert(1)": 0.8,
        'b" onload="alert(1)': 0.0,
        "](javascript:alert(1))": 0.0,
    }
    root = plant(tmp_path / "r", models=("dcgan", "x'><img src=x onerror=alert(1)>"), effects=effects)
    out = report([root], tmp_path / "o").parent
    for file in [*out.rglob("*.html"), *out.rglob("*.svg")]:
        tags = Tags(file.read_text())
        assert tags.count["script"] == (1 if file.suffix == ".html" else 0)
        assert not [name for name in tags.attributes if name.startswith("on")]
        assert all(src.startswith("data:image/webp") for src in tags.sources)
    markdown = (out / "report.md").read_text()
    assert "<script" not in markdown
    assert "](javascript" not in markdown
    tex = "".join(p.read_text() for p in out.rglob("*.tex"))
    assert "alert(1)" in tex
    assert not re.search(r"(?<!\\)[&_#$](?=script|onmouse)", tex)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, 1e400, "NaN", None])
def test_figures_that_are_not_finite_are_no_scores(tmp_path, value):
    root = plant(tmp_path / "r", models=("dcgan",), effects={"base": 0.0, "helped": -0.8})
    data = result("dcgan", "helped", 0, 20.0)
    for place in (data["metrics"], data["curve"][-1], data["best"]):
        place["fid"] = value
    data["stability"]["volatility"] = data["seconds"] = data["metrics"]["kid"] = math.nan
    (root / "runs" / run("dcgan", "helped", 0) / "result.json").write_text(json.dumps(data))
    loaded = load(root)
    assert loaded.runs.set_index("run_id").loc[run("dcgan", "helped", 0), "outcome"] == "diverged"
    page = report([root], tmp_path / "o").read_text()
    assert not re.search(r"[\s'\">](nan|inf)\b", re.sub(r"data:image[^']*", "", page))


def test_a_study_of_no_cells_is_said_so(tmp_path):
    (tmp_path / "study.yaml").write_text(f"{{schema: {SCHEMA}, name: n, cells: []}}")
    with pytest.raises(InputError, match="with cells in it"):
        report([tmp_path])


def test_an_unstarted_root_needs_partial(tmp_path):
    (tmp_path / "study.yaml").write_text(f"{{schema: {SCHEMA}, name: n, cells: [{CELL}]}}")
    with pytest.raises(InputError, match="--partial"):
        report([tmp_path])
    page = report([tmp_path], tmp_path / "o", partial=True).read_text()
    assert "0 of 1 runs are in" in page


def test_one_seed_and_one_arm(tmp_path):
    page = report(
        [plant(tmp_path / "r", models=("dcgan",), effects={"base": 0.0}, seeds=1)], tmp_path / "o"
    ).read_text()
    assert "Nothing to compare yet" in page


def test_all_runs_failed(tmp_path):
    root = plant(tmp_path / "r", models=("dcgan",), effects={"base": 0.0, "helped": -0.8})
    for path in root.glob("runs/*/result.json"):
        recipe = json.loads(path.read_text())["recipe"]
        path.write_text(json.dumps(result("dcgan", recipe["arm"], recipe["seed"], None, "diverged")))
    (table,) = tables(load(root))
    assert table.base.failures == 5
    assert {a.verdict for a in table.arms} == {"", "undecided"}
    assert any("Every run of base failed" in n for n in table.notes)
    page = report([root], tmp_path / "o").read_text()
    assert "10 runs or files" in page


def test_all_runs_crashed_before_any_measurement(tmp_path):
    root = plant(tmp_path / "r", models=("dcgan",), effects={"base": 0.0, "helped": -0.8}, seeds=2)
    for path in root.glob("runs/*/result.json"):
        kept = {k: v for k, v in json.loads(path.read_text()).items() if k in ("schema", "run_id", "recipe")}
        failed = kept | {"error": "ValueError: <b>", "traceback": "", "attempts": 2}
        (path.parent / "failed.json").write_text(json.dumps(failed))
        path.unlink()
    page = report([root], tmp_path / "o").read_text()
    assert "ValueError: &lt;b&gt;" in page


def test_a_result_names_tricks_that_are_never_imported(tmp_path):
    root = plant(tmp_path / "r", models=("dcgan",), effects={"base": 0.0, "helped": -0.8}, seeds=2)
    data = result("dcgan", "helped", 0, 20.0)
    data["recipe"]["tricks"] = [{"name": "antigravity.Evil", "params": {}}]
    data["run_id"] = run_id_of(data["recipe"])
    folder = root / "runs" / data["run_id"]
    (root / "runs" / run("dcgan", "helped", 0)).rename(folder)
    (folder / "result.json").write_text(json.dumps(data))
    study = root / "study.yaml"
    study.write_text(study.read_text().replace(run("dcgan", "helped", 0), data["run_id"]))
    assert load(root).records[data["run_id"]]["recipe"]["tricks"] == data["recipe"]["tricks"]
    report([root], tmp_path / "o")
    assert "antigravity" not in sys.modules


def test_levels_of_factors_that_are_no_scalars_are_left_out(tmp_path):
    root = plant_factorial(tmp_path / "r")
    study = yaml.safe_load((root / "study.yaml").read_text())
    study["factors"]["base"] = {"a": {"deep": [1]}}
    (root / "study.yaml").write_text(yaml.safe_dump(study))
    assert "base" not in load(root).factors
    assert report([root], tmp_path / "o").is_file()


def test_health_skips_lines_that_cannot_be_read(tmp_path):
    root = plant(tmp_path / "r", models=("dcgan",), seeds=2)
    lines = [
        '{"step": 1, "d_loss": 0.5}',
        '{"step": 2, "d_loss": null}',
        "{",
        "[]",
        '{"step": 0, "evaluation": {}}',
        '{"step": "x"}',
    ]
    (root / "runs" / run("dcgan", "base", 0) / "metrics.jsonl").write_text("\n".join(lines))
    frame = load(root).health()
    assert list(frame["step"]) == [1, 2]
    assert frame["d_loss"].isna().tolist() == [False, True]
    assert set(frame["run_id"]) == {run("dcgan", "base", 0)}
    assert isinstance(load(root), Results)
