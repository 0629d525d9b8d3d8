import pytest
import torch

from tests.conftest import noise
from vitsplice.errors import UserError
from vitsplice.matching import assign, assignment, usable
from vitsplice.matching.assignment import LEAST_TEMPERATURE


def test_rows_are_mixtures_and_a_clear_best_takes_all():
    similarity = torch.tensor([[0.9, 0.1, 0.0], [0.0, 0.1, 0.8]])
    weights = assignment(similarity, 0.02, 0.0)
    torch.testing.assert_close(weights.sum(1), torch.ones(2))
    assert weights.argmax(1).tolist() == [0, 2]
    assert weights.max(1).values.min() > 0.99


def test_balanced_every_place_is_used_alike_and_free_some_are_not():
    similarity = noise(30, 30)
    similarity[:, 0] += 0.5  # everyone's favourite
    used = {balance: assignment(similarity, 0.1, balance).sum(0) for balance in (0.0, 0.5, 1.0)}
    assert used[0.0].max() > 5
    assert used[0.0].max() > used[0.5].max() > used[1.0].max()
    torch.testing.assert_close(used[1.0], torch.ones(30), atol=0.05, rtol=0)


def test_what_the_mask_leaves_out_is_never_taken():
    allowed = torch.tensor([1.0, 0.0, 1.0])
    for balance in (0.0, 1.0):
        weights = assignment(torch.tensor([[0.1, 0.9, 0.2]] * 4), 0.05, balance, allowed)
        assert weights[:, 1].max() == 0
        torch.testing.assert_close(weights.sum(1), torch.ones(4))


def test_a_place_that_is_half_in_the_mask_may_be_taken_and_one_that_is_less_not():
    weights = assignment(torch.zeros(2, 4), 0.05, 0.0, torch.tensor([0.5, 0.49, 0.6, 0.0]))
    torch.testing.assert_close(weights, torch.tensor([[0.5, 0.0, 0.5, 0.0]] * 2))
    assert assignment(torch.zeros(2, 1), 0.05, 0.0, torch.tensor([0.5])).tolist() == [[1], [1]]


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ({"temperature": 0}, "temperature"),
        ({"temperature": 1e-300}, "temperature 1e-300 .* at least 0.0001"),
        ({"temperature": float("inf")}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"balance": float("nan")}, "balance"),
        ({"balance": 2}, "balance"),
        ({"allowed": torch.zeros(3)}, "excludes every location"),
    ],
)
def test_values_out_of_range(values, told):
    with pytest.raises(UserError, match=told):
        assignment(noise(2, 3), **values)


def test_a_permutation_is_found_again_and_is_mutual():
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    found = assign(torch.eye(12)[order], (3, 4), (4, 3))
    assert torch.equal(found.best, order)
    assert found.mutual.all()
    assert found.confidence.min() > 0.99
    values = noise(12, 2)
    torch.testing.assert_close(found.warp(values), values[order], atol=1e-4, rtol=0)
    torch.testing.assert_close(found.weights.mean(0), torch.full((12,), 1 / 12), atol=1e-4, rtol=0)


def test_where_all_are_alike_nothing_is_sure():
    found = assign(torch.zeros(4, 9), (2, 2), (3, 3))
    torch.testing.assert_close(found.confidence, torch.zeros(4), atol=1e-5, rtol=0)


@pytest.mark.parametrize("balance", [0.0, 0.2, 1.0])
def test_the_least_temperature_gives_finite_rows_that_sum_to_one(balance):
    weights = assignment(2 * noise(30, 40) - 1, LEAST_TEMPERATURE, balance)
    torch.testing.assert_close(weights.sum(1), torch.ones(30))


@pytest.mark.parametrize(
    ("coverage", "expected"),
    [
        ([1.0, 0.5, 0.49, 0.0], [True, True, False, False]),
        ([0.3, 0.28, 0.1, 0.0], [True, True, False, False]),  # a small mask: nearly the most
        ([1e-6, 0.0, 0.0, 0.0], [True, False, False, False]),
        ([0.4, 0.4, 0.4, 0.4], [True] * 4),  # grey
    ],
)
def test_some_location_of_every_mask_is_usable(coverage, expected):
    assert usable(torch.tensor(coverage)).tolist() == expected
