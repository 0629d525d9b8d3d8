"""What every registered generator promises."""

import pytest
import torch

from tests.conftest import noise
from vitsplice.options import complete
from vitsplice.plugins import catalogue
from vitsplice.rng import private_rng

NAMES = sorted(catalogue().generators)


def build(name, seed=0):
    spec = catalogue().generators[name]
    structure = noise(1, 3, 40, 48)
    with private_rng(seed):
        return structure, spec.build(structure, complete(spec, {}))


@pytest.mark.parametrize("name", NAMES)
def test_from_image_to_image_of_the_same_size(name):
    structure, generator = build(name)
    made = generator(structure)
    assert made.shape == structure.shape
    assert made.dtype == torch.float32


@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_generator(name):
    (structure, first), (_, second) = build(name), build(name)
    assert torch.equal(first(structure), second(structure))


@pytest.mark.parametrize("name", NAMES)
def test_it_can_be_optimised_and_restored(name):
    structure, generator = build(name)
    before = {key: value.clone() for key, value in generator.state_dict().items()}
    made = generator(structure)
    generator(structure).square().mean().backward()
    torch.optim.SGD(generator.parameters(), lr=10.0).step()
    assert not torch.equal(generator(structure), made)
    generator.load_state_dict(before)
    assert torch.equal(generator(structure), made)
