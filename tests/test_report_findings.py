"""What the sections say, against planted truths and closed forms."""

import json
import math
import re
import subprocess
import sys
from dataclasses import replace
from html import escape

import numpy as np
import pandas as pd
import pytest
from markdown_it import MarkdownIt
from planted_runs import VERDICTS, plant, plant_factorial, plant_points, result, run
from scipy import stats as oracle

from gan_ablate.findings import effects as designs
from gan_ablate.findings import points, tasks
from gan_ablate.findings.sentences import what_was_found
from gan_ablate.formatting import number, percent
from gan_ablate.report import comparison, load, markdown, protocol, report, tables, verdicts
from gan_ablate.report.figures import curves, forest, ratios, scatter
from gan_ablate.stats.corrections import holm
from gan_ablate.stats.factorial import factorial
from gan_ablate.stats.intervals import Interval, quotient
from gan_ablate.stats.two_part import Runs, decide, weigh


def test_load_has_every_metric_of_a_result(tmp_path):
    loaded = load(plant(tmp_path, models=("dcgan",)))
    row = loaded.runs.set_index("run_id").loc[run("dcgan", "helped", 1)]
    assert (row["precision"], row["recall"], row["density"], row["coverage"]) == (0.6, 0.4, 0.5, 0.3)
    assert (row["volatility"], row["largest_d_gradient"], row["final_over_best"]) == (0.2, 17.0, 1.0)
    assert row["sign_d_loss_spikes"] == 90
    assert np.isnan(row["sign_g_loss_falls"])
    points = loaded.curves[loaded.curves["run_id"] == run("dcgan", "helped", 1)]
    assert points["step"].tolist() == [0, 50, 100]
    assert points["fid"].iloc[-1] == row["fid"]
    assert points["precision"].tolist() == [0.6] * 3


def test_the_tables_are_those_of_the_engine(tmp_path):
    (table,) = tables(load(plant(tmp_path, models=("dcgan",), effects={"base": 0.0, "a": -0.3, "b": 0.2, "c": 0.0})))
    runs = {arm: Runs(np.log(rows["fid"].astype(float)).tolist()) for arm, rows in table.groups.items()}
    base = runs.pop("base")
    found = decide(weigh(runs, base))
    assert {a.arm: a.judged for a in table.arms[1:]} == found
    for arm in table.arms[1:]:
        assert arm.ratio == found[arm.arm].evidence.ratio
        same = arm.verdict == "same"
        assert arm.q == (found[arm.arm].q_same if same else found[arm.arm].q)


def test_arms_still_to_run_count_in_the_correction(tmp_path):
    effects = {"base": 0.0, "a": -0.12, **{f"later{k}": 0.0 for k in range(8)}}
    root = plant(tmp_path, models=("dcgan",), effects=effects, pictures=False)
    (whole,) = tables(load(root))
    for path in root.glob("runs/*/result.json"):
        if json.loads(path.read_text())["recipe"]["arm"].startswith("later"):
            path.unlink()
    (early,) = tables(load(root))
    a = next(x for x in early.arms if x.arm == "a")
    assert a.judged.q == a.judged.p_holm == pytest.approx(min(1, 9 * a.judged.evidence.p))
    assert len([x for x in early.arms if x.runs == 0 and x.verdict == "not tested"]) == 8
    assert whole.base == early.base


def test_partial_leaves_out_what_has_not_begun_and_says_so(tmp_path):
    root = plant(tmp_path / "r", models=("dcgan",), pictures=False)
    for seed in range(5):
        (root / "runs" / run("dcgan", "harmed", seed) / "result.json").unlink()
    whole = report([root], tmp_path / "a")
    partial = report([root], tmp_path / "b", partial=True)
    assert "Unfinished: only" in whole.read_text()
    assert "Partial report of planted, a sweep still running: 24 of 30 runs are in" in partial.read_text()
    arms = [set(pd.read_csv(p.parent / "tables" / "dcgan.csv")["arm"]) for p in (whole, partial)]
    assert arms[0] - arms[1] == {"harmed"}
    for page in (whole, partial):
        assert "(dcgan 24/30)" in page.read_text()
        assert "the family is each of 5 arms against base" in page.read_text()


def test_the_command_says_on_stderr_that_a_root_is_unfinished(tmp_path):
    command = [
        sys.executable,
        "-m",
        "gan_ablate.report",
        str(plant(tmp_path / "r", models=("dcgan",), seeds=5)),
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert "unfinished: 1 of 30 runs have no result" in done.stderr
    assert done.stdout.strip().endswith("report.html")


def test_planted_effects_of_factors_are_found(tmp_path):
    loaded = load(plant_factorial(tmp_path, seeds=3, main=(-0.5, 0.3), together=0.6))
    (table,) = tables(loaded)
    found = designs.effects(loaded, table)
    assert found.levels == {"a": ("off", "on"), "b": ("off", "on"), "c": ("off", "on")}
    effects = {e.name: e for e in found.found.effects}
    for name, truth in (("a", -0.5), ("b", 0.3), ("a:b", 0.6), ("c", 0.0), ("a:c", 0.0), ("b:c", 0.0)):
        assert effects[name].difference.point == pytest.approx(truth, abs=0.06)
        assert (effects[name].p_holm < 0.05) == (truth != 0)


def test_a_fractional_design_is_judged_by_its_factors_and_not_by_its_arms(tmp_path):
    """Two runs of an arm decide nothing, two halves of all runs do."""
    loaded = load(plant_factorial(tmp_path, seeds=3, main=(-0.5, 0.3), together=0.6))
    loaded = replace(loaded, design={**loaded.design, "name": "fractional"})
    (table,) = tables(loaded)
    assert table.verdicts is None
    found = {e.name: e for e in designs.effects(loaded, table).found.effects}
    said = {name: designs.verdict(e) for name, e in found.items()}
    # together=0.6 turns a's ratio by exp(1.2) from b off to b on; the margin is a factor of 1.25
    assert said == {"a": "helps", "b": "hurts", "c": "same", "a:b": "hurts", "a:c": "same", "b:c": "same"}
    main, pairs = what_was_found(loaded, [table])
    changes = ", ".join(f"{k} ({percent(found[k].ratio.point)})" for k in ("a", "b"))
    assert main == f"dcgan: FID changes with {changes}; not with c ({percent(found['c'].ratio.point)})."
    assert pairs.startswith(
        "dcgan: in 2 of 3 pairs neither factor changes what the other does by more than the margin."
    )
    assert pairs.endswith(f"These pairs do: a:b ({percent(found['a:b'].ratio.point)}).")


def test_aliases_say_how_far_they_were_looked_for():
    a, b, c = np.array([[x, y, z] for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]).T
    d, fixed = a * b * c, np.ones(8)  # resolution IV, and a factor that never changed
    scores = list(np.exp(np.arange(8) / 10))
    found = factorial(np.column_stack([a, b, c, d, fixed]), scores, ["a", "b", "c", "d", "fixed"])
    assert designs.confounded(found["a"]).endswith("a:fixed")  # fixed stands at 1, so a:fixed is a
    assert designs.confounded(found["fixed"]) == "not estimable"
    clear = factorial(np.column_stack([a, b, c, d]), scores, ["a", "b", "c", "d"])
    assert designs.confounded(clear["a"]) == "nothing up to two-way"
    assert designs.confounded(clear["a:b"]) == "c:d"
    assert designs.confounded(clear["c:d"]) == "not estimable apart from a:b"


def test_arms_with_a_fid_are_not_said_to_lack_one_where_base_has_none(tmp_path):
    root = plant(tmp_path, models=("dcgan",), effects={"base": 0.0, "fine": 0.0, "died": 0.0}, pictures=False)
    for seed in range(5):
        failed = result("dcgan", "base", seed, None, "diverged")
        (root / "runs" / run("dcgan", "base", seed) / "result.json").write_text(json.dumps(failed))
    every = tables(load(root))
    drawn = "".join(forest.forest(every[0])[0].body)
    assert drawn.count(">every run failed<") == drawn.count("no ratio: base has no FID") == 1
    cells = "".join(ratios.heatmap(every, "m")[0].body)
    assert cells.count('class="hot"') == cells.count("all failed") == cells.count("no ratio") == 1


def test_the_summary_counts_tests_and_runs_that_were_made(tmp_path):
    root = plant(tmp_path, models=("dcgan",), pictures=False)
    for seed in range(5):
        (root / "runs" / run("dcgan", "helped", seed) / "result.json").unlink()
    said = verdicts.summary(tables(load(root)))
    assert said.startswith("4 tests of an arm on a model, over 4 to 5 runs each. 1 arm not tested. Of the verdicts of")
    assert said.endswith(verdicts.ERRORS)


def test_every_figure_names_what_was_measured(tmp_path):
    loaded = load(plant(tmp_path, pictures=False))
    every = tables(loaded)
    label = tasks.measured(every)
    assert label == "FID@2048 (shapes classifier)"
    points = loaded.curves[loaded.curves["model"] == "dcgan"]
    panel = curves.panels(curves.gather(points), ["base"], label)["base"]
    figures = [
        panel,
        curves.profiles(tasks.over(every), label),
        curves.expected_best(tasks.budgets(every[0]), "dcgan", label),
        forest.forest(every[0])[0],
        ratios.heatmap(every, "m")[0],
    ]
    for figure in figures:
        assert label in figure.label
        assert label in "".join(figure.body)
    assert (
        tasks.measured([every[0], replace(every[1], label="FID@2048 (inception)")])
        == f"{label} or FID@2048 (inception)"
    )


def test_the_forest_plot_draws_every_run_the_margin_and_the_interval_that_decides(tmp_path):
    root = plant(tmp_path, models=("dcgan",), seeds=8, pictures=False)
    for seed in (0, 1):
        path = root / "runs" / run("dcgan", "null", seed) / "result.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "outcome": "collapsed"}))
    (table,) = tables(load(root))
    (drawing,) = forest.forest(table)
    body = "".join(drawing.body)
    # of 48 runs one is missing, 8 died and 2 collapsed
    assert len(re.findall('<circle class="[a-z]+ dot"', body)) == 48 - 1 - 8 - 2
    assert len(re.findall('<circle class="hurts open"', body)) == 8 + 2
    assert [body.count(f">{k}<") for k in ("8/8", "2/7", "0/8")] == [1, 1, 4]
    low, high = (float(x) for x in re.search(r'class="zone" x="([\d.]+)" y="\d+" width="([\d.]+)"', body).groups())
    ticks = {k: float(x) for x, k in re.findall(r'<text x="([\d.]+)" y="\d+" text-anchor="middle">×([\d/]+)<', body)}
    doubling = ticks["2"] - ticks["1"]
    assert low == pytest.approx(ticks["1"] - doubling * np.log2(1.25), abs=0.2)
    assert high == pytest.approx(2 * doubling * np.log2(1.25), abs=0.2)
    (helped,) = table.with_verdict("helps")
    x1, x2 = map(float, re.search(r'<line class="helps" x1="([\d.]+)" y1="[\d.]+" x2="([\d.]+)"', body).groups())
    assert 2 ** ((x1 - ticks["1"]) / doubling) == pytest.approx(helped.ratio.low, rel=0.01)
    assert 2 ** ((x2 - ticks["1"]) / doubling) == pytest.approx(helped.ratio.high, rel=0.01)


def test_a_base_that_carries_no_help_is_said_first_in_every_place(tmp_path):
    root = plant(tmp_path / "r", seeds=8, pictures=False)
    for seed in (0, 1, 2):
        path = root / "runs" / run("dcgan", "base", seed) / "result.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), "outcome": "collapsed"}))
    out = report([root], tmp_path / "o").parent
    page, text = ((out / name).read_text() for name in ("report.html", "report.md"))
    said = "Base fails in 3 of 8 runs: it cannot carry verdicts of “helps”. More seeds of base help every arm."
    assert page.count(said) == text.count(said) == 2  # the card and the forest plot; not those of wgan_gp
    card = page[page.index("<article class='card'>") :].partition("</article>")[0]
    assert card.index(said) < card.index("<ul class='strip'>")


def test_blocks_of_one_plot_have_names_of_their_own():
    rows = [ratios.Row(f"a{k}", Interval(1, 0.5, 2), "undecided", "") for k in range(70)]
    labels = [f.label for f in ratios.draw(rows, "plot", ratios.Axis("x", "b", "w"))]
    assert labels == ["plot", "plot; part 2 of 3", "plot; part 3 of 3"]


HOSTILE_MARKDOWN = (
    r"a [x](javascript:alert(1)) ![i](//x) __b__ *c* _d_ \*e\* # ~~f~~ <i>&amp; `g` | in_a_word 1.1 [0.9, 1.2]"
)


def test_markdown_shows_what_it_was_given():
    shown = MarkdownIt("commonmark").enable(["strikethrough", "table"])
    assert shown.render(markdown.safe(HOSTILE_MARKDOWN)) == f"<p>{escape(HOSTILE_MARKDOWN, quote=False)}</p>\n"
    assert markdown.safe("in_a_word") == "in_a_word"
    assert shown.render(markdown.code("<a> [b]_c_")) == "<p><code>&lt;a&gt; [b]_c_</code></p>\n"
    cell = shown.render("\n".join(markdown.grid(["h"], [["a | b"]])))
    assert "<td>a | b</td>" in cell


def test_markdown_links_every_figure(tmp_path):
    out = report([plant_factorial(tmp_path / "r")], tmp_path / "o").parent
    linked = set(re.findall(r"\]\(figures/([^)]+)\)", (out / "report.md").read_text()))
    assert linked == {p.name for p in (out / "figures").iterdir()}
    assert {p.partition("-")[0] for p in linked} >= {"forest", "curves", "budget", "effects"}


def test_many_long_reasons_of_failure_are_cut_and_counted(tmp_path, monkeypatch):
    failed = [(f"m/a/seed {k}", "x" * 2000) for k in range(600)] + [("file", "y cannot be read")]
    monkeypatch.setattr(protocol, "failed_runs", lambda _: failed)
    page = report([plant(tmp_path, models=("dcgan",), seeds=1, pictures=False)], tmp_path / "o").read_text()
    text = page[page.index("<section id='failures'") :].partition("</section>")[0]
    assert len(text) < 250_000
    assert "601 runs or files" in text
    assert "101 more are not listed here" in text
    assert "y cannot be read" in text  # no table names it


def test_a_study_without_factors_has_no_effects(tmp_path):
    loaded = load(plant(tmp_path, models=("dcgan",), seeds=2))
    assert all(designs.effects(loaded, t) is None for t in tables(loaded))


def test_signs_are_counted_over_failed_and_good_runs(tmp_path):
    (table,) = tables(load(plant(tmp_path, models=("dcgan",))))
    rows = {s.sign: s for s in designs.announced(table)}
    # every diverged run exploded at step 10 of 1000; the crashed one left no record; no good run did
    exploded = rows["gradient_over_100"]
    assert exploded.failed == (4, 4)
    assert exploded.good == (0, 24)
    assert exploded.area.value.point == 1
    # good runs spiked at step 90, in the first half of 1000 steps
    assert rows["d_loss_spikes"].good == (24, 24)
    assert rows["d_loss_spikes"].area.value.point == 0


def test_over_models_an_arm_of_known_effect_has_its_ratio(tmp_path):
    effects = {"base": 0.0, "helped": -0.8, "harmed": 0.8}
    rows = {r.arm: r for r in tasks.over(tables(load(plant(tmp_path, effects=effects, pictures=False))))}
    assert rows["helped"].iqm.point == pytest.approx(np.exp(-0.8), rel=0.1)
    assert rows["harmed"].iqm.low > 1 > rows["helped"].iqm.high
    share, _, _ = tasks.profile(rows["helped"])
    relative = np.concatenate([np.array(s, dtype=float) for s in rows["helped"].scores])
    assert share == pytest.approx([(relative <= t).mean() for t in tasks.RELATIVE])


def test_the_expected_best_falls_with_the_budget_and_ends_at_the_best(tmp_path):
    (table,) = tables(load(plant(tmp_path, models=("dcgan",), effects={"base": 0.0, "a": 0.1}, pictures=False)))
    for b in tasks.budgets(table):
        values = list(b.best.values())
        assert values == sorted(values, reverse=True)
        own = table.groups[b.arm]["fid"] / table.base.fid.point
        assert b.best[1] == pytest.approx(own.mean())
        assert b.best[5] == pytest.approx(own.min())


def test_what_moved_by_square_and_add_equals_the_z_test_for_symmetric_intervals():
    def around(log, half):
        return Interval(*np.exp([log, log - half, log + half]))

    change, p = quotient(around(0.3, 0.4), around(-0.2, 0.3))
    assert np.log(change) == pytest.approx([0.5, 0.5 - 0.5, 0.5 + 0.5])
    assert p == pytest.approx(2 * oracle.norm.sf(0.5 / 0.5 * oracle.norm.ppf(0.975)))


def test_runs_of_two_ways_of_measuring_are_not_compared_by_fid(tmp_path):
    a = plant(tmp_path / "a", models=("dcgan",), effects={"base": 0.0, "x": -0.3}, pictures=False)
    b = plant(tmp_path / "b", models=("dcgan",), effects={"base": 0.0, "x": -0.3}, pictures=False, scale=90)
    for path in b.glob("runs/*/result.json"):
        old = json.loads(path.read_text())
        new = result("dcgan", old["recipe"]["arm"], old["recipe"]["seed"], old["metrics"]["fid"], extractor="inception")
        path.write_text(json.dumps(new))
    found = {m.arm: m for m in comparison.moves(comparison.read_arms(a), comparison.read_arms(b))}
    assert np.isnan(found["base"].change.point)
    assert found["x"].change.point == pytest.approx(1, rel=0.1)
    assert not found["x"].same_protocol


def test_several_roots_share_a_report_and_keep_apart(tmp_path):
    roots = [plant(tmp_path / name, models=("dcgan",), pictures=False) for name in "ab"]  # both called planted
    out = report(roots, tmp_path / "o").parent
    assert {p.name for p in (out / "tables").glob("*-runs.csv")} == {"planted-runs.csv", "planted-2-runs.csv"}
    every = pd.read_csv(out / "tables" / "all-arms.csv")
    assert len(every) == 2 * len(VERDICTS)
    text = (out / "report.html").read_text()
    ids = __import__("re").findall(r" id='([^']+)'", text)
    assert len(ids) == len(set(ids))


def test_an_earlier_reports_tables_do_not_stay(tmp_path):
    out = report([plant(tmp_path / "a", pictures=False)], tmp_path / "o").parent
    assert (out / "tables" / "wgan_gp.csv").is_file()
    (out / "tables" / "mine.txt").write_text("kept")
    report([plant(tmp_path / "b", models=("dcgan",), pictures=False)], out)
    assert not (out / "tables" / "wgan_gp.csv").exists()
    assert (out / "tables" / "mine.txt").is_file()


@pytest.fixture(scope="module")
def random_points(tmp_path_factory):
    loaded = load(plant_points(tmp_path_factory.mktemp("points")))
    return loaded, tables(loaded)


def test_a_random_design_says_how_fid_is_spread_and_which_settings_move_it(random_points):
    loaded, (dcgan, nsgan) = random_points
    good = [a.fid.point for a in dcgan.arms if not a.failures]
    failed = len(dcgan.arms) - len(good)
    said, other, beside = what_was_found(loaded, [dcgan, nsgan])
    assert said.startswith(f"dcgan: {failed} of 40 points fail. The FID of the others has a median of ")
    assert f"from {number(min(good))} to {number(max(good))}" in said
    assert f"a standard deviation of {number(float(np.log(good).std(ddof=1)), 2)} in its logarithm." in said
    assert "lr (higher is better, rank correlation −" in said
    none = [a.fid.point for a in dcgan.arms if loaded.factors[a.arm]["norm"] == "none" and not a.failures]
    assert f"none {number(float(np.median(none)))} and 7 of 20 fail" in said
    assert re.search(r"not known to with .*lr", other)
    assert beside.startswith("At the same points the better one is dcgan in ")


def test_without_a_base_in_any_other_design_the_spread_is_said_too(random_points):
    loaded, (dcgan, _) = random_points
    (said,) = what_was_found(replace(loaded, design={"name": "grid"}), [dcgan])
    assert said.startswith("dcgan: 7 of 40 points fail. The FID of the others has a median of ")


def test_a_settings_influence_is_that_of_scipys_tests_with_failed_points_last(random_points):
    loaded, held = random_points
    found = points.points(loaded, held)
    rows = {row.factor: row for row in points.influences(found, "dcgan")}
    own = [p for p in found if "dcgan" in p.fids]
    fids = [1e9 if p.fids["dcgan"] is None else p.fids["dcgan"] for p in own]
    expected = oracle.spearmanr([p.settings["lr"] for p in own], fids)
    assert (rows["lr"].correlation, rows["lr"].p) == pytest.approx((expected.statistic, expected.pvalue))
    groups = [[fid for p, fid in zip(own, fids, strict=True) if p.settings["norm"] == n] for n in ("batch", "none")]
    assert rows["norm"].p == pytest.approx(oracle.kruskal(*groups).pvalue)
    assert [(level.name, level.points, level.failed) for level in rows["norm"].levels] == [
        ("batch", 20, 0),
        ("none", 20, 7),
    ]
    assert [row.p_holm for row in rows.values()] == pytest.approx(list(holm([row.p for row in rows.values()])))
    assert (rows["lr"].acts, rows["beta1"].acts) == (True, False)


def test_models_are_compared_at_the_same_points(random_points):
    loaded, held = random_points
    (pair,) = points.beside(points.points(loaded, held), ["dcgan", "nsgan"])
    fids = [{a.arm: a.fid.point for a in t.arms if not a.failures} for t in held]
    won, lost = (sum(a[k] < b[k] for k in a if k in b) for a, b in (fids, fids[::-1]))
    assert (pair.won, pair.lost) == (won, lost)  # the same points fail on both: nobody wins them
    assert won + lost == 33
    assert pair.p == pytest.approx(oracle.binomtest(won, won + lost).pvalue)


def test_the_page_of_a_random_design_has_its_settings_and_no_empty_columns(random_points, tmp_path):
    loaded, _ = random_points
    text = (report([loaded.root], tmp_path / "out").parent / "report.md").read_text()
    assert text.startswith("# points: how much rests on the settings?")
    assert "## What the settings do" in text
    numbers = text.partition("## Every arm in numbers")[2].partition("## Stability")[0]
    assert "| point-1 |" in numbers
    assert not re.search(r"not tested|× base|P\(better\)", numbers)
    rows = [line for line in text.splitlines() if line.startswith("| point-")]
    assert sum("| failed | failed |" in line for line in rows) == 7
    frame = pd.read_csv(tmp_path / "out" / "tables" / "points.csv")
    assert set(frame["norm"]) == {"batch", "none"}
    assert frame["fid of dcgan"].isna().sum() == 7


def test_every_point_is_drawn_once_on_each_setting_of_each_model(random_points):
    loaded, held = random_points
    found = points.points(loaded, held)
    drawn = scatter.scatter(found, ["dcgan", "nsgan"], "FID")
    body = "".join(drawn.body)
    failed = sum(fid is None for p in found for fid in p.fids.values())
    assert body.count('class="hurts open"') == 3 * failed  # lr, beta1 and norm
    assert body.count('class="base dot"') == 3 * (2 * len(found) - failed)
    place, ends = scatter._axis([p.settings["lr"] for p in found])  # drawn by its logarithm
    low, high = (min(p.settings["lr"] for p in found), max(p.settings["lr"] for p in found))
    assert place(math.sqrt(low * high)) == pytest.approx((place(low) + place(high)) / 2, abs=0.1)
    assert [words for _, words, _ in ends] == [number(low, 2), number(high, 2)]
    place, _ = scatter._axis([p.settings["beta1"] for p in found])
    low, high = (min(p.settings["beta1"] for p in found), max(p.settings["beta1"] for p in found))
    assert place((low + high) / 2) == pytest.approx((place(low) + place(high)) / 2)
    assert scatter.scatter([p for p in found if None in p.fids.values()], ["dcgan"], "FID") is None
