import pytest
import torch

from tests.conftest import noise
from vitsplice.backbones.inputs import Area, Resize


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
def test_target_size_preserves_the_aspect_and_fits_the_patches(vit, resize, size, expected):
    assert resize.target_size(*size, vit.info) == expected
    assert resize(torch.zeros(1, 3, *size), vit.info).shape[-2:] == expected


def test_image_of_the_target_size_is_returned_unchanged(vit):
    image = noise(1, 3, 32, 40)
    assert Resize(32)(image, vit.info) is image


def test_resizing_preserves_constant_images_and_passes_gradients(vit):
    image = torch.full((1, 3, 50, 50), 0.3, requires_grad=True)
    resized = Resize(32)(image, vit.info)
    torch.testing.assert_close(resized, torch.full_like(resized, 0.3))
    resized.sum().backward()
    assert (image.grad > 0).all()


def test_area_without_enlarge_keeps_smaller_images(vit):
    assert Area(64).target_size(32, 32, vit.info) == (64, 64)
    assert Area(64, enlarge=False).target_size(32, 32, vit.info) == (32, 32)
    assert Area(64, enlarge=False).target_size(128, 128, vit.info) == (64, 64)
