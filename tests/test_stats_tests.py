"""Tests of hypotheses, equivalence, power and failure rates against scipy, statsmodels and enumeration."""

import math

import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.power import TTestIndPower, TTestPower
from statsmodels.stats.proportion import confint_proportions_2indep
from statsmodels.stats.weightstats import ttost_paired

from benchmarks.verdicts.single_tests import compare_family  # what reports tested with before the engine
from gan_ablate.stats import t_test
from gan_ablate.stats.corrections import benjamini_hochberg, holm
from gan_ablate.stats.failures import boschloo_p, rate_difference
from gan_ablate.stats.paired import compare, margin_p
from gan_ablate.stats.ranks import FEWEST, association, groups_p, improvement, least_rank_p, sign_p
from gan_ablate.stats.t_test import detectable, t_power

RNG = np.random.default_rng(7)


def by_seed(x):
    return {i: (None if v is None else float(v)) for i, v in enumerate(x)}


def arms(count, seeds, shared, sd=0.12):
    noise = math.sqrt(shared) * RNG.normal(size=seeds) + math.sqrt(1 - shared) * RNG.normal(size=(count + 1, seeds))
    return np.exp(3 + sd * noise)


def test_benjamini_hochberg_is_statsmodels_and_leaves_nan_out():
    p = RNG.uniform(0, 0.2, size=11)
    assert benjamini_hochberg(p) == pytest.approx(multipletests(p, method="fdr_bh")[1])
    assert np.isnan(benjamini_hochberg([math.nan, 0.03])[0])
    assert benjamini_hochberg([math.nan, 0.03])[1] == pytest.approx(0.03)
    assert len(benjamini_hochberg([])) == len(holm([])) == 0


def test_estimates_along_the_last_axis_are_scipys():
    a, b = RNG.normal(size=(4, 6)), RNG.normal(0.3, 2, size=(4, 6))
    assert t_test.paired(a, b).p() == pytest.approx(stats.ttest_rel(a, b, axis=1).pvalue)
    theirs = stats.ttest_ind(a, b, axis=1, equal_var=False)
    assert t_test.welch(a, b).p() == pytest.approx(theirs.pvalue)
    interval = theirs.confidence_interval(0.9)
    assert np.array(t_test.welch(a, b).bounds(0.9)) == pytest.approx(np.array([interval.low, interval.high]))


def test_pooled_correlation_is_the_mean_of_pandas_pairwise_ones():
    import pandas as pd

    x = arms(5, 8, 0.5)
    x[1, 2] = x[1, 5] = x[3, 0] = math.nan
    r = pd.DataFrame(x.T).corr(min_periods=3).to_numpy()
    assert t_test.pooled_correlation(x) == pytest.approx(r[np.triu_indices_from(r, 1)].mean())
    constant = np.vstack([x, np.full(8, 3.0)])
    assert t_test.pooled_correlation(constant) == pytest.approx(t_test.pooled_correlation(x))
    assert math.isnan(t_test.pooled_correlation(constant[-2:]))


@pytest.mark.parametrize(("n", "alpha"), [(3, 0.05), (5, 0.05), (5, 0.05 / 40), (10, 0.01)])
def test_at_break_even_both_tests_need_the_same_difference(n, alpha):
    r = t_test.break_even(n, alpha)
    pairs, unpaired = (stats.t.ppf(1 - alpha / 2, dof) for dof in (n - 1, 2 * n - 2))
    assert pairs * math.sqrt(2 * (1 - r) / n) == pytest.approx(unpaired * math.sqrt(2 / n))


@pytest.mark.parametrize(("n", "runs"), [(3, (5, 5)), (4, (4, 8))])
def test_at_break_even_pairing_repays_the_runs_that_it_drops(n, runs):
    r = t_test.break_even(n, 0.05, runs)
    pairs, unpaired = (stats.t.ppf(0.975, dof) for dof in (n - 1, sum(runs) - 2))
    assert pairs * math.sqrt(2 * (1 - r) / n) == pytest.approx(unpaired * math.sqrt(sum(1 / k for k in runs)))
    assert r > t_test.break_even(n, 0.05)


def test_arms_without_runs_do_not_vouch_for_a_correlation():
    scores = arms(1, 6, 0.95)
    family = compare_family({"a": by_seed(scores[1]), "b": {}, "c": {}}, by_seed(scores[0]))
    assert family.comparisons["a"].test == "Welch"


def test_a_family_pairs_seeds_where_its_common_correlation_pays():
    strong, weak = arms(8, 6, 0.95), arms(8, 6, 0.0)
    for scores, test in ((strong, "paired t"), (weak, "Welch")):
        family = compare_family({str(i): by_seed(x) for i, x in enumerate(scores[1:])}, by_seed(scores[0]))
        assert {c.test for c in family.comparisons.values()} == {test}
        r = np.corrcoef(np.log(scores))
        assert family.correlation == pytest.approx(r[np.triu_indices_from(r, 1)].mean())
        p = [c.p for c in family.comparisons.values()]
        assert holm(p) == pytest.approx(multipletests(p, method="holm")[1])


def test_two_arms_cannot_tell_their_correlation_and_a_given_one_decides():
    scores = arms(1, 6, 0.95)
    arm, control = {"a": by_seed(scores[1])}, by_seed(scores[0])
    assert compare_family(arm, control).comparisons["a"].test == "Welch"
    assert compare_family(arm, control, pooled=0.9).comparisons["a"].test == "paired t"
    assert compare(arm["a"], control, pooled=0.9).p == pytest.approx(stats.ttest_rel(*np.log(scores)).pvalue)


def test_arms_of_the_controls_own_training_are_paired_and_vouch_for_no_correlation():
    rng = np.random.default_rng(5)
    base = by_seed(30 * np.exp(rng.normal(0, 0.3, 8)))
    family = {f"arm{k}": by_seed(30 * np.exp(rng.normal(0, 0.3, 8))) for k in range(4)}
    same = {"sampled": {s: 1.05 * v * np.exp(rng.normal(0, 0.01)) for s, v in base.items()}}
    apart, found = compare_family(family, base), compare_family(family | same, base, one_training=same)
    assert found.comparisons["sampled"].test == "paired t"
    assert found.comparisons["sampled"].p < 1e-3
    assert found.correlation == apart.correlation
    assert {found.comparisons[k].test for k in family} == {"Welch"} == {c.test for c in apart.comparisons.values()}
    assert len(found.comparisons) == 5  # a test all the same, so Holm counts it
    assert compare_family(same, base).comparisons["sampled"].test == "Welch"  # one arm cannot tell its correlation


def test_scales_and_directions():
    a, b = RNG.uniform(0, 60, 6), RNG.uniform(0, 60, 6)
    ours = compare(by_seed(a), by_seed(b), scale="linear", better="higher", pooled=0.0)
    theirs = stats.ttest_ind(a, b, equal_var=False)
    assert ours.p == pytest.approx(theirs.pvalue)
    assert ours.difference[1:] == pytest.approx(tuple(theirs.confidence_interval()))
    assert math.isnan(ours.ratio.point)
    wins = improvement(list(a), list(b), "higher")
    assert wins == pytest.approx(stats.mannwhitneyu(a, b).statistic / 36)
    failing = compare(by_seed([50.0, None, None, None]), by_seed([1.0, 2, 3, 4]), scale="linear", better="higher")
    assert failing.favours == -1  # coverage: a failed run stands under every score
    with pytest.raises(ValueError, match="linear"):
        compare({0: 0.0, 1: 1.0}, {0: 1.0, 1: 2.0})


def test_failures_are_counted_on_both_sides():
    ours = compare(by_seed([5.0, None, None]), by_seed([4.0, 6.0, None]))
    assert ours.least_p == least_rank_p(3, 3)
    # wins of 5, None, None over 4, 6, None: 5 beats 6 and None; each None ties with None
    assert improvement([5.0, None, None], [4.0, 6.0, None], "lower") == pytest.approx((2 + 2 * 0.5) / 9)


@pytest.mark.parametrize("margin", [0.05, 0.3])
def test_about_a_margin_the_tests_are_statsmodels_tost(margin):
    control, treatment = (np.log(x) for x in arms(1, 7, 0.5, sd=0.05))
    theirs = ttost_paired(treatment, control, -margin, margin)
    mean, error, dof = (float(x) for x in t_test.paired(treatment, control))
    above, below = margin_p(mean, error, dof, margin)
    assert max(above, below) == pytest.approx(theirs[0])
    assert (above, below) == pytest.approx((theirs[2][1], theirs[1][1]))


@pytest.mark.parametrize("n", [3, 5, 10, 30])
@pytest.mark.parametrize("alpha", [0.05, 0.05 / 40])
def test_power_is_statsmodels(n, alpha):
    for size in (0.4, 0.7, 1.0):
        pairs = TTestPower().power(size, n, alpha)
        assert t_power(size * math.sqrt(n), n - 1, alpha) == pytest.approx(pairs, abs=1e-9)
        unpaired = TTestIndPower().power(size, n, alpha)
        assert t_power(size * math.sqrt(n / 2), 2 * n - 2, alpha) == pytest.approx(unpaired, abs=1e-9)


def test_what_is_detectable_is_found_with_the_power_asked_for():
    error = 0.12 * math.sqrt(2 / 5)
    assert t_power(detectable(error, 8, 0.05 / 40, power=0.8) / error, 8, 0.05 / 40) == pytest.approx(0.8)
    size = TTestPower().solve_power(nobs=5, alpha=0.05, power=0.8)
    assert detectable(0.12 / math.sqrt(5), 4) == pytest.approx(size * 0.12)  # pairs
    assert t_power(1000.0, 4, 0.05) == pytest.approx(1)  # far out, where scipy gives NaN


@pytest.mark.parametrize("counts", [(3, 5, 0, 5), (5, 5, 0, 5), (1, 10, 4, 8), (0, 6, 0, 6)])
def test_failure_rates_are_scipys_and_statsmodels(counts):
    failed, n, other, m = counts
    table = [[failed, other], [n - failed, m - other]]
    assert boschloo_p(*counts) <= stats.fisher_exact(table).pvalue + 1e-12
    ours = rate_difference(*counts)
    assert ours[1:] == pytest.approx(confint_proportions_2indep(failed, n, other, m, method="newcomb"), abs=1e-9)


@pytest.mark.parametrize("counts", [(3, 5, 0, 5), (4, 4, 1, 5)])
def test_boschloo_by_enumeration(counts):
    """The largest chance, over all common rates, of a table whose one-sided Fisher p is as small; doubled."""
    failed, n, other, m = counts

    def fisher(a, b):
        return stats.hypergeom.sf(a - 1, n + m, a + b, n)

    tables = [(a, b) for a in range(n + 1) for b in range(m + 1) if fisher(a, b) <= fisher(failed, other) + 1e-12]
    rates = np.linspace(0, 1, 2001)
    chance = sum(stats.binom.pmf(a, n, rates) * stats.binom.pmf(b, m, rates) for a, b in tables)
    assert boschloo_p(*counts) == pytest.approx(min(1, 2 * chance.max()), rel=1e-3)


def test_rank_tests_of_settings_at_their_limits():
    x = np.arange(8.0)
    assert association(x, -(x**3))[0] == -1
    assert association(x, [0, 1, 2, 3, 4, 5, math.inf, math.inf])[0] == pytest.approx(
        stats.spearmanr(x, [0, 1, 2, 3, 4, 5, 6, 6])[0]
    )
    assert math.isnan(association(x, np.ones(8))[1])
    assert math.isnan(association(x[: FEWEST - 1], x[: FEWEST - 1])[1])
    assert math.isnan(groups_p([x]))
    assert groups_p([x[:4], x[4:]]) == pytest.approx(stats.kruskal(x[:4], x[4:]).pvalue)
    assert sign_p(8, 0) == pytest.approx(2 / 2**8)
    assert math.isnan(sign_p(0, 0))
