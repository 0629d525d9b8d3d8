"""Statistics of evaluations, keypoint benchmarks and comparisons: intervals, tests, ranks.

Pure functions of arrays. Where a similar function of numpy or scipy is not used, a docstring or comment says why.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import scipy.stats
from numpy.typing import NDArray

Array = NDArray[np.float64]
Interval = tuple[float, float]

LEVEL = 0.95
"""Confidence level of every interval."""

RESAMPLES = 10_000
"""Default number of resamples of `mean_with_interval`."""

FEWER_RESAMPLES = 2_000
"""Number of resamples instead of `RESAMPLES` where there are many intervals."""

MAX_RESAMPLED = 10_000
"""Arrays with more finite values get the normal interval, which with so many values agrees with the bootstrap."""

MIN_WILCOXON = 13
"""Minimum number of nonzero differences for Wilcoxon's test; fewer are tested by the exact sign-flip test."""

MAX_DRAWS = 2_000_000
"""Maximum number of values that are drawn at a time, which bounds the memory of a bootstrap."""

SIGNIFICANCE = 0.05
"""Significance level of p values adjusted by Holm's method."""


@dataclass(frozen=True)
class MeanInterval:
    """Mean of an array with its 95 % confidence interval.

    Args:
        mean: mean of the finite values; NaN if there are none.
        low, high: ends of the interval; NaN without an interval, as for fewer than two values.
        n: number of finite values.
        interval_type: ``"bootstrap"``, ``"normal"``, or ``""`` without an interval.
    """

    mean: float
    low: float
    high: float
    n: int
    interval_type: str

    def format(self, number: Callable[[float], str]) -> str:
        """Format the mean by ``number``, with the interval if there is one, such as ``2.71 [2.60, 2.83]``."""
        return number(self.mean) + (f" [{number(self.low)}, {number(self.high)}]" if self.interval_type else "")


def mean_with_interval(values: Array, resamples: int = RESAMPLES) -> MeanInterval:
    """Compute the mean of the finite values with a percentile bootstrap interval (Efron 1979).

    More than `MAX_RESAMPLED` values get the normal interval. Fewer than two values get no interval.
    """
    values = values[np.isfinite(values)]
    n = len(values)
    if n < 2:
        return MeanInterval(float(values[0]) if n else math.nan, math.nan, math.nan, n, "")
    mean = float(values.mean())
    if n > MAX_RESAMPLED:
        half = float(scipy.stats.norm.ppf((1 + LEVEL) / 2) * values.std(ddof=1) / np.sqrt(n))
        return MeanInterval(mean, mean - half, mean + half, n, "normal")
    # scipy.stats.bootstrap draws the same resamples, but its quantiles can differ in the last bit.
    low, high = np.quantile(_resampled_means(values, resamples), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return MeanInterval(mean, float(low), float(high), n, "bootstrap")


def _resampled_means(values: Array, resamples: int) -> Array:
    rng, n = np.random.default_rng(0), len(values)
    step = max(1, MAX_DRAWS // n)
    sizes = [min(step, resamples - start) for start in range(0, resamples, step)]
    return np.concatenate([values[rng.integers(0, n, (size, n))].mean(1) for size in sizes])


def supported(interval: MeanInterval, adjusted_p: float, no_difference: float = 0) -> bool:
    """Return True if the interval excludes ``no_difference`` (0; 1 for a ratio) and p is below `SIGNIFICANCE`."""
    return adjusted_p < SIGNIFICANCE and not interval.low <= no_difference <= interval.high


def finite_or_none(value: float) -> float | None:
    """Replace NaN and infinity, which JSON cannot represent, by None."""
    return value if math.isfinite(value) else None


@dataclass(frozen=True)
class PairedTest:
    """Test of two methods on the pairs that both have.

    Args:
        n: number of pairs.
        mean: mean difference, first minus second; NaN without pairs.
        p: two-sided p value; 1 if all differences are 0, NaN without pairs.
        test: name of the test; ``"all equal"`` or ``"no pairs"`` where nothing is tested.
    """

    n: int
    mean: float
    p: float
    test: str


def paired_test(first: Array, second: Array) -> PairedTest:
    """Test whether two methods differ on the same pairs.

    Nonzero differences are tested by Wilcoxon's signed-rank test (1945), or, if there are fewer than `MIN_WILCOXON`, by
    the exact sign-flip permutation test of their mean. Pairs whose difference is not finite are ignored. Differences
    that are equal up to rounding errors are ties; differences that are 0 up to rounding errors count as 0.
    """
    finite = np.isfinite(first - second)
    first, second = first[finite], second[finite]
    differences = first - second
    n = len(differences)
    if not n:
        return PairedTest(0, math.nan, math.nan, "no pairs")
    mean = float(differences.mean())
    rounded = _rounded(differences, np.maximum(np.abs(first), np.abs(second)))
    nonzero = rounded[rounded != 0]
    if not len(nonzero):
        return PairedTest(n, mean, 1.0, "all equal")
    if len(nonzero) < MIN_WILCOXON:
        return PairedTest(n, mean, sign_flip_p(nonzero), "sign flips")
    return PairedTest(n, mean, float(scipy.stats.wilcoxon(nonzero).pvalue), "Wilcoxon")


def _rounded(differences: Array, sizes: Array) -> Array:
    """Divide differences by the power of ten below the typical size of values that differ; round them to 12 decimals.

    The typical size is the median, so that a few much larger values do not turn the other differences into 0.
    """
    differing = sizes[differences != 0]
    scale = float(np.median(differing)) if len(differing) else 0.0
    return np.round(differences / 10.0 ** math.floor(math.log10(max(scale, 1e-300))), 12)


def sign_flip_p(differences: Array) -> float:
    """Compute the exact two-sided p value of the mean of some differences.

    This is the fraction of sign assignments whose mean is at least as far from 0 as the observed mean.
    `scipy.stats.permutation_test` is not used: its tolerance is relative to the observed mean, so rounding decides
    which assignments count where the differences cancel.
    """
    signs = np.array(list(product((1.0, -1.0), repeat=len(differences))))
    sums = np.abs(signs @ differences)
    tolerance = 1e-12 * np.abs(differences).sum()
    return float((sums >= sums[0] - tolerance).mean())


def holm(p_values: Sequence[float]) -> list[float]:
    """Adjust the p values of one family for their number (Holm 1979); NaN stays NaN and is not counted.

    scipy has only the adjustments that control the false discovery rate (`scipy.stats.false_discovery_control`).
    """
    p = np.asarray(p_values, float)
    tested = np.isfinite(p)
    order = np.flatnonzero(tested)[np.argsort(p[tested], kind="stable")]
    adjusted = p.copy()
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return [float(value) for value in adjusted]


@dataclass(frozen=True)
class Distribution:
    """Box plot of an array.

    Args:
        box: low whisker, first quartile, median, third quartile, high whisker; whiskers end at the outermost values
            within 1.5 interquartile ranges of the quartiles (Tukey 1977). Empty without values.
        points: values at evenly spaced indices; NaN where a value is missing.
    """

    box: tuple[float, ...]
    points: Array


def summarise_values(values: Array, max_points: int) -> Distribution:
    """Summarise an array by a box and by at most ``max_points`` values, whose indices depend only on the length."""
    indices = np.unique(np.linspace(0, len(values) - 1, min(max_points, len(values))).astype(int))
    points, values = values[indices], values[np.isfinite(values)]
    if not len(values):
        return Distribution((), points)
    first, median, third = np.quantile(values, [0.25, 0.5, 0.75])
    within = values[(values >= first - 1.5 * (third - first)) & (values <= third + 1.5 * (third - first))]
    low, high = min(within.min(), first), max(within.max(), third)
    return Distribution(tuple(map(float, (low, first, median, third, high))), points)


def common_pairs(table: Array) -> Array:
    """Select the columns of a table ``(methods, pairs)`` that are finite for all methods."""
    return table[:, np.isfinite(table).all(0)]


def common_means(table: Array) -> Array:
    """Compute the mean of each method over the pairs that all methods have, ``(methods,)``; NaN without such pairs."""
    common = common_pairs(table)
    return np.asarray(common.mean(1)) if common.shape[1] else np.full(len(table), np.nan)


def mean_ranks(table: Array, *, higher: bool) -> Array:
    """Compute the mean rank of each method over the pairs that all methods have, ``(methods,)``.

    1 is best, and ties share the mean of their ranks; NaN if there are no such pairs, or only one method. ``higher``:
    higher values are better.
    """
    common = common_pairs(table)
    if len(table) == 1 or not common.shape[1]:
        return np.full(len(table), np.nan)
    ranks: Array = scipy.stats.rankdata(-common if higher else common, axis=0)
    return np.asarray(ranks.mean(1), dtype=np.float64)


def extreme_indices(values: Array, number: int, *, higher: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the indices of the ``number`` worst finite values, worst first, and of the ``number`` best, best first.

    If there are fewer finite values, both have the indices of all. ``higher``: higher values are better.
    """
    finite = np.flatnonzero(np.isfinite(values))
    ordered = finite[np.argsort(values[finite], kind="stable")]
    low, high = tuple(ordered[:number].tolist()), tuple(ordered[::-1][:number].tolist())
    return (low, high) if higher else (high, low)
