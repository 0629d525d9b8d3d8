"""Batches of images for the loss modules: the checks of `vitsplice.images.read`, differentiable."""

import pytest
import torch

from tests.images.conftest import H, W
from vitsplice.errors import ImageError
from vitsplice.images.tensors import image_batch


@pytest.mark.parametrize("shape", [(3, H, W), (1, 3, H, W), (4, 3, H, W)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_a_batch_is_float32_and_gradients_have_the_type_and_shape_of_the_input(shape, dtype):
    pixels = torch.rand(shape).to(dtype).requires_grad_()
    batch = image_batch(pixels, "output")
    assert batch.dtype == torch.float32
    assert batch.shape == (pixels.numel() // (3 * H * W), 3, H, W)
    batch.sum().backward()
    assert (pixels.grad.dtype, pixels.grad.shape) == (dtype, pixels.shape)


def test_uint8_is_divided_by_255():
    assert (image_batch(torch.full((3, H, W), 255, dtype=torch.uint8), "target") == 1).all()


@pytest.mark.parametrize(
    ("pixels", "said"),
    [
        (torch.zeros(1, H, W, 3), r"\(1, 20, 24, 3\).*movedim\(-1, -3\)"),
        (torch.zeros(H, W, 3), "movedim"),
        (torch.zeros(1, 1, H, W), "expand"),
        (torch.zeros(1, 4, H, W), "RGB has 3 channels"),
        (torch.zeros(H, W), r"\(3, H, W\) or \(B, 3, H, W\)"),
        (torch.zeros(0, 3, H, W), r"\(0, 3, 20, 24\)"),
        (torch.zeros(3, 8, W), "too small, 24 x 8"),
        (torch.zeros(3, H, W, dtype=torch.int64), "'output' is torch.int64"),
        (torch.zeros(3, H, W, dtype=torch.bool), "torch.bool"),
        (torch.full((3, H, W), 255.0), "from 255 to 255"),
        (torch.full((3, H, W), -1.0), "from -1 to -1"),
        (torch.full((3, H, W), torch.nan), "NaN"),
        ("image.png", "not a str"),
    ],
)
def test_what_is_no_batch_of_images_is_refused_with_what_is_allowed(pixels, said):
    with pytest.raises(ImageError, match=said):
        image_batch(pixels, "output")


def test_a_tolerance_lets_overshoot_pass_and_without_the_check_everything_does():
    image_batch(torch.full((3, H, W), 1.04), "output", tolerance=0.05)
    with pytest.raises(ImageError, match=r"to 1\.0(6|59)"):
        image_batch(torch.full((3, H, W), 1.06), "output", tolerance=0.05)
    image_batch(torch.full((3, H, W), 255.0), "output", check=False)


def test_the_layout_is_checked_before_anything_is_computed():
    huge = torch.zeros(1).expand(1, 10**6, 10**6, 3)
    with pytest.raises(ImageError, match="movedim"):
        image_batch(huge, "output")
