import pytest
import torch
from clips import panned

from vitsplice.config import MaskConfig
from vitsplice.errors import UserError
from vitsplice.images import to_pil
from vitsplice.video.appearances import Appearances
from vitsplice.video.colours import as_tensor

DEVICE = torch.device("cpu")


def image(height=32, width=48, seed=0):
    return to_pil(as_tensor(panned(1, height, width, seed=seed)[0]))


def mask(height=32, width=48):
    white_left = torch.zeros(1, 3, height, width)
    white_left[..., : width // 2] = 1
    return to_pil(white_left)


def test_one_image_is_unchanged():
    appearances = Appearances.read(image())
    images = appearances.on_device(DEVICE, None, MaskConfig())
    assert torch.equal(images.pixels["appearance"], appearances.images["appearance"].pixels)
    assert not images.masks
    assert list(appearances.digests()) == ["appearance image"]


def test_several_images_have_their_own_masks_and_weights():
    appearances = Appearances.read([image(), image(48, 48, 1)], [None, mask(48, 48)], [1, 0.5])
    first, second = appearances.on_device(DEVICE, None, MaskConfig()).appearances
    assert (first.weight, second.weight) == (1, 0.5)
    assert first.mask.min() == 1  # no mask
    assert (second.mask[..., :20].min(), second.mask[..., 28:].max()) == (1, 0)  # away from the mask's edge at 24
    assert list(appearances.digests()) == [
        "appearance image", "appearance image 2", "appearance mask 2", "appearance weights",
    ]  # fmt: skip


def test_weights_that_differ_in_the_seventh_digit_have_different_digests():
    first, second = (Appearances.read([image(), image()], None, [1, weight]) for weight in (0.1234567, 0.1234568))
    assert first.digests() != second.digests()
    assert Appearances.read([image(), image()], None, [1, 0.5]).digests()["appearance weights"] == "1, 0.5"


def test_images_and_masks_are_resized():
    images = Appearances.read(image(), mask()).on_device(DEVICE, 16, MaskConfig())
    assert images.pixels["appearance"].shape == (1, 3, 16, 24)
    assert images.masks["appearance"].shape == (1, 1, 16, 24)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([],), "there is no appearance image"),
        ((image(), [None, mask()]), "2 appearance masks for 1 appearance images"),
        ((image(), mask(48, 48)), "must be as large as the appearance image"),
        (([image(), image()], None, [1]), "2 appearance images require as many weights"),
    ],
)
def test_masks_and_weights_that_do_not_fit_the_images_are_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        Appearances.read(*arguments)
