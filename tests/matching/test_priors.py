import pytest
import torch

from tests.conftest import noise
from vitsplice.matching.priors import fit_layout, hubness, layout_cost, match_scores, relative_value

GRID = (12, 12)
ALL = torch.ones(144, dtype=torch.bool)


def at(row, column):
    return 12 * row + column


def disc(dark=0.2, light=0.8):
    """Lightness of a small dark disc on a light ground."""
    lightness = torch.full((12, 12), light)
    lightness[5:7, 5:7] = dark
    return lightness.flatten()


def grey(lightness):
    return torch.stack([lightness, torch.zeros(144), torch.zeros(144)], 1)


def test_patch_similar_to_many_is_a_hub():
    similarities = 0.1 * noise(30, 5)
    similarities[:20, 3] += 0.5
    values = hubness(similarities, torch.ones(5, dtype=torch.bool))
    assert values.argmax() == 3
    torch.testing.assert_close(values.mean(), torch.tensor(0.0), atol=1e-6, rtol=0)


def test_relative_lightness_is_low_in_a_dark_disc_and_half_on_a_plain_ground():
    values = relative_value(disc(), GRID, ALL)
    assert values[at(5, 5)] < 0.1
    assert values[at(0, 11)] == pytest.approx(0.5, abs=0.05)
    assert 0 <= values.min() <= values.max() <= 1


def test_relative_lightness_does_not_depend_on_brightness_and_contrast_of_the_image():
    lightness = noise(144)
    torch.testing.assert_close(relative_value(lightness, GRID, ALL), relative_value(0.3 * lightness + 0.5, GRID, ALL))


def test_relative_lightness_of_a_flat_image_is_half():
    flat = 0.5 + 0.001 * noise(144)
    assert (relative_value(flat, GRID, ALL) - 0.5).abs().max() < 0.06


def test_dark_disc_prefers_a_dark_disc_of_equal_similarity():
    similarities = torch.full((144, 144), 0.5)
    scores = match_scores(similarities, (grey(disc(0.1, 0.3)), grey(disc(0.2, 0.9))), (GRID, GRID))
    light, dark = scores[at(5, 5), at(5, 8)], scores[at(5, 5), at(5, 6)]
    assert dark > light + 0.05


def test_green_disc_prefers_a_disc_that_is_greener_than_its_ground():
    colours, others = (torch.stack([torch.full((144,), 0.5), disc(a, 0.1), torch.zeros(144)], 1) for a in (-0.2, 0.0))
    others[at(2, 2), 1] = 0.3  # redder than its ground
    scores = match_scores(torch.full((144, 144), 0.5), (colours, others), (GRID, GRID))
    assert scores[at(5, 5), at(5, 6)] > scores[at(5, 5), at(2, 2)] + 0.05


@pytest.mark.parametrize("linear", [((1.0, 0.0), (0.0, 1.0)), ((0.7, 0.2), (-0.1, 0.8))])
def test_layout_is_fitted_despite_wrong_matches(linear):
    points = noise(80, 2) - 0.5
    others = points @ torch.tensor(linear) + torch.tensor([0.1, -0.05])
    others[:24] = noise(24, 2, seed=1) - 0.5
    fit, agreeing = fit_layout(points, others, torch.ones(80))
    torch.testing.assert_close(fit[:2], torch.tensor(linear), atol=0.06, rtol=0)
    torch.testing.assert_close(fit[2], torch.tensor([0.1, -0.05]), atol=0.02, rtol=0)
    assert 0.6 < agreeing < 0.95


def test_layout_of_few_matches_is_near_the_identity():
    fit, _ = fit_layout(torch.tensor([[0.1, 0.1]]), torch.tensor([[0.1, 0.1]]), torch.ones(1))
    torch.testing.assert_close(fit, torch.eye(3, 2), atol=1e-3, rtol=0)


@pytest.mark.parametrize("mirrored", [False, True])
def test_layout_cost_is_lowest_where_the_other_matches_place_a_patch(mirrored):
    similarities = torch.eye(144)
    numbers = torch.arange(144).view(GRID)
    if mirrored:
        similarities = similarities[:, numbers.flip(1).flatten()]
    cost = layout_cost(similarities, (GRID, GRID), mirrored, ALL)
    assert torch.equal(cost.argmin(1), similarities.argmax(1))
    assert 0 <= cost.min() <= cost.max() <= 1


def test_excluded_patches_do_not_influence_the_scores_of_the_others():
    similarities, colours = 2 * noise(144, 144) - 1, noise(144, 3, seed=1)
    included = torch.arange(144) % 12 < 6
    scores = match_scores(similarities, (grey(disc()), colours), (GRID, GRID), included=included)
    changed = torch.where(included, similarities, 2 * noise(144, 144, seed=2) - 1)
    black = torch.where(included[:, None], colours, 0.0)
    other = match_scores(changed, (grey(disc()), black), (GRID, GRID), included=included)
    torch.testing.assert_close(scores[:, included], other[:, included])
    assert torch.equal(scores[:, ~included], similarities[:, ~included])
