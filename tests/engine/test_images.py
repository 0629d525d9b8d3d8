import pytest
import torch

from tests.conftest import noise
from vitsplice.config import MaskConfig
from vitsplice.engine.images import RunImages, feathered, masked, neutralised


def half(value=1.0, size=(100, 120)):
    mask = torch.zeros(1, 1, *size)
    mask[..., : size[1] // 2] = value
    return mask


def test_outside_of_its_mask_an_image_has_the_mean_colour_of_the_inside():
    image, mask = noise(1, 3, 100, 120), half()
    made = neutralised(image, mask)
    assert torch.equal(made[..., :60], image[..., :60])
    mean = image[..., :60].mean((2, 3))
    torch.testing.assert_close(made[..., 60:], mean[..., None, None].expand(1, 3, 100, 60))
    torch.testing.assert_close(made.mean((2, 3)), mean)


def test_nothing_of_the_outside_is_left_not_even_a_bit():
    image, other = noise(1, 3, 100, 120), noise(1, 3, 100, 120, seed=1)
    other[..., :60] = image[..., :60]
    assert torch.equal(neutralised(image, half()), neutralised(other, half()))


@pytest.mark.parametrize("share", [0.004, 0.05])
def test_a_feathered_mask_falls_from_one_to_zero_across_the_edge(share):
    soft = feathered(half(size=(400, 480)), share)
    row = soft[0, 0, 200]
    assert torch.all(row.diff() <= 1e-6)
    assert row[239] + row[240] == pytest.approx(1, abs=1e-4)
    far = round(4 * share * 400)
    assert row[239 - far] == pytest.approx(1)
    assert row[240 + far] == 0
    assert (row > 0.02).sum() - (row > 0.98).sum() == pytest.approx(4.1 * share * 400, abs=2)


def test_no_feather_and_small_images_leave_a_mask_as_it_is():
    assert feathered(half(), 0) is not None
    assert torch.equal(feathered(half(), 0), half())
    assert torch.equal(feathered(half(size=(16, 20)), 0.004), half(size=(16, 20)))


@pytest.mark.parametrize("where", [(slice(50, 51), slice(60, 61)), (slice(0, 100), slice(7, 9)), (slice(0, 1),) * 2])
def test_a_mask_narrower_than_its_feather_keeps_half(where):
    mask = torch.zeros(1, 1, 100, 120)
    mask[(..., *where)] = 1
    assert feathered(mask, 0.1)[(..., *where)].min() >= 0.5


def test_grey_stays_grey():
    torch.testing.assert_close(feathered(torch.full((1, 1, 100, 120), 0.3), 0.05), torch.full((1, 1, 100, 120), 0.3))


def test_each_mask_has_its_own_use():
    images = {"structure": noise(1, 3, 100, 120), "appearance": noise(1, 3, 100, 120, seed=1)}
    seen = masked(RunImages(images, {"structure": half(), "appearance": half()}), MaskConfig(feather=0.05))
    assert seen.pixels["structure"] is images["structure"]
    assert not torch.equal(seen.pixels["appearance"], images["appearance"])
    assert not torch.equal(seen.masks["structure"], half())
    assert torch.equal(seen.masks["appearance"], half())
    assert masked(RunImages(images), MaskConfig()).pixels == images
