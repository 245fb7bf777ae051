"""Effects of designs, statistics over tasks, association and spread: against statsmodels, scipy and enumeration."""

import math
from itertools import combinations, product

import numpy as np
import pytest
from scipy import special, stats
from statsmodels.api import OLS, add_constant

from gan_ablate.stats.aggregate import (
    chance_of_nothing,
    expected_best,
    interquartile_mean,
    over_tasks,
    performance_profile,
    time_to,
)
from gan_ablate.stats.corrections import holm
from gan_ablate.stats.factorial import factorial
from gan_ablate.stats.failures import auc
from gan_ablate.stats.intervals import spread_ratio

RNG = np.random.default_rng(11)
NAMES = ["a", "b", "c", "d"]


def full(k):
    return np.array(list(product((-1, 1), repeat=k)), dtype=float)


def seeded(cells, seeds=3):
    """Each cell on each seed: (design, blocks)."""
    return np.repeat(cells, seeds, axis=0), list(np.tile(np.arange(seeds), len(cells)))


def planted(design, blocks, noise=0.05):
    """Scores with main effects of a and b, an interaction of a and c, and a seed effect."""
    log = 3 + 0.2 * design[:, 0] - 0.1 * design[:, 1] + 0.15 * design[:, 0] * design[:, 2] + 0.3 * np.array(blocks)
    return np.exp(log + noise * RNG.normal(size=len(design)))


def ols(design, scores, blocks, pairs):
    dummies = [[b == k for k in sorted(set(blocks))[1:]] for b in blocks]
    terms = np.column_stack([design, *(design[:, i] * design[:, j] for i, j in pairs), np.array(dummies, float)])
    return OLS(np.log(scores), add_constant(terms, prepend=False)).fit()


@pytest.mark.parametrize("missing", [(), (0, 5, 6, 17, 40)])
def test_effects_are_statsmodels_with_seeds_as_blocks_and_cells_missing(missing):
    design, blocks = seeded(full(4))
    keep = [i for i in range(len(design)) if i not in missing]
    design, blocks = design[keep], [blocks[i] for i in keep]
    scores = planted(design, blocks)
    ours = factorial(design, list(scores), NAMES, blocks)
    theirs = ols(design, scores, blocks, combinations(range(4), 2))
    bounds = 2 * theirs.conf_int()
    for i, effect in enumerate(ours.effects):
        assert effect.difference == pytest.approx((2 * theirs.params[i], *bounds[i]))
        assert effect.p == pytest.approx(theirs.pvalues[i], abs=1e-12)
        assert effect.aliases == ()
    assert ours.dof == theirs.df_resid
    assert [e.p_holm for e in ours.effects] == pytest.approx(holm(theirs.pvalues[:10]), abs=1e-12)


def test_an_effect_is_the_ratio_of_high_to_low():
    design, blocks = seeded(full(3))
    scores = planted(design, blocks, noise=1e-9)
    ours = factorial(design, list(scores), NAMES[:3], blocks)
    high, low = (stats.gmean(scores[design[:, 1] == s]) for s in (1, -1))
    assert ours["b"].ratio.point == pytest.approx(high / low)
    at = {c: math.exp(0.4 + 0.3 * c) for c in (-1, 1)}  # a's ratio where c is low, and where it is high
    assert ours["a:c"].ratio.point ** 2 == pytest.approx(at[1] / at[-1])
    assert ours["a:b"].difference.point == pytest.approx(0, abs=1e-7)


def test_a_half_fraction_estimates_one_of_each_alias_pair_and_names_the_other():
    cells = full(3)
    design, blocks = seeded(np.column_stack([cells, cells.prod(axis=1)]))  # d = abc, resolution IV
    ours = factorial(design, list(planted(design, blocks)), NAMES, blocks)
    assert ours["a:c"].aliases == ("b:d",)
    assert ours["b:d"].aliases == ("a:c",)
    assert math.isnan(ours["b:d"].p)
    assert ours["a:c"].difference.point == pytest.approx(0.3, abs=0.1)


def test_a_fraction_of_resolution_three_hides_interactions_in_main_effects():
    cells = full(2)
    design, blocks = seeded(np.column_stack([cells, -cells.prod(axis=1)]))  # c = -ab
    ours = factorial(design, list(planted(design, blocks)), NAMES[:3], blocks)
    assert ours["c"].aliases == ("-a:b",)
    assert math.isnan(ours["a:b"].difference.point)
    assert not math.isnan(ours["a"].p)


def test_plackett_burman_gives_main_effects_with_their_partial_aliases():
    row = np.array([1, 1, -1, 1, 1, 1, -1, -1, -1, 1, -1])
    cells = np.vstack([*(np.roll(row, i) for i in range(11)), -np.ones(11)])
    assert cells.T @ cells == pytest.approx(12 * np.eye(11))
    names = [f"f{i}" for i in range(11)]
    design, blocks = seeded(cells, 2)
    ours = factorial(design, list(np.exp(0.2 * design[:, 0] + 0.01 * RNG.normal(size=24))), names, blocks)
    for i, name in enumerate(names):
        assert ours[name].difference.point == pytest.approx(0.4 if i == 0 else 0, abs=0.03)
        # every main effect contains a third of each of the 45 interactions without it, and nothing of its own 10
        assert len(ours[name].aliases) == 45
        assert {alias[:5] for alias in ours[name].aliases} == {"+0.33", "-0.33"}
        assert not any(name in alias.split()[1].split(":") for alias in ours[name].aliases)
    assert math.isnan(ours["f0:f1"].p)


def test_a_design_without_replicates_says_that_it_is_saturated():
    ours = factorial(full(2), [1.0, 2.0, 3.0, 5.0], ["a", "b"])
    assert ours.dof == 0
    assert math.isnan(ours["a"].difference.low)
    assert ours["a"].difference.point == pytest.approx(math.log(15 / 2) / 2)


def test_failed_cells_stand_at_the_worst_score_and_are_counted():
    design, blocks = seeded(full(2))
    scores = list(RNG.uniform(10, 20, len(design)))
    failing = [None if row[0] > 0 and i % 2 else v for i, (row, v) in enumerate(zip(design, scores))]
    ours = factorial(design, failing, ["a", "b"], blocks)
    worst = max(v for v in failing if v is not None)
    assert ours.failed == sum(v is None for v in failing) > 0
    assert ours["a"] == factorial(design, [worst if v is None else v for v in failing], ["a", "b"], blocks)["a"]


def test_a_level_without_a_score_has_no_effect_and_neither_have_scores_that_never_vary():
    design, blocks = seeded(full(2))
    ours = factorial(design, [None if a > 0 else 10.0 + i for i, (a, _) in enumerate(design)], ["a", "b"], blocks)
    assert math.isnan(ours["a"].difference.point)
    assert math.isnan(ours["a"].p_holm)
    assert not math.isnan(ours["b"].p)
    exact = factorial(design, [2.0 if a > 0 else 1.0 for a, _ in design], ["a", "b"], blocks)
    assert exact["a"].ratio.point == pytest.approx(2)
    assert math.isnan(exact["a"].p)
    assert math.isnan(exact["a"].difference.low)


def test_designs_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="design"):
        factorial([[0, 1]], [1.0], ["a", "b"])
    with pytest.raises(ValueError, match="no run"):
        factorial([[1, 1]], [None], ["a", "b"])
    with pytest.raises(ValueError, match="blocks"):
        factorial([[1, 1]], [1.0], ["a", "b"], blocks=[1, 2])


def test_interquartile_mean_is_scipys_and_failed_runs_weigh_on_it():
    x = RNG.normal(size=(3, 21))
    assert interquartile_mean(x) == pytest.approx(stats.trim_mean(x, 0.25, axis=-1))
    assert over_tasks([[1.0, 2, 3, None]]).point == 2.5
    assert math.isinf(over_tasks([[1.0, 2, None, None]]).point)


def test_over_tasks_draws_runs_within_each_task():
    tasks = [list(RNG.normal(m, 1, 30)) for m in (0, 100)]
    ours = over_tasks(tasks, statistic=lambda x: x.mean(-1))
    assert ours.point == pytest.approx(np.mean(tasks))
    error = math.sqrt(sum(np.var(t) / 30 for t in tasks)) / 2  # without strata it would be 50 / sqrt(60)
    assert ours[1:] == pytest.approx((ours.point - 1.96 * error, ours.point + 1.96 * error), abs=0.1 * error + 0.03)
    assert ours == over_tasks(tasks, statistic=lambda x: x.mean(-1))


@pytest.mark.parametrize(("tasks", "seeds"), [(1, 5), (3, 5), (3, 10)])
def test_the_interval_over_tasks_relative_to_a_control_covers_what_it_says(tasks, seeds):
    """Plain percentiles with the control's mean taken as known cover 0.78 of 5 seeds and 3 tasks."""
    rng, hits = np.random.default_rng(5), 0
    for i in range(400):
        arm, control = (np.exp(0.2 * rng.normal(size=(2, tasks, seeds)))).tolist()
        interval = over_tasks(arm, control, resamples=1000, seed=i)
        hits += interval.low <= 1 <= interval.high
    assert 0.92 <= hits / 400 <= 0.98
    with pytest.raises(ValueError, match="control"):
        over_tasks([[1.0, 2.0]], [[None, None]])


def test_performance_profile_is_the_mean_of_the_tasks_distributions():
    tasks = [[0.5, 1.0, None, 2.0], [0.9, 1.1]]
    tau = [0.4, 1.0, 2.0, math.inf]
    point, low, high = performance_profile(tasks, tau)
    assert point == pytest.approx([0, (2 / 4 + 1 / 2) / 2, (3 / 4 + 1) / 2, (3 / 4 + 1) / 2])  # the failed run: never
    assert (low <= point).all()
    assert (point <= high).all()
    assert low[0] == high[0] == 0


@pytest.mark.parametrize("budget", [1, 2, 4, 7])
def test_expected_best_is_the_mean_over_all_subsets(budget):
    x = list(RNG.normal(size=7))
    assert expected_best(x, budget) == pytest.approx(np.mean([min(s) for s in combinations(x, budget)]))


def test_expected_best_with_failed_runs_and_beyond_the_data():
    assert expected_best([3.0, None, 1.0, None], 3) == pytest.approx(np.mean([1, 3, 1, 1]))
    assert math.isinf(expected_best([3.0, None, 1.0, None], 2))
    assert chance_of_nothing([3.0, None, 1.0, None], 2) == pytest.approx(1 / 6)
    assert chance_of_nothing([3.0, None, 1.0, None], 3) == 0
    assert math.isnan(expected_best([1.0], 2))


def test_auc_is_mann_whitneys_and_its_p():
    x, failed = RNG.normal(size=14).round(1), [True] * 5 + [False] * 9
    ours = auc(x, failed)
    assert ours.value.point == pytest.approx(stats.mannwhitneyu(x[:5], x[5:]).statistic / 45)
    every = stats.PermutationMethod(n_resamples=np.inf)  # ties and all
    theirs = stats.mannwhitneyu(x[:5], x[5:], alternative="two-sided", method=every).pvalue
    assert ours.p == pytest.approx(theirs)
    assert 0 < ours.value.low < ours.value.point < ours.value.high < 1


def test_auc_of_a_perfect_sign_still_has_a_lower_bound_under_one():
    """At an area of 1 the bound solves (1 - t)^2 = z^2 V(t) of Newcombe 2006, method 5."""
    ours = auc([5.0, math.inf, 4.0, 1.0, 2.0, 3.0, 0.0], [True, True, True, False, False, False, False]).value
    t, half = ours.low, (3 + 4) / 2 - 1
    variance = t * (1 - t) * (1 + half * (1 - t) / (2 - t) + half * t / (1 + t)) / 12
    assert (ours.point, ours.high) == (1, 1)
    assert (1 - t) ** 2 == pytest.approx(stats.norm.ppf(0.975) ** 2 * variance)
    assert math.isnan(auc([1.0, 2.0], [True, True]).value.point)
    with pytest.raises(ValueError, match="NaN"):
        auc([math.nan, 1.0], [True, False])


@pytest.mark.parametrize(("bad", "good"), [(3, 12), (10, 30)])
def test_auc_intervals_cover(bad, good):
    """Binormal: the area is Phi(shift / sqrt 2). 400 intervals: three standard errors are 0.033."""
    rng, area, hits = np.random.default_rng(0), special.ndtr(1.5 / math.sqrt(2)), 0
    for _ in range(400):
        interval = auc([*rng.normal(1.5, 1, bad), *rng.normal(0, 1, good)], [True] * bad + [False] * good).value
        hits += interval.low <= area <= interval.high
    assert hits / 400 >= 0.95 - 0.033


def test_spread_ratio_against_scipy_and_its_coverage():
    a, b = RNG.lognormal(0, 1.2, 20), RNG.lognormal(0, 0.4, 25)
    ours = spread_ratio(list(a), list(b))
    assert ours.p == pytest.approx(stats.levene(np.log(a), np.log(b), center="median").pvalue)
    assert ours.ratio.point == pytest.approx(np.log(a).std(ddof=1) / np.log(b).std(ddof=1))
    rng, hits = np.random.default_rng(1), 0
    for _ in range(1000):
        x, y = np.exp(2 * rng.gamma(4, size=15)), np.exp(rng.gamma(4, size=15))
        interval = spread_ratio(list(x), list(y)).ratio
        hits += interval.low <= 2 <= interval.high
    assert 0.93 <= hits / 1000 <= 0.99  # Bonett's is approximate: 0.93 to 0.99 at 10 to 40 runs (docs/statistics.md)


def test_failed_runs_spread_their_side():
    rng = np.random.default_rng(2)
    x, y = list(rng.lognormal(3, 0.2, 12)), list(rng.lognormal(4, 0.2, 12))
    failing = spread_ratio([*x[:8], *[None] * 4], y)
    assert failing.failed == (4, 0)
    assert failing.ratio.point > spread_ratio(x, y).ratio.point
    assert math.isnan(spread_ratio(x[:4], y).ratio.point)
    assert math.isnan(spread_ratio([x[0], *[None] * 9], y).p)  # nine alike at the worst score: no sign of stability


def test_time_to_is_the_first_evaluation_under_the_target():
    times, scores = [0, 10, 20, 30, 40], [300, 50, 80, math.nan, 40]
    assert time_to(60, times, scores) == 10
    assert math.isinf(time_to(10, times, scores))
    with pytest.raises(ValueError, match="ascend"):
        time_to(1, [2, 1], [3, 4])
