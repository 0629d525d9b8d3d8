import pytest
import torch

from tests.conftest import noise
from vitsplice.backbones.sizing import Area, Resize


@pytest.mark.parametrize(
    ("resize", "size", "expected"),
    [
        (Resize(32), (64, 64), (32, 32)),
        (Resize(32), (64, 100), (32, 48)),
        (Resize(32), (100, 64), (48, 32)),
        (Resize(32, 40), (64, 160), (16, 40)),
        (Resize(None), (33, 57), (33, 57)),
        (Resize(48), (24, 24), (48, 48)),
    ],
)
def test_target_size_keeps_the_aspect_and_fits_the_patches(vit, resize, size, expected):
    assert resize.target_size(*size, vit.info) == expected
    assert resize(torch.zeros(1, 3, *size), vit.info).shape[-2:] == expected


def test_a_image_of_the_right_size_is_taken_as_it_is(vit):
    image = noise(1, 3, 32, 40)
    assert Resize(32)(image, vit.info) is image


def test_a_flat_image_stays_flat_and_gradients_pass(vit):
    image = torch.full((1, 3, 50, 50), 0.3, requires_grad=True)
    seen = Resize(32)(image, vit.info)
    torch.testing.assert_close(seen, torch.full_like(seen, 0.3))
    seen.sum().backward()
    assert (image.grad > 0).all()


def test_area_leaves_smaller_images_as_large_as_they_are_if_it_may_not_enlarge(vit):
    assert Area(64).target_size(32, 32, vit.info) == (64, 64)
    assert Area(64, enlarge=False).target_size(32, 32, vit.info) == (32, 32)
    assert Area(64, enlarge=False).target_size(128, 128, vit.info) == (64, 64)
