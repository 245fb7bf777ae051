"""Statistics against scipy, statsmodels and closed forms."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import CompareMeans, DescrStatsW

from gan_ablate.stats.corrections import holm
from gan_ablate.stats.intervals import geometric_mean_interval, mean_interval, wilson
from gan_ablate.stats.paired import compare, least_rank_p
from gan_ablate.stats.ranks import improvement

RNG = np.random.default_rng(0)
START = RNG.bit_generator.state


@pytest.fixture(autouse=True)
def _same_draws_in_any_order():
    RNG.bit_generator.state = START


def by_seed(x):
    return {i: (None if v is None else float(v)) for i, v in enumerate(x)}


def correlated(n, effect=0.0, rho=0.8):
    shared = RNG.normal(size=n)
    return tuple(
        np.exp(3 + e + 0.2 * (math.sqrt(rho) * shared + math.sqrt(1 - rho) * RNG.normal(size=n))) for e in (effect, 0)
    )


def test_mean_interval_is_scipys_t_interval_under_10_values():
    x = RNG.normal(size=5)
    low, high = stats.t.interval(0.95, 4, x.mean(), stats.sem(x))
    assert mean_interval(x) == pytest.approx((x.mean(), low, high))


def test_mean_interval_from_10_values_is_the_seeded_bootstrap_expanded_to_the_t_intervals_width():
    """Hesterberg 2015: percentiles as far out as makes up for the small sample; scipy's percentile interval there."""
    x = RNG.exponential(size=30)
    ours = mean_interval(x, seed=3)
    assert ours == mean_interval(x, seed=3)
    assert ours[1:] != mean_interval(x, seed=4)[1:]
    level = 1 - 2 * stats.norm.cdf(-math.sqrt(30 / 29) * stats.t.ppf(0.975, 29))
    theirs = stats.bootstrap((x,), np.mean, method="percentile", confidence_level=level, rng=np.random.default_rng(0))
    assert ours[1:] == pytest.approx(tuple(theirs.confidence_interval), abs=0.02)


def test_intervals_cover_what_they_say():
    covered = sum(i.low <= 0 <= i.high for i in (mean_interval(RNG.normal(size=5)) for _ in range(4000)))
    assert covered / 4000 == pytest.approx(0.95, abs=0.012)


def test_one_value_has_no_interval_and_none_has_no_mean():
    assert math.isnan(mean_interval([3.0]).low)
    assert math.isnan(mean_interval([]).point)


def test_geometric_mean_is_scipys():
    x = np.exp(RNG.normal(size=6))
    ours = geometric_mean_interval(x)
    assert ours.point == pytest.approx(stats.gmean(x))
    assert ours.low < ours.point < ours.high


@pytest.mark.parametrize(("k", "n"), [(0, 5), (1, 5), (5, 5), (13, 40)])
def test_wilson_is_statsmodels(k, n):
    assert wilson(k, n)[1:] == pytest.approx(proportion_confint(k, n, method="wilson"), abs=1e-12)


def test_holm_is_statsmodels_and_leaves_nan_out():
    p = RNG.uniform(0, 0.2, size=9)
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])
    with_nan = np.insert(p, 4, np.nan)
    assert np.isnan(holm(with_nan)[4])
    assert np.delete(holm(with_nan), 4) == pytest.approx(holm(p))


def test_correlated_pairs_get_the_paired_t_test():
    a, b = correlated(8, 0.1)
    ours, theirs = compare(by_seed(a), by_seed(b)), stats.ttest_rel(np.log(a), np.log(b))
    assert ours.test == "paired t"
    assert ours.p == pytest.approx(theirs.pvalue)
    low, high = theirs.confidence_interval(0.95)
    assert ours.ratio == pytest.approx((stats.gmean(a) / stats.gmean(b), math.exp(low), math.exp(high)))
    assert ours.correlation == pytest.approx(np.corrcoef(np.log(a), np.log(b))[0, 1])


def test_pairs_that_do_not_correlate_get_welchs():
    a, b = np.array([1.0, 2, 3, 4, 5]), np.array([6.0, 5, 4, 3, 2.5])
    ours = compare(by_seed(a), by_seed(b))
    both = CompareMeans(DescrStatsW(np.log(a)), DescrStatsW(np.log(b)))
    assert ours.test == "Welch"
    assert ours.p == pytest.approx(both.ttest_ind(usevar="unequal")[1])
    low, high = both.tconfint_diff(usevar="unequal")
    assert ours.ratio[1:] == pytest.approx((math.exp(low), math.exp(high)))


def test_failed_runs_rank_worst_and_are_not_dropped():
    a, b = [9.0, 8.0, None, None, None], [10.0, 11.0, 12.0, 13.0, 14.0]
    ours = compare(by_seed(a), by_seed(b))
    big = [9.0, 8.0, 1e9, 1e9, 1e9]
    assert ours.test == "rank"
    every_split = stats.PermutationMethod(n_resamples=np.inf)  # scipy's default approximates where values tie
    assert ours.p == pytest.approx(stats.mannwhitneyu(big, b, alternative="two-sided", method=every_split).pvalue)
    assert ours.favours == 1  # three failures outweigh two better scores
    assert math.isnan(ours.ratio.low)
    everything = compare(by_seed([None] * 5), by_seed(b))
    assert everything.favours == 1
    assert everything.p < 0.02


def test_least_rank_p_is_reached_by_complete_separation():
    for n in (3, 5):
        p = stats.mannwhitneyu(range(n), range(10, 10 + n), alternative="two-sided", method="exact").pvalue
        assert least_rank_p(n, n) == pytest.approx(p)


@pytest.mark.parametrize("n", [2, 3, 4, 5])
def test_ties_of_failed_runs_do_not_push_p_under_its_floor(n):
    """scipy's normal approximation says 0.064 at 3 against 3, where no split of the ranks can give less than 0.1."""
    ours = compare(by_seed([None] * n), by_seed(range(10, 10 + n)))
    assert ours.p == pytest.approx(least_rank_p(n, n))


@pytest.mark.parametrize(("n", "m"), [(3, 4), (4, 5), (5, 3), (2, 6)])
def test_tied_ranks_of_unequal_sides_stay_over_the_floor_and_are_scipys(n, m):
    for failed in range(1, m + 1):
        control = [None] * failed + [30.0 + i for i in range(m - failed)]
        ours = compare(by_seed(range(10, 10 + n)), by_seed(control))
        x, y = np.arange(10, 10 + n), [1e9 if v is None else v for v in control]
        every_split = stats.PermutationMethod(n_resamples=np.inf)
        theirs = stats.mannwhitneyu(x, y, alternative="two-sided", method=every_split).pvalue
        assert ours.p == pytest.approx(theirs)
        assert ours.p >= ours.least_p - 1e-12


@pytest.mark.parametrize("shift", [([7, 7], [8, 8]), ([7, 6, 5], [8, 7, 6])])
@pytest.mark.parametrize("pooled", [0.0, 0.99])
def test_two_sides_that_never_vary_are_not_certain(shift, pooled):
    """Counts of modes: a t test without error would say p = 0 of two runs a side."""
    a, b = map(by_seed, shift)
    ours = compare(a, b, scale="linear", better="higher", pooled=pooled)
    if pooled or len(a) == 2:
        assert ours.test == "rank"
        assert math.isnan(ours.difference.low)
    assert ours.p >= least_rank_p(len(a), len(b)) - 1e-12
    assert ours.favours == -1
    assert compare(a, a, scale="linear", pooled=pooled).p == 1


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_score_that_is_not_finite_is_refused(bad):
    with pytest.raises(ValueError, match="not finite"):
        compare({0: 1.0, 1: bad, 2: 3.0}, {0: 1.0, 1: 2.0, 2: 3.0}, scale="linear")


def test_rank_test_beyond_enumeration_is_scipys_approximation():
    a, b = [*RNG.uniform(1, 2, 10), None, None], [*RNG.uniform(1, 2, 12)]
    theirs = stats.mannwhitneyu([1e9 if v is None else v for v in a], b, alternative="two-sided").pvalue
    assert compare(by_seed(a), by_seed(b)).p == pytest.approx(theirs)


def test_a_corrected_test_misses_larger_effects():
    a, b = correlated(5)
    plain, corrected = compare(by_seed(a), by_seed(b)), compare(by_seed(a), by_seed(b), alpha=0.05 / 12)
    assert corrected.detectable > plain.detectable
    assert corrected.ratio == plain.ratio


def test_ratios_beyond_floats_are_infinite_and_not_an_error():
    assert math.isinf(compare({0: 1e300, 1: 1e-300}, {0: 1.0, 1: 2.0}).ratio.high)


def test_nothing_is_tested_on_one_seed():
    ours = compare({0: 5.0}, {0: 10.0})
    assert ours.ratio.point == pytest.approx(0.5)
    assert math.isnan(ours.p)


def test_improvement_is_mann_whitneys_u_over_all_pairs():
    a, b = [1.0, 2.0, None], [2.0, 3.0, None]
    # wins: 1<2, 1<3, 1<inf, 2<3, 2<inf; ties: 2=2, inf=inf
    assert improvement(a, b) == pytest.approx((5 + 2 * 0.5) / 9)
    x, y = RNG.normal(size=20), RNG.normal(size=30)
    u = stats.mannwhitneyu(x, y).statistic
    assert improvement(list(x), list(y)) == pytest.approx(1 - u / 600)
