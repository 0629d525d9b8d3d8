"""Contract of every registered generator."""

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
def test_output_has_the_size_of_the_input(name):
    structure, generator = build(name)
    output = generator(structure)
    assert output.shape == structure.shape
    assert output.dtype == torch.float32


@pytest.mark.parametrize("name", NAMES)
def test_same_seed_gives_the_same_generator(name):
    (structure, first), (_, second) = build(name), build(name)
    assert torch.equal(first(structure), second(structure))


@pytest.mark.parametrize("name", NAMES)
def test_generator_can_be_optimised_and_restored(name):
    structure, generator = build(name)
    before = {key: value.clone() for key, value in generator.state_dict().items()}
    output = generator(structure)
    generator(structure).square().mean().backward()
    torch.optim.SGD(generator.parameters(), lr=10.0).step()
    assert not torch.equal(generator(structure), output)
    generator.load_state_dict(before)
    assert torch.equal(generator(structure), output)
