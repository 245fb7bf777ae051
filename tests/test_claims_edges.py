"""Claims where runs failed, were not measured, or are not in yet: what may not be said then, and what must be."""

import math

import numpy as np
import pytest
from test_claims import Root, health, verdicts

from gan_ablate.claims.checkpoints import jobs
from gan_ablate.claims.claim import MARGIN, Contrast
from gan_ablate.claims.comparisons import compare_scores
from gan_ablate.claims.planned_tests import Measure, planned_tests
from gan_ablate.claims.trends import d_loss_spread
from gan_ablate.formatting import interval, number, p_value, rate
from gan_ablate.recipe import TrickSpec
from gan_ablate.results.frames import run_tables
from gan_ablate.results.runs import Run
from gan_ablate.stats.intervals import wilson
from gan_ablate.stats.paired import margin_p, two_sided
from gan_ablate.stats.t_test import one_sample

CURVE = [{"step": s, "fid": 300.0 - s} for s in range(10, 101, 10)]
PROBABILITIES = {"d_loss_near_zero": None}


def evidence(verdict):
    return [e for e in verdict.evidence if e.says != "not tested"]


# -- failed runs ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("effect", "lost", "base_lost", "verdict"),
    [
        (-0.6, 1, 0, "inconclusive"), (0.0, 10, 0, "contradicted"), (0.9, 1, 0, "contradicted"),
        (math.log(MARGIN) / 2, 1, 1, "supported"),  # worse, but not by the margin, and no more of its runs failed
    ],
)  # fmt: skip
def test_more_failed_runs_can_contradict_as_good_as_but_not_support_it(tmp_path, effect, lost, base_lost, verdict):
    root = Root(tmp_path)
    for arm, worse, out in (("base", 0.0, base_lost), ("sgd_discriminator", effect, lost)):
        root.arm("dcgan", arm, worse, seeds=10 - out, noise=0.01)
        for seed in range(10 - out, 10):
            root.add("dcgan", arm, seed, None, "diverged")
    found = verdicts(root)["opt.sgd_d"]
    assert found.verdict == verdict, found.summary
    assert "nan" not in found.summary


def test_a_base_that_always_fails_contradicts_nobody(tmp_path):
    root = Root(tmp_path).arm("nsgan", "base", outcome="collapsed")
    for name in ("kl", "reverse_kl", "pearson", "squared_hellinger"):
        root.arm("nsgan", f"f_gan:divergence={name}", 0.9)
    found = verdicts(root)["loss.f_gan"]
    assert found.verdict == "inconclusive", found.summary
    assert "10 runs failed" in found.summary  # there is no FID to be as good as


def test_a_seed_with_a_fid_on_one_side_only_is_not_equal(tmp_path):
    for k, (mine, other) in enumerate([(30.0, None), (None, 30.0), (None, None)]):
        root = Root(tmp_path / str(k)).arm("dcgan", "base", fid=30.0, seeds=3)
        root.arm("dcgan", "flipped_generator_labels", fid=30.0, seeds=3)
        for arm, fid in (("flipped_generator_labels", mine), ("base", other)):
            root.add("dcgan", arm, 3, fid, "ok" if fid else "diverged")
        assert verdicts(root)["loss.flip_equals_ns"].verdict == ("contradicted" if mine or other else "supported")


def test_lost_runs_of_a_side_that_nobody_measured_say_nothing(tmp_path):
    root = Root(tmp_path).arm("dcgan", "base", modes=lambda s: 60 + s % 2)
    root.arm("dcgan", "no_batch_norm", outcome=lambda s: "diverged" if s < 5 else "ok")
    assert verdicts(root)["arch.bn_collapse"].verdict == "not tested"  # five ended well, with modes that nobody counted
    root.add("dcgan", "no_batch_norm", 10, 30.0, modes=59)
    assert verdicts(root)["arch.bn_collapse"].verdict == "supported"  # now they rank under the one that was
    root.arm("dcgan", "no_batch_norm", fid=None, outcome="diverged")
    assert verdicts(root)["arch.bn_collapse"].verdict == "supported"


def test_three_failures_against_none_are_not_enough(tmp_path):
    root = (
        Root(tmp_path).arm("dcgan", "base", seeds=3).arm("dcgan", "max_pooling", fid=None, outcome="crashed", seeds=3)
    )
    found = verdicts(root)["arch.strided"]
    assert found.verdict == "inconclusive"
    assert "0 of 3 against 3 of 3 runs failed" in found.summary
    assert found.settles == "about 1 more seed of max_pooling on dcgan (study planted)"
    assert "nan" not in found.summary


# -- what was measured ---------------------------------------------------------------------------------------------


def test_both_models_of_a_contrast_are_measured(tmp_path):
    root = Root(tmp_path).arm("wgan_gp", "base", seeds=1).arm("nsgan", "base", seeds=1).arm("dcgan", "base", seeds=1)
    for run_id in root.records:
        checkpoints = root.root / "runs" / run_id / "checkpoints"
        checkpoints.mkdir(parents=True)
        (checkpoints / "last.ckpt").touch()
    planned = {j.name: j.metrics for j in jobs(root) if "optimum" in j.metrics}
    assert planned == {"wgan_gp/base/0": ("optimum",), "nsgan/base/0": ("optimum",)}


def test_a_base_that_holds_tricks_is_no_plain_model_on_either_side(tmp_path):
    for k, tricked in enumerate(("wgan_gp", "nsgan")):
        root = Root(tmp_path / str(k))
        for model in ("wgan_gp", "nsgan"):
            root.arm(model, "base", modes=lambda s: 60 + s % 2, tricks=[TrickSpec("r1")] if model == tricked else [])
        found = verdicts(root)["loss.wgan_modes"]
        assert found.verdict == "not tested"
        assert "the bases hold tricks" in found.summary


def test_times_that_cannot_be_are_left_out_and_counted(tmp_path):
    root = Root(tmp_path)
    backwards = [{"step": 100, "fid": 30.0}, {"step": 50, "fid": 80.0}]
    root.arm("wgan_gp", "base", fid=30.0, curve=backwards, train_seconds=lambda s: 10 + s / 9)
    root.arm("dcgan", "base", fid=30.0, curve=backwards[:1], train_seconds=lambda s: 10 + s / 9)
    root.add("wgan_gp", "base", 10, 30.0, curve=backwards, g_steps=-5)
    root.add("wgan_gp", "base", 11, 30.0, curve=backwards, train_seconds=None)
    found = {e.measure: e for e in evidence(verdicts(root)["loss.wgan_slow"])}
    assert found["seconds to a given FID"].effect.point == pytest.approx(1)
    for e in found.values():
        assert e.n == (10, 10)
        assert "2 runs without this figure are left out" in e.note


def test_norms_of_the_critic_alone_come_before_norms_of_both_players(tmp_path):
    root = Root(tmp_path).arm("wgan_gp", "batch_norm").arm("wgan_gp", "layer_norm", -0.5)
    assert [e.contrast for e in evidence(verdicts(root)["norm.critic"])] == ["layer_norm v batch_norm"]
    root.arm("wgan_gp", "layer_norm:on=d", 0.5)
    found = verdicts(root)["norm.critic"]
    assert [e.contrast for e in evidence(found)] == ["layer_norm:on=d v batch_norm"]
    assert found.verdict == "contradicted"


def test_base_stands_for_the_learning_rate_that_it_has(tmp_path):
    for k, (held, verdict) in enumerate([(0.0002, "supported"), (0.0005, "not tested")]):
        root = Root(tmp_path / str(k)).arm("dcgan", "base", recipe={"lr": held}).arm("dcgan", "adam_lr:lr=0.001", 0.7)
        assert verdicts(root)["opt.lr"].verdict == verdict


# -- what a test may say -------------------------------------------------------------------------------------------


def test_a_norm_that_only_loses_less_at_small_batches_does_not_beat_batch_norm(tmp_path):
    for k, (worse, verdict) in enumerate([(0.5, "supported"), (1.5, "inconclusive")]):
        root = Root(tmp_path / str(k))
        for norm in ("", "instance_norm", "layer_norm", "group_norm"):
            for size in (8, 128):
                effect = (worse if norm else 0.0) - (0.8 if norm and size == 8 else 0.0)
                tricks = [TrickSpec(norm)] if norm else []
                root.arm("dcgan", f"norm={norm}+{size}", effect, seeds=5, tricks=tricks, recipe={"batch_size": size})
        found = verdicts(root)["norm.small_batch"]
        assert found.verdict == verdict, found.summary
        assert all(e.p_holm < 0.05 for e in found.evidence)
        assert "FID ratio at batch 8" in found.evidence[0].note
    assert "does not beat it there" in found.summary


def test_the_sentence_and_the_smallest_effect_are_of_one_test(tmp_path):
    root = Root(tmp_path)
    for model, noise in (("dcgan", 0.02), ("nsgan", 0.5)):
        root.arm(model, "base", noise=noise).arm(model, "soft_labels", 0.0, noise=noise)
    found = verdicts(root)["label.soft"]
    (told,) = [e for e in found.evidence if f", {e.model}: " in found.summary]
    assert told.p == min(e.p for e in found.evidence)
    assert found.smallest_missed == told.smallest_missed
    assert f"the data still allow a ratio of {number(told.smallest_missed)}" in found.summary


def test_plain_intervals_are_not_called_effects_that_could_have_been_missed(tmp_path):
    root = Root(tmp_path).arm("wgan_gp", "base").arm("nsgan", "base")
    (e,) = [e for e in evidence(verdicts(root)["loss.wgan_stable"]) if "spread" in e.measure]
    assert e.says == "open"
    assert e.bound
    assert e.smallest_missed == pytest.approx(max(e.effect.high, 1 / e.effect.low))
    signs = Root(tmp_path / "signs")
    for k in range(8):
        signs.add("dcgan", "base" if k == 0 else f"ttur:factor={1 + k}", 0, 30.0 + 100 * (k % 2), health=health(k))
    found = verdicts(signs)["sign.d_variance"]
    (e,) = evidence(found)
    assert e.smallest_missed in e.effect
    assert f"the data still allow an area of {number(e.smallest_missed)}" in found.summary


# -- what is read along runs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("arms", [2, 6])
def test_arms_that_are_all_alike_decide_nothing(tmp_path, arms):
    root = Root(tmp_path)
    for k in range(arms):
        rows = [row | {"d_of_real": 0.5, "d_of_fake": 0.5} for row in health(0, d=lambda i: -10.0 + i)]
        for dataset in ("shapes", "ring"):
            for model in ("dcgan", "wgan_gp"):
                arm = "base" if k == 0 else f"ttur:factor={1 + k}"
                root.add(model, arm, 0, 30.0, dataset=dataset, curve=CURVE, health=rows, signs=PROBABILITIES)
    found = verdicts(root)
    for name in ("sign.loss_blind", "sign.half"):
        told = [e for e in found[name].evidence if e.n[0] == arms and "G's loss" not in e.measure]
        assert told
        assert {e.says for e in told} == {"not tested"}
        assert {e.note.split(";")[0] for e in told if arms == 6} <= {
            "all arms have the same value: no spread to test by"
        }


def test_only_probabilities_of_plain_targets_are_asked_for_a_half(tmp_path):
    root = Root(tmp_path)
    for k in range(6):
        arm = "base" if k == 0 else f"ttur:factor={1 + k}"
        root.add("dcgan", arm, 0, 1.0, dataset="ring", health=health(k), signs=PROBABILITIES)
    plain = evidence(verdicts(root)["sign.half"])
    root.add("dcgan", "wgan_clip", 0, 1.0, dataset="ring", health=health(7, real=0.95))
    for arm in ("label_smoothing", "label_smoothing_two_sided", "soft_labels", "label_flipping"):
        root.add("dcgan", arm, 0, 1.0, dataset="ring", health=health(7, real=0.9), signs=PROBABILITIES)
    assert [(e.n, e.effect) for e in evidence(verdicts(root)["sign.half"])] == [(e.n, e.effect) for e in plain]
    assert plain[0].n == (6, 0)


def test_a_critics_loss_that_crosses_zero_is_no_spike(tmp_path):
    def strength(k, level):
        rows = [{"step": s, "d_loss": level * (-1) ** s} for s in range(1, 41)]
        Root(tmp_path / str(k)).add("wgan_gp", "base", 0, 30.0, health=rows)
        (folder,) = (tmp_path / str(k) / "runs").iterdir()
        run = Run(folder, "wgan_gp", "base", 0, "ok", 30.0, {"g_steps": 80})
        return d_loss_spread(run)

    assert strength(0, 1.0) == pytest.approx(strength(1, 9.0)) == pytest.approx(1, abs=0.05)


def test_thresholds_are_counted_over_graded_runs(tmp_path):
    root = Root(tmp_path)
    for k in range(8):
        arm = "base" if k == 0 else f"ttur:factor={1 + k}"
        for seed in range(2):  # of seed 1 no records are left
            rows = health(k, bad=k % 2 == 1) if seed == 0 else None
            root.add("dcgan", arm, seed, 30.0 + 100 * (k % 2), health=rows, signs={"gradient_over_100": 5})
    (e,) = evidence(verdicts(root)["sign.grad_100"])
    assert "in the first half of 8 of 8 runs; 8 runs without the records are left out" in e.note


# -- unfinished sweeps ---------------------------------------------------------------------------------------------


def test_planned_tests_count_before_their_runs_are_in(tmp_path):
    def root(name, outcome):
        found = Root(tmp_path / name).arm("dcgan", "base").arm("dcgan", "max_pooling", 0.1)
        for arm in ("fully_connected", "soft_labels", "uniform_latents"):
            found.arm("dcgan", arm, 0.0, outcome=outcome, **{"fid": None} if outcome == "missing" else {})
        return found

    whole, part = verdicts(root("whole", "ok")), verdicts(root("part", "missing"))
    assert whole["arch.strided"].tests == part["arch.strided"].tests == 4
    ((before,), (after,)) = (found["arch.strided"].evidence for found in (part, whole))
    assert before.p_holm == pytest.approx(4 * before.p)
    assert before.q == pytest.approx(4 * before.p)  # no other of the four is known yet
    assert after.q <= 4 * after.p
    (e,) = part["latent.gaussian"].evidence
    assert (e.says, e.note) == ("not tested", "no finished runs of uniform_latents on dcgan; 10 of 20 runs are in")
    root = Root(tmp_path / "some").arm("dcgan", "base").arm("dcgan", "max_pooling", 0.8, seeds=6)
    root.add("dcgan", "max_pooling", 6, None, "missing")
    assert "16 of 17 runs are in" in verdicts(root)["arch.strided"].evidence[0].note


# -- a measure holds its test, and numbers are printed in one way --------------------------------------------------


def test_a_new_measure_is_one_entry(tmp_path):
    """Seconds per run as a measure: planned, named and tested without a word about it anywhere else."""
    read = lambda run: run.record["train_seconds"]  # noqa: E731
    measures = {"seconds": Measure("seconds", "lower", compare_scores, read=read, quality=False)}
    root = Root(tmp_path).arm("dcgan", "base", train_seconds=lambda s: 20 + s / 10)
    root.arm("dcgan", "r1", train_seconds=lambda s: 40 + s / 10)
    contrast = Contrast("DN", "r1", "base", "higher", "seconds")
    test, absent = planned_tests(contrast, measures, run_tables([root]))
    found = test.measure.test(test, 0.05)
    assert (test.measure.name(test), found.supports, found.n) == ("r1 v base", 1, (10, 10))
    assert found.effect.point == pytest.approx(2, rel=0.02)
    assert absent.missing == "no runs of nsgan"


def test_one_sample_is_scipys_and_the_two_answers_share_one_p():
    from scipy.stats import ttest_1samp

    x = np.random.default_rng(0).normal(0.3, 1.0, 12)
    estimate, expected = one_sample(x), ttest_1samp(x, 0)
    assert float(estimate.p()) == pytest.approx(expected.pvalue)
    assert [*map(float, estimate.bounds())] == pytest.approx([*expected.confidence_interval()])
    assert one_sample([0.1 + 0.2, 0.3, 0.3]).error == 0  # alike but for rounding
    for margin in (0.1, 0.5, 1.0, 3.0):  # p under 0.05 is a 95 % interval within the margin, or outside of it
        p, within = two_sided(*margin_p(*map(float, estimate), margin=margin))
        low, high = map(float, estimate.bounds())
        inside, outside = low > -margin and high < margin, low > margin or high < -margin
        assert (p < 0.05) == (inside or outside)
        assert within == (1 if inside else -1) or p >= 0.05


def test_one_verdict_prints_its_numbers_as_reports_do(tmp_path):
    root = Root(tmp_path).arm("dcgan", "base").arm("dcgan", "max_pooling", 0.8)
    found = verdicts(root)["arch.strided"]
    (e,) = found.evidence
    assert f"ratio {interval(e.effect)}, q {p_value(e.q)} over 1 tests, certain" in found.summary
    assert [rate(x) for x in (wilson(2, 5), wilson(0, 0))] == ["40 % [12, 77]", "–"]
