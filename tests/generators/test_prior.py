import pytest
import torch

from tests.conftest import noise
from vitsplice.errors import ConfigError
from vitsplice.generators.prior import Prior, build
from vitsplice.rng import private_rng


def make(**settings):
    with private_rng(0):
        return Prior(64, 80, channels=(4, 8, 8), kernels=(7, 5, 3), input_channels=4, **settings)


def test_output_does_not_depend_on_the_input():
    generator = make()
    assert torch.equal(generator(noise(1, 3, 64, 80)), generator(noise(1, 3, 20, 20, seed=1)))


@pytest.mark.parametrize(("progress", "sigma"), [(0.0, 10), (0.49, 10), (0.5, 2), (0.74, 2), (0.75, 0.5), (1.0, 0.5)])
def test_noise_follows_the_schedule(progress, sigma):
    generator = make(noise=(10, 2, 0.5))
    generator.set_progress(progress)
    assert generator.sigma == sigma


def test_each_call_draws_its_noise_from_the_random_generator_of_torch():
    generator = make(noise=(1.0,))
    with private_rng(0):
        first, second = generator(None), generator(None)
    with private_rng(0):
        again = generator(None)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_initial_output_is_neither_black_nor_white():
    output = make()(None)
    assert output.std() > 0.01
    assert 0.1 < output.mean() < 0.9


def test_schedule_without_all_ends_is_refused():
    options = {"channels": [4], "kernels": [3], "input_channels": 4, "noise": [3.0, 2.0, 1.0], "until": [0.5]}
    with pytest.raises(ConfigError, match="noise has 3 values, so until must have at least 2, but it has 1"):
        build(noise(1, 3, 20, 20), options)


def test_schedule_with_decreasing_ends_is_refused():
    options = {"channels": [4], "kernels": [3], "input_channels": 4, "noise": [3.0, 2.0, 1.0], "until": [0.75, 0.5]}
    with pytest.raises(
        ConfigError, match=r"until: \[0.75, 0.5\] is not allowed; the ends of the parts must not decrease"
    ):
        build(noise(1, 3, 20, 20), options)
    assert build(noise(1, 3, 20, 20), options | {"noise": [2.0, 1.0]}).sigma == 1.0  # only the first end is used


@pytest.mark.parametrize("kernels", [(7, 7, 9), (31, 31, 31), (3, 15, 3)])
def test_large_kernels_fit_a_small_image(kernels):
    generator = Prior(20, 36, channels=(4, 4, 4), kernels=kernels, input_channels=2)
    assert generator(noise(1, 3, 20, 36)).shape == (1, 3, 20, 36)


def test_even_kernels_are_refused():
    options = {"channels": [4], "kernels": [4], "input_channels": 4, "noise": [0.0], "until": [0.5]}
    with pytest.raises(ConfigError, match=r"kernels: 4 is not allowed; a kernel size must be odd"):
        build(torch.zeros(1, 3, 32, 32), options)
    build(torch.zeros(1, 3, 32, 32), options | {"kernels": [3, 4]})  # there is no second level
