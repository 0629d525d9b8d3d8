from itertools import product
from operator import mul

import numpy as np
import pytest
import scipy.stats

from tests.conftest import noise
from vitsplice.metrics import statistics
from vitsplice.metrics.statistics import extremes, holm, mean_ranks, mean_with_interval, paired, shared_means, sign_flip

NAN = float("nan")


def column(n, seed=0):
    return noise(n, seed=seed).double().numpy()


def test_the_mean_and_its_interval_are_those_of_scipy_s_bootstrap():
    values = column(40)
    found = mean_with_interval(np.append(values, NAN))
    known = scipy.stats.bootstrap((values,), np.mean, n_resamples=20_000, method="percentile", rng=3)
    assert found.mean == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx(known.confidence_interval, abs=0.005)
    assert (found.n, found.how) == (40, "bootstrap")


def test_of_many_values_the_normal_interval_is_the_bootstrap_s(monkeypatch):
    values = column(3000)
    one = mean_with_interval(values)
    monkeypatch.setattr(statistics, "MOST_RESAMPLED", 2000)
    two = mean_with_interval(values)
    assert (one.how, two.how) == ("bootstrap", "normal")
    assert (two.low, two.high) == pytest.approx((one.low, one.high), abs=0.1 * (one.high - one.low))


def test_of_one_value_or_none_there_is_no_interval():
    assert mean_with_interval(np.array([2.0, NAN])).mean == 2
    assert mean_with_interval(np.array([2.0])).how == ""
    assert np.isnan(mean_with_interval(np.array([NAN])).mean)


def coverage(n, draw, true, times=400):
    """How often the interval holds the true mean."""
    rng = np.random.default_rng(n)
    found = (mean_with_interval(draw(rng, n), seed=k, resamples=400) for k in range(times))
    return sum(one.low <= true <= one.high for one in found) / times


@pytest.mark.parametrize(("n", "least", "most"), [(3, 0.65, 0.82), (10, 0.86, 0.94), (50, 0.91, 0.98)])
def test_the_interval_holds_the_true_mean_as_often_as_the_docs_say(n, least, most):
    assert least <= coverage(n, lambda rng, size: rng.normal(size=size), 0) <= most


def test_of_pairs_that_share_images_it_does_so_as_seldom_as_the_docs_say():
    def crossed(rng, size):  # every one of 10 structure images with every one of 10 appearance images
        structure, appearance = np.divmod(np.arange(size), 10)
        return rng.normal(size=10)[structure] + rng.normal(size=10)[appearance] + rng.normal(size=size)

    assert 0.45 <= coverage(100, crossed, 0) <= 0.61


def test_many_differences_are_tested_by_ranks():
    one, two = column(30, 1), column(30, 2)
    found = paired(one, two)
    assert found.p == pytest.approx(scipy.stats.wilcoxon(one, two).pvalue)
    assert found.mean == pytest.approx((one - two).mean())
    assert (found.n, found.how) == (30, "Wilcoxon")


def test_few_differences_are_tested_by_all_changes_of_sign():
    differences = np.array([0.3, -0.1, 0.2, 0.5, 0.4])
    known = scipy.stats.permutation_test(
        (differences, np.zeros(5)), lambda a, b, axis: (a - b).mean(axis), permutation_type="samples", vectorized=True
    )
    assert sign_flip(differences) == pytest.approx(known.pvalue)
    assert paired(differences, np.zeros(5)).how == "sign flips"
    assert paired(np.arange(1.0, 4), np.zeros(3)).p == 0.25  # the least that three pairs can give


def test_sums_that_only_rounding_tells_apart_are_equal():
    rng = np.random.default_rng(0)
    for turn in range(200):
        tenths = rng.integers(-9, 10, rng.integers(2, 9))
        if turn % 2:
            tenths = np.append(tenths, -tenths.sum())  # a sum of exactly 0: nothing is nearer
        sums = [abs(sum(map(mul, tenths.tolist(), signs))) for signs in product((1, -1), repeat=len(tenths))]
        assert sign_flip(tenths / 10) == sum(one >= sums[0] for one in sums) / len(sums)


def test_pairs_without_both_metrics_do_not_count():
    found = paired(np.array([1.0, NAN, 3.0]), np.array([0.0, 0.0, NAN]))
    assert (found.n, found.mean) == (1, 1)
    assert paired(np.array([1.0]), np.array([1.0])).p == 1
    assert np.isnan(paired(np.array([NAN]), np.array([1.0])).p)


def test_holm_leaves_out_what_is_not_known():
    assert holm([0.01, NAN, 0.04, 0.03]) == pytest.approx([0.03, NAN, 0.06, 0.06], nan_ok=True)


def test_ranks_are_over_the_pairs_that_all_have():
    table = np.array([[1, 2, 9, 5.0], [2, 2, NAN, 4], [3, 1, 0, 6]])
    known = scipy.stats.rankdata(table[:, [0, 1, 3]], axis=0).mean(1)
    assert mean_ranks(table, higher=False) == pytest.approx(known)
    assert mean_ranks(table, higher=True) == pytest.approx(4 - known)
    assert np.isnan(mean_ranks(np.array([[NAN], [1.0]]), higher=True)).all()


def test_shared_means_are_over_the_pairs_that_all_have():
    table = np.array([[1, 2, 9, 5.0], [2, 2, NAN, 4], [3, 1, 0, NAN]])
    assert shared_means(table) == pytest.approx([1.5, 2, 2])
    assert np.isnan(shared_means(np.array([[NAN], [1.0]]))).all()


def test_extremes_are_the_ends_of_the_order():
    values = np.array([3.0, NAN, 1.0, 2.0, 5.0])
    assert extremes(values, 2, higher=False) == ((4, 0), (2, 3))
    assert extremes(values, 2, higher=True) == ((2, 3), (4, 0))
    assert extremes(values, 9, higher=True) == ((2, 3, 0, 4), (4, 0, 3, 2))
