"""What a study of n seeds can find: power, the smallest detectable ratio, the seeds needed. All on log scores."""

from __future__ import annotations

import math

from scipy import special

from gan_ablate.stats.intervals import exp


def t_power(noncentrality: float, dof: float, alpha: float = 0.05) -> float:
    """Power of the two-sided t test, by the noncentral t distribution (Cohen 1988, section 2.5)."""
    critical = special.stdtrit(dof, 1 - alpha / 2)
    below, far_below = special.nctdtr(dof, noncentrality, [critical, -critical])
    # where the distribution is far above the quantile, scipy gives NaN for what is 0 to 15 digits
    return 1 - _zero_if_nan(below) + _zero_if_nan(far_below)


def detectable(error: float, dof: float, alpha: float = 0.05, power: float = 0.8) -> float:
    """The difference of means that a two-sided t test finds with `power`, given its standard error."""
    if not (error >= 0 and dof > 0 and 0 < alpha < 1):
        return math.nan
    low, high = 0.0, 1.0
    while t_power(high, dof, alpha) < power:
        low, high = high, 2 * high
        if high > 1e6:
            return math.nan
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if t_power(middle, dof, alpha) < power else (low, middle)
    return high * error


def _zero_if_nan(x: float) -> float:
    return 0.0 if math.isnan(x) else float(x)


def _error(n: int, sd: float, correlation: float | None) -> tuple[float, float]:
    """Standard error of the difference of two arms of n seeds and its degrees of freedom."""
    if n < 2 or not sd > 0:
        raise ValueError(f"n={n}, sd={sd}: power needs at least 2 seeds and a positive sd of log scores")
    if correlation is None:
        return sd * math.sqrt(2 / n), 2 * n - 2
    if not -1 <= correlation < 1:
        raise ValueError(f"correlation={correlation}: the pair correlation lies in [-1, 1)")
    return sd * math.sqrt(2 * (1 - correlation) / n), n - 1


def smallest_detectable_ratio(  # noqa: PLR0917
    n: int,
    sd: float,
    alpha: float = 0.05,
    power: float = 0.8,
    comparisons: int = 1,
    correlation: float | None = None,
) -> float:
    """The ratio of scores over 1 that n seeds a side find with `power`; its inverse is found as often.

    `sd` is that of log scores over seeds within an arm, `correlation` that of pairs (None: unpaired), and `comparisons`
    the size of the family: alpha is divided by it, which is Holm's first step, so the answer errs on the large side.
    """
    return exp(detectable(*_error(n, sd, correlation), alpha / comparisons, power))


def ratio_power(  # noqa: PLR0917
    ratio: float,
    n: int,
    sd: float,
    alpha: float = 0.05,
    comparisons: int = 1,
    correlation: float | None = None,
) -> float:
    """The chance that n seeds a side show a true `ratio` of scores; arguments as in `smallest_detectable_ratio`."""
    error, dof = _error(n, sd, correlation)
    return t_power(abs(math.log(ratio)) / error, dof, alpha / comparisons)


def seeds_needed(  # noqa: PLR0917
    ratio: float,
    sd: float,
    alpha: float = 0.05,
    power: float = 0.8,
    comparisons: int = 1,
    correlation: float | None = None,
    most: int = 10_000,
) -> int:
    """The fewest seeds a side that show a true `ratio` with `power`. Raises `ValueError` where `most` do not."""
    unreached = f"a ratio of {ratio:g} at sd {sd:g} needs over {most} seeds: ask for a larger effect"
    low, high = 1, 2
    while ratio_power(ratio, high, sd, alpha, comparisons, correlation) < power:
        low, high = high, 2 * high
        if low > most:
            raise ValueError(unreached)
    while high - low > 1:
        middle = (low + high) // 2
        enough = ratio_power(ratio, middle, sd, alpha, comparisons, correlation) >= power
        low, high = (low, middle) if enough else (middle, high)
    if high > most:
        raise ValueError(unreached)
    return high
