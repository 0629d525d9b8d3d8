from itertools import product
from operator import mul

import numpy as np
import pytest
import scipy.stats
from interval_coverage import coverage, coverage_of_rates, crossed, normal

from tests.conftest import noise
from vitsplice.metrics import statistics
from vitsplice.metrics.statistics import (
    bradley_terry,
    cluster_interval,
    common_means,
    distribution,
    extreme_indices,
    holm,
    krippendorff_alpha,
    mean_ranks,
    mean_with_interval,
    paired_test,
    pairwise_agreement,
    sign_flip_p,
    wilson_interval,
)

NAN = float("nan")


def column(n, seed=0):
    return noise(n, seed=seed).double().numpy()


def test_mean_interval_equals_scipy_bootstrap():
    values = column(40)
    result = mean_with_interval(np.append(values, NAN))
    expected = scipy.stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=3)
    assert result.mean == pytest.approx(values.mean())
    assert (result.low, result.high) == pytest.approx(expected.confidence_interval, abs=0.005)
    assert (result.n, result.interval_type) == (40, "bootstrap")


def test_normal_interval_of_many_values_agrees_with_bootstrap(monkeypatch):
    values = column(3000)
    bootstrap = mean_with_interval(values)
    monkeypatch.setattr(statistics, "MAX_RESAMPLED", 2000)
    normal = mean_with_interval(values)
    assert (bootstrap.interval_type, normal.interval_type) == ("bootstrap", "normal")
    assert (normal.low, normal.high) == pytest.approx(
        (bootstrap.low, bootstrap.high), abs=0.1 * (bootstrap.high - bootstrap.low)
    )


def test_fewer_than_two_values_have_no_interval():
    assert mean_with_interval(np.array([2.0, NAN])).mean == 2
    assert mean_with_interval(np.array([2.0])).interval_type == ""
    assert np.isnan(mean_with_interval(np.array([NAN])).mean)


@pytest.mark.parametrize(("pairs", "least", "most"), [(3, 0.65, 0.82), (10, 0.86, 0.94), (50, 0.91, 0.98)])
def test_coverage_of_intervals_is_as_documented(pairs, least, most):
    assert least <= coverage(lambda rng: normal(rng, pairs), 400, resamples=400) <= most


def test_coverage_with_shared_images_is_as_documented():
    assert 0.45 <= coverage(lambda rng: crossed(rng, 10, 10), 400, resamples=400) <= 0.61


def test_many_differences_use_wilcoxon():
    first, second = column(30, 1), column(30, 2)
    result = paired_test(first, second)
    assert result.p == pytest.approx(scipy.stats.wilcoxon(first, second).pvalue)
    assert result.mean == pytest.approx((first - second).mean())
    assert (result.n, result.test) == (30, "Wilcoxon")


def test_few_differences_use_exact_sign_flips():
    differences = np.array([0.3, -0.1, 0.2, 0.5, 0.4])
    expected = scipy.stats.permutation_test(
        (differences, np.zeros(5)), lambda a, b, axis: (a - b).mean(axis), permutation_type="samples", vectorized=True
    )
    assert sign_flip_p(differences) == pytest.approx(expected.pvalue)
    assert paired_test(differences, np.zeros(5)).test == "sign flips"
    assert paired_test(np.arange(1.0, 4), np.zeros(3)).p == 0.25  # the minimum for three pairs


def test_sign_flip_p_is_unaffected_by_rounding():
    rng = np.random.default_rng(0)
    for turn in range(200):
        tenths = rng.integers(-9, 10, rng.integers(2, 9))
        if turn % 2:
            tenths = np.append(tenths, -tenths.sum())  # a sum of exactly 0
        sums = [abs(sum(map(mul, tenths.tolist(), signs))) for signs in product((1, -1), repeat=len(tenths))]
        assert sign_flip_p(tenths / 10) == sum(value >= sums[0] for value in sums) / len(sums)


def test_pairs_with_nan_are_ignored():
    result = paired_test(np.array([1.0, NAN, 3.0]), np.array([0.0, 0.0, NAN]))
    assert (result.n, result.mean) == (1, 1)
    assert paired_test(np.array([1.0]), np.array([1.0])).p == 1
    assert np.isnan(paired_test(np.array([NAN]), np.array([1.0])).p)


def test_holm_ignores_nan():
    assert holm([0.01, NAN, 0.04, 0.03]) == pytest.approx([0.03, NAN, 0.06, 0.06], nan_ok=True)


def test_holm_steps_down():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1, 1]
    assert holm([]) == []


def test_mean_ranks_use_common_pairs():
    table = np.array([[1, 2, 9, 5.0], [2, 2, NAN, 4], [3, 1, 0, 6]])
    expected = scipy.stats.rankdata(table[:, [0, 1, 3]], axis=0).mean(1)
    assert mean_ranks(table, higher=False) == pytest.approx(expected)
    assert mean_ranks(table, higher=True) == pytest.approx(4 - expected)
    assert np.isnan(mean_ranks(np.array([[NAN], [1.0]]), higher=True)).all()


def test_common_means_use_common_pairs():
    table = np.array([[1, 2, 9, 5.0], [2, 2, NAN, 4], [3, 1, 0, NAN]])
    assert common_means(table) == pytest.approx([1.5, 2, 2])
    assert np.isnan(common_means(np.array([[NAN], [1.0]]))).all()


def test_extreme_indices_are_sorted_from_the_extremes():
    values = np.array([3.0, NAN, 1.0, 2.0, 5.0])
    assert extreme_indices(values, 2, higher=False) == ((4, 0), (2, 3))
    assert extreme_indices(values, 2, higher=True) == ((2, 3), (4, 0))
    assert extreme_indices(values, 9, higher=True) == ((2, 3, 0, 4), (4, 0, 3, 2))


def test_distribution_has_tukeys_whiskers_and_points_at_the_same_indices():
    column = np.array([1.0, 2, 3, 4, 100, NAN])
    result = distribution(column, 3)
    assert result.box == (1, 2, 3, 4, 4)
    assert result.points.tolist()[:2] == [1, 3]
    assert np.isnan(result.points[2])
    assert distribution(np.full(4, NAN), 3).box == ()


def counts(*rows):
    """Table (items, values) of the values of one observer per row; "." is a missing value."""
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
    assert statistics.binomial_p(9, 10) == pytest.approx(22 / 1024)
    assert statistics.binomial_p(5, 10) == 1
    assert statistics.binomial_p(60, 100) == pytest.approx(2 * scipy.stats.binom.sf(59, 100, 0.5))


def test_intervals_of_rates_have_nominal_coverage(monkeypatch):
    """Nominally 95 %; two standard errors of 400 studies are 2.2 %, and 25 raters are few."""
    monkeypatch.setattr(statistics, "CLUSTER_RESAMPLES", 999)
    over_raters, over_trials = coverage_of_rates(None, 400)
    assert 0.91 <= over_raters <= 0.98
    assert 0.92 <= over_trials <= 0.98


def test_only_the_cluster_interval_covers_where_raters_differ(monkeypatch):
    monkeypatch.setattr(statistics, "CLUSTER_RESAMPLES", 999)
    over_raters, over_trials = coverage_of_rates(6, 400)
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
    assert bradley_terry([[0, 5, 5], [0, 0, 3], [0, 2, 0]]) is None  # one never lost
    assert bradley_terry([[0, 5, 0], [3, 0, 0], [0, 0, 0]]) is None  # one never met the others
