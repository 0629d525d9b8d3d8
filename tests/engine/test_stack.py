import pytest
import torch

from tests.conftest import noise
from vitsplice.contracts import Features
from vitsplice.engine.images import RunImages
from vitsplice.engine.stack import AppearanceImage, joined, joining_axis, separated, stack

WIDE, TALL = noise(1, 3, 40, 80), noise(1, 3, 60, 30, seed=1)


def run_images(*images):
    stacked = stack(images)
    masks = {} if stacked.mask is None else {"appearance": stacked.mask}
    return RunImages({"structure": WIDE, "appearance": stacked.pixels}, masks, stacked.images)


def test_a_single_image_is_unchanged():
    mask = noise(1, 1, 40, 80)
    plain, with_mask = stack([AppearanceImage(WIDE)]), stack([AppearanceImage(WIDE, mask)])
    assert torch.equal(plain.pixels, WIDE)
    assert plain.mask is None
    assert torch.equal(with_mask.mask, mask)


def test_images_of_one_size_are_not_padded():
    stacked = stack([AppearanceImage(WIDE), AppearanceImage(1 - WIDE)])
    assert torch.equal(stacked.pixels, torch.cat([WIDE, 1 - WIDE]))
    assert stacked.mask is None


def test_images_of_other_shapes_are_enlarged_to_the_largest_area_and_padded():
    images = run_images(AppearanceImage(WIDE), AppearanceImage(TALL))
    assert images.pixels["appearance"].shape == (2, 3, 80, 80)
    first, second = images.appearances
    assert torch.equal(first.pixels, WIDE)
    assert second.pixels.shape == (1, 3, 80, 40)
    assert images.masks["appearance"].mean((1, 2, 3)).tolist() == [0.5, 0.5]
    assert second.mask.min() == 1


def test_mirrored_images_stay_at_the_top_left():
    images = run_images(AppearanceImage(WIDE), AppearanceImage(TALL))
    mirrored = images.mirrored([False, True])
    assert torch.equal(mirrored.appearances[0].pixels, WIDE)
    assert torch.equal(mirrored.appearances[1].pixels, images.appearances[1].pixels.flip(-1))
    assert torch.equal(mirrored.masks["appearance"], images.masks["appearance"])


@pytest.mark.parametrize(("size", "axis", "grid"), [((40, 80), -1, (2, 6)), ((80, 40), -2, (4, 3))])
def test_local_features_are_joined_along_the_longer_side(size, axis, grid):
    features = Features(noise(2, 1 + 6, 4), (2, 3), prefix=1)
    joint = joined(features, [1.0, 1.0], joining_axis(*size))
    assert (joint.grid, joint.prefix, joint.values.shape) == (grid, 2, (1, 14, 4))
    assert torch.equal(joint.values[0, :2], features.values[:, 0])
    assert torch.equal(torch.cat(joint.maps.chunk(2, axis)), features.maps)


def test_global_features_are_joined_by_weight():
    features = Features(noise(2, 4))
    expected = 0.75 * features.values[:1] + 0.25 * features.values[1:]
    torch.testing.assert_close(joined(features, [3.0, 1.0], -1).values, expected)


@pytest.mark.parametrize("axis", [-1, -2])
def test_pixel_patches_across_two_images_are_excluded(axis):
    mask = joined(Features.from_maps(torch.ones(3, 1, 4, 4)), [1.0] * 3, axis)
    maps = separated(mask, axis, 3).maps[0, 0]
    lines = maps.amin(0) if axis == -1 else maps.amin(1)
    assert lines.tolist() == [1, 1, 1, 0] * 3
    assert torch.equal(separated(mask, axis, 1).maps, mask.maps)


@pytest.mark.parametrize("axis", [-1, -2])
def test_mask_that_would_become_empty_is_unchanged(axis):
    maps = torch.zeros(1, 1, 4, 4)
    maps.select(axis, 1)[:] = 1  # the last line of each of two images
    maps.select(axis, 3)[:] = 1
    assert torch.equal(separated(Features.from_maps(maps), axis, 2).maps, maps)
