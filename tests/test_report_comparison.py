"""What moved between two reports: how sure that is, which rows belong together, what is coloured."""

import math

import numpy as np
import pandas as pd
import pytest
from planted_runs import plant
from scipy import stats as oracle

from gan_ablate.report import compare, comparison, report
from gan_ablate.stats.intervals import Interval, geometric_mean_interval, quotient

TWO = {"base": 0.0, "x": -0.3}


@pytest.mark.parametrize(("n", "m"), [(3, 3), (3, 9), (5, 2)])
def test_two_geometric_means_are_compared_by_welchs_test(n, m):
    rng = np.random.default_rng(n)
    a, b = rng.normal(0, 0.3, n), rng.normal(0.4, 0.1, m)
    change, p = quotient(*(geometric_mean_interval(np.exp(x)) for x in (b, a)), (m - 1, n - 1))
    welch = oracle.ttest_ind(b, a, equal_var=False)
    assert p == pytest.approx(welch.pvalue)
    assert np.log(change[1:]) == pytest.approx(list(welch.confidence_interval()))


def test_figures_of_a_strangers_table_overflow_nothing():
    huge = Interval(1e300, 1e-300, 1e308)
    change, p = quotient(huge, Interval(1e-300, 1e-308, 1e-299), (4, 4))
    assert change.low <= change.point <= change.high < math.inf
    assert 0 <= p <= 1


def test_without_degrees_of_freedom_there_is_no_p(tmp_path):
    a, b = (plant(tmp_path / k, models=("dcgan",), effects=TWO, pictures=False, draw=d) for d, k in enumerate("ab"))
    table = report([a], tmp_path / "o").parent / "tables" / "all-arms.csv"
    frame = pd.read_csv(table)
    assert frame["fid_dof"].tolist() == [4, 4]
    assert frame["ratio_dof"].dropna().tolist() > [4]  # the prior's on top of the runs' own
    assert comparison.moves(comparison.read_arms(tmp_path / "o"), comparison.read_arms(b))[0].p > 0
    frame.drop(columns=comparison.LATER).to_csv(table, index=False)
    found = comparison.moves(comparison.read_arms(tmp_path / "o"), comparison.read_arms(b))
    assert all(math.isnan(m.p) and m.change.low > 0 for m in found)
    page = compare(tmp_path / "o", b, tmp_path / "c").read_text()
    assert "2 arms have no q: an older version wrote A or B" in page


def test_a_changed_verdict_alone_is_neither_first_nor_coloured(tmp_path):
    root = plant(tmp_path / "r", models=("dcgan",), effects=TWO | {"turns": 0.5, "y": 0.0}, pictures=False)
    folders = [report([root], tmp_path / k).parent for k in "ab"]
    table = folders[1] / "tables" / "all-arms.csv"
    frame = pd.read_csv(table).set_index("arm")
    frame.loc["x", "verdict"] = "undecided"
    frame.loc["turns", ["ratio", "ratio_low", "ratio_high"]] /= 4
    frame.loc["turns", "verdict"] = "helps"
    frame.reset_index().to_csv(table, index=False)
    found = comparison.moves(*(comparison.read_arms(f) for f in folders))
    assert [m.arm for m in found][:2] == ["turns", "x"]
    page = compare(*folders, tmp_path / "c").read_text()
    assert (
        "<tr class='helps'><th scope='row'>dcgan on shapes: turns</th><td data-k='0'>moved, verdict changed</td>"
        in page
    )
    assert "<tr><th scope='row'>dcgan on shapes: x</th><td data-k='2'>verdict changed</td>" in page
    assert "need not be significant" in page


def test_a_report_of_two_roots_loses_no_arm(tmp_path):
    roots = [plant(tmp_path / k, models=("dcgan",), effects=TWO, pictures=False, draw=d) for d, k in enumerate("ab")]
    both = report(roots, tmp_path / "o").parent
    found = comparison.moves(comparison.read_arms(both), comparison.read_arms(both))
    assert sorted((m.study, m.arm) for m in found) == [(s, a) for s in ("planted", "planted-2") for a in ("base", "x")]
    assert all(m.change.point == pytest.approx(1) for m in found)
    text = (roots[1] / "study.yaml").read_text()
    (roots[1] / "study.yaml").write_text(text.replace("name: planted", "name: another"))
    assert {m.kind for m in comparison.moves(*map(comparison.read_arms, roots))} == {
        "both"
    }  # one study each: the names do not matter
