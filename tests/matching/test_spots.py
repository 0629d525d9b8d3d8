from dataclasses import replace

import pytest
import torch

from tests.conftest import noise
from vitsplice.engine.stack import AppearanceImage
from vitsplice.engine.warm_start import warm_start
from vitsplice.images.transforms import to_lab
from vitsplice.matching import Correspondence, MatchedImage
from vitsplice.matching.guide import guide
from vitsplice.matching.spots import keep_spots

GRID = (24, 30)
PATCHES = GRID[0] * GRID[1]
CENTRE = (11, 14)


def within(radius, centre=CENTRE):
    """Patches of a disc, ``(h * w,)`` bool."""
    locations = torch.cartesian_prod(*(torch.arange(float(side)) for side in GRID))
    return (locations - torch.tensor(centre, dtype=torch.float32)).norm(dim=1) <= radius


def colours(background, spot=None, where=None):
    """Colours of all patches in Lab / 100 with little noise; ``spot`` inside ``where``."""
    values = torch.tensor(background).repeat(PATCHES, 1) + 0.02 * (noise(*GRID, 3).reshape(-1, 3) - 0.5)
    if where is not None:
        values[where] += torch.tensor(spot) - torch.tensor(background)
    return values


ORANGE_FUR, GREEN_EYE = (0.6, 0.1, 0.3), (0.4, -0.05, 0.3)
GREY_FUR, PINK = (0.5, 0.02, 0.05), (0.8, 0.12, 0.03)


@pytest.mark.parametrize("radius", [2.5, 3.5, 4.5])
def test_dark_spot_matched_with_something_light_keeps_its_difference_from_the_ring(radius):
    spot = within(radius)
    kept = keep_spots(colours(ORANGE_FUR, GREEN_EYE, spot), colours(GREY_FUR, PINK, spot), GRID)
    expected = torch.tensor(GREY_FUR) + torch.tensor(GREEN_EYE) - torch.tensor(ORANGE_FUR)
    torch.testing.assert_close(kept[spot].mean(0), expected, atol=0.03, rtol=0)
    outside = ~within(radius + 2)
    torch.testing.assert_close(kept[outside], colours(GREY_FUR)[outside])


def test_black_spot_stays_neutral_whatever_the_colour_of_the_fur():
    spot = within(2.5)
    kept = keep_spots(colours(ORANGE_FUR, (0.1, 0.0, 0.0), spot), colours(GREY_FUR, PINK, spot), GRID)
    assert kept[spot][:, 1:].norm(dim=1).max() < 0.03


@pytest.mark.slow
def test_spot_that_nearly_lost_its_darkness_changes_in_part():
    spot = within(2.5)
    own = colours(ORANGE_FUR, GREEN_EYE, spot)
    lightness = {
        value: keep_spots(own, colours(GREY_FUR, (value, 0.02, 0.05), spot), GRID)[spot][:, 0].mean()
        for value in (0.43, 0.47, 0.5)
    }
    assert lightness[0.43] > lightness[0.47] > lightness[0.5]


@pytest.mark.parametrize(
    ("own", "matched"),
    [
        pytest.param(
            colours(ORANGE_FUR, GREEN_EYE, within(2.5)),
            colours(GREY_FUR, (0.1, 0.0, 0.0), within(2.5)),
            id="dark match",
        ),
        pytest.param(
            colours(ORANGE_FUR, (0.9, 0.0, 0.1), within(2.5)), colours(GREY_FUR, PINK, within(2.5)), id="light spot"
        ),
        pytest.param(
            colours(ORANGE_FUR, GREEN_EYE, within(2.5, (0, 14))),
            colours(GREY_FUR, PINK, within(2.5, (0, 14))),
            id="at the border of the image",
        ),
        pytest.param(
            colours(ORANGE_FUR, GREEN_EYE, within(11)), colours(GREY_FUR, PINK, within(11)), id="larger than a spot"
        ),
        pytest.param(
            colours(ORANGE_FUR, GREEN_EYE, (torch.arange(PATCHES) // GRID[1] - 11).abs() <= 1),
            colours(GREY_FUR, PINK, (torch.arange(PATCHES) // GRID[1] - 11).abs() <= 1),
            id="stripe",
        ),
        pytest.param(colours(ORANGE_FUR), colours(GREY_FUR), id="no spot"),
        pytest.param(noise(PATCHES, 3), noise(PATCHES, 3).flip(0), id="noise"),
    ],
)
def test_without_a_wrongly_matched_dark_spot_all_patches_keep_their_match_to_the_byte(own, matched):
    assert torch.equal(keep_spots(own, matched, GRID), matched)


@pytest.mark.parametrize("grid", [(1, 1), (2, 40), (6, 6)])
def test_grid_smaller_than_a_ring_has_no_spots(grid):
    own, matched = noise(grid[0] * grid[1], 3), noise(grid[0] * grid[1], 3).flip(0)
    assert torch.equal(keep_spots(own, matched, grid), matched)


@pytest.fixture
def eye_match():
    """An image with an eye, another whose right half is pink, a match of the eye with that half, the eye's patches."""
    eye = within(2.5)
    first = torch.where(eye, 0.2, 0.6).reshape(1, 1, *GRID).repeat_interleave(8, 2).repeat_interleave(8, 3)
    second = torch.full((1, 3, 16, 32), 0.5)
    second[..., 16:] = torch.tensor([1.0, 0.7, 0.8]).reshape(3, 1, 1)
    own = to_lab(first.expand(1, 3, -1, -1))[..., 4::8, 4::8].flatten(2)[0].T
    weights = torch.stack([(~eye).float(), eye.float()], 1)
    return (
        first.expand(1, 3, -1, -1),
        second,
        Correspondence(weights, weights, GRID, (MatchedImage((1, 2)),), colours=own),
        eye,
    )


@pytest.mark.slow
def test_warm_start_keeps_an_eye_darker_than_its_surroundings(eye_match):
    first, second, match, _ = eye_match
    output = warm_start(first, [AppearanceImage(second)], match)
    assert output[first < 0.3].mean() < 0.3 < 0.45 < output[first > 0.5].mean()


def test_guide_of_a_spot_does_not_prefer_its_wrong_match(eye_match):
    _, second, match, eye = eye_match
    second_colours = to_lab(second)[..., 0, 8::16][0].T
    values = guide(replace(match, similarity=torch.zeros_like(match.similarity)), second_colours)
    assert (values[eye][:, 1] <= values[eye][:, 0]).all()


def test_correspondence_without_colours_warps_all_patches(eye_match):
    _, _, match, _ = eye_match
    second_colours = torch.rand(2, 3)
    warped = replace(match, colours=None).warp_colours(second_colours)
    assert torch.equal(warped, match.warp(second_colours))
