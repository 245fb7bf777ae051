"""What a report calls its files and anchors, what it leaves alone in its folder, and the commands that it prints."""

import json
import os
import re
from collections import Counter
from types import SimpleNamespace

import pandas as pd
import pytest
import yaml
from planted_runs import plant, result, run

from gan_ablate.formatting import place, slug
from gan_ablate.report import html as page_writer
from gan_ablate.report import load, protocol, report, write
from gan_ablate.report.section import Names, Scope

TWO = {"base": 0.0, "helped": -0.8}


def ids(text):
    return re.findall(r" id=['\"]([^'\"]+)['\"]", text)


def test_models_called_like_our_own_files_take_nothing_away(tmp_path):
    models = ("dcgan", "runs", "signs", "all-arms", "over-models", "main", "forest", "map", "arms", "dcgan-stability")
    root = plant(tmp_path / "r", models=models, effects=TWO, seeds=2, pictures=False)
    out = report([root], tmp_path / "o").parent
    assert len(pd.read_csv(out / "tables" / "runs.csv")) == len(models) * 4
    assert len(pd.read_csv(out / "tables" / "all-arms.csv")) == len(models) * 2
    own = [pd.read_csv(f)["model"].unique().tolist() for f in (out / "tables").glob("*.csv") if _is_arms(f)]
    assert sorted(own) == sorted([m] for m in models)
    assert len(list((out / "tables").glob("*.tex"))) == 2 * len(models)
    assert max(Counter(ids((out / "report.html").read_text())).values()) == 1


def _is_arms(file):
    frame = pd.read_csv(file)
    return {"verdict", "arm"} <= set(frame.columns) and "study" not in frame.columns


def test_a_second_table_of_a_model_keeps_clear_of_a_model_of_that_name(tmp_path):
    root = plant(tmp_path / "r", models=("dcgan", "dcgan-2"), effects=TWO, seeds=4, pictures=False)
    for seed in (0, 1):
        for arm in TWO:
            path = root / "runs" / run("dcgan", arm, seed) / "result.json"
            path.write_text(json.dumps(result("dcgan", arm, seed, 20.0 + seed, extractor="other")))
    out = report([root], tmp_path / "o").parent
    tables = {f.stem: pd.read_csv(f) for f in (out / "tables").glob("dcgan*.csv") if _is_arms(f)}
    assert sorted(tables) == ["dcgan", "dcgan-2", "dcgan-2-2"]
    assert {k: t["model"].iloc[0] for k, t in tables.items()} == {
        "dcgan": "dcgan", "dcgan-2": "dcgan", "dcgan-2-2": "dcgan-2",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("roots", "prefixes"),
    [
        (["a"], [""]),
        (["a", "a", "a-2"], ["a-", "a-2-", "a-2-2-"]),
        (["a", "A"], ["a-", "A-2-"]),  # one file on many systems
        (["x" * 300, "x" * 300], [f"{'x' * 80}-", f"{'x' * 80}-2-"]),
        (["?", "!"], ["study-", "study-2-"]),
    ],
)
def test_each_root_has_a_prefix_of_its_own(roots, prefixes):
    runs = [Scope(root).name("runs") for root in roots]
    names = Names(runs)
    assert [names(name).removesuffix("runs") for name in runs] == prefixes


def test_no_file_of_one_root_is_called_like_one_of_another():
    a, b = Scope("a"), Scope("a-b")
    models = [
        Scope("b-runs", a),
        Scope("dcgan", a),
        Scope("dcgan", b),
        Scope("dcgan-arm-1", b),
        Scope("dcgan-arm-2", b),
    ]
    defined = [a.name("runs"), b.name("runs"), *(m.name(form) for m in models for form in ("{}", "{}-arm-0"))]
    names = Names([*defined, models[2].name("{}-arm-1")])
    stems = ["a-b-runs-2", "a-dcgan", "a-b-dcgan", "a-b-dcgan-arm-1-2", "a-b-dcgan-arm-2"]
    assert [names(m.name("{}")) for m in models] == stems


def test_a_long_name_makes_a_short_file(tmp_path):
    assert slug("x" * 79 + "--" + "y" * 300) == "x" * 79
    root = plant(tmp_path / "r", models=("dcgan", "nsgan"), effects=TWO, seeds=1, pictures=False)
    text = (root / "study.yaml").read_text().replace("dcgan", "m" * 299).replace("nsgan", "m" * 300)
    (root / "study.yaml").write_text(
        text.replace(f"run_id: {'m' * 299}", "run_id: dcgan").replace(f"run_id: {'m' * 300}", "run_id: nsgan")
    )
    tables = report([root], tmp_path / "o").parent / "tables"
    assert (tables / f"{'m' * 80}.csv").is_file()
    assert (tables / f"{'m' * 80}-2.csv").is_file()


def test_files_that_no_report_wrote_stay(tmp_path):
    out = tmp_path / "o"
    (out / "tables").mkdir(parents=True)
    (out / "figures").mkdir()
    mine = [out / "tables" / "mine.csv", out / "tables" / "compare.csv", out / "figures" / "mine.svg"]
    for file in mine:
        file.write_text("kept")
    (out / "tables" / "report-files.csv").write_text("file\n../mine.csv\ntables/../figures/mine.svg\n/etc/hostname\n")
    for models in (("dcgan", "wgan_gp"), ("dcgan",)):
        report([plant(tmp_path / models[-1], models=models, effects=TWO, seeds=2, pictures=False)], out)
    assert [f.read_text() for f in mine] == ["kept"] * 3
    assert not [f.name for f in out.rglob("*") if "wgan_gp" in f.name or f.suffix == ".tmp"]


def test_an_error_on_the_way_leaves_the_earlier_report(tmp_path, monkeypatch):
    root = plant(tmp_path / "r", models=("dcgan",), effects=TWO, seeds=2, pictures=False)
    out = report([root], tmp_path / "o").parent
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    monkeypatch.setattr(page_writer, "page", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        report([plant(tmp_path / "s", models=("nsgan",), effects=TWO, seeds=2, pictures=False)], out)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before


def test_the_verdicts_of_all_roots_come_first_and_the_claims_are_linked(tmp_path, monkeypatch):
    claim = SimpleNamespace(
        id="c",
        statement="s",
        source="o",
        verdict="not tested",
        summary="no",
        smallest_missed=1.0,
        certain=False,
        datasets=(),
        settles="",
    )
    monkeypatch.setattr(write, "judge", lambda _: [claim])
    roots = [plant(tmp_path / name, models=("dcgan",), effects=TWO, seeds=2, pictures=False) for name in "ab"]
    out = report(roots, tmp_path / "o")
    text = out.read_text()
    sections = re.findall(r"<section[^>]* id='([\w-]+)'", text)
    assert sections[:2] == ["planted-verdicts", "planted-2-verdicts"]
    headings = re.findall(r"<h2[^>]*>(.*?)</h2>", text)
    assert len(headings) == len(set(headings))
    assert {h.rpartition(" · ")[2] for h in headings} == {"planted", "planted-2", "The claims"}
    nav = re.findall(r"href='#([\w-]+)'", re.search(r"<nav.*?</nav>", text)[0])
    assert nav[:2] == ["planted-verdicts", "planted-2-verdicts"]
    assert nav[-1] == "claims"
    assert set(pd.read_csv(out.parent / "tables" / "all-arms.csv")["study"]) == {"planted", "planted-2"}


def test_a_root_is_printed_from_the_current_folder_on(tmp_path, monkeypatch):
    root = plant(tmp_path / "runs" / "x", models=("dcgan",), effects=TWO, seeds=1, pictures=False)
    monkeypatch.chdir(tmp_path)
    whole, short = (report([r], tmp_path / o) for r, o in ((root, "a"), (os.path.join("runs", "x"), "b")))
    assert whole.read_bytes() == short.read_bytes()
    assert "python -m gan_ablate.report runs/x" in whole.read_text()
    assert place("/elsewhere/y") == "/elsewhere/y"


SOURCE = {"name": "planted", "models": ["dcgan"], "arms": ["label_smoothing"], "seeds": 2}


@pytest.mark.parametrize(
    ("file", "command"),
    [
        (SOURCE, "gan-ablate sweep sweeps/planted.yaml --root r --only m/a/0"),
        (SOURCE | {"seeds": 3}, "gan-ablate sweep STUDY.yaml --root r --only m/a/0  # STUDY.yaml: what r/study.yaml"),
        (None, "gan-ablate sweep STUDY.yaml --root r --only m/a/0  # STUDY.yaml: what r/study.yaml has as source"),
    ],
)
def test_a_studys_file_is_named_only_where_it_is_the_one(tmp_path, monkeypatch, file, command):
    monkeypatch.chdir(tmp_path)
    root = plant(tmp_path / "r", models=("dcgan",), effects=TWO, seeds=1, pictures=False)
    study = yaml.safe_load((root / "study.yaml").read_text())
    (root / "study.yaml").write_text(yaml.safe_dump(study | {"source": SOURCE}))
    (tmp_path / "sweeps").mkdir()
    if file:
        (tmp_path / "sweeps" / "planted.yaml").write_text(yaml.safe_dump(file))
    assert protocol.repeat_sweep(load(root), "m/a/0").startswith(command)


def test_single_runs_are_made_again_by_train(tmp_path):
    root = plant(tmp_path / "r", models=("dcgan",), effects=TWO, seeds=11, pictures=False)
    study = yaml.safe_load((root / "study.yaml").read_text())
    (root / "study.yaml").write_text(yaml.safe_dump(study | {"name": "train"}))
    loaded = load(root)
    for record in loaded.records.values():
        record["recipe"]["tricks"] = []
    lines = protocol.repeat_study(loaded)
    assert lines[0].startswith("gan-ablate train --model dcgan --dataset shapes")
    assert [re.search(r"--seed (\d+)", line)[1] for line in lines] == [str(k) for k in range(11)]  # arms share recipes
    for k, record in enumerate(loaded.records.values()):
        record["recipe"] |= {"lr": 0.001 + k}
    assert len(protocol.repeat_study(loaded)) == protocol.LINES + 1
    assert protocol.repeat_study(loaded)[-1] == "# and 2 more: each arm says its own"
    loaded.records.clear()
    loaded.records["x"] = {"recipe": {}}
    assert protocol.repeat_study(loaded) == [protocol.NO_COMMAND]


def test_a_latex_table_fits_a_page_and_repeats_its_head(tmp_path):
    root = plant(tmp_path / "r", models=("dcgan",), effects=TWO, seeds=2, pictures=False)
    tables = report([root], tmp_path / "o").parent / "tables"
    numbers, stability = ((tables / name).read_text() for name in ("dcgan.tex", "dcgan-stability.tex"))
    for text in (numbers, stability):
        first, rest = text.split(r"\endfirsthead")
        assert r"\caption" in first
        assert r"\caption" not in rest
        assert first.count(r"\toprule") == rest.count(r"\toprule") == 1
        assert r"\begin{landscape}\footnotesize" in first
        assert first.splitlines()[-3].count("&") <= 8
    heads = ["arm", "verdict", "FID@2048 (shapes classifier)", r"$\times$ base", "q", "failed"]
    assert numbers.splitlines()[5].removesuffix(r" \\").split(" & ")[:6] == heads
