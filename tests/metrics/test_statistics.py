from itertools import product
from operator import mul

import interval_coverage as simulation
import numpy as np
import pytest
import scipy.stats

from tests.conftest import noise
from vitsplice.metrics import statistics
from vitsplice.metrics.statistics import (
    common_means,
    extreme_indices,
    holm,
    mean_ranks,
    mean_with_interval,
    paired_test,
    sign_flip_p,
    summarise_values,
)

NAN = float("nan")


def column(n, seed=0):
    return noise(n, seed=seed).double().numpy()


def test_mean_interval_agrees_with_scipy_bootstrap():
    values = column(40)
    result = mean_with_interval(np.append(values, NAN))
    expected = scipy.stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=3)
    assert result.mean == pytest.approx(values.mean())
    assert (result.low, result.high) == pytest.approx(expected.confidence_interval, abs=0.005)
    assert (result.n, result.interval_type) == (40, "bootstrap")


def test_normal_interval_of_many_values_agrees_with_bootstrap(monkeypatch):
    values = column(1000)
    bootstrap = mean_with_interval(values)
    monkeypatch.setattr(statistics, "MAX_RESAMPLED", 500)
    normal = mean_with_interval(values)
    assert (bootstrap.interval_type, normal.interval_type) == ("bootstrap", "normal")
    assert (normal.low, normal.high) == pytest.approx(
        (bootstrap.low, bootstrap.high), abs=0.1 * (bootstrap.high - bootstrap.low)
    )


def test_fewer_than_two_values_have_no_interval():
    assert mean_with_interval(np.array([2.0, NAN])).mean == 2
    assert mean_with_interval(np.array([2.0])).interval_type == ""
    assert np.isnan(mean_with_interval(np.array([NAN])).mean)


# The coverages are stated in docs/evaluation.md, section Statistics.
@pytest.mark.parametrize(("pairs", "least", "most"), [(3, 0.65, 0.82), (10, 0.86, 0.94), (50, 0.91, 0.98)])
def test_coverage_of_intervals_is_as_documented(pairs, least, most):
    assert least <= simulation.coverage(lambda rng: simulation.normal(rng, pairs), 400, resamples=400) <= most


@pytest.mark.slow
def test_coverage_with_shared_images_is_as_documented():
    assert 0.45 <= simulation.coverage(lambda rng: simulation.crossed(rng, 10, 10), 400, resamples=400) <= 0.61


def test_many_differences_use_wilcoxon():
    first, second = column(30, 1), column(30, 2)
    result = paired_test(first, second)
    assert result.p == pytest.approx(scipy.stats.wilcoxon(first, second).pvalue)
    assert result.mean == pytest.approx((first - second).mean())
    assert (result.n, result.test) == (30, "Wilcoxon")


@pytest.mark.parametrize("scale", [1.0, 1e-6, 3e5])
def test_wilcoxon_takes_differences_that_differ_by_rounding_as_ties(scale):
    second = np.round(np.linspace(0.1, 0.8, 17), 2) * scale
    signs = np.array([1] * 13 + [-1] * 3 + [0])
    first = np.round(second / scale + 0.1 * signs, 6) * scale
    assert len(set(first - second)) > 3  # rounding errors: more values than -0.1, 0 and 0.1 times the scale
    assert paired_test(first, second).p == pytest.approx(scipy.stats.wilcoxon(signs[:-1]).pvalue)


def test_one_pair_of_much_larger_values_does_not_turn_the_other_differences_into_zero():
    first, second = column(30), column(30, seed=1) / 10 + 1
    p = paired_test(np.append(first, 1e14), np.append(second, 2e14)).p
    assert p == pytest.approx(scipy.stats.wilcoxon(np.append(first - second, -1e14)).pvalue)
    assert p < 0.01


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


def test_worst_indices_begin_with_the_worst_and_best_with_the_best():
    values = np.array([3.0, NAN, 1.0, 2.0, 5.0])
    assert extreme_indices(values, 2, higher=False) == ((4, 0), (2, 3))
    assert extreme_indices(values, 2, higher=True) == ((2, 3), (4, 0))
    assert extreme_indices(values, 9, higher=True) == ((2, 3, 0, 4), (4, 0, 3, 2))


def test_distribution_has_tukeys_whiskers_and_points_at_evenly_spaced_indices():
    values = np.array([1.0, 2, 3, 4, 100, NAN])
    result = summarise_values(values, 3)
    assert result.box == (1, 2, 3, 4, 4)
    assert result.points.tolist()[:2] == [1, 3]
    assert np.isnan(result.points[2])
    assert summarise_values(np.full(4, NAN), 3).box == ()
