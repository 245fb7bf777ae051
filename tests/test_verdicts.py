"""`gan-ablate verdicts`: planted truths get their verdicts, in the terminal and as JSON."""

import json
import math
import re
import shutil
from html import escape

import pandas as pd
import pytest
import yaml
from planted_runs import HOSTILE, plant, run

from gan_ablate.cli import main
from gan_ablate.findings.sentences import sentences
from gan_ablate.findings.tables import tables
from gan_ablate.findings.verdicts import ORDER, records
from gan_ablate.formatting import percent
from gan_ablate.report import markdown, report, table_files, verdicts
from gan_ablate.results.frames import load
from gan_ablate.stats.two_part import VERDICTS

# key of the JSON -> column of the table
SAME_FIGURE = {
    "verdict": "verdict", "certain": "certain", "ratio": "ratio", "low": "ratio_low", "high": "ratio_high",
    "p_fid": "p_fid", "p_fail": "p_fail", "q": "q", "q_same": "q_same", "seeds_to_decide": "seeds_to_decide",
    "minutes_to_decide": "minutes_to_decide", "base_seeds_to_decide": "base_seeds_to_decide",
}  # fmt: skip
TRUTH = {"helped": "helps", "harmed": "hurts", "null": "same", "died": "fails more", HOSTILE: "same"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("planted") / "root"
    plant(folder, seeds=8, pictures=False)
    return folder


def judged(root, **more):
    return [table.verdicts for table in tables(load(root), **more)]


def test_planted_truths_are_found(root):
    for table in judged(root):
        assert {a: v.verdict for a, v in table.arms.items()} == TRUTH
        assert table.objection == ""
        assert sum(table.counts.values()) == len(TRUTH)
        assert [ORDER.index(v.verdict) for v in table.arms.values()] == sorted(
            ORDER.index(v.verdict) for v in table.arms.values()
        )


def test_every_number_of_a_record_is_finite_or_none_and_the_ratio_holds_the_planted_one(root):
    rows = records(judged(root))
    assert len(rows) == 2 * len(TRUTH)
    for row in rows:
        assert all(v is None or math.isfinite(v) for v in row.values() if isinstance(v, float | int))
        if row["arm"] == "helped":
            assert row["low"] < math.exp(-0.8) < row["high"] < 1
            assert (row["failed"], row["runs"], row["base_runs"]) == (0, 8, 8)
        if row["arm"] == "died":
            assert (row["failed"], row["ratio"]) == (8, None)
            assert row["p_fail"] < 0.001
        if row["arm"] == "null":
            assert row["runs"] == 7  # a cell of it is missing


def test_three_sentences_say_what_the_tables_say(root, tmp_path, capsys):
    """Every arm is named once, with its effect on each model; the page opens with them, and the command prints them."""
    found = tables(load(root))
    helped, harmed, rest = sentences(found)
    percents = [percent(next(a for a in t.arms if a.arm == "helped").ratio.point) for t in found]
    assert helped == (
        f"A trick helps in 2 of 10 tests of a trick on a model: "
        f"helped (dcgan: FID {percents[0]}, wgan_gp: FID {percents[1]})."
    )
    assert harmed.startswith("A trick harms in 4 of 10 tests")
    assert "died (dcgan: 8 of 8 runs fail, wgan_gp: 8 of 8 runs fail), harmed (" in harmed
    assert rest == "4 of 10 leave FID as it is, within the margin; none is undecided."
    page = report([root], tmp_path, tell=print).with_suffix(".md").read_text()
    assert page.index(helped) < page.index(harmed) < page.index(rest) < page.index("| arm |")
    assert capsys.readouterr().out.splitlines()[:3] == [helped, harmed, rest]
    assert sentences(()) == []


def test_a_narrow_margin_leaves_equal_arms_undecided_with_the_seeds_that_they_need(root):
    (dcgan, _) = judged(root, margin=1.1)
    verdict = dcgan.arms["null"]
    assert verdict.verdict == "undecided"
    (row,) = [r for r in records([dcgan]) if r["arm"] == "null"]
    assert row["minutes_to_decide"] == pytest.approx(row["seeds_to_decide"] * 10 / 60)
    assert row["base_seeds_to_decide"] == verdict.base_to_decide > 0  # base has no more runs than the arm
    assert dcgan.base_is_the_limit.startswith("base needs more seeds too for")


def test_the_command_prints_a_table_and_json(root, capsys):
    assert main(["verdicts", str(root)]) == 0
    out = capsys.readouterr().out
    assert "dcgan, FID@2048 (shapes classifier): 1 helps, 0 rescues, 2 same, 0 undecided, 1 fails more, 1 hurts" in out
    assert main(["verdicts", str(root), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert data["schema"] == 1
    assert {(r["model"], r["arm"], r["verdict"]) for r in data["arms"]} == {
        (m, a, v) for m in ("dcgan", "wgan_gp") for a, v in TRUTH.items()
    }


@pytest.mark.parametrize("adaptive", [False, True])
def test_the_report_says_what_the_command_says_in_every_format(root, tmp_path, capsys, adaptive):
    if adaptive:  # looks at 3 and 6 seeds: those beyond stand in the tables, and in no verdict
        shutil.copytree(root, tmp_path / "r")
        study = yaml.safe_load((root / "study.yaml").read_text())
        plan = {"base": 8, "looks": [3, 6], "until": "decided"}
        (tmp_path / "r" / "study.yaml").write_text(yaml.safe_dump(study | {"source": {"seeds": plan}}))
        root = tmp_path / "r"
    assert main(["verdicts", str(root), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)["arms"]
    assert len(told) == 2 * len(TRUTH)
    out = report([root], tmp_path / "o").parent
    page, text = ((out / name).read_text() for name in ("report.html", "report.md"))
    assert page.count(verdicts.STOPPED) == text.count(verdicts.STOPPED) == adaptive
    for model in ("dcgan", "wgan_gp"):
        rows = [row for row in told if row["model"] == model]
        frame = pd.read_csv(out / "tables" / f"{model}.csv", keep_default_na=False, na_values=[""]).set_index("arm")
        tex = (out / "tables" / f"{model}.tex").read_text()
        drawn = (out / "figures" / f"forest-{model}.svg").read_text()
        first = page[page.index("<section class='verdicts'") :].partition("</section>")[0]
        card = first.partition(f">{model}</a></h3>")[2].partition("</article>")[0]
        for row in rows:
            line = frame.loc[row["arm"]]
            for key, name in SAME_FIGURE.items():
                assert (line[name] == row[key]) if row[key] is not None else pd.isna(line[name]), (row["arm"], key)
            words = row["verdict"] + ", certain" * row["certain"]
            name = escape(row["arm"])
            failed = f"{row['failed']}/{row['runs']}"
            found = (
                rf"{re.escape(name)}</a></th><td[^>]*>{words}</td><td>{model}</td><td[^>]*>[^<]*</td><td[^>]*>{failed}<"
            )
            assert re.search(found, first), (name, words, failed)
            assert f"| {markdown.safe(row['arm'])} | {words} | {markdown.safe(model)} |" in text
            assert f"{table_files.tex(row['arm'])} & {words} &" in tex
            assert f">{failed}<" in drawn
        counts = {v: sum(row["verdict"] == v for row in rows) for v in VERDICTS}
        for word, n in counts.items():
            assert f"<b>{n}</b> {word}</li>" in card
        assert drawn.count(">certain<") == sum(row["certain"] for row in rows)


def test_a_base_that_fails_is_said_to_carry_no_help(root, tmp_path, capsys):
    shutil.copytree(root, tmp_path / "r")
    for seed in (0, 1, 2):
        path = tmp_path / "r" / "runs" / run("dcgan", "base", seed) / "result.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "outcome": "collapsed"}))
    dcgan, other = judged(tmp_path / "r")
    assert dcgan.objection == "base fails in 3 of 8 runs"
    assert other.objection == ""
    assert main(["verdicts", str(tmp_path / "r")]) == 0
    assert "base fails in 3 of 8 runs: it cannot carry verdicts of 'helps'" in capsys.readouterr().out


def test_without_base_there_is_nothing_to_judge(root, tmp_path):
    shutil.copytree(root, tmp_path / "r")
    for seed in range(8):
        shutil.rmtree(tmp_path / "r" / "runs" / run("dcgan", "base", seed))
    dcgan, _ = judged(tmp_path / "r")
    assert dcgan.arms == {}
    assert dcgan.objection == "base has too few runs"


@pytest.mark.parametrize(("argv", "words"), [
    (["verdicts", "nowhere"], "no such folder"),
    (["verdicts", "nowhere", "--margin", "1"], "a ratio over 1"),
    (["verdicts"], "roots"),
])  # fmt: skip
def test_wrong_input_is_one_line_and_exit_code_2(argv, words, capsys):
    assert main(argv) == 2
    err = capsys.readouterr().err
    assert words in err
    assert err.count("\n") == 1
