import pytest
import torch

from tests.conftest import noise
from vitsplice.errors import ConfigError
from vitsplice.generators.unet import UNet
from vitsplice.rng import private_rng

SUPPLEMENT = {"down_convs": 1, "up_1x1": False}


def make(**settings):
    with private_rng(0):
        return UNet(**settings)


def test_released_variant_has_as_many_parameters_as_the_released_code():
    assert sum(p.numel() for p in make().parameters()) == 1_037_523


@pytest.mark.parametrize("size", [(16, 16), (17, 90), (31, 33), (64, 64), (97, 130)])
@pytest.mark.parametrize("settings", [{}, SUPPLEMENT])
def test_output_has_the_size_of_the_input_and_is_in_the_unit_range(size, settings):
    output = make(**settings)(noise(1, 3, *size))
    assert output.shape == (1, 3, *size)
    assert output.min() >= 0
    assert output.max() <= 1


def test_every_parameter_has_a_gradient():
    generator = make(init_gain=0)
    generator(noise(1, 3, 64, 64)).square().mean().backward()
    without = [name for name, p in generator.named_parameters() if p.grad is None]
    assert without == []


def test_train_and_eval_mode_normalise_by_the_statistics_of_the_image():
    generator = make()
    image = noise(1, 3, 64, 64)
    torch.testing.assert_close(generator.train()(image), generator.eval()(image))
    assert not list(generator.buffers())


@pytest.mark.parametrize("channels", [[8], [8, 16, 24]])
def test_number_of_levels_is_configurable(channels):
    assert make(channels=channels)(noise(1, 3, 40, 40)).shape == (1, 3, 40, 40)


def test_generator_without_levels_is_refused():
    with pytest.raises(ConfigError, match=r"generator\.options\.channels: \[\] is not allowed"):
        make(channels=[])
