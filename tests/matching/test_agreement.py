import math

import pytest
import torch

from tests.conftest import noise
from vitsplice.errors import UserError
from vitsplice.matching import assignment
from vitsplice.matching.agreement import affinity, agreed_assignment

GRID = (8, 8)
COLUMN = torch.arange(64) % 8
LEFT = COLUMN < 4


def two_halves(dark=0.2, light=0.8):
    """Colours and descriptors of an image whose halves differ in lightness and in their descriptors."""
    colours = torch.where(LEFT[:, None], dark, light).expand(64, 3) * torch.tensor([1.0, 0.0, 0.0])
    descriptors = torch.stack([LEFT.float(), 1 - LEFT.float()], 1)
    return colours, descriptors


def test_affinity_is_high_for_near_and_similar_patches():
    weights = affinity(*two_halves(), GRID)
    assert weights.diagonal().abs().max() == 0
    assert (weights.sum(1) < 1).all()
    assert weights[LEFT][:, ~LEFT].max() < 1e-4
    patch = 3 * 8 + 1
    assert weights[patch, patch + 1] > weights[patch, patch - 2 * 8] > weights[patch, patch + 4 * 8] > 0


def test_patch_without_similar_neighbours_has_little_affinity():
    colours, descriptors = two_halves()
    spot = 3 * 8 + 1
    colours, descriptors = colours.clone(), torch.cat([descriptors, torch.zeros(64, 1)], 1)
    colours[spot], descriptors[spot] = torch.tensor([0.9, 0.4, 0.0]), torch.tensor([0.0, 0.0, 1.0])
    weights = affinity(colours, descriptors, GRID)
    assert weights[spot].sum() < 0.01 < 0.5 < weights[spot + 1].sum()


def test_part_agrees_on_one_colour_where_independent_patches_mix():
    """Every patch is about equally similar to a black and to a white surface of the other image."""
    other = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]).repeat_interleave(10, 0)
    similarity = 0.5 + 0.1 * noise(64, 20) + 0.01 * (torch.arange(20) < 10)
    white_if_independent = (similarity.argmax(1) >= 10).float().mean()
    weights = agreed_assignment(similarity, 0.25 * affinity(*two_halves(), GRID), other, 0.02, 0.0)
    lightness = (weights @ other)[LEFT, 0]
    assert 0.1 < white_if_independent < 0.9
    assert lightness.std() < 0.05
    torch.testing.assert_close(weights.sum(1), torch.ones(64))


def test_balance_spreads_the_use_of_patches():
    similarity = 0.5 + 0.05 * noise(64, 20)
    similarity[:, 0] += 0.1  # the most similar for every patch
    used = [
        agreed_assignment(similarity, torch.zeros(64, 64), noise(20, 3), 0.02, balance).mean(0).max()
        for balance in (0.0, 0.1, 0.3)
    ]
    assert used[0] > 2 * used[1] > 2 * used[2]


def test_excluded_patches_are_not_used_and_do_not_influence_the_others():
    other = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.5, 0.0, 0.0]])
    similarity = torch.tensor([[0.9, 0.5, 0.49]]).expand(64, 3)
    coverage = torch.tensor([0.0, 1.0, 0.5])
    weights = agreed_assignment(similarity, 0.25 * affinity(*two_halves(), GRID), other, 0.02, 0.2, coverage)
    assert weights[:, 0].max() == 0
    without = agreed_assignment(similarity[:, 1:], 0.25 * affinity(*two_halves(), GRID), other[1:], 0.02, 0.2)
    torch.testing.assert_close(weights[:, 1:], without)


def test_agreed_assignment_without_neighbours_and_balance_equals_assignment():
    similarity = noise(9, 5)
    weights = agreed_assignment(similarity, torch.zeros(9, 9), noise(5, 3), 0.05, 0.0)
    torch.testing.assert_close(weights, assignment(similarity, 0.05, 0.0))


@pytest.mark.parametrize(("temperature", "balance"), [(0.0, 0.2), (math.nan, 0.2), (0.02, 2.0), (0.02, math.nan)])
def test_values_out_of_range_are_refused(temperature, balance):
    with pytest.raises(UserError, match="is not allowed"):
        agreed_assignment(noise(2, 3), torch.zeros(2, 2), noise(3, 3), temperature, balance)
