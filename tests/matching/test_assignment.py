import pytest
import torch

from tests.conftest import noise
from vitsplice.errors import UserError
from vitsplice.matching import Correspondence, MatchedImage, assignment, usable
from vitsplice.matching.assignment import LEAST_TEMPERATURE


def test_rows_sum_to_one_and_a_clear_best_match_dominates():
    similarity = torch.tensor([[0.9, 0.1, 0.0], [0.0, 0.1, 0.8]])
    weights = assignment(similarity, 0.02, 0.0)
    torch.testing.assert_close(weights.sum(1), torch.ones(2))
    assert weights.argmax(1).tolist() == [0, 2]
    assert weights.max(1).values.min() > 0.99


def test_balance_equalises_the_use_of_patches():
    similarity = noise(30, 30)
    similarity[:, 0] += 0.5  # the most similar for half of the patches
    used = {balance: assignment(similarity, 0.1, balance).sum(0) for balance in (0.0, 0.5, 1.0)}
    assert used[0.0].max() > 5
    assert used[0.0].max() > used[0.5].max() > used[1.0].max()
    torch.testing.assert_close(used[1.0], torch.ones(30), atol=0.05, rtol=0)


def test_excluded_patches_are_never_used():
    coverage = torch.tensor([1.0, 0.0, 1.0])
    for balance in (0.0, 1.0):
        weights = assignment(torch.tensor([[0.1, 0.9, 0.2]] * 4), 0.05, balance, coverage)
        assert weights[:, 1].max() == 0
        torch.testing.assert_close(weights.sum(1), torch.ones(4))


def test_patch_is_usable_if_the_mask_covers_at_least_half_of_it():
    weights = assignment(torch.zeros(2, 4), 0.05, 0.0, torch.tensor([0.5, 0.49, 0.6, 0.0]))
    torch.testing.assert_close(weights, torch.tensor([[0.5, 0.0, 0.5, 0.0]] * 2))
    assert assignment(torch.zeros(2, 1), 0.05, 0.0, torch.tensor([0.5])).tolist() == [[1], [1]]


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"temperature": 0}, "temperature"),
        ({"temperature": 1e-300}, "temperature=1e-300 .* at least 0.0001"),
        ({"temperature": float("inf")}, "temperature"),
        ({"temperature": float("nan")}, "temperature"),
        ({"balance": float("nan")}, "balance"),
        ({"balance": 2}, "balance"),
        ({"coverage": torch.zeros(3)}, "excludes every patch"),
    ],
)
def test_values_out_of_range_and_masks_without_patches_are_refused(values, expected):
    with pytest.raises(UserError, match=expected):
        assignment(noise(2, 3), **values)


def test_permutation_is_recovered_and_mutual():
    order = torch.randperm(12, generator=torch.Generator().manual_seed(1))
    similarity = torch.eye(12)[order]
    match = Correspondence(assignment(similarity), similarity, (3, 4), (MatchedImage((4, 3)),))
    assert torch.equal(match.best, order)
    assert match.mutual.all()
    assert match.confidence.min() > 0.99
    values = noise(12, 2)
    torch.testing.assert_close(match.warp(values), values[order], atol=1e-4, rtol=0)
    torch.testing.assert_close(match.weights.mean(0), torch.full((12,), 1 / 12), atol=1e-4, rtol=0)


def test_confidence_is_zero_for_equal_similarities():
    match = Correspondence(assignment(torch.zeros(4, 9)), torch.zeros(4, 9), (2, 2), (MatchedImage((3, 3)),))
    torch.testing.assert_close(match.confidence, torch.zeros(4), atol=1e-5, rtol=0)


@pytest.mark.parametrize("balance", [0.0, 0.2, 1.0])
def test_least_temperature_gives_finite_rows_that_sum_to_one(balance):
    weights = assignment(2 * noise(30, 40) - 1, LEAST_TEMPERATURE, balance)
    torch.testing.assert_close(weights.sum(1), torch.ones(30))


@pytest.mark.parametrize(
    ("coverage", "expected"),
    [
        ([1.0, 0.5, 0.49, 0.0], [True, True, False, False]),
        ([0.3, 0.28, 0.1, 0.0], [True, True, False, False]),  # a small mask: 0.9 of the greatest coverage is enough
        ([1e-6, 0.0, 0.0, 0.0], [True, False, False, False]),
        ([0.4, 0.4, 0.4, 0.4], [True] * 4),  # a mask of one grey
    ],
)
def test_usable_selects_at_least_one_patch_unless_the_mask_is_black(coverage, expected):
    assert usable(torch.tensor(coverage)).tolist() == expected
