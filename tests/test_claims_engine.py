"""Claims and arms are judged by one engine: the same contrast has the same p, ratio, interval and direction on both."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
from test_claims import Root, write

from gan_ablate.claims import judge, registry
from gan_ablate.claims.claim import Claim, Contrast
from gan_ablate.claims.looks import at_each_look, compared
from gan_ablate.claims.measures import MEASURES
from gan_ablate.claims.planned_tests import planned_tests
from gan_ablate.claims.sentence import conclude
from gan_ablate.claims.verdict import Evidence, over_datasets
from gan_ablate.cli import main
from gan_ablate.findings.tables import tables
from gan_ablate.recipe import BASE
from gan_ablate.results.frames import load, run_tables
from gan_ablate.stats.corrections import benjamini_hochberg
from gan_ablate.stats.failures import boschloo_p
from gan_ablate.stats.parts import MARGIN, Runs, differences, parts, prior_of
from gan_ablate.stats.two_part import over_looks, weigh

BASE_SEEDS, LOOKS = 12, (3, 6, 12)
THIRDS = (1 / 3,) * 3
EFFECTS = {
    "max_pooling": 0.8, "average_pooling": 0.0, "sgd_discriminator": 0.9, "leaky_relu_generator": 0.08,
    "uniform_latents": 0.1, "adam_beta1:beta1=0.9": -0.3, "instance_noise": -0.12, "label_smoothing": 0.1,
    "label_smoothing_two_sided": 0.16, "pixel_shuffle": 0.2, "resize_convolution": 0.02, "relu_discriminator": -0.5,
    "kernel_3": 0.0, "residual": 0.0,
}  # fmt: skip
WAY = {"helps": -1, "rescues": -1, "hurts": 1, "fails more": 1}


def planted(path, source=None):
    """A store with arms that help, hurt, are the same, fail more, and that cannot be told yet."""
    root = Root(path, "claims")
    root.source = source
    failing = {"relu_discriminator": lambda s: "collapsed" if s % 3 else "ok", "residual": "diverged"}
    volatile = {"volatility": lambda s: 0.5 + 0.05 * ((7 * s) % 5)}
    root.arm("dcgan", BASE, seeds=BASE_SEEDS, noise=0.1, outcome=lambda s: "ok" if s else "collapsed", **volatile)
    for arm, effect in EFFECTS.items():
        root.arm("dcgan", arm, effect, LOOKS[-1], 0.1, outcome=failing.get(arm, "ok"), **volatile)
    return write(root, path)


@pytest.fixture(scope="module", params=["plain", "adaptive"])
def root(request, tmp_path_factory):
    seeds = {"base": BASE_SEEDS, "looks": list(LOOKS), "until": "decided"}
    return planted(tmp_path_factory.mktemp(request.param), {"seeds": seeds} if request.param == "adaptive" else None)


def test_a_claim_about_an_arm_says_what_the_arms_own_verdict_says(root):
    loaded = load(root)
    (table,) = tables(loaded)
    arms, seen = table.verdicts.arms, set()
    assert {"helps", "hurts", "same", "fails more"} <= {v.verdict for v in arms.values()}
    for claim, verdict in zip(registry().values(), judge([loaded]), strict=True):
        for e in verdict.evidence:
            treatment, _, control = e.contrast.partition(" v ")
            arm = control if treatment == BASE else treatment
            if e.measure != "FID" or BASE not in (treatment, control) or arm not in arms or e.says == "not tested":
                continue
            own = arms[arm].evidence
            seen.add((arm, treatment == BASE, e.expects))
            ratio = [1 / own.ratio[k] for k in (0, 2, 1)] if treatment == BASE else [*own.ratio]
            assert [*e.effect] == pytest.approx(ratio, nan_ok=True)
            counts = table.verdicts.runs[arm].finished, table.verdicts.base.finished
            assert e.n == (counts[::-1] if treatment == BASE else counts)
            assert e.p_holm >= e.q >= e.p
            if e.expects == "lower" and e.says == "same":
                assert (e.p, e.p_same) == (own.p, own.p_same)
                assert e.q >= 0.05 > e.q_same
                assert e.effect.low > 1 / MARGIN
                assert e.effect.high < MARGIN
            elif e.expects == "lower":
                assert e.p == own.p
                way = WAY[own.direction] * (-1 if treatment == BASE else 1)
                assert e.says in ("open", "supports" if way < 0 else "contradicts"), claim.id
                assert (e.says == "open") == (e.q >= 0.05)  # here no better side fails more
            elif e.expects == "equivalent":
                assert e.p == own.p_same
                assert (e.says, arms[arm].verdict) == ("supports", "same")
            elif own.margins.not_worse <= own.margins.worse:
                assert (e.p, e.says in ("open", "supports")) == (own.margins.not_worse, True)
            else:
                assert (e.p, e.says in ("open", "contradicts")) == (own.margins.worse, True)
    assert len(seen) >= 10
    assert {("max_pooling", True, "lower"), ("leaky_relu_generator", False, "lower")} <= seen
    assert {expects for *_, expects in seen} == {"lower", "equivalent", "not worse"}


def test_two_arms_are_compared_with_the_prior_of_all_at_the_looks_they_share(root):
    loaded = load(root)
    (e,) = next(v for v in judge([loaded]) if v.id == "label.two_sided").evidence[:1]
    (table,) = run_tables([loaded])
    runs = {
        arm: [math.log(r.fid) if r.outcome == "ok" else None for _, r in sorted(own.items())]
        for arm, own in table.arms["dcgan"].items()
    }
    stopped = {arm: compared(table, "dcgan").runs[arm].finished for arm in runs}
    pair, found = ("label_smoothing", "label_smoothing_two_sided"), []
    for n in LOOKS if table.plan else LOOKS[-1:]:
        if min(stopped[arm] for arm in pair) >= n:
            held = {a: Runs.of(x[: BASE_SEEDS if a == BASE else min(n, stopped[a])]) for a, x in runs.items()}
            prior = prior_of(held, held.pop(BASE))
            found.append(weigh({pair[0]: held[pair[0]]}, held[pair[1]], prior=prior)[pair[0]])
    assert e.contrast == " v ".join(pair)
    expected = over_looks(found, THIRDS if table.plan else (1.0,))
    assert e.p == pytest.approx(expected.p)
    assert [*e.effect] == pytest.approx([*expected.ratio])


def test_no_difference_is_a_family_of_its_own_that_a_failing_arm_is_no_part_of(tmp_path):
    """FIDs that are equal decide a claim of a lower one; where the arm fails more they do not."""
    found = {}
    for name, effect, outcome in (("same", 0.0, "ok"), ("other", 0.2, "ok"), ("fails", 0.0, lambda s: "diverged" if s < 3 else "ok")):  # fmt: skip
        root = Root(tmp_path / name, "claims").arm("dcgan", BASE, seeds=12, noise=0.1)
        root.arm("dcgan", "uniform_latents", effect, 12, 0.1, outcome=outcome)
        (table,) = tables(load(write(root, tmp_path / name)))
        (claim,) = [v for v in judge([load(tmp_path / name)]) if v.id == "latent.gaussian"]
        (e,) = claim.evidence
        own = table.verdicts.arms["uniform_latents"].evidence
        found[name] = claim.verdict, e.says
        assert (e.p, e.p_same) == (own.p, own.p_same)
    assert found == {
        "same": ("no difference", "same"), "other": ("supported", "supports"), "fails": ("inconclusive", "open")
    }  # fmt: skip


def test_swapped_sides_are_one_test(root):
    (table,) = run_tables([load(root)])
    there, back = (
        next(planned_tests(Contrast("D", a, b, "lower"), MEASURES, [table]))
        for a, b in (("relu_discriminator", "instance_noise"), ("instance_noise", "relu_discriminator"))
    )
    one, two = (t.measure.test(t, 0.05) for t in (there, back))
    assert (one.p, one.supports, one.n) == (two.p, -two.supports, two.n[::-1])
    assert [*one.effect] == pytest.approx([1 / two.effect[k] for k in (0, 2, 1)])


def test_no_run_is_evidence_twice(tmp_path):
    """A study that repeats runs of another adds nothing, whichever is named first: the one with the most is asked."""

    def study(name, seeds):
        root = Root(tmp_path / name, name)
        for arm, effect in ((BASE, 0.0), ("max_pooling", 0.2), ("soft_labels", -0.5), ("residual", 0.1)):
            root.arm("dcgan", arm, effect, 7, 0.1)
        root.rows = [row for row in root.rows if row[4] < seeds]
        return root

    def told(*roots):
        made = [(v, [e for e in v.evidence if e.says != "not tested"]) for v in judge(roots)]
        return [(v.id, v.verdict, v.tests, [(e.study, e.n, str(e.p), str(e.q)) for e in each]) for v, each in made]

    whole, part, more = study("whole", 6), study("part", 4), study("more", 7)
    alone = told(whole)
    assert any(n == (6, 6) for *_, evidence in alone for _, n, *_ in evidence)
    assert told(whole, part) == told(part, whole) == alone
    assert told(whole, study("again", 6)) == alone
    other = study("other", 6)
    other.rows = [(f"{key}more", *rest) for key, *rest in other.rows]
    other.records = {f"{key}more": record for key, record in other.records.items()}
    assert told(whole, other) != alone
    assert {study for *_, each in told(whole, more) for study, *_ in each} == {"more"}


@pytest.mark.parametrize(
    ("own", "verdict", "counts"),
    [
        ({"effect": 0.0, "seeds": 12}, "no difference", False),  # it harms at base's rate alone
        ({"effect": 0.5, "seeds": 2, "noise": 0.4}, "contradicted", True),  # too few to say, and nothing against it
        ({"effect": 0.0, "seeds": 3, "noise": 0.3}, "inconclusive", False),  # too few to say, but not the same
        ({"effect": 0.0, "seeds": 12, "recipe": {"steps": 400}}, "contradicted", True),  # another question
        ({"effect": 0.0, "seeds": 12, "recipe": {"lr": 0.001}}, "contradicted", True),  # not said to have chosen
    ],
)
def test_settings_of_each_sides_own_count_before_those_of_base(own, verdict, counts, tmp_path):
    """A dropout that harms at base's learning rate, in a study where each arm picks its rate, or beside one."""
    plain, tuned = Root(tmp_path / "plain", "plain"), Root(tmp_path / "tuned", "tuned")
    for arm, effect in ((BASE, 0.0), ("discriminator_dropout", 0.5)):
        plain.arm("nsgan", arm, effect, 12, recipe={"lr": 0.004})
    recipe = {"lr": 0.002, **own.get("recipe", {})}
    tuned.source = {"tune": {"lr": [0.25, 0.5, 1]}} if recipe["lr"] == 0.002 else None
    tuned.arm("nsgan", BASE, 0.0, 12, own.get("noise", 0.03), recipe=recipe)
    tuned.arm("nsgan", "discriminator_dropout", own["effect"], own["seeds"], own.get("noise", 0.03), recipe=recipe)
    for roots in ((plain, tuned), (tuned, plain)):
        (found,) = [v for v in judge(roots) if v.id == "noise.dropout_d"]
        by_study = {e.study: e for e in found.evidence if e.says != "not tested"}
        assert by_study["plain"].says == "contradicts"
        assert by_study["plain"].counts == counts
        assert by_study["plain"].in_its_place == ("" if counts else "tuned")
        assert by_study["tuned"].counts
        assert found.verdict == verdict, found.summary


def test_two_runs_a_side_have_an_interval_without_end_and_no_error(tmp_path):
    root = Root(tmp_path)
    for seed, (one, other) in enumerate([(1e-90, 30.0), (1e90, 30.1)]):
        root.add("dcgan", BASE, seed, one).add("dcgan", "max_pooling", seed, other)
    (found,) = [v for v in judge([root]) if v.id == "arch.strided"]
    assert (found.verdict, found.evidence[0].effect.high) == ("inconclusive", math.inf)
    assert "nan" not in found.summary


def test_other_measures_are_asked_at_each_look_too(root):
    (table,) = run_tables([load(root)])
    (test,) = planned_tests(Contrast("D", "residual", BASE, "lower", "failure_rate"), MEASURES, [table])
    found = at_each_look(test, 0.05, test.measure.test)
    if table.plan is None:
        assert found.p == boschloo_p(12, 12, 1, 12)
        return
    looks = [n for n in LOOKS if n <= compared(table, "dcgan").runs["residual"].finished]
    assert found.p == pytest.approx(min(min(1, boschloo_p(n, n, 1, 12) / (1 / 3)) for n in looks))
    assert found.n == (looks[-1], 12)
    assert len(looks) < len(LOOKS)  # decided early: runs beyond have no part in it
    for arm in ("max_pooling", "leaky_relu_generator"):
        (test,) = planned_tests(Contrast("D", arm, BASE, "lower", "volatility"), MEASURES, [table])
        found = at_each_look(test, 0.05, test.measure.test)
        assert found.n == (compared(table, "dcgan").runs[arm].finished, 12)


def test_an_open_claim_of_an_adaptive_study_is_settled_by_its_looks(tmp_path):
    """Which more seeds would do depends on the looks that are left and on their weights."""
    told = {}
    for name, looks, weights in (
        ("early", [3, 40], [0.5, 0.5]),
        ("spent", [3, 40], [0.9999, 0.0001]),
        ("over", [3], [1.0]),
    ):
        root = Root(tmp_path / name, "ablation")
        root.source = {"seeds": {"base": 40, "looks": looks, "weights": weights}}
        root.arm("dcgan", BASE, seeds=40, noise=0.12).arm("dcgan", "uniform_latents", 0.2, 3, 0.12)
        (table,) = tables(load(write(root, tmp_path / name)))
        verdict = table.verdicts.arms["uniform_latents"]
        (claim,) = [v for v in judge([load(tmp_path / name)]) if v.id == "latent.gaussian"]
        told[name] = (verdict.seeds_to_decide, verdict.base_to_decide, claim.settles)
        assert claim.verdict == "inconclusive"
    assert told["early"] == (37, 0, "about 37 more seeds of uniform_latents on dcgan (sweeps/ablation.yaml)")
    both = "about 24 more seeds of base and 37 more seeds of uniform_latents on dcgan (sweeps/ablation.yaml)"
    assert told["spent"] == (37, 24, both)  # with what is left of the error base's own is the limit
    assert told["over"] == (None, 0, "no look is left that would (sweeps/ablation.yaml)")


# -- datasets ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """One claim that holds on mnist, is contradicted on fashion and open on shapes; another that makes no difference there."""
    path = tmp_path_factory.mktemp("three")
    root = Root(path, "claims")
    for dataset, pooling, soft, beta in (
        ("shapes", 0.0, 0.0, 0.7),
        ("mnist", 0.8, -0.5, 0.7),
        ("fashion", -0.8, -0.5, 0.7),
    ):
        for arm, effect in ((BASE, 0.0), ("max_pooling", pooling), ("soft_labels", soft), ("adam_lr:lr=0.001", beta)):
            noise = 0.5 if (dataset, arm) == ("shapes", "max_pooling") else 0.1
            root.arm("dcgan", arm, effect, seeds=6, noise=noise, dataset=dataset)
    return write(root, path)


def test_a_claim_is_judged_on_each_dataset_and_over_all(three):
    found = {v.id: v for v in judge([load(three)])}

    def each(name):
        return {d.dataset: d.verdict for d in found[name].datasets}

    assert each("arch.strided") == {"shapes": "inconclusive", "mnist": "supported", "fashion": "contradicted"}
    assert found["arch.strided"].verdict == "mixed"
    assert found["arch.strided"].summary.startswith(
        "Supported on mnist only (dcgan), contradicted on fashion (dcgan), not decided on shapes: "
    )
    assert each("label.soft") == {"shapes": "no difference", "mnist": "supported", "fashion": "supported"}
    assert found["label.soft"].verdict == "supported"
    assert found["label.soft"].summary.startswith(
        "Supported on mnist and fashion only (dcgan), no difference on shapes (dcgan): "
    )
    assert found["label.soft"].certain
    assert set(each("arch.no_fc").values()) == {"not tested"}


@pytest.mark.parametrize(("each", "whole"), [
    (["supported", "inconclusive", "not tested"], "supported"), (["supported", "contradicted"], "mixed"),
    (["contradicted", "inconclusive"], "contradicted"), (["mixed", "supported"], "mixed"),
    (["no difference", "inconclusive"], "no difference"), (["no difference", "supported"], "supported"),
    (["contradicted", "no difference"], "contradicted"), (["no difference", "mixed"], "mixed"),
    (["inconclusive", "not tested"], "inconclusive"), (["not tested"], "not tested"), ([], "not tested"),
])  # fmt: skip
def test_the_rule_over_datasets(each, whole):
    assert over_datasets(each) == whole


def test_a_part_that_a_dataset_lacks_keeps_a_claim_of_all_parts_open_there(tmp_path):
    root = Root(tmp_path, "claims")
    for dataset, arms in (("shapes", ("pixel_shuffle", "resize_convolution")), ("mnist", ("pixel_shuffle",))):
        for arm in (BASE, *arms):
            root.arm("dcgan", arm, 0.0, dataset=dataset)
    (found,) = [v for v in judge([load(write(root, tmp_path))]) if v.id == "arch.upsampling"]
    assert {d.dataset: d.verdict for d in found.datasets} == {"shapes": "supported", "mnist": "inconclusive"}
    assert found.verdict == "supported"


def test_certain_is_what_holds_without_the_tests_that_are_not():
    claim = Claim("a.b", "s", "S0", "p", ())
    one = Evidence("dcgan", "shapes", "a v base", "FID", "lower", "supports", p=0.001, q=0.01, p_holm=0.2)
    sure = replace(one, certain=True)
    against = replace(sure, dataset="mnist", says="contradicts")
    cases = {
        (one,): ("supported", False), (one, sure): ("supported", True), (sure, against): ("mixed", True),
        (one, against): ("mixed", False), (sure, replace(one, dataset="mnist")): ("supported", True),
    }  # fmt: skip
    for evidence, expected in cases.items():
        found = conclude(claim, evidence, 9, ("shapes", "mnist"))
        assert (found.verdict, found.certain) == expected


def test_the_page_of_claims_has_every_claim_on_every_dataset(three, tmp_path, capsys):
    page = tmp_path / "reports" / "claims.md"
    assert main(["claims", str(three), "--out", str(page)]) == 0
    assert capsys.readouterr().out.strip() == str(page)
    text = page.read_text()
    rows = [line.split(" | ") for line in text.splitlines() if line.startswith("| ")][1:]
    rows = [row for row in rows if "---" not in row[0]]
    assert [row[0].removeprefix("| ") for row in rows] == list(registry())
    by_id = {row[0].removeprefix("| "): row for row in rows}
    assert "| on shapes | on mnist | on fashion |" in text
    assert by_id["arch.strided"][2:6] == [
        "mixed, certain",
        "inconclusive",
        "supported, certain",
        "contradicted, certain",
    ]
    assert "gan-ablate sweep sweeps/norms.yaml" in by_id["norm.small_batch"][-1]
    again = tmp_path / "again.md"
    main(["claims", str(three), "--out", str(again)])
    assert again.read_bytes() == page.read_bytes()
    assert main(["claims", "--out", str(again)]) == 2
    assert "give the roots" in capsys.readouterr().err
    assert main(["claims", "arch.strided", "label.soft", str(three)]) == 0
    assert capsys.readouterr().out.count("\n  verdict: ") == 2


@pytest.mark.parametrize("ratio", [1.0, 1.24])
def test_about_the_margin_one_statement_is_true_so_that_p_need_not_be_doubled(ratio):
    """60 arms within the margin, 100 registries: the false statement is that an arm is worse by more than it."""
    rng, wrong = np.random.default_rng(5), 0
    for _ in range(100):
        effect, sd = math.log(ratio), 0.11 * np.exp(0.5 * rng.normal(size=60))
        arms = {str(k): Runs(rng.normal(effect, sd[k], 5).tolist()) for k in range(60)}
        base = Runs(rng.normal(0, 0.11, 20).tolist())
        found = parts(
            differences(arms.values(), base, prior_of(arms, base)), [r.failures for r in arms.values()], base.failures
        )
        p = np.array([min(e.margins.not_worse, e.margins.worse) for e in found])
        worse = np.array([e.margins.worse < e.margins.not_worse for e in found])
        decided = benjamini_hochberg(p) < 0.05
        wrong += (decided & worse).sum() / max(1, decided.sum())
    assert wrong / 100 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 100)
