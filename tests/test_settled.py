"""Arms that are still improving at the end of training are marked, in every format; what has no curve is not."""

import json
import math

import numpy as np
import pandas as pd
import pytest
from planted_runs import plant, run
from scipy.stats import sem

from gan_ablate.claims import judge
from gan_ablate.cli import main
from gan_ablate.findings.settled import LIMIT, MARK
from gan_ablate.findings.tables import tables
from gan_ablate.report import report
from gan_ablate.results.frames import load
from gan_ablate.results.runs import read_run
from gan_ablate.results.study_file import Cell

# arm -> its mean fall of log FID over the last quarter. `noisy` is over the limit by less than its error
FALLS = {"base": 0.02, "helped": 0.2, "null": 0.0, "harmed": -0.3, "noisy": 0.12}
SEEDS = 5
OFFSETS = {"noisy": 0.2}  # of the falls of its seeds; else 0.03


def falls(arm, base=FALLS["base"]):
    shift = np.linspace(-1, 1, SEEDS) * OFFSETS.get(arm, 0.03)
    return (base if arm == "base" else FALLS[arm]) + shift


def change(root, arm, seed, curve):
    path = root / "runs" / run("dcgan", arm, seed) / "result.json"
    if path.exists():
        path.write_text(json.dumps({**json.loads(path.read_text()), "curve": curve}))


def planted(root, base=FALLS["base"], curves=True):
    """Evaluations at 0, 1/2, 3/4 and all of the steps, the last two apart by the planted fall."""
    plant(
        root, models=("dcgan",), effects={a: {"helped": -0.8, "harmed": 0.8}.get(a, 0.0) for a in FALLS}, pictures=False
    )
    for arm in FALLS:
        for seed, fall in enumerate(falls(arm, base)):
            logs = [(0, 6.0), (50, 4.0), (75, 3 + fall), (100, 3.0)] if curves else []
            change(root, arm, seed, [{"step": s, "fid": math.exp(x)} for s, x in logs])
    return root


@pytest.mark.parametrize("points", [1, 2, 3, 4, 6, 7])
def test_of_a_curve_that_falls_evenly_a_quarter_of_the_fall_is_found_whatever_the_evaluations(tmp_path, points):
    root = plant(tmp_path / "r", models=("dcgan",), effects={"base": 0.0}, seeds=1, pictures=False)
    steps = [round(1000 * (k + 1) / points) for k in range(points)]
    change(root, "base", 0, [{"step": s, "fid": 50 * math.exp(-0.6 * s / 1000)} for s in [0, *steps]])
    name = run("dcgan", "base", 0)
    found = read_run(root / "runs" / name, Cell(name, "dcgan", "shapes", "base", 0)).last_quarter_fall
    assert math.isnan(found) if points == 1 else found == pytest.approx(0.15)


def test_the_mark_is_on_the_arms_whose_fall_exceeds_the_limit_by_its_error_in_every_format(tmp_path, capsys):
    root = planted(tmp_path / "r")
    (table,) = tables(load(root))
    there = {a: falls(a)[: SEEDS - (a == "null")] for a in FALLS}  # `null` lacks its last seed
    for arm in table.arms:
        own = there[arm.arm]
        assert (arm.fall.mean, arm.fall.error) == pytest.approx((own.mean(), sem(own)))
        assert arm.fall.still_improving == (own.mean() - sem(own) > LIMIT)
    assert {a.arm for a in table.arms if a.fall.still_improving} == {"helped"}
    assert main(["verdicts", str(root), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["arms"]
    assert {r["arm"]: r["still_improving"] for r in rows} == {a: a == "helped" for a in FALLS if a != "base"}
    assert all(
        (r["fall"], r["fall_error"]) == pytest.approx((there[r["arm"]].mean(), sem(there[r["arm"]]))) for r in rows
    )
    assert not any(r["base_still_improving"] for r in rows)
    assert main(["verdicts", str(root)]) == 0
    printed = capsys.readouterr().out.partition("Of a table's")[0]
    assert [line.split()[0] for line in printed.splitlines() if MARK in line] == ["helped"]
    out = report([root], tmp_path / "o").parent
    frame = pd.read_csv(out / "tables" / "dcgan.csv", keep_default_na=False).set_index("arm")
    assert frame["still_improving"].to_dict() == {a: a == "helped" for a in FALLS}
    page, text, tex = ((out / name).read_text() for name in ("report.html", "report.md", "tables/dcgan.tex"))
    shown = f"{there['helped'].mean():.2f} ± {sem(there['helped']):.2f}, {MARK}"
    assert shown in page
    assert shown in text
    assert shown.replace("±", r"$\pm$") in tex
    assert "speed of learning" not in page + text + printed


def test_where_base_itself_is_still_improving_the_page_says_what_the_verdicts_are_about(tmp_path, capsys):
    root = planted(tmp_path / "r", base=0.25)
    out = report([root], tmp_path / "o").parent
    assert main(["verdicts", str(root)]) == 0
    said = "verdicts are about speed of learning, not about the end"
    for text in ((out / "report.html").read_text(), (out / "report.md").read_text(), capsys.readouterr().out):
        assert said in text


def test_without_curves_nothing_is_marked_and_nothing_breaks(tmp_path, capsys):
    root = planted(tmp_path / "r", curves=False)
    assert main(["verdicts", str(root), "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)["arms"]
    assert all((r["fall"], r["fall_error"], r["still_improving"]) == (None, None, False) for r in rows)
    out = report([root], tmp_path / "o").parent
    assert MARK not in (out / "report.html").read_text() + (out / "report.md").read_text()


def test_a_claim_names_the_sides_that_had_not_settled(tmp_path):
    root = plant(tmp_path / "r", models=("dcgan",), effects={"base": 0.0, "max_pooling": -0.5}, pictures=False)
    for arm, fall in (("base", 0.02), ("max_pooling", 0.3)):
        for seed in range(SEEDS):
            logs = [(0, 6.0), (50, 4.0), (75, 3 + fall), (100, 3.0)]
            change(root, arm, seed, [{"step": s, "fid": math.exp(x)} for s, x in logs])
    (claim,) = (v for v in judge([load(root)]) if v.id == "arch.strided")
    assert [e.still_improving for e in claim.evidence if e.n[0]] == [("max_pooling",)]
    assert claim.summary.endswith("; still improving: max_pooling.")
