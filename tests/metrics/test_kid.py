import pytest
import torch

from tests.conftest import noise
from vitsplice.contracts import Case
from vitsplice.errors import VitspliceError
from vitsplice.metrics.kid import MIN_CASES, kid, mmd2


def test_estimate_equals_direct_computation():
    first, second = noise(5, 4, seed=1).double(), noise(5, 4, seed=2).double()

    def kernel(x, y):
        return float(((x * y).sum() / 4 + 1) ** 3)

    def mean(pairs):
        values = [kernel(x, y) for x, y in pairs]
        return sum(values) / len(values)

    def different(x, y):
        return [(x[i], y[j]) for i in range(5) for j in range(5) if i != j]

    expected = mean(different(first, first)) + mean(different(second, second)) - 2 * mean(different(first, second))
    assert mmd2(first, second) == pytest.approx(expected)
    assert mmd2(second, first) == pytest.approx(expected)


def test_estimate_is_unbiased_and_increases_with_the_difference():
    rng = torch.Generator().manual_seed(0)
    draws = [[torch.randn(200, 8, generator=rng) + shift for _ in range(20)] for shift in (0.0, 0.2, 0.5)]
    same = [mmd2(*samples) for samples in zip(draws[0][:10], draws[0][10:], strict=True)]
    deviation = torch.tensor(same).std().item()
    assert abs(sum(same) / 10) < 2 * deviation
    assert min(same) < 0 < max(same)
    shifted = [mmd2(draws[0][0], draw[0]) for draw in draws[1:]]
    assert max(same) < shifted[0] < shifted[1]


def test_equal_samples_have_distance_0():
    sample = noise(6, 4, seed=1)
    assert mmd2(sample, sample) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("correlation", [0.0, 0.7, 0.99])
def test_dependence_of_an_output_on_its_own_appearance_image_does_not_bias_the_estimate(correlation):
    rng, estimates = torch.Generator().manual_seed(3), []
    for _ in range(200):
        first, other = torch.randn(2, 10, 4, generator=rng).double()
        estimates.append(mmd2(first, correlation * first + (1 - correlation**2) ** 0.5 * other))
    values = torch.tensor(estimates)
    assert abs(values.mean()) < 3 * values.std() / len(values) ** 0.5


@pytest.fixture
def metric(context, monkeypatch):
    """The metric, with images measured at 64 px."""
    monkeypatch.setattr("vitsplice.metrics.kid.SIZE", 64)
    return kid(context)


def cases(number, appearance_of, output_of):
    for n in range(number):
        yield Case(f"c{n}", noise(1, 3, 32, 32), appearance_of(n), output_of(n))


def test_equal_sets_have_distance_0(metric):
    def light(n):
        return 0.5 * noise(1, 3, 32, 40, seed=n) + 0.5

    def dark(n):
        return 0.5 * noise(1, 3, 40, 32, seed=n)

    near, far = metric.value(cases(MIN_CASES, light, light)), metric.value(cases(MIN_CASES, light, dark))
    assert near == pytest.approx(0, abs=1e-9)
    assert far > 1e-3


def test_too_few_cases_are_an_error(metric):
    with pytest.raises(VitspliceError, match=f"at least {MIN_CASES} outputs"):
        metric.value(cases(MIN_CASES - 1, lambda n: noise(1, 3, 32, 32), lambda n: noise(1, 3, 32, 32)))
