import pytest
import torch

from tests.conftest import noise
from vitsplice.errors import ConfigError
from vitsplice.generators.prior import Prior, build
from vitsplice.rng import private_rng


def make(**settings):
    with private_rng(0):
        return Prior(64, 80, channels=(4, 8, 8), kernels=(7, 5, 3), inputs=4, **settings)


def test_it_makes_the_same_image_whatever_it_is_fed():
    generator = make()
    assert torch.equal(generator(noise(1, 3, 64, 80)), generator(noise(1, 3, 20, 20, seed=1)))


@pytest.mark.parametrize(("part", "sigma"), [(0.0, 10), (0.49, 10), (0.5, 2), (0.74, 2), (0.75, 0.5), (1.0, 0.5)])
def test_the_noise_of_each_part_of_a_run(part, sigma):
    generator = make(noise=(10, 2, 0.5))
    generator.set_progress(part)
    assert generator.sigma == sigma


def test_added_noise_is_drawn_anew_from_torch_s_generator():
    generator = make(noise=(1.0,))
    with private_rng(0):
        first, second = generator(None), generator(None)
    with private_rng(0):
        again = generator(None)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_it_is_not_black_or_white_at_the_start():
    made = make()(None)
    assert made.std() > 0.01
    assert 0.1 < made.mean() < 0.9


def test_parts_without_an_end_are_refused():
    options = {"channels": [4], "kernels": [3], "inputs": 4, "noise": [3.0, 2.0, 1.0], "until": [0.5]}
    with pytest.raises(ConfigError, match="need 1 more"):
        build(noise(1, 3, 20, 20), options)
