import numpy as np
import pytest
from scipy.stats import binom

from vitsplice.metrics.statistics import holm
from vitsplice.study import statistics


def counts(*rows):
    """A table (items, values) out of each observer's values in a row, "." is none."""
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
def test_alpha_of_the_worked_examples(observers, alpha):
    assert statistics.krippendorff_alpha(counts(*observers)) == pytest.approx(alpha, abs=0.0005)


def test_alpha_is_one_for_agreement_below_nought_for_its_contrary_and_about_nought_for_chance():
    assert statistics.krippendorff_alpha([[3, 0], [0, 2], [0, 5]]) == 1
    assert statistics.krippendorff_alpha([[1, 1]] * 10) < 0
    heads = np.random.default_rng(0).binomial(6, 0.7, 4000)
    assert statistics.krippendorff_alpha(np.stack([heads, 6 - heads], 1)) == pytest.approx(0, abs=0.02)


def test_alpha_is_not_defined_without_two_raters_or_two_values():
    assert statistics.krippendorff_alpha([[1, 0], [0, 1]]) is None
    assert statistics.krippendorff_alpha([[2, 0], [4, 0]]) is None
    assert statistics.agreement([[1, 0]]) is None


def test_agreement_is_of_pairs_of_raters():
    assert statistics.agreement([[2, 0], [1, 1]]) == 0.5
    assert statistics.agreement([[3, 1]]) == 0.5  # 3 of 6 pairs
    assert statistics.agreement([[3, 1], [5, 0], [1, 0]]) == pytest.approx((4 * 0.5 + 5) / 9)


def test_wilson_of_a_worked_example():
    """Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263 gives .2553 to .3662, 0 of 20 gives 0 to .1611."""
    assert statistics.wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert statistics.wilson(0, 20) == pytest.approx((0, 0.1611), abs=5e-5)


def test_the_binomial_test_is_exact():
    assert statistics.binomial_p(9, 10) == pytest.approx(22 / 1024)
    assert statistics.binomial_p(5, 10) == 1
    assert statistics.binomial_p(60, 100) == pytest.approx(2 * binom.sf(59, 100, 0.5))


def test_holm_steps_down():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1, 1]
    assert holm([]) == []


def coverage(spread, raters=25, trials=20, rate=0.8, studies=400):
    """The share of simulated studies whose intervals hold the rate: over raters, over trials.

    Args:
        spread: of the raters' own rates (a beta distribution's a + b); None is none.
    """
    chance = np.random.default_rng(1)
    hits = np.zeros(2)
    for study in range(studies):
        own = np.full(raters, rate) if spread is None else chance.beta(rate * spread, (1 - rate) * spread, raters)
        wins = chance.binomial(trials, own)
        intervals = (
            statistics.over_raters(wins, np.full(raters, trials), study),
            statistics.wilson(int(wins.sum()), raters * trials),
        )
        hits += [low <= rate <= high for low, high in intervals]
    return hits / studies


def test_intervals_cover_a_known_rate_at_their_nominal_rate(monkeypatch):
    """95 %, give or take what 400 studies tell (2.2 % are two standard errors) and what 25 raters are short of many."""
    monkeypatch.setattr(statistics, "RESAMPLES", 999)
    over_raters, over_trials = coverage(spread=None)
    assert 0.91 <= over_raters <= 0.98
    assert 0.92 <= over_trials <= 0.98


def test_only_the_interval_over_raters_covers_where_raters_differ(monkeypatch):
    monkeypatch.setattr(statistics, "RESAMPLES", 999)
    over_raters, over_trials = coverage(spread=6)
    assert 0.90 <= over_raters <= 0.98
    assert over_trials < 0.85


def test_over_raters_needs_something_to_resample():
    assert statistics.over_raters([3], [5], 0) is None
    assert statistics.over_raters([4, 4], [4, 4], 0) is None
    low, high = statistics.over_raters([1, 2, 3, 4, 5], [5, 5, 5, 5, 5], 0)
    assert 0 <= low < 0.6 < high <= 1
    assert statistics.over_raters([1, 2, 3], [5, 5, 5], 7) == statistics.over_raters([1, 2, 3], [5, 5, 5], 7)


def test_bradley_terry_recovers_known_strengths():
    scores = np.array([1.0, 0.2, -0.3, -0.9])
    odds = np.exp(scores)
    expected = 1000 * odds[:, None] / np.add.outer(odds, odds)  # wins in expectation: the likeliest scores are exact
    np.fill_diagonal(expected, 0)
    assert statistics.bradley_terry(expected) == pytest.approx(scores, abs=1e-6)
    drawn = np.triu(np.random.default_rng(0).binomial(2000, expected / 1000), 1)
    drawn = drawn + np.tril(2000 - drawn.T, -1)
    assert statistics.bradley_terry(drawn) == pytest.approx(scores, abs=0.1)


def test_bradley_terry_of_two_is_the_log_odds():
    found = statistics.bradley_terry([[0, 30], [10, 0]])
    assert found[0] - found[1] == pytest.approx(np.log(3))


def test_bradley_terry_says_where_no_finite_score_is_likeliest():
    assert statistics.bradley_terry([[0, 5, 5], [0, 0, 3], [0, 2, 0]]) is None  # one never lost
    assert statistics.bradley_terry([[0, 5, 0], [3, 0, 0], [0, 0, 0]]) is None  # one never met the others
