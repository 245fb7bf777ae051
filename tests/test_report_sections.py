"""A section is data: what is declared in one place appears in every format."""

import re

import pandas as pd
from planted_runs import plant
from test_claims import Root

from gan_ablate.recipe import TrickSpec
from gan_ablate.report import arm_columns, report, write
from gan_ablate.report.protocol import settings
from gan_ablate.report.section import Column, Fold, Group, Section, Table

TWO = {"base": 0.0, "helped": -0.8}


def formats(tmp_path):
    """The report of one model: page, text, and its tables by file name."""
    out = report([plant(tmp_path / "r", models=("dcgan",), effects=TWO, pictures=False)], tmp_path / "o").parent
    return (out / "report.html").read_text(), (out / "report.md").read_text(), out / "tables"


def test_a_page_says_which_tricks_base_itself_has(tmp_path):
    spec = TrickSpec.parse
    root = Root(tmp_path).add("r3gan", "base", 0, 10.0, tricks=[spec("generator_ema"), spec("r1:gamma=1")])
    root.add("dcgan", "base", 0, 10.0).add("dcgan", "r1", 0, 10.0, recipe={"arm": "r1"})
    dcgan, r3gan = settings(root)
    assert r3gan.endswith(", with generator_ema and r1:gamma=1")
    assert ", with" not in dcgan


def test_a_new_column_appears_in_all_four_formats(tmp_path, monkeypatch):
    new = Column("letters", lambda r: len(r.arm.arm), "letters of its name", ("letters",))
    monkeypatch.setattr(arm_columns, "NUMBERS", (*arm_columns.NUMBERS, new))
    page, text, tables = formats(tmp_path)
    assert "<th scope='col'>letters</th>" in page
    assert "<dt>letters</dt><dd>letters of its name</dd>" in page
    assert re.search(r"helped</a></th>.*<td data-k='6'>6</td></tr>", page)
    assert re.search(r"\| s/run \| letters \|", text)
    assert re.search(r"\| helped \|.*\| 6 \|\n", text)
    assert dict(pd.read_csv(tables / "dcgan.csv").set_index("arm")["letters"]) == {"base": 4, "helped": 6}
    assert "letters" in pd.read_csv(tables / "all-arms.csv").columns
    tex = (tables / "dcgan.tex").read_text()
    assert tex.count(r"& letters \\") == 2
    assert r"& 6 \\" in tex


def test_a_new_section_appears_in_all_four_formats_and_in_the_navigation(tmp_path, monkeypatch):
    def words(study):
        rows = [row for m in study.models for row in m.rows]
        columns = (
            Column("arm", lambda r: r.arm.arm, csv=("arm",)),
            Column("big", lambda r: r.arm.arm.upper(), csv=("big",)),
        )
        table = Table("Arms in capitals", columns, rows, study.scope.name("words"), study.scope.name("words"))
        return Section(
            study.scope.name("words"), "Words", "In words", "Look here.", (Group("All", (Fold("more", (table,)),)),)
        )

    monkeypatch.setattr(write, "FINDINGS", (*write.FINDINGS, words))
    page, text, tables = formats(tmp_path)
    assert "<li><a href='#words'>Words</a></li>" in page
    assert re.search(r"<section id='words'.*Look here\..*<details>.*<td>HELPED</td>", page, re.S)
    assert re.search(r"## In words\n\nLook here\.\n\n### All\n\n.*\| helped \| HELPED \|", text, re.S)
    assert pd.read_csv(tables / "words.csv")["big"].tolist() == ["BASE", "HELPED"]
    assert r"helped & HELPED \\" in (tables / "words.tex").read_text()
    assert "tables/words.tex" in (tables / "report-files.csv").read_text()


def test_a_model_called_like_a_new_sections_file_keeps_clear_of_it(tmp_path, monkeypatch):
    def words(study):
        table = Table("", (Column("arm", str, csv=("arm",)),), ["x"], study.scope.name("dcgan"))
        return Section(study.scope.name("words"), "Words", "In words", "", (table,))

    monkeypatch.setattr(write, "FINDINGS", (*write.FINDINGS, words))
    _, _, tables = formats(tmp_path)
    assert pd.read_csv(tables / "dcgan.csv")["arm"].tolist() == ["x"]
    assert pd.read_csv(tables / "dcgan-2.csv")["model"].unique().tolist() == ["dcgan"]


def test_a_section_without_parts_is_not_shown(tmp_path, monkeypatch):
    monkeypatch.setattr(
        write, "FINDINGS", (*write.FINDINGS, lambda s: Section(s.scope.name("void"), "Void", "Void", "", ()))
    )
    page, text, _ = formats(tmp_path)
    assert "void" not in page.lower().replace("avoid", "")
    assert "Void" not in text
