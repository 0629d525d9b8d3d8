from dataclasses import replace

import pytest
import torch

from tests.conftest import noise
from vitsplice.engine.warm_start import eased, joint_bilateral, warm_start
from vitsplice.images.transforms import to_lab
from vitsplice.matching import Correspondence, assignment


def halves(left, right, size=96):
    image = torch.zeros(1, 3, size, size)
    image[..., : size // 2] = torch.tensor(left).view(1, 3, 1, 1)
    image[..., size // 2 :] = torch.tensor(right).view(1, 3, 1, 1)
    return (image + 0.04 * (noise(1, 1, size, size) - 0.5)).clamp(0, 1)


@pytest.fixture
def crossed():
    """A structure and an appearance image whose like halves lie on opposite sides, and their correspondence."""
    structure, appearance = halves((0.2, 0.2, 0.2), (0.8, 0.8, 0.8)), halves((0.9, 0.6, 0.1), (0.1, 0.5, 0.2))
    column = torch.arange(64) % 8
    alike = (column[:, None] // 4 != column[None] // 4).float()
    return structure, appearance, Correspondence(assignment(alike, balance=0.0), alike, (8, 8), (8, 8))


def test_colours_go_to_corresponding_places(crossed):
    structure, appearance, match = crossed
    made = to_lab(warm_start(structure, appearance, match))
    wanted = to_lab(appearance)
    for ours, theirs in ((slice(0, 40), slice(56, 96)), (slice(56, 96), slice(0, 40))):
        torch.testing.assert_close(
            made[..., ours].mean((0, 2, 3)), wanted[..., theirs].mean((0, 2, 3)), atol=0.02, rtol=0
        )


def test_edges_stay_where_they_are_in_the_structure_image(crossed):
    made = to_lab(warm_start(*crossed))[:, :1]
    across = made.diff(dim=-1).abs().mean((0, 1, 2))
    assert across.argmax() == 47


def test_strength_goes_from_the_structure_image_to_the_whole(crossed):
    none, half, full = (warm_start(*crossed, strength) for strength in (0.0, 0.5, 1.0))
    torch.testing.assert_close(none, crossed[0])
    torch.testing.assert_close(half, (none + full) / 2)


def test_sizes_may_differ_and_the_output_has_the_structure_image_s(crossed):
    structure, appearance, match = crossed
    made = warm_start(structure[..., :80, :], appearance[..., :50], match)
    assert made.shape == (1, 3, 80, 96)
    assert 0 <= made.min() <= made.max() <= 1


def test_a_pixel_takes_the_values_of_the_nearby_place_that_has_its_colour():
    """Two places side by side, dark and light; the border of the pixels lies well within the first place."""
    lab = torch.zeros(1, 3, 20, 40)
    lab[:, 0, :, 14:] = 0.8
    mean = torch.tensor([[0.0, 0.0, 0.0], [0.8, 0.0, 0.0]])
    chosen = joint_bilateral(torch.tensor([[3.0], [7.0]]), mean, (1, 2), lab)
    torch.testing.assert_close(chosen[..., :14], torch.full((1, 1, 20, 14), 3.0), atol=1e-3, rtol=0)
    torch.testing.assert_close(chosen[..., 14:], torch.full((1, 1, 20, 26), 7.0), atol=1e-3, rtol=0)


def test_values_are_means_of_those_of_places_even_for_a_colour_that_no_place_has():
    values = noise(12, 2)
    chosen = joint_bilateral(values, noise(12, 3), (3, 4), 50 + torch.zeros(1, 3, 9, 16))
    assert chosen.shape == (1, 2, 9, 16)
    assert values.min() <= chosen.min() <= chosen.max() <= values.max()


@pytest.mark.parametrize("size", [(16, 512), (512, 16), (16, 90), (17, 16)])
def test_a_thin_image_is_filtered_within_its_border(size):
    structure, appearance = noise(1, 3, *size), noise(1, 3, 40, 40, seed=1)
    grid = (1, 2) if size[1] > size[0] else (2, 1)
    match = Correspondence(assignment(noise(2, 4)), noise(2, 4), grid, (2, 2))
    made = warm_start(structure, appearance, match)
    assert made.shape == structure.shape
    assert made.isfinite().all()


def test_above_one_the_appearance_s_colours_are_driven_apart(crossed):
    spreads = [to_lab(warm_start(*crossed, strength)).std((2, 3)).norm() for strength in (0.5, 1.0, 1.5, 4.0)]
    assert spreads[1] < spreads[2] < spreads[3]


def test_structure_strength_is_how_much_of_its_own_detail_is_put_back(crossed):
    fine = [
        float(warm_start(*crossed, detail_strength=strength)[..., 10:86, 8:32].diff(dim=-1).abs().mean())
        for strength in (0.0, 0.5, 1.0, 2.0, 10.0)
    ]
    assert fine == sorted(fine)
    assert fine[0] < 0.1 * fine[2]
    assert fine[4] < 2 * fine[2]


def test_eased_is_smooth_at_one_and_stays_below_two():
    assert [eased(strength) for strength in (0.0, 0.5, 1.0, 2.0)] == [0.0, 0.5, 1.0, 1.5]
    assert eased(1.001) == pytest.approx(1.001, abs=1e-5)
    assert eased(1e9) < 2.0000001


def test_pixels_outside_of_the_appearance_mask_give_no_colour(crossed):
    structure, appearance, match = crossed
    mask = torch.zeros(1, 1, 96, 96)
    mask[..., 3:7, :] = 1
    mask[..., 90:93, :] = 1  # less than a place, and not in every place
    changed = torch.where(mask > 0, appearance, torch.zeros(()))
    weights = match.weights.view(64, 8, 8).clone()
    weights[:, 1:7] = 0
    match = replace(match, weights=(weights / weights.sum((1, 2), keepdim=True)).view(64, 64))
    made = [warm_start(structure, image, match, mask=mask) for image in (appearance, changed)]
    torch.testing.assert_close(*made, atol=0.02, rtol=0)
    assert (warm_start(structure, changed, match) - made[0]).abs().max() > 0.2
