import pytest
import torch

from vitsplice.generators.blocks import DownBlock, ModulatedBlock, network_input, scaled_widths
from vitsplice.rng import private_rng, stream


def normal(*shape):
    return torch.randn(*shape, generator=stream(0, "blocks"))


def test_down_block_halves_the_size_and_keeps_the_scale():
    with private_rng(0):
        block = DownBlock(16, 32)
    output = block(normal(2, 16, 32, 40))
    assert output.shape == (2, 32, 16, 20)
    assert 0.5 < output.square().mean().sqrt() < 2


@pytest.mark.parametrize(("inputs", "outputs"), [(16, 16), (16, 24)])
def test_modulated_block_keeps_the_size_and_the_scale(inputs, outputs):
    with private_rng(0):
        block = ModulatedBlock(inputs, outputs, 8)
    output = block(normal(2, inputs, 20, 12), normal(2, 8))
    assert output.shape == (2, outputs, 20, 12)
    assert 0.5 < output.square().mean().sqrt() < 2


def test_modulated_block_computes_each_sample_with_its_own_vector():
    with private_rng(0):
        block = ModulatedBlock(8, 8, 8)
    images, vectors = normal(1, 8, 9, 9).expand(2, -1, -1, -1), normal(2, 8)
    first, second = block(images, vectors)
    torch.testing.assert_close(block(images[:1], vectors[:1])[0], first)
    torch.testing.assert_close(block(images[:1], vectors[1:])[0], second)
    assert (first - second).abs().max() > 0.1


def test_input_of_a_network_replicates_the_last_row_and_column():
    image = torch.arange(15.0).reshape(1, 1, 3, 5)
    values = (network_input(image, 4) + 1) / 2
    assert values.shape == (1, 1, 4, 8)
    assert torch.equal(values[..., :3, :5], image)
    assert torch.equal(values[0, 0, 3], torch.tensor([10.0, 11, 12, 13, 14, 14, 14, 14]))
    assert network_input(image, 1).shape == image.shape


def test_input_of_a_network_is_in_minus_1_to_1():
    values = network_input(torch.tensor([0.0, 0.5, 1.0]).reshape(1, 3, 1, 1), 1)
    assert values.flatten().tolist() == [-1, 0, 1]


def test_widths_are_multiplied_and_at_least_1():
    assert scaled_widths([1, 16, 33], 0.25) == [1, 4, 8]
