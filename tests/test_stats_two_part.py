"""Moderated variances, the Behrens-Fisher test and verdicts in two parts, against independent sources."""

import itertools
import math

import numpy as np
import pytest
from scipy import integrate, special, stats
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import DescrStatsW

from gan_ablate.stats.corrections import holm
from gan_ablate.stats.failures import boschloo_p
from gan_ablate.stats.moderated import CAUTION, Difference, Prior, difference, fit_prior, squeeze, trigamma_inverse
from gan_ablate.stats.more_seeds import ANY, STEPS, more_seeds, offers_of_looks, scaled
from gan_ablate.stats.two_part import (
    VERDICTS,
    Runs,
    carries,
    combine_looks,
    decide,
    over_looks,
    weigh,
    with_seeds_to_decide,
)
from gan_ablate.study.seed_plan import RECOMMENDED

INF = math.inf


def one(mean=0.0, error=1.0, dof=4.0, other_error=1.0, other_dof=4.0):
    return Difference(*(np.array([float(v)]) for v in (mean, error, dof, other_error, other_dof)))


def exact_tail(x, a, d, b, e):
    """P(a T(d) + b T(e) >= x) by adaptive quadrature of the convolution, in pieces about where it turns."""
    edges = [-np.inf, *sorted({-20.0, 0.0, 20.0, *(x / b + k * a / b for k in (-30, -5, 0, 5, 30))}), np.inf]
    pieces = [
        integrate.quad(lambda t: stats.t.sf((x - b * t) / a, d) * stats.t.pdf(t, e), *ends, epsabs=0, epsrel=1e-10)[0]
        for ends in itertools.pairwise(edges)
    ]
    return sum(pieces)


# --- variances


def limma(x, d):
    """fitFDist of limma 3.58 (R), written out: moments of log variances; pooled where they vary no more than by chance."""
    z = [math.log(max(v, 1e-5 * float(np.median(x)))) for v in x]
    e = [v - float(special.psi(k / 2)) + math.log(k / 2) for v, k in zip(z, d)]
    middle = sum(e) / len(e)
    spread = sum((v - middle) ** 2 for v in e) / (len(e) - 1) - sum(special.zeta(2, k / 2) for k in d) / len(d)
    if spread <= 0:
        return INF, float(np.mean(x))
    low, high = 1e-8, 1e8
    for _ in range(200):  # trigamma falls
        half = math.sqrt(low * high)
        low, high = (half, high) if special.zeta(2, half) > spread else (low, half)
    return 2 * half, math.exp(middle + float(special.psi(half)) - math.log(half))


@pytest.mark.parametrize("true", [2.5, 6.0, 30.0, INF])
def test_the_prior_is_that_of_limma(true):
    rng = np.random.default_rng(1)
    own = 0.01 * (true / rng.chisquare(true, 90) if true < INF else np.ones(90))
    d = np.full(90, 4.0) if true == INF else rng.integers(2, 12, 90).astype(float)
    x = own * rng.chisquare(d) / d
    expected = limma(x, d)
    assert fit_prior(x, d, caution=None) == pytest.approx(expected, rel=1e-6)


def test_limmas_own_numbers():
    """Of `squeezeVar` in R, as the tests of its port InMoose 0.9.1 (limma 3.55.1) have them."""
    prior = fit_prior([0.5, 1.3, 7.8], [3, 3, 3], caution=None)
    assert prior == pytest.approx((2.830777, 1.676927), abs=1e-6)
    variance, _ = squeeze([0.5, 1.3, 7.8], [3, 3, 3], prior)
    assert variance == pytest.approx([1.071385, 1.482994, 4.827317], abs=1e-6)


def test_the_prior_finds_what_variances_were_drawn_from():
    rng = np.random.default_rng(2)
    for dof in (4.0, 8.0):
        d = rng.integers(3, 20, 40_000)
        x = 0.02 * dof / rng.chisquare(dof, d.size) * rng.chisquare(d) / d
        found = fit_prior(x, d)
        assert found.dof == pytest.approx(dof, rel=0.05)
        assert found.variance == pytest.approx(0.02, rel=0.02)


def test_variances_alike_in_truth_have_a_prior_of_many_degrees_of_freedom():
    rng = np.random.default_rng(3)
    found = [fit_prior(0.3 * rng.chisquare(4, 200) / 4, np.full(200, 4.0), caution=None) for _ in range(100)]
    infinite = sum(math.isinf(p.dof) for p in found)
    assert 35 <= infinite <= 65  # the moment is over or under 0 by chance
    assert min(p.dof for p in found) > 8
    assert np.mean([p.variance for p in found]) == pytest.approx(0.3, rel=0.03)


def test_few_variances_make_a_cautious_prior():
    """By the upper end of the spread's interval: less than Smyth's estimate, and nearly it from thousands of arms."""
    rng, lost = np.random.default_rng(8), []
    for n in (10, 90, 50_000):
        x = 0.02 * 8 / rng.chisquare(8, (100, n)) * rng.chisquare(4, (100, n)) / 4
        both = [(fit_prior(v, np.full(n, 4), caution=None), fit_prior(v, np.full(n, 4))) for v in x]
        assert all(plain.variance == cautious.variance and plain.dof >= cautious.dof for plain, cautious in both)
        lost.append(1 - np.median([cautious.dof for _, cautious in both]) / 8)
    assert lost[0] > 0.45 > lost[1] > 0.05 > lost[2] > 0, lost
    logs = np.log([0.1, 0.4]) - special.digamma(2) + math.log(2)
    spread = logs.var(ddof=1) / stats.chi2.ppf(CAUTION, 1)
    expected = 2 * trigamma_inverse(spread - float(special.polygamma(1, 2)))
    assert fit_prior([0.1, 0.4], [4, 4]).dof == pytest.approx(expected)


@pytest.mark.parametrize("arms", [2, 5])
def test_tables_of_few_arms_keep_their_level(arms):
    """With Smyth's own estimate of the prior 0.08 of such tables say something false."""
    rng, false = np.random.default_rng(9), 0
    for _ in range(1500):
        x = 0.1 * np.exp(0.5 * rng.normal(size=(1 + arms, 1))) * rng.normal(size=(1 + arms, 20))
        base, sides = x[0], x[1:, :4]
        prior = fit_prior([*sides.var(1, ddof=1), base.var(ddof=1)], [*[3] * arms, 19])
        found = difference(sides.mean(1), sides.var(1, ddof=1), [4] * arms, base.mean(), base.var(ddof=1), 20, prior)
        false += min(holm(found.p())) < 0.05
    assert false / 1500 < 0.05 + 3 * math.sqrt(0.05 * 0.95 / 1500)


def test_a_prior_of_next_to_nothing():
    assert fit_prior([], []).dof == 0
    assert fit_prior([0.3], [4]).dof == 0
    assert fit_prior([0.3, math.nan, 0.2], [4, 0, -1]).dof == 0
    assert fit_prior([0.0, 0.0, 0.1], [4, 4, 4]).dof == 0
    found = fit_prior([0.0, 0.1, 0.2, 0.1], [4, 4, 4, 4])
    assert 0 < found.dof < INF
    assert 0 < found.variance < 0.2


@pytest.mark.parametrize("x", [1e-9, 1e-4, 0.1, 0.5, 1.0, 7.3, 100.0, 1e5, 1e8])
def test_trigamma_inverse(x):
    assert trigamma_inverse(float(special.polygamma(1, x))) == pytest.approx(x, rel=1e-6)


def test_squeeze_is_the_weighted_mean():
    variance, dof = squeeze([0.4, 0.0, math.nan], [4, 2, 0], Prior(6.0, 0.1))
    assert variance == pytest.approx([(4 * 0.4 + 6 * 0.1) / 10, 6 * 0.1 / 8, 0.1])
    assert list(dof) == [10, 8, 6]
    variance, dof = squeeze([0.4, math.nan], [4, 0], Prior(INF, 0.1))
    assert list(variance) == [0.1, 0.1]
    assert np.isinf(dof).all()
    variance, dof = squeeze([0.4, math.nan, math.nan], [4, 0, -1], Prior(0.0, 1.0))
    assert variance[0] == pytest.approx(0.4)
    assert np.isnan(variance[1:]).all()


# --- the test


@pytest.mark.parametrize(("d", "e"), [(2, 2), (3, 3), (4, 39), (39, 4), (8, 45), (300, 12)])
@pytest.mark.parametrize(("a", "b"), [(1.0, 1.0), (1.0, 0.3), (0.3, 1.0), (1.0, 0.05)])
def test_p_is_that_of_the_exact_distribution(d, e, a, b):
    for p in (0.5, 0.05, 1e-3, 1e-5, 1e-8):
        low, high = 1e-3, 1e6
        for _ in range(30):
            x = math.sqrt(low * high)
            low, high = (x, high) if one(x, a, d, b, e).p()[0] > p else (low, x)
        assert one(x, a, d, b, e).p()[0] == pytest.approx(2 * exact_tail(x, a, d, b, e), rel=1e-6)


def test_p_is_that_of_a_monte_carlo():
    rng, n = np.random.default_rng(4), 2_000_000
    sums = 0.7 * rng.standard_t(6.3, n) + 0.4 * rng.standard_t(45, n)
    for x in (0.3, 1.0, 2.0, 3.5):
        p = one(x, 0.7, 6.3, 0.4, 45).p()[0]
        assert (np.abs(sums) >= x).mean() == pytest.approx(p, abs=4 * math.sqrt(p * (1 - p) / n))


@pytest.mark.parametrize("x", [0.1, 1.0, 5.0, 30.0])
def test_p_in_its_limits(x):
    for dof in (1, 3, 40):
        expected = 2 * stats.t.sf(x / 0.4, dof)
        assert one(x, 0.4, dof, 0.0, 7).p()[0] == pytest.approx(expected, rel=1e-9)
        assert one(-x, 0.0, 7, 0.4, dof).p()[0] == pytest.approx(expected, rel=1e-9)
        assert one(x, 0.4, dof, 1e-12, INF).p()[0] == pytest.approx(expected, rel=1e-6)
    assert one(x, 0.3, INF, 0.4, INF).p()[0] == pytest.approx(2 * stats.norm.sf(x / 0.5), rel=1e-6, abs=1e-300)
    assert one(x, 0.3, 1, 0.4, 1).p()[0] == pytest.approx(2 * stats.cauchy.sf(x / 0.7), rel=1e-6)
    assert one(x, 1.0, 5, 1.0, INF).p()[0] == pytest.approx(2 * exact_tail(x, 1, 5, 1, 1e8), rel=1e-5)


def test_p_without_an_error():
    assert list(one(0.2, 0, 4, 0, 4).p()) == [0.0]
    assert list(one(0.0, 0, 4, 0, 4).p()) == [1.0]
    assert np.isnan(one(0.2, math.nan, math.nan, 0.1, 4).p()).all()
    assert np.isnan(one(0.2, 0.1, 4, math.nan, math.nan).p()).all()
    assert np.isnan(one(math.nan, 0, 4, 0, 4).p()).all()
    assert np.isnan(one(0.2, math.nan, math.nan, 0.1, 4).bounds()).all()
    assert np.ravel(one(0.2, 0, 4, 0, 4).bounds()) == pytest.approx([0.2, 0.2])


@pytest.mark.parametrize("level", [0.5, 0.95, 0.999999])
def test_bounds_invert_the_test(level):
    rng = np.random.default_rng(5)
    a, b = rng.uniform(0.01, 2, (2, 40))
    d, e = rng.uniform(1, 60, (2, 40))
    found = Difference(rng.normal(size=40), a, d, b, e)
    low, high = found.bounds(level)
    for bound in (low, high):
        assert found._replace(mean=found.mean - bound).p() == pytest.approx(np.full(40, 1 - level), rel=1e-6)
    assert (low < high).all()


def test_outside_is_the_two_one_sided_tests_of_statsmodels():
    x = np.random.default_rng(6).normal(0.05, 0.2, 7)
    _, (_, over, _), (_, under, _) = DescrStatsW(x).ttost_mean(-0.22, 0.22)
    above, below = one(x.mean(), x.std(ddof=1) / math.sqrt(7), 6, 0.0, 9).outside(0.22)
    assert (below[0], above[0]) == pytest.approx((over, under), rel=1e-9)
    above, below = one(0.05, 0.03, INF, 0.04, INF).outside(0.22)
    assert (above[0], below[0]) == pytest.approx((stats.norm.sf(0.17 / 0.05), stats.norm.sf(0.27 / 0.05)), rel=1e-6)
    assert one(0.22, 0, 4, 0, 4).outside(0.22)[0][0] == 1  # on the margin is not within it


def test_means_of_runs_make_a_difference():
    prior = Prior(6.0, 0.02)
    found = difference([1.0, 2.0], [0.05, math.nan], [5, 1], 0.5, 0.03, 20, prior)
    assert found.mean == pytest.approx([0.5, 1.5])
    assert found.error == pytest.approx([math.sqrt((4 * 0.05 + 6 * 0.02) / 10 / 5), math.sqrt(0.02)])
    assert list(found.dof) == [10, 6]
    assert found.other_error == pytest.approx([math.sqrt((19 * 0.03 + 6 * 0.02) / 25 / 20)] * 2)
    assert list(found.other_dof) == [25, 25]


# --- verdicts


def runs(rng, n, ratio=1.0, failed=0, sd=0.1):
    return Runs(list(math.log(ratio) + sd * rng.normal(size=n)), failed)


@pytest.fixture
def rng():
    return np.random.default_rng(7)


@pytest.fixture
def planted(rng):
    base = runs(rng, 40)
    arms = {
        "better": runs(rng, 8, 0.6),
        "worse": runs(rng, 8, 1.8),
        "even": runs(rng, 16),
        "unclear": Runs([-0.2, 0.25, 0.4, 0.0]),
        "fails": runs(rng, 4, 1.0, failed=4),
        "all failed": Runs([], 8),
        "better but fails": runs(rng, 12, 0.5, failed=1),
        "much better but fails often": runs(rng, 8, 0.3, failed=8),
        "not run": Runs([]),
        "noop": Runs(base.log_fid[:4]),
        **{f"null {i}": runs(rng, 16) for i in range(20)},
    }
    return arms, base


def test_planted_arms_get_their_verdicts(planted):
    arms, base = planted
    found = decide(weigh(arms, base))
    expected = {
        "better": "helps", "worse": "hurts", "even": "same", "unclear": "undecided", "fails": "fails more",
        "all failed": "fails more", "better but fails": "undecided", "much better but fails often": "fails more",
        "not run": "not tested", "noop": "same",
    }  # fmt: skip
    assert {n: found[n].verdict for n in expected} == expected
    assert found["noop"].certain
    assert found["noop"].evidence.identical
    assert not found["even"].evidence.identical
    ahead = with_seeds_to_decide(found, arms, base)
    assert ahead["unclear"].seeds_to_decide > 0
    assert ahead["better"] == found["better"]
    assert {v.verdict for v in found.values()} <= {*VERDICTS, "not tested"}
    for v in found.values():
        assert not any(math.isnan(x) for x in (v.q, v.q_same, v.p_holm))


def test_p_has_both_parts(planted):
    arms, base = planted
    found = weigh(arms, base)
    assert found["worse"].p == found["worse"].p_fid  # no run failed, there is one part only
    some = Runs(base.log_fid[:38], 2)
    for name, e in weigh(arms, some).items():
        arm = arms[name]
        p_fail = boschloo_p(arm.failed, arm.finished, 2, 40)
        assert e.p_fail == pytest.approx(p_fail, nan_ok=True)
        if not arm.finished:
            assert math.isnan(e.p)
            continue
        parts = [p_fail] if arm.failed and not e.ratio.point > 1 else [e.p_fid, p_fail]
        assert e.p == pytest.approx(min(1, 2 * np.fmin.reduce(parts)))


@pytest.mark.parametrize("n", [5, 10])
def test_fid_may_use_the_whole_level_where_nothing_failed(n):
    """The chance to reject where arm and base fail at one rate and FIDs are alike, by a union bound: enumerated."""
    m, rates = 20, np.geomspace(1e-4, 0.5, 100)
    p = np.array([[boschloo_p(k, n, c, m) for c in range(m + 1)] for k in range(n + 1)])
    arm = np.array([stats.binom.pmf(np.arange(n + 1), n, r) for r in rates])
    base = np.array([stats.binom.pmf(np.arange(m + 1), m, r) for r in rates])
    none = (1 - rates) ** (n + m)
    for level in (0.05, 0.01, 0.001):
        by_failures = np.einsum("rk,kc,rc->r", arm, p <= level / 2, base)
        chance = none * level + (1 - none) * level / 2 + by_failures
        assert (chance <= level).all()
        assert chance.max() > 0.9 * level


def test_an_arm_that_fails_less_than_base_rescues(rng):
    base = runs(rng, 20, failed=20)
    arms = {"rescue": runs(rng, 20), "as bad": runs(rng, 10, failed=10), "rescue and better": runs(rng, 20, 0.9)}
    found = decide(weigh(arms, base))
    assert found["rescue"].verdict == "rescues"
    assert found["as bad"].verdict != "rescues"
    assert found["rescue and better"].verdict in {"rescues", "helps"}
    assert "20 of 40" in carries(base)


def test_corrections_are_those_of_statsmodels(planted):
    arms, base = planted
    evidence = weigh(arms, base)
    found = decide(evidence)
    for key, of in (("p", "q"), ("p_same", "q_same")):
        p = np.nan_to_num([getattr(e, key) for e in evidence.values()], nan=1.0)
        assert [getattr(v, of) for v in found.values()] == pytest.approx(multipletests(p, method="fdr_bh")[1])
    p = np.nan_to_num([e.p for e in evidence.values()], nan=1.0)
    adjusted = multipletests(p, method="holm")[1]
    assert [v.p_holm for v in found.values()] == pytest.approx(adjusted)
    decisive = {"helps", "hurts", "fails more", "rescues"}
    assert [v.certain for v in found.values() if v.verdict in decisive] == [
        bool(a < 0.05) for a, v in zip(adjusted, found.values()) if v.verdict in decisive
    ]


def test_planned_arms_count_from_the_start(planted):
    arms, base = planted
    evidence = weigh(arms, base)
    now, planned = decide(evidence), decide(evidence, planned=90)
    p = np.nan_to_num([*(e.p for e in evidence.values()), *[1.0] * (90 - len(arms))], nan=1.0)
    assert [v.q for v in planned.values()] == pytest.approx(multipletests(p, method="fdr_bh")[1][: len(arms)])
    assert [v.p_holm for v in planned.values()] == pytest.approx(multipletests(p, method="holm")[1][: len(arms)])
    assert planned["better"].q > now["better"].q
    assert decide(evidence, planned=3) == now


def test_a_gate_for_bases_that_carry_nothing(rng):
    assert carries(runs(rng, 40)) == ""
    assert carries(runs(rng, 40, failed=10)) == ""  # a fifth itself passes
    assert "11 of 51" in carries(runs(rng, 40, failed=11))
    assert "factor" in carries(runs(rng, 5, sd=0.6))
    assert carries(Runs([0.1])) == "base has too few runs"
    assert carries(Runs([])) == "base has too few runs"


@pytest.mark.parametrize("base", [Runs([]), Runs([0.1]), Runs([], 5), Runs([0.1, 0.1, 0.1]), Runs([0.1, 0.2], 2)])
@pytest.mark.parametrize("arm", [Runs([]), Runs([0.3]), Runs([], 4), Runs([0.3] * 4), Runs([0.3, 0.1], 1)])
@pytest.mark.parametrize("others", [0, 6])
def test_few_runs_or_none_never_break_a_table(rng, base, arm, others):
    arms = {"arm": arm, **{str(i): runs(rng, 5) for i in range(others)}}
    found = decide(weigh(arms, base))
    assert list(found) == list(arms)
    v = found["arm"]
    assert not any(math.isnan(x) for x in (v.q, v.q_same, v.p_holm))
    if not arm.finished or not base.finished:
        assert v.verdict == "not tested"
    if arm.failed and not base.failed:
        assert v.verdict not in {"helps", "same"}
    assert decide({}) == {}
    assert weigh({}, base) == {}


# --- more seeds


def test_more_seeds_are_those_that_decide_runs_of_the_same_moments(rng):
    """The prediction, held against the test of made-up runs that have its mean, spread and failure rate exactly."""

    def made(mean, sd, n, failed=0):
        z = np.sort(rng.normal(size=n))
        return Runs((mean + sd * (z - z.mean()) / z.std(ddof=1)).tolist(), failed)

    prior, threshold = Prior(8.0, 0.012), 0.01
    for mean, sd, n in ((0.15, 0.11, 5), (0.3, 0.3, 4), (-0.12, 0.1, 5)):
        arm, base = made(mean, sd, n), made(0.0, 0.1, 40)
        found = more_seeds({"a": arm}, base, prior, threshold, lambda e: e.p)["a"]
        p = [
            weigh({"a": made(mean, sd, n + k)}, made(0.0, 0.1, 40 + found.base), prior=prior)["a"].p
            for k in (STEPS[max(0, STEPS.index(found.seeds) - 1)], found.seeds)
        ]
        assert p[1] < threshold
        assert found.seeds == 1 or found.base or p[0] >= threshold


def test_where_base_is_the_limit_base_needs_more_seeds(rng):
    arm, prior = Runs([0.12 + x for x in (-0.02, 0.01, 0.01)] * 10), Prior(4.0, 0.0005)
    few, many = (Runs((0.2 * np.linspace(-1, 1, n)).tolist()) for n in (5, 64))
    by = {
        name: more_seeds({"a": arm}, base, prior, 0.01, lambda e: e.p_same)
        for name, base in (("few", few), ("many", many))
    }
    assert by["few"]["a"].base > 0
    assert by["many"]["a"].base == 0
    alone = more_seeds({"a": arm}, few, prior, 0.01, lambda e: e.p_same, [o for o in ANY if not o.base])
    assert alone == {}  # 200 seeds more of the arm would not do


def test_a_study_offers_its_looks_at_their_weights(rng):
    offers = offers_of_looks(5, [(10, 0.25), (20, 0.5)])
    assert {o.seeds for o in offers} == {5, 15}
    assert {o.weight for o in offers if o.seeds == 15} == {0.5}
    arm, base, prior = Runs([0.16 + x for x in (-0.15, -0.05, 0.0, 0.05, 0.15)]), runs(rng, 40), Prior(6.0, 0.012)
    seeds = []
    for threshold in np.geomspace(1e-12, 0.02, 30):
        found = more_seeds({"a": arm}, base, prior, threshold, lambda e: e.p, offers).get("a")
        halved = [o._replace(weight=o.weight / 2) for o in offers]
        again = more_seeds({"a": arm}, base, prior, 2 * threshold, lambda e: e.p, halved).get("a")
        assert (again and again[:2]) == (found and found[:2])
        seeds.append((found.seeds + found.base) if found else 1000)
    assert seeds == sorted(seeds, reverse=True)  # the more it may spend the sooner
    assert {5, 15, 1000} <= set(seeds)
    assert offers_of_looks(20, []) == ()


def test_the_normal_score_of_p_grows_as_the_root_of_the_seeds():
    z = 2.0
    p = 2 * special.ndtr(-z)
    for threshold in (0.04, 0.001, 1e-5):
        needed = 10 * (special.ndtri(threshold / 2) / z) ** 2 - 10
        assert scaled(p, 10, threshold, ANY).seeds == next(k for k in STEPS if k > needed)
    assert scaled(0.9, 5, 0.001, ANY) is None
    assert scaled(1.0, 5, 0.05, ANY) is None


# --- looks


def test_looks_are_a_union_bound():
    p, look = combine_looks([[0.01, 0.5, math.nan], [0.004, 0.001, math.nan]], [0.25, 0.25, 0.5])
    assert p == pytest.approx([0.016, 0.004, math.nan], nan_ok=True)
    assert list(look[:2]) == [1, 1]
    p, look = combine_looks([[0.001], [math.nan], [0.01]], [0.25, 0.25, 0.5])
    assert (p[0], look[0]) == (0.004, 0)
    assert combine_looks([[0.9]], [1.0])[0][0] == 0.9
    assert combine_looks([[0.9]], [0.5, 0.5])[0][0] == 1
    for wrong in ([0.5, 0.6], [1.0, 0.0], [0.2, 0.2]):
        with pytest.raises(ValueError, match="together 1"):
            combine_looks([[0.1]], wrong)
    with pytest.raises(ValueError, match="one for each look"):
        combine_looks([[0.1], [0.1]], [1.0])


def test_looks_hold_their_level_whatever_decides_who_goes_on(rng):
    n = 40_000
    z = rng.normal(size=(3, n)).cumsum(0) / np.sqrt(np.arange(1, 4))[:, None]
    p = 2 * special.ndtr(-np.abs(z))
    p[1:, p[0] > 0.3] = math.nan  # goes on where it looks promising
    share = (combine_looks(p, [0.25, 0.25, 0.5])[0] < 0.05).mean()
    assert 0.02 < share < 0.05


def test_the_evidence_of_looks_is_of_the_look_that_decides(rng):
    base = runs(rng, 40)
    arm = runs(rng, 16, 0.8)
    looks = [weigh({"a": Runs(arm.log_fid[:n]), **{str(i): runs(rng, n) for i in range(9)}}, base)["a"] for n in (4, 8)]
    both = over_looks(looks, [0.25, 0.75])
    assert both.p == pytest.approx(min(looks[0].p / 0.25, looks[1].p / 0.75, 1))
    assert both.p_same == pytest.approx(min(looks[0].p_same / 0.25, looks[1].p_same / 0.75, 1))
    assert both.ratio == looks[1].ratio
    assert both.direction == "helps"
    failing = [looks[0], looks[1]._replace(fails_over=True, direction="fails more", p=0.2, p_same=1.0)]
    after = over_looks(failing, [0.5, 0.5])
    assert (after.direction, after.p, after.p_same) == ("fails more", 0.4, 1.0)
    third = over_looks(looks, RECOMMENDED.weights)  # the third look of the plan is still to come
    assert third.p == pytest.approx(min(1, 3 * looks[0].p, 3 * looks[1].p))
    assert over_looks(looks[:1], [0.25, 0.75]).p == pytest.approx(min(1, looks[0].p / 0.25))
