import pytest
import torch

from tests.conftest import noise
from vitsplice.config import MaskConfig
from vitsplice.engine.images import RunImages, feathered, masked, neutralised, stack_appearances
from vitsplice.engine.stack import AppearanceImage
from vitsplice.presets.settings import settings_for
from vitsplice.runs.run import Run


def half(size=(100, 120)):
    """A mask that is white in its left half."""
    mask = torch.zeros(1, 1, *size)
    mask[..., : size[1] // 2] = 1
    return mask


def test_pixels_outside_the_mask_get_the_mean_colour_of_the_inside():
    image, mask = noise(1, 3, 100, 120), half()
    neutral = neutralised(image, mask)
    assert torch.equal(neutral[..., :60], image[..., :60])
    mean = image[..., :60].mean((2, 3))
    torch.testing.assert_close(neutral[..., 60:], mean[..., None, None].expand(1, 3, 100, 60))
    torch.testing.assert_close(neutral.mean((2, 3)), mean)


def test_grey_parts_of_a_mask_are_blended_once_also_if_images_are_resized_or_stacked():
    pixels, mask = noise(1, 3, 100, 120), torch.linspace(0, 1, 120).expand(1, 1, 100, 120).clone()

    def image_of(number, size):
        stack = stack_appearances([AppearanceImage(pixels, mask, 1.0)] * number, size, torch.device("cpu"))
        images = RunImages({"appearance": stack.pixels}, {"appearance": stack.mask})
        return masked(images, MaskConfig()).pixels["appearance"][0]

    expected = neutralised(pixels, mask)[0]
    for number, size in ((1, None), (1, 100), (2, None)):  # 100 is the shorter side already
        torch.testing.assert_close(image_of(number, size), expected)


def test_excluded_colours_do_not_bleed_into_the_rest_by_resizing():
    pixels, mask = noise(1, 3, 100, 120), half()
    other = torch.where(mask > 0, pixels, 1 - pixels)
    first, second = (
        stack_appearances([AppearanceImage(each, mask, 1.0)], 40, torch.device("cpu")) for each in (pixels, other)
    )
    assert torch.equal(first.pixels, second.pixels)


def test_neutralised_image_does_not_depend_on_pixels_outside_the_mask():
    image, other = noise(1, 3, 100, 120), noise(1, 3, 100, 120, seed=1)
    other[..., :60] = image[..., :60]
    assert torch.equal(neutralised(image, half()), neutralised(other, half()))


@pytest.mark.parametrize("share", [0.004, 0.05])
def test_feathered_mask_falls_from_one_to_zero_across_the_edge(share):
    soft = feathered(half(size=(400, 480)), share)
    row = soft[0, 0, 200]
    assert torch.all(row.diff() <= 1e-6)
    assert row[239] + row[240] == pytest.approx(1, abs=1e-4)
    far = round(4 * share * 400)
    assert row[239 - far] == pytest.approx(1)
    assert row[240 + far] == 0
    # a Gaussian edge rises from 2 % to 98 % over 4.1 standard deviations
    assert (row > 0.02).sum() - (row > 0.98).sum() == pytest.approx(4.1 * share * 400, abs=2)


def test_mask_is_unchanged_without_feather_and_in_small_images():
    assert torch.equal(feathered(half(), 0), half())
    assert torch.equal(feathered(half(size=(16, 20)), 0.004), half(size=(16, 20)))


@pytest.mark.parametrize("where", [(slice(50, 51), slice(60, 61)), (slice(0, 100), slice(7, 9)), (slice(0, 1),) * 2])
def test_mask_narrower_than_its_feather_stays_at_least_one_half(where):
    mask = torch.zeros(1, 1, 100, 120)
    mask[(..., *where)] = 1
    assert feathered(mask, 0.1)[(..., *where)].min() >= 0.5


def test_feathering_preserves_a_constant_mask():
    torch.testing.assert_close(feathered(torch.full((1, 1, 100, 120), 0.3), 0.05), torch.full((1, 1, 100, 120), 0.3))


def test_appearance_image_is_neutralised_and_structure_mask_is_feathered():
    images = {"structure": noise(1, 3, 100, 120), "appearance": noise(1, 3, 100, 120, seed=1)}
    prepared = masked(RunImages(images, {"structure": half(), "appearance": half()}), MaskConfig(feather=0.05))
    assert prepared.pixels["structure"] is images["structure"]
    assert not torch.equal(prepared.pixels["appearance"], images["appearance"])
    assert not torch.equal(prepared.masks["structure"], half())
    assert torch.equal(prepared.masks["appearance"], half())
    assert masked(RunImages(images), MaskConfig()).pixels == images


@pytest.mark.slow
def test_nothing_outside_of_the_mask_is_mixed_in_by_resizing():
    """The excluded half is black or white; the image is reduced to half its size, or stacked with a larger one."""
    mask, structure, larger = half((40, 40)), noise(1, 3, 40, 40), noise(1, 3, 64, 64, seed=2)
    for stacked, overrides in ((False, ["size=20"]), (True, [])):
        prepared = []
        for value in (0.0, 1.0):
            image = noise(1, 3, 40, 40, seed=1)
            image[..., 20:] = value
            images, masks = ([image, larger], [mask, torch.ones(1, 1, 64, 64)]) if stacked else (image, mask)
            run = Run(structure, images, settings_for("tiny", overrides=overrides), appearance_mask=masks)
            prepared.append(run._optimisation._images.pixels["appearance"])
        torch.testing.assert_close(*prepared, atol=1e-5, rtol=0)
