import numpy as np
import pytest
import scipy.stats
from interval_coverage import coverage_of_rates

from vitsplice.study import rater_statistics
from vitsplice.study.rater_statistics import (
    binomial_p,
    bradley_terry,
    cluster_interval,
    krippendorff_alpha,
    pairwise_agreement,
    wilson_interval,
)


def counts(*rows):
    """Return the table (items, values) of counts; each row lists the values of one observer, "." if missing."""
    observers = [row.split() for row in rows]
    values = sorted({value for row in observers for value in row} - {"."})
    return [[sum(row[item] == value for row in observers) for value in values] for item in range(len(observers[0]))]


@pytest.mark.parametrize(
    ("observers", "alpha"),
    [  # Krippendorff, Computing Krippendorff's Alpha-Reliability (2011), sections A, B and C
        (("0 1 0 0 0 0 0 0 1 0", "1 1 1 0 0 1 0 0 0 0"), 0.095),
        (("a a b b d c c c e d d a", "b a b b b c c c e d d d"), 0.692),
        (
            (
                "1 2 3 3 2 1 4 1 2 . . .",
                "1 2 3 3 2 2 4 1 2 5 . 3",
                ". 3 3 3 2 3 4 2 2 5 1 .",
                "1 2 3 3 2 4 4 1 2 5 1 .",
            ),
            0.743,
        ),
    ],
)
def test_alpha_of_published_examples(observers, alpha):
    assert krippendorff_alpha(counts(*observers)) == pytest.approx(alpha, abs=0.0005)


def test_alpha_is_1_for_agreement_negative_for_disagreement_and_0_for_chance():
    assert krippendorff_alpha([[3, 0], [0, 2], [0, 5]]) == 1
    assert krippendorff_alpha([[1, 1]] * 10) < 0
    heads = np.random.default_rng(0).binomial(6, 0.7, 4000)
    assert krippendorff_alpha(np.stack([heads, 6 - heads], 1)) == pytest.approx(0, abs=0.02)


def test_alpha_is_none_without_two_raters_or_two_values():
    assert krippendorff_alpha([[1, 0], [0, 1]]) is None
    assert krippendorff_alpha([[2, 0], [4, 0]]) is None
    assert pairwise_agreement([[1, 0]]) is None


def test_agreement_counts_pairs_of_raters():
    assert pairwise_agreement([[2, 0], [1, 1]]) == 0.5
    assert pairwise_agreement([[3, 1]]) == 0.5  # 3 of 6 pairs
    assert pairwise_agreement([[3, 1], [5, 0], [1, 0]]) == pytest.approx((4 * 0.5 + 5) / 9)


def test_wilson_interval_of_published_examples():
    """Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263 gives .2553 to .3662, 0 of 20 gives 0 to .1611."""
    assert wilson_interval(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson_interval(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)


def test_binomial_p_is_exact():
    assert binomial_p(9, 10) == pytest.approx(22 / 1024)
    assert binomial_p(5, 10) == 1
    assert binomial_p(60, 100) == pytest.approx(2 * scipy.stats.binom.sf(59, 100, 0.5))


@pytest.mark.slow
def test_intervals_of_rates_have_nominal_coverage(monkeypatch):
    """Nominally 95 %; two standard errors of 200 studies are 3.1 %, and 25 raters are few."""
    monkeypatch.setattr(rater_statistics, "CLUSTER_RESAMPLES", 999)
    over_raters, over_trials = coverage_of_rates(None, 200)
    assert 0.91 <= over_raters <= 0.98
    assert 0.92 <= over_trials <= 0.98


@pytest.mark.slow
def test_only_the_cluster_interval_covers_where_raters_differ(monkeypatch):
    monkeypatch.setattr(rater_statistics, "CLUSTER_RESAMPLES", 999)
    over_raters, over_trials = coverage_of_rates(6, 200)
    assert 0.90 <= over_raters <= 0.98
    assert over_trials < 0.85


def test_cluster_interval_is_none_without_variation():
    assert cluster_interval([3], [5], 0) is None
    assert cluster_interval([4, 4], [4, 4], 0) is None
    low, high = cluster_interval([1, 2, 3, 4, 5], [5, 5, 5, 5, 5], 0)
    assert 0 <= low < 0.6 < high <= 1
    assert cluster_interval([1, 2, 3], [5, 5, 5], 7) == cluster_interval([1, 2, 3], [5, 5, 5], 7)


def test_bradley_terry_recovers_known_strengths():
    scores = np.array([1.0, 0.2, -0.3, -0.9])
    odds = np.exp(scores)
    expected = 1000 * odds[:, None] / np.add.outer(odds, odds)  # expected wins have exact maximum-likelihood scores
    np.fill_diagonal(expected, 0)
    assert bradley_terry(expected) == pytest.approx(scores, abs=1e-6)
    drawn = np.triu(np.random.default_rng(0).binomial(2000, expected / 1000), 1)
    drawn = drawn + np.tril(2000 - drawn.T, -1)
    assert bradley_terry(drawn) == pytest.approx(scores, abs=0.1)


def test_bradley_terry_of_two_is_the_log_odds():
    scores = bradley_terry([[0, 30], [10, 0]])
    assert scores[0] - scores[1] == pytest.approx(np.log(3))


def test_bradley_terry_is_none_without_finite_maximum():
    assert bradley_terry([[0, 5, 5], [0, 0, 3], [0, 2, 0]]) is None  # method 0 never lost
    assert bradley_terry([[0, 5, 0], [3, 0, 0], [0, 0, 0]]) is None  # method 2 was never compared


def test_bradley_terry_converges_for_a_chain_of_methods_that_nearly_always_beat_the_next():
    wins = 1000 * np.eye(20, k=1) + np.eye(20, k=-1)
    assert -np.diff(bradley_terry(wins)) == pytest.approx(np.log(1000), rel=1e-9)
