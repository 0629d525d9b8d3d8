import pytest
import torch

from tests.conftest import noise
from vitsplice.generators.unet import UNet
from vitsplice.rng import private_rng

PAPER = {"down_convs": 1, "up_1x1": False}


def make(**settings):
    with private_rng(0):
        return UNet(**settings)


def test_the_released_variant_has_the_released_number_of_parameters():
    assert sum(p.numel() for p in make().parameters()) == 1_037_523


@pytest.mark.parametrize("size", [(16, 16), (17, 90), (31, 33), (64, 64), (97, 130)])
@pytest.mark.parametrize("settings", [{}, PAPER])
def test_any_image_size_comes_out_as_it_went_in_within_0_and_1(size, settings):
    made = make(**settings)(noise(1, 3, *size))
    assert made.shape == (1, 3, *size)
    assert made.min() >= 0
    assert made.max() <= 1


def test_every_parameter_gets_a_gradient():
    generator = make(init_gain=0)
    generator(noise(1, 3, 64, 64)).square().mean().backward()
    without = [name for name, p in generator.named_parameters() if p.grad is None]
    assert without == []


def test_statistics_are_the_image_s_own_in_training_and_in_eval_mode():
    generator = make()
    image = noise(1, 3, 64, 64)
    torch.testing.assert_close(generator.train()(image), generator.eval()(image))
    assert not list(generator.buffers())


@pytest.mark.parametrize("channels", [[8], [8, 16, 24]])
def test_other_depths(channels):
    assert make(channels=channels)(noise(1, 3, 40, 40)).shape == (1, 3, 40, 40)
