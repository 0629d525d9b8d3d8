import pytest
import torch
from vitsplice_kornia import distances

from vitsplice.plugins import catalogue
from vitsplice.testing import LossContract


class TestSsim(LossContract):
    name = "ssim"


class TestSobel(LossContract):
    name = "sobel"


class TestLaplacian(LossContract):
    name = "laplacian"


def image(seed=0):
    return torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["ssim", "sobel", "laplacian"])
def test_zero_for_the_same_and_more_the_more_it_differs(name):
    distance, one, two = getattr(distances, name), image(), image(1)
    assert distance(one, one) < 1e-6
    values = [float(distance(torch.lerp(one, two, part), one)) for part in (0.1, 0.5, 1.0)]
    assert values == sorted(values)
    assert values[0] > 0


@pytest.mark.parametrize("name", ["sobel", "laplacian"])
def test_an_even_shift_of_lightness_counts_for_little(name):
    distance, one = getattr(distances, name), 0.3 + 0.4 * image()
    assert distance((one + 0.05).clamp(0, 1), one) < 0.2 * distance(image(1), one)


def test_more_scales_see_what_one_does_not():
    coarse = torch.nn.functional.interpolate(torch.rand(1, 3, 3, 4), size=(48, 64), mode="bilinear")
    assert distances.ssim(coarse, 1 - coarse, scales=3) > distances.ssim(coarse, coarse, scales=3)


@pytest.mark.parametrize("name", ["ssim", "sobel", "laplacian"])
def test_a_flat_image_is_like_itself(name):
    flat = torch.zeros(1, 3, 48, 64)
    assert getattr(distances, name)(flat, flat) == 0


def test_they_are_listed():
    assert {"ssim", "sobel", "laplacian"} <= set(catalogue().losses)
