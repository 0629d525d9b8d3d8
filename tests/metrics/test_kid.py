import pytest
import torch

from tests.conftest import noise
from vitsplice.contracts import Case
from vitsplice.errors import VitspliceError
from vitsplice.metrics.kid import FEWEST, kid, mmd2


def test_the_estimate_is_that_of_a_direct_computation():
    one, two = noise(5, 4, seed=1).double(), noise(5, 4, seed=2).double()

    def kernel(x, y):
        return float(((x * y).sum() / 4 + 1) ** 3)

    def mean(pairs):
        values = [kernel(x, y) for x, y in pairs]
        return sum(values) / len(values)

    def different(x, y):
        return [(x[i], y[j]) for i in range(5) for j in range(5) if i != j]

    expected = mean(different(one, one)) + mean(different(two, two)) - 2 * mean(different(one, two))
    assert mmd2(one, two) == pytest.approx(expected)
    assert mmd2(two, one) == pytest.approx(expected)


def test_it_is_near_0_for_samples_of_one_distribution_and_grows_with_the_difference():
    rng = torch.Generator().manual_seed(0)
    draws = [[torch.randn(200, 8, generator=rng) + shift for _ in range(20)] for shift in (0.0, 0.2, 0.5)]
    same = [mmd2(one, two) for one, two in zip(draws[0][:10], draws[0][10:], strict=True)]
    spread = torch.tensor(same).std().item()
    assert abs(sum(same) / 10) < 2 * spread  # unbiased: as often below 0 as above
    assert min(same) < 0 < max(same)
    shifted = [mmd2(draws[0][0], draw[0]) for draw in draws[1:]]
    assert max(same) < shifted[0] < shifted[1]


def test_the_same_images_are_at_0():
    sample = noise(6, 4, seed=1)
    assert mmd2(sample, sample) == pytest.approx(0, abs=1e-12)


@pytest.mark.parametrize("tied", [0.0, 0.7, 0.99])
def test_it_is_0_in_the_mean_for_one_distribution_however_much_an_output_is_like_its_own_appearance(tied):
    rng, found = torch.Generator().manual_seed(3), []
    for _ in range(800):
        one, other = torch.randn(2, 10, 4, generator=rng).double()
        found.append(mmd2(one, tied * one + (1 - tied**2) ** 0.5 * other))
    values = torch.tensor(found)
    assert abs(values.mean()) < 3 * values.std() / len(values) ** 0.5


def cases(number, appearance_of, output_of):
    for n in range(number):
        yield Case(f"c{n}", noise(1, 3, 32, 32), appearance_of(n), output_of(n))


def test_a_set_with_itself_is_near_0_and_with_another_is_not(context):
    def light(n):
        return 0.5 * noise(1, 3, 32, 40, seed=n) + 0.5

    def dark(n):
        return 0.5 * noise(1, 3, 40, 32, seed=n)

    metric = kid(context)
    near, far = metric.value(cases(FEWEST, light, light)), metric.value(cases(FEWEST, light, dark))
    assert near == pytest.approx(0, abs=1e-9)
    assert far > 1e-3


def test_of_too_few_there_is_none(context):
    with pytest.raises(VitspliceError, match=f"at least {FEWEST}"):
        kid(context).value(cases(FEWEST - 1, lambda n: noise(1, 3, 32, 32), lambda n: noise(1, 3, 32, 32)))
