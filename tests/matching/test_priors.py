import pytest
import torch

from tests.conftest import noise
from vitsplice.matching.priors import fit_layout, hubness, layout_cost, match_scores

GRID = (12, 12)
ALL = torch.ones(144, 144, dtype=torch.bool)


def test_patch_similar_to_many_is_a_hub():
    similarities = 0.1 * noise(30, 5)
    similarities[:20, 3] += 0.5
    values = hubness(similarities, torch.ones(5, dtype=torch.bool))
    assert values.argmax() == 3
    torch.testing.assert_close(values.mean(), torch.tensor(0.0), atol=1e-6, rtol=0)


@pytest.mark.parametrize("linear", [((1.0, 0.0), (0.0, 1.0)), ((0.7, 0.2), (-0.1, 0.8))])
def test_layout_is_fitted_despite_wrong_matches(linear):
    points = noise(80, 2) - 0.5
    others = points @ torch.tensor(linear) + torch.tensor([0.1, -0.05])
    others[:24] = noise(24, 2, seed=1) - 0.5
    fit, agreeing = fit_layout(points, others, torch.ones(80))
    torch.testing.assert_close(fit[:2], torch.tensor(linear), atol=0.06, rtol=0)
    torch.testing.assert_close(fit[2], torch.tensor([0.1, -0.05]), atol=0.02, rtol=0)
    assert 0.6 < agreeing < 0.95  # 56 of the 80 matches are right


def test_layout_of_one_match_is_a_translation():
    fit, _ = fit_layout(torch.tensor([[0.1, 0.1]]), torch.tensor([[0.3, 0.3]]), torch.ones(1))
    torch.testing.assert_close(fit[:2], torch.eye(2), atol=5e-3, rtol=0)
    torch.testing.assert_close(fit[2], torch.tensor([0.2, 0.2]), atol=5e-3, rtol=0)


@pytest.mark.parametrize("mirrored", [False, True])
def test_layout_cost_is_zero_near_where_the_other_matches_place_a_patch_and_saturates_far_from_it(mirrored):
    similarities = torch.eye(144)
    numbers = torch.arange(144).view(GRID)
    if mirrored:
        similarities = similarities[:, numbers.flip(1).flatten()]
    cost = layout_cost(similarities, (GRID, GRID), mirrored, ALL)
    locations = torch.cartesian_prod(torch.arange(12.0), torch.arange(12.0)) / 12
    distance = torch.cdist(locations, locations)[:, numbers.flip(1).flatten() if mirrored else numbers.flatten()]
    assert cost[distance < 0.09].max() == 0
    assert cost[distance > 0.12].min() > 0
    assert cost[distance > 0.45].min() == cost.max() == 1


def test_far_patch_scores_lower_than_a_near_one_of_equal_similarity():
    scores = match_scores(torch.eye(144), (GRID, GRID), False, ALL[0], ALL)
    assert scores[0, 1] > scores[0, 143] + 0.1


def test_excluded_patches_do_not_influence_the_scores_of_the_others():
    similarities = 2 * noise(144, 144) - 1
    included = torch.arange(144) % 12 < 6
    changed = torch.where(included, similarities, 2 * noise(144, 144, seed=2) - 1)
    scores, other = (
        match_scores(values, (GRID, GRID), False, included, included.expand(144, -1))
        for values in (similarities, changed)
    )
    torch.testing.assert_close(scores[:, included], other[:, included])
    assert torch.equal(scores[:, ~included], similarities[:, ~included])
