import pytest
import torch
from vitsplice_kornia import distances

from vitsplice.contracts import TermContext
from vitsplice.errors import ConfigError
from vitsplice.options import complete
from vitsplice.plugins import catalogue
from vitsplice.testing import LossContract
from vitsplice.testing.inputs import tiny_vit


class TestSsim(LossContract):
    name = "ssim"


class TestSobel(LossContract):
    name = "sobel"


class TestLaplacian(LossContract):
    name = "laplacian"


def image(seed=0):
    return torch.rand(1, 3, 48, 64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("name", ["ssim", "sobel", "laplacian"])
def test_distance_is_zero_for_identical_images_and_grows_with_the_difference(name):
    distance, target, other = getattr(distances, name), image(), image(1)
    assert distance(target, target) < 1e-6
    values = [float(distance(torch.lerp(target, other, weight), target)) for weight in (0.1, 0.5, 1.0)]
    assert values == sorted(values)
    assert values[0] > 0


@pytest.mark.parametrize("name", ["sobel", "laplacian"])
def test_gradient_distances_hardly_change_with_a_uniform_shift_of_lightness(name):
    distance, target = getattr(distances, name), 0.3 + 0.4 * image()
    assert distance(target + 0.05, target) < 0.2 * distance(image(1), target)


def test_ssim_at_several_scales_detects_coarse_differences():
    coarse = torch.nn.functional.interpolate(image()[..., :3, :4], size=(48, 64), mode="bilinear")
    one, three = (distances.ssim(coarse, 1 - coarse, scales=scales) for scales in (1, 3))
    assert three > 1.1 * one


@pytest.mark.parametrize("name", ["ssim", "sobel", "laplacian"])
def test_distance_of_a_constant_image_to_itself_is_zero(name):
    flat = torch.zeros(1, 3, 48, 64)
    assert getattr(distances, name)(flat, flat) == 0


def test_losses_are_in_the_catalogue():
    assert {"ssim", "sobel", "laplacian"} <= set(catalogue().losses)


@pytest.mark.parametrize("selected", [{"layer": 0}, {"facet": "pixels"}])
@pytest.mark.parametrize("name", ["ssim", "sobel", "laplacian"])
def test_facet_and_layer_are_refused(name, selected):
    spec = catalogue().losses[name]
    with pytest.raises(ConfigError, match=f"the loss term '{name}' takes no facet and no layer; remove "):
        spec.build(TermContext(tiny_vit().info, options=complete(spec, {}), **selected))


def test_laplacian_is_the_mean_over_the_levels_that_an_image_has():
    target, other = image()[..., :16, :16], image(1)[..., :16, :16]
    torch.testing.assert_close(
        distances.laplacian(other, target, levels=9), distances.laplacian(other, target, levels=3)
    )


@pytest.mark.parametrize(("name", "side"), [("ssim", 6), ("laplacian", 4)])
def test_image_that_is_too_small_is_refused(name, side):
    small = image()[..., :side, :9]
    assert getattr(distances, name)(small, small) < 1e-6
    with pytest.raises(ConfigError, match=f"{name}: .* {side - 1} px"):
        getattr(distances, name)(small[..., 1:, :], small[..., 1:, :])
