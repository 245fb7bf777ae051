"""What the verdicts are worth, by simulation: benchmarks/verdicts/ at a size for every day.

Bounds are the value asked for and three binomial standard errors of the size simulated.
"""

import math
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.verdicts import single_rates as rates
from benchmarks.verdicts import single_tests as bench

ROOT = Path(__file__).parents[1]


def slack(rate, n):
    return 3 * math.sqrt(rate * (1 - rate) / n)


@pytest.fixture
def rng():
    return np.random.default_rng(20)


def test_the_simulated_tests_are_those_of_the_verdicts(rng):
    assert bench.agrees(rng)


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("noise", [bench.Noise(0.0), bench.Noise(0.1), bench.Noise(0.6), bench.Noise(0.1, "t4")])
def test_the_family_wise_error_of_the_verdict_table_stays_under_alpha(rng, noise, seeds):
    """40 arms that share their control, none with an effect: Holm at 0.05."""
    studies = 600
    assert rates.family_wise(rng, noise, seeds, studies, "pooled", 40) <= 0.05 + slack(0.05, studies)


@pytest.mark.parametrize("arms", [1, 2, 3])
def test_small_families_keep_their_level_too(rng, arms):
    """Deciding by the pairs' own correlation, as `compare` alone does, would give 0.07 for one arm."""
    studies = 8000
    assert rates.family_wise(rng, bench.Noise(0.0), 5, studies, "pooled", arms) <= 0.05 + slack(0.05, studies)
    if arms == 1:
        assert rates.family_wise(rng, bench.Noise(0.0), 5, studies, "own sign", 1) > 0.05 + slack(0.05, studies)


@pytest.mark.parametrize(("kind", "seeds"), [("paired", 3), ("paired", 10), ("Welch", 5), ("Welch", 10)])
def test_intervals_cover_95_percent_within_one(rng, kind, seeds):
    studies = 20_000  # a standard error of 0.0015
    assert rates.coverage(rng, bench.Noise(0.0), seeds, studies, kind) == pytest.approx(0.95, abs=0.01)


@pytest.mark.parametrize("seeds", [5, 10, 20])
def test_one_arms_interval_covers_95_percent_within_one(rng, seeds):
    """t under 10 seeds, bootstrap from 10 on; the plain percentile bootstrap covers 0.905 at 10."""
    studies = 2500
    covered = rates.coverage(rng, bench.Noise(0.0), seeds, studies, "mean")
    assert covered == pytest.approx(0.95, abs=0.01 + slack(0.95, studies))


@pytest.mark.parametrize(("arms", "shared", "ratio"), [(1, 0.0, 0.75), (10, 0.8, 0.85), (10, 0.9, 0.9)])
def test_power_is_what_the_formula_says_where_all_arms_vary_alike(rng, arms, shared, ratio):
    noise, studies = bench.Noise(shared, "normal", 0.0), 2000
    expected = rates.ratio_power(ratio, 5, bench.MEDIAN_SD, 0.05, arms, shared or None)
    simulated = rates.found(rng, noise, 5, studies, ratio, arms)
    # Welch's estimated degrees of freedom cost a little against the pooled t test that the formula is of
    assert expected - 0.03 - slack(expected, studies) <= simulated <= expected + 0.03 + slack(expected, studies)


def test_importing_the_statistics_is_light():
    modules = [p.stem for p in (ROOT / "gan_ablate" / "stats").glob("[a-z]*.py")]
    code = f"import sys; {'; '.join(f'import gan_ablate.stats.{m}' for m in modules)}; print(*sys.modules)"
    loaded = set(
        subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout.split()
    )
    assert not loaded & {"torch", "pandas", "statsmodels", "scipy.stats"}
    assert "gan_ablate.stats.paired" in loaded
