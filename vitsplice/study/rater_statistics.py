"""Statistics of raters and their choices: rates with intervals, agreement, and scores of methods.

Pure functions of arrays.
"""

from __future__ import annotations

import numpy as np
import scipy.stats
from numpy.typing import ArrayLike
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from vitsplice.metrics.statistics import LEVEL, Array, Interval

CLUSTER_RESAMPLES = 9_999
"""Resamples of `cluster_interval`."""

MAX_NEWTON_STEPS = 1_000
"""Maximum number of steps of `bradley_terry`; 100 methods, each of which beats the next one 1,000,000 : 1, take 310."""


def wilson_interval(wins: int, trials: int) -> Interval:
    """Wilson's score interval (1927) of ``wins / trials``, for independent trials, at least 1."""
    interval = scipy.stats.binomtest(wins, trials).proportion_ci(LEVEL, method="wilson")
    return float(interval.low), float(interval.high)


def binomial_p(wins: int, trials: int) -> float:
    """P value of the exact two-sided binomial test of a rate of one half, for independent trials."""
    return float(scipy.stats.binomtest(wins, trials).pvalue)


def cluster_interval(wins: ArrayLike, trials: ArrayLike, seed: int) -> Interval | None:
    """Bootstrap interval of ``sum(wins) / sum(trials)`` that resamples clusters, such as raters with all their trials.

    Bias-corrected and accelerated (BCa, Efron 1987), with `CLUSTER_RESAMPLES` resamples.

    Args:
        wins: wins of each cluster, ``(C,)``.
        trials: trials of each cluster, ``(C,)``, at least 1.
        seed: seed of the resampling.

    Returns:
        The interval, or None for fewer than two clusters or equal rates of all clusters.
    """
    wins, trials = np.asarray(wins, float), np.asarray(trials, float)
    if len(wins) < 2 or np.ptp(wins / trials) == 0:
        return None
    interval = scipy.stats.bootstrap(
        (wins, trials), _rate, paired=True, n_resamples=CLUSTER_RESAMPLES, confidence_level=LEVEL, method="BCa",
        batch=1000, rng=np.random.default_rng(seed),
    ).confidence_interval  # fmt: skip
    return float(interval.low), float(interval.high)


def _rate(wins: Array, trials: Array, axis: int = -1) -> Array:
    return np.asarray(wins.sum(axis) / trials.sum(axis))


def krippendorff_alpha(counts: ArrayLike) -> float | None:
    """Krippendorff's alpha of nominal values, for any number of raters per item (Krippendorff 2011).

    1 minus the ratio of observed to expected disagreement: 1 is full agreement, 0 is agreement by chance. Neither numpy
    nor scipy computes alpha.

    Args:
        counts: number of raters who gave an item a value, ``(items, values)``. Items with fewer than two raters are
            ignored.

    Returns:
        Alpha, or None where it is undefined: no item has two raters, or all values are equal.
    """
    table = _rated_twice(counts)
    per_value = table.sum(0)
    total = per_value.sum()
    expected = total**2 - (per_value**2).sum()
    if expected == 0:
        return None
    return float(1 - (total - 1) * _disagreements(table).sum() / expected)


def pairwise_agreement(counts: ArrayLike) -> float | None:
    """Fraction of pairs of raters who agree on an item, averaged over items weighted by their numbers of raters.

    Args:
        counts: see `krippendorff_alpha`.

    Returns:
        The fraction, or None if no item has two raters.
    """
    table = _rated_twice(counts)
    return float(1 - _disagreements(table).sum() / table.sum()) if len(table) else None


def _rated_twice(counts: ArrayLike) -> Array:
    table = np.asarray(counts, float)
    return np.asarray(table[table.sum(1) >= 2])


def _disagreements(table: Array) -> Array:
    """For each item, number of ordered pairs of raters who disagree, divided by the number of raters minus 1."""
    raters = table.sum(1)
    return np.asarray((raters**2 - (table**2).sum(1)) / (raters - 1))


def bradley_terry(wins: ArrayLike) -> Array | None:
    """Maximum-likelihood scores of Bradley and Terry (1952): i beats j with odds ``exp(score i - score j)``.

    Newton's method with damped steps, so that the likelihood never falls: along a step whose values have the range r,
    the curvature grows at most by a factor of ``exp(r)`` (Bach 2010, Self-concordant analysis for logistic regression).
    Neither numpy nor scipy computes these scores.

    Args:
        wins: number of times that the row's method was preferred to the column's, ``(M, M)``.

    Returns:
        Scores with mean 0, ``(M,)``; None if no finite scores have maximum likelihood: the methods can then be divided
        into two groups such that no method of one group ever won against one of the other.
    """
    won = np.asarray(wins, float)
    if connected_components(won > 0, directed=True, connection="strong")[0] > 1:
        return None
    scores = np.zeros(len(won))
    for _ in range(MAX_NEWTON_STEPS):
        rates = expit(np.subtract.outer(scores, scores))
        gradient = (won * rates.T - won.T * rates).sum(1)
        information = (won + won.T) * rates * rates.T
        # Only differences of scores matter: the 1 keeps their mean at 0.
        step = np.linalg.solve(np.diag(information.sum(1)) - information + 1, gradient)
        if (length := np.ptp(step)) < 1e-10:
            break
        scores += step * np.log1p(length) / length
    return np.asarray(scores - scores.mean())
