"""What a column of metrics says: means with intervals, tests of pairs of methods, ranks. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
import scipy.stats
from numpy.typing import NDArray

Column = NDArray[np.float64]

LEVEL = 0.95
RESAMPLES = 10_000
FEWER_RESAMPLES = 2_000
"""In place of `RESAMPLES` where there are many intervals."""

MOST_RESAMPLED = 10_000
"""A longer column gets the normal interval, which is the same for so many values."""

FEWEST_RANKED = 13
"""Of fewer differences that are not zero all changes of sign are gone through."""

AT_ONCE = 2_000_000

SIGNIFICANT = 0.05
"""A difference is supported if its interval excludes no difference and its p, adjusted by Holm, is below this."""


@dataclass(frozen=True)
class Mean:
    """The mean of a column and its 95 % interval; the ends are NaN for fewer than two values.

    Args:
        mean: of the finite values; NaN if there are none.
        low, high: the ends of the interval.
        n: how many finite values there are.
        how: bootstrap, normal, or "" without an interval.
    """

    mean: float
    low: float
    high: float
    n: int
    how: str


def mean_with_interval(column: Column, seed: int = 0, resamples: int = RESAMPLES) -> Mean:
    """The mean of the finite values, with a percentile bootstrap interval (Efron 1979), or a normal one if many."""
    values = column[np.isfinite(column)]
    n = len(values)
    if n < 2:
        return Mean(float(values[0]) if n else float("nan"), float("nan"), float("nan"), n, "")
    mean = float(values.mean())
    if n > MOST_RESAMPLED:
        reach = float(scipy.stats.norm.ppf((1 + LEVEL) / 2) * values.std(ddof=1) / np.sqrt(n))
        return Mean(mean, mean - reach, mean + reach, n, "normal")
    low, high = np.quantile(_resampled(values, seed, resamples), [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Mean(mean, float(low), float(high), n, "bootstrap")


def supported(mean: Mean, adjusted: float, none: float = 0) -> bool:
    """Whether a difference with this p is supported; ``none`` is no difference: 0, or 1 of a ratio."""
    return adjusted < SIGNIFICANT and not mean.low <= none <= mean.high


def finite(value: float) -> float | None:
    """The value, or None for NaN and infinity, which neither JSON nor a table has."""
    return value if math.isfinite(value) else None


def _resampled(values: Column, seed: int, resamples: int) -> Column:
    """Means of samples drawn from the values with replacement, some at a time."""
    rng, n = np.random.default_rng(seed), len(values)
    step = max(1, AT_ONCE // n)
    parts = [min(step, resamples - done) for done in range(0, resamples, step)]
    return np.concatenate([values[rng.integers(0, n, (part, n))].mean(1) for part in parts])


@dataclass(frozen=True)
class Difference:
    """Two methods on the pairs that both have.

    Args:
        n: how many pairs.
        mean: of the first minus the second; NaN without pairs.
        p: two-sided; 1 where all are equal, NaN without pairs.
        how: the test.
    """

    n: int
    mean: float
    p: float
    how: str


def paired(one: Column, two: Column) -> Difference:
    """Test whether two methods differ on the same pairs.

    Wilcoxon's signed-rank test (1945; differences of zero are left out), and for fewer than 13 differences the exact
    sign-flip permutation test of their mean.
    """
    differences = one - two
    differences = differences[np.isfinite(differences)]
    n, mean = len(differences), float(differences.mean()) if len(differences) else float("nan")
    moved = differences[differences != 0]
    if not len(moved):
        return Difference(n, mean, 1.0 if n else float("nan"), "all equal" if n else "no pairs")
    if len(moved) < FEWEST_RANKED:
        return Difference(n, mean, sign_flip(moved), "sign flips")
    return Difference(n, mean, float(scipy.stats.wilcoxon(moved).pvalue), "Wilcoxon")


@dataclass(frozen=True)
class Spread:
    """How the values of a column spread.

    Args:
        quartiles: low whisker, first quartile, median, third quartile, high whisker; whiskers end at the values
            furthest out within 1.5 interquartile ranges of the quartiles (Tukey 1977). Empty without values.
        values: at evenly spaced indices, NaN where there is none.
    """

    quartiles: tuple[float, ...]
    values: Column


def spread(column: Column, most: int) -> Spread:
    """Summarise a column, with at most ``most`` of its values, taken at the same indices in columns of equal length."""
    places = np.unique(np.linspace(0, len(column) - 1, min(most, len(column))).astype(int))
    values = column[np.isfinite(column)]
    if not len(values):
        return Spread((), column[places])
    first, median, third = np.quantile(values, [0.25, 0.5, 0.75])
    within = values[(values >= first - 1.5 * (third - first)) & (values <= third + 1.5 * (third - first))]
    low, high = min(within.min(), first), max(within.max(), third)
    return Spread(tuple(map(float, (low, first, median, third, high))), column[places])


def sign_flip(differences: Column) -> float:
    """The part of all changes of sign whose mean is at least as far from 0, two-sided, exact."""
    signs = np.array(list(product((1.0, -1.0), repeat=len(differences))))
    sums = np.abs(signs @ differences)
    rounding = 1e-12 * np.abs(differences).sum()  # of sums that are equal but for it, also of those near 0
    return float((sums >= sums[0] - rounding).mean())


def holm(values: Sequence[float]) -> list[float]:
    """P values of one family, adjusted for their number (Holm 1979); NaN stays NaN and is not counted."""
    p = np.asarray(values, float)
    tested = np.isfinite(p)
    order = np.flatnonzero(tested)[np.argsort(p[tested], kind="stable")]
    adjusted = p.copy()
    adjusted[order] = np.minimum(np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)), 1)
    return [float(value) for value in adjusted]


def shared(table: Column) -> Column:
    """The columns of the pairs that all methods have, of a table ``(methods, pairs)``."""
    return table[:, np.isfinite(table).all(0)]


def shared_means(table: Column) -> Column:
    """The mean of each method over the pairs that all have, ``(methods,)``; NaN if there is none."""
    whole = shared(table)
    return np.asarray(whole.mean(1)) if whole.shape[1] else np.full(len(table), np.nan)


def mean_ranks(table: Column, *, higher: bool) -> Column:
    """The mean rank of each method over the pairs that all have; 1 is best, ties share the mean of their ranks.

    Args:
        table: ``(methods, pairs)``.
        higher: whether the highest is best.

    Returns:
        ``(methods,)``; NaN if no pair has values of all.
    """
    whole = shared(table)
    if not whole.shape[1]:
        return np.full(len(table), np.nan)
    ranks: Column = scipy.stats.rankdata(-whole if higher else whole, axis=0)
    return np.asarray(ranks.mean(1), dtype=np.float64)


def extremes(column: Column, most: int, *, higher: bool) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Where at most so many of the worst finite values stand, the worst first, and of the best, the best first.

    Args:
        column: values.
        most: of either.
        higher: whether the highest is best.
    """
    there = np.flatnonzero(np.isfinite(column))
    ordered = there[np.argsort(column[there], kind="stable")]
    low, high = (tuple(int(place) for place in some) for some in (ordered[:most], ordered[::-1][:most]))
    return (low, high) if higher else (high, low)
