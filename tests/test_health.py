"""The signs of failure on planted series, and the stability card against numpy."""

import math

import numpy as np
import pytest

from gan_ablate.evaluate.health import RULES, card, early, series, signs, volatility
from gan_ablate.outcomes import SIGNS
from gan_ablate.recipe import Evaluation, Recipe
from gan_ablate.run.carry_out import carry_out


def rows(key, values, every=50):
    return [{"step": every * (k + 1), key: value} for k, value in enumerate(values)]


def test_d_loss_near_zero_needs_several_records():
    assert signs(rows("d_loss", [1, 0.0, 1, 0.0, 1]), probabilities=True)["d_loss_near_zero"] is None
    assert signs(rows("d_loss", [1, 0.9, 0.01, 0.02, 0.03, 1]), probabilities=True)["d_loss_near_zero"] == 250
    assert "d_loss_near_zero" not in signs(rows("d_loss", [0.0] * 5), probabilities=False)


@pytest.mark.parametrize("key", ["d_gradient", "g_gradient"])
def test_gradient_over_100(key):
    assert signs(rows(key, [1, 100.0, 2]), probabilities=True)["gradient_over_100"] is None
    assert signs(rows(key, [1, 100.1, 2]), probabilities=True)["gradient_over_100"] == 100
    assert signs(rows(key, [1, None]), probabilities=True)["gradient_over_100"] == 100  # not finite when logged


def test_a_spike_of_d_loss_and_none_in_a_loss_that_wanders():
    calm = [1 + 0.1 * math.sin(k) for k in range(20)]
    assert signs(rows("d_loss", calm), probabilities=True)["d_loss_spikes"] is None
    assert signs(rows("d_loss", [*calm, 4.0]), probabilities=True)["d_loss_spikes"] == 50 * 21
    assert signs(rows("d_loss", [*calm[:5], 4.0]), probabilities=True)["d_loss_spikes"] is None  # nothing to judge by


def test_g_loss_falls_steadily():
    assert signs(rows("g_loss", np.linspace(3, 1, 10).tolist()), probabilities=True)["g_loss_falls"] == 400
    assert signs(rows("g_loss", np.linspace(1, 3, 10).tolist()), probabilities=True)["g_loss_falls"] is None
    assert signs(rows("g_loss", [2, 1] * 10), probabilities=True)["g_loss_falls"] is None


def test_a_healthy_run_shows_no_sign():
    noise = np.random.default_rng(0).normal(0, 0.05, 30)
    healthy = [
        {"step": k, "d_loss": 1.2 + noise[k], "g_loss": 1.0 - noise[k], "d_gradient": 5.0, "g_gradient": 4.0}
        for k in range(30)
    ]
    assert set(signs(healthy, probabilities=True).values()) == {None}


def test_volatility_is_the_sample_deviation_of_log_fid_over_the_second_half():
    curve = [{"step": s, "fid": f} for s, f in ((0, 900.0), (10, 80.0), (20, 40.0), (30, 60.0), (40, 50.0))]
    assert volatility(curve) == pytest.approx(np.log([40, 60, 50]).std(ddof=1))
    odd = [{"step": s, "fid": f} for s, f in ((0, 900.0), (72, 80.0), (145, 40.0))]  # the middle of 145 steps is 72
    assert volatility(odd) == pytest.approx(np.log([80, 40]).std(ddof=1))
    assert volatility(curve[:1]) is None
    assert volatility([]) is None


def test_the_card_of_a_run():
    curve = [{"step": s, "fid": f} for s, f in ((0, 900.0), (50, 40.0), (100, 60.0))]
    health = rows("g_gradient", [3.0, 9.0, None]) + rows("d_gradient", [1.0, 2.0])
    found = card(health, curve, 100)
    assert found["final_over_best"] == 1.5
    assert (found["largest_g_gradient"], found["largest_d_gradient"]) == (9.0, 2.0)
    assert found["early_g_gradient"] == 3.0
    assert card([], [], 100) == dict.fromkeys(found)
    assert early(rows("x", [4.0, 6.0, 100.0], every=1), "x", 40) == 5.0
    assert series([{"step": 1}], "x") == []


def test_a_run_says_when_a_sign_first_shows_and_keeps_it_in_its_result(tmp_path, capsys):
    recipe = Recipe(
        model="wgan_gp", tricks=("gp_weight:weight=100000",), width=4, batch_size=8, steps=30,
        evaluation=Evaluation(samples=64, points=1),
    )  # fmt: skip
    result = carry_out(recipe, tmp_path, threads=1)
    shown = {name: at for name, at in result["signs"].items() if at is not None}
    assert shown
    said = capsys.readouterr().err
    for name, at in shown.items():
        assert said.count(f"step {at}: {name}: ") == 1
    assert "gradient_over_100" in shown
    assert list(RULES) == list(SIGNS)
    assert set(result["signs"]) == set(SIGNS) - {"d_loss_near_zero"}  # a critic's loss may well be near 0
    assert result["stability"].keys() >= {"volatility", "final_over_best", "largest_d_gradient"}
