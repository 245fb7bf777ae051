"""The first screen of a report: samples of both ends, the ends of the forest plot, and what the study cannot say."""

from __future__ import annotations

from dataclasses import replace

from planted_runs import plant

from gan_ablate.findings.summaries import ArmSummary
from gan_ablate.report.arm_columns import numbers
from gan_ablate.report.section import Figure, Group, Items, Only, Pictures
from gan_ablate.report.study import ReportedStudy, study
from gan_ablate.report.summary import ROWS, at_a_glance, ends
from gan_ablate.results.frames import load


def parts(found: ReportedStudy) -> dict[str, Group]:
    (only,) = at_a_glance(found)
    assert isinstance(only, Only)
    assert only.medium == "page"
    return {group.title: group for group in only.parts if isinstance(group, Group)}


def test_each_model_shows_base_and_the_arms_at_both_ends(tmp_path):
    found = study(load(plant(tmp_path, models=("dcgan", "nsgan"))), "planted", 0, False)
    shown = parts(found)
    (pictures,) = (p for t, group in shown.items() if t.startswith("Samples") for p in group.parts)
    assert isinstance(pictures, Pictures)
    captions = [p.caption for p in pictures.pictures]
    for m in found.models:
        own = [c for c in captions if c.startswith(m.table.title)]
        judged = [a for a in m.table.arms if a.rests_on and a.arm != "base" and a.ratio.point > 0]
        assert [c.split(", FID")[0].split(": ")[-1] for c in own] == [
            f"{m.table.title}, base", judged[0].arm, judged[-1].arm
        ]  # fmt: skip
        assert judged[0].ratio.point == min(a.ratio.point for a in judged)
        base = found.grids[m.anchors["base"]][0]
        assert pictures.pictures[captions.index(own[0])].source == base.uri
    plots = [p for p in shown["Best and worst arms"].parts if isinstance(p, Figure)]
    assert [p.caption for p in plots] == [m.table.title for m in found.models]


def test_the_scope_says_what_was_trained_and_tuned(tmp_path):
    found = study(load(plant(tmp_path, models=("dcgan",))), "planted", 0, False)
    (box,) = parts(found)["What this study is, and what it cannot say"].parts
    assert isinstance(box, Items)
    said = dict(box.items)
    assert found.tables[0].label in said["data"]
    assert said["training"].startswith("dcgan: ")
    assert "fixed beforehand" in said["tuned"]
    assert "other data" in said["cannot say"]


def test_shares_that_no_arm_raises_from_the_floor_are_left_to_the_csv_file(tmp_path):
    (table,) = study(load(plant(tmp_path, models=("dcgan",))), "planted", 0, False).tables

    def heads(precision: float) -> list[str]:
        arms = tuple(replace(a, means={**a.means, "precision": precision, "recall": 0.5}) for a in table.arms)
        return [c.heading for c in numbers(replace(table, arms=arms)) if c.csv in (("precision",), ("recall",))]

    assert heads(0.3) == ["prec.", "recall"]
    assert heads(0.003) == heads(float("nan")) == ["", "recall"]


def test_the_ends_are_the_first_and_the_last_that_were_judged(tmp_path):
    found = study(load(plant(tmp_path, models=("dcgan",))), "planted", 0, False)
    arms: tuple[ArmSummary, ...] = found.tables[0].arms
    judged = [a.arm for a in arms if a.rests_on and a.arm != "base"]
    assert [a.arm for a in ends(arms, ROWS * 10)] == judged
    assert [a.arm for a in ends(arms, 3)] == [*judged[:2], judged[-1]]
    assert ends(arms, 0) == []
