"""What the answers of a study amount to: pure functions of counts."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats
from scipy.sparse.csgraph import connected_components

LEVEL = 0.95
"""Of every interval."""

RESAMPLES = 9999

Interval = tuple[float, float]


def wilson(wins: int, trials: int) -> Interval:
    """Wilson's score interval (1927) of a rate, as if every trial were independent of every other.

    Args:
        wins: 0 to ``trials``.
        trials: at least 1.
    """
    found = stats.binomtest(wins, trials).proportion_ci(LEVEL, method="wilson")
    return float(found.low), float(found.high)


def binomial_p(wins: int, trials: int) -> float:
    """The exact two-sided binomial test of a rate of one half (trials independent): its p value."""
    return float(stats.binomtest(wins, trials).pvalue)


def over_raters(wins: ArrayLike, trials: ArrayLike, seed: int) -> Interval | None:
    """A bootstrap interval of ``sum(wins) / sum(trials)`` that resamples raters, each with all of its trials.

    Bias-corrected and accelerated (BCa, Efron 1987), `RESAMPLES` times.

    Args:
        wins: ``(R,)``, of each rater.
        trials: ``(R,)``, of each rater, at least 1.
        seed: of the resampling.

    Returns:
        None where there is nothing to resample: fewer than two raters, or all of one rate.
    """
    won, of = np.asarray(wins, float), np.asarray(trials, float)
    if len(won) < 2 or np.ptp(won / of) == 0:
        return None
    found = stats.bootstrap(
        (won, of), _rate, paired=True, n_resamples=RESAMPLES, confidence_level=LEVEL, method="BCa", batch=1000,
        rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return float(found.low), float(found.high)


def _rate(wins: NDArray[np.float64], trials: NDArray[np.float64], axis: int = -1) -> NDArray[np.float64]:
    return np.asarray(wins.sum(axis) / trials.sum(axis))


def krippendorff_alpha(counts: ArrayLike) -> float | None:
    """Krippendorff's alpha for nominal values, of any number of raters an item (Krippendorff 2011).

    One less the ratio of observed to expected disagreement: 1 is full agreement, 0 what chance gives.

    Args:
        counts: ``(items, values)``, how many raters gave the item that value. Items of fewer than two are left out.

    Returns:
        None where it is not defined: no item has two raters, or all that was given is one value.
    """
    table = _judged_twice(counts)
    values = table.sum(0)
    total = values.sum()
    expected = total**2 - (values**2).sum()
    if expected == 0:
        return None
    return float(1 - (total - 1) * _disagreements(table).sum() / expected)


def agreement(counts: ArrayLike) -> float | None:
    """The share of pairs of raters of an item that agree, each item weighed by its raters. See `krippendorff_alpha`."""
    table = _judged_twice(counts)
    return float(1 - _disagreements(table).sum() / table.sum()) if len(table) else None


def _judged_twice(counts: ArrayLike) -> NDArray[np.float64]:
    table = np.asarray(counts, float)
    return np.asarray(table[table.sum(1) >= 2])


def _disagreements(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """For each item, its ordered pairs of raters that differ, over one less than its raters."""
    raters = table.sum(1)
    return np.asarray((raters**2 - (table**2).sum(1)) / (raters - 1))


def bradley_terry(wins: ArrayLike) -> NDArray[np.float64] | None:
    """Scores of Bradley and Terry (1952) by maximum likelihood: i beats j with odds ``exp(score i - score j)``.

    Hunter's minorise-maximise iteration (2004).

    Args:
        wins: ``(M, M)``, how often the row's method was preferred to the column's.

    Returns:
        ``(M,)``, their mean 0. None where no finite scores are likeliest: some methods never lost, or never won,
        against all of the others.
    """
    won = np.asarray(wins, float)
    if connected_components(won > 0, directed=True, connection="strong")[0] > 1:
        return None
    met, strength = won + won.T, np.ones(len(won))
    for _ in range(100_000):
        better = won.sum(1) / (met / np.add.outer(strength, strength)).sum(1)
        better /= np.exp(np.log(better).mean())
        if np.abs(np.log(better / strength)).max() < 1e-10:
            break
        strength = better
    return np.asarray(np.log(better))
