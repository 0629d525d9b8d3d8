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


def plain(dark=0.2, light=0.8):
    """Colours and descriptors of an image whose left half is dark and of one kind, and whose right half is another."""
    colours = torch.where(LEFT[:, None], dark, light).expand(64, 3) * torch.tensor([1.0, 0.0, 0.0])
    kinds = torch.stack([LEFT.float(), 1 - LEFT.float()], 1)
    return colours, kinds


def test_patches_go_by_those_that_are_near_and_alike():
    weights = affinity(*plain(), GRID)
    assert weights.diagonal().abs().max() == 0
    assert (weights.sum(1) < 1).all()
    assert weights[LEFT][:, ~LEFT].max() < 1e-4
    patch = 3 * 8 + 1
    assert weights[patch, patch + 1] > weights[patch, patch - 2 * 8] > weights[patch, patch + 4 * 8] > 0


def test_a_small_part_keeps_its_own_match():
    colours, kinds = plain()
    eye = 3 * 8 + 1
    colours, kinds = colours.clone(), torch.cat([kinds, torch.zeros(64, 1)], 1)
    colours[eye], kinds[eye] = torch.tensor([0.9, 0.4, 0.0]), torch.tensor([0.0, 0.0, 1.0])
    weights = affinity(colours, kinds, GRID)
    assert weights[eye].sum() < 0.01 < 0.5 < weights[eye + 1].sum()


def test_a_part_takes_one_colour_where_each_patch_alone_would_take_any():
    """Every patch is about as much like a black surface of the other image as like a white one."""
    other = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]).repeat_interleave(10, 0)
    similarity = 0.5 + 0.1 * noise(64, 20) + 0.01 * (torch.arange(20) < 10)
    alone = (similarity.argmax(1) >= 10).float().mean()
    weights = agreed_assignment(similarity, 0.25 * affinity(*plain(), GRID), other, 0.02, 0.0)
    lightness = (weights @ other)[LEFT, 0]
    assert 0.1 < alone < 0.9
    assert lightness.std() < 0.05
    torch.testing.assert_close(weights.sum(1), torch.ones(64))


def test_balance_spreads_what_is_taken():
    similarity = 0.5 + 0.05 * noise(64, 20)
    similarity[:, 0] += 0.1  # everyone's favourite
    used = [
        agreed_assignment(similarity, torch.zeros(64, 64), noise(20, 3), 0.02, balance).mean(0).max()
        for balance in (0.0, 0.1, 0.3)
    ]
    assert used[0] > 2 * used[1] > 2 * used[2]


def test_what_a_mask_excludes_is_not_taken_and_persuades_nobody():
    other = torch.tensor([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.5, 0.0, 0.0]])
    similarity = torch.tensor([[0.9, 0.5, 0.49]]).expand(64, 3)
    allowed = torch.tensor([0.0, 1.0, 0.5])
    weights = agreed_assignment(similarity, 0.25 * affinity(*plain(), GRID), other, 0.02, 0.2, allowed)
    assert weights[:, 0].max() == 0
    alone = agreed_assignment(similarity[:, 1:], 0.25 * affinity(*plain(), GRID), other[1:], 0.02, 0.2)
    torch.testing.assert_close(weights[:, 1:], alone)


def test_without_neighbours_and_balance_it_is_the_plain_assignment():
    similarity = noise(9, 5)
    weights = agreed_assignment(similarity, torch.zeros(9, 9), noise(5, 3), 0.05, 0.0)
    torch.testing.assert_close(weights, assignment(similarity, 0.05, 0.0))


@pytest.mark.parametrize(("temperature", "balance"), [(0.0, 0.2), (math.nan, 0.2), (0.02, 2.0), (0.02, math.nan)])
def test_values_out_of_range_are_refused(temperature, balance):
    with pytest.raises(UserError, match="is not allowed"):
        agreed_assignment(noise(2, 3), torch.zeros(2, 2), noise(3, 3), temperature, balance)
