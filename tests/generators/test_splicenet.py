from itertools import pairwise

import pytest
import torch

from tests.conftest import noise
from tests.generators.receptive_field import receptive_radius
from vitsplice.generators.blocks import DownBlock, ModulatedBlock
from vitsplice.generators.splicenet import SpliceNet, build
from vitsplice.rng import private_rng

WIDTHS = (32, 64, 128, 256, 512, 1024)


def make(width=0.125, vector=16):
    with private_rng(0):
        return SpliceNet({"cls": 12}, width, vector)


def condition(batch=1):
    return {"cls": noise(batch, 12, seed=3) - 0.5}


def conv_parameters(inputs, outputs, kernel, *, bias=True):
    return inputs * outputs * kernel**2 + bias * outputs


def modulated_conv_parameters(inputs, outputs, kernel=3):
    return conv_parameters(inputs, outputs, kernel) + (768 + 1) * inputs


def modulated_block_parameters(inputs, outputs):
    shortcut = conv_parameters(inputs, outputs, 1, bias=False) if inputs != outputs else 0
    return modulated_conv_parameters(inputs, outputs) + modulated_conv_parameters(outputs, outputs) + shortcut


def test_published_size_has_the_parameters_of_its_layers():
    expected = (384 + 1) * 768 + (768 + 1) * 768  # mapping network
    expected += conv_parameters(3, 32, 1) + modulated_conv_parameters(32, 3, 1)  # first and last layer
    for above, below in pairwise(WIDTHS):
        expected += conv_parameters(above, below, 3) + conv_parameters(below, below, 3)
        expected += conv_parameters(above, below, 1, bias=False)
        expected += modulated_block_parameters(above, above) + modulated_block_parameters(below + above, above)
    with torch.device("meta"):
        generator = build({"cls": 384}, {"width": 1.0})
    assert sum(p.numel() for p in generator.parameters()) == expected == 44_953_923


@pytest.mark.slow
def test_shapes_of_every_block_are_those_of_the_supplement_of_tumanyan_et_al_2023():
    with torch.device("meta"):
        generator = build({"cls": 384}, {"width": 1.0})
        shapes = {}
        for name, module in generator.named_modules():
            if isinstance(module, (DownBlock, ModulatedBlock)) or name in ("mapping", "first", "last"):
                module.register_forward_hook(lambda m, args, out, name=name: shapes.update({name: tuple(out.shape)}))
        output = generator(torch.zeros(1, 3, 512, 512), {"cls": torch.zeros(1, 384)})
    assert output.shape == (1, 3, 512, 512)
    assert shapes == {
        "mapping": (1, 768),
        "first": (1, 32, 512, 512),
        "down.0": (1, 64, 256, 256),
        "down.1": (1, 128, 128, 128),
        "down.2": (1, 256, 64, 64),
        "down.3": (1, 512, 32, 32),
        "down.4": (1, 1024, 16, 16),
        "skip.0": (1, 512, 32, 32),
        "up.0": (1, 512, 32, 32),
        "skip.1": (1, 256, 64, 64),
        "up.1": (1, 256, 64, 64),
        "skip.2": (1, 128, 128, 128),
        "up.2": (1, 128, 128, 128),
        "skip.3": (1, 64, 256, 256),
        "up.3": (1, 64, 256, 256),
        "skip.4": (1, 32, 512, 512),
        "up.4": (1, 32, 512, 512),
        "last": (1, 3, 512, 512),
    }


@pytest.mark.parametrize("size", [(1, 1), (17, 90), (32, 64)])
def test_output_is_an_image_of_the_size_of_the_structure_image(size):
    output = make()(noise(2, 3, *size), condition(2))
    assert output.shape == (2, 3, *size)
    assert output.min() >= 0
    assert output.max() <= 1


def test_every_parameter_has_a_gradient():
    generator = make()
    generator(noise(1, 3, 32, 40), condition()).square().mean().backward()
    assert [name for name, p in generator.named_parameters() if p.grad is None or not p.grad.any()] == []


@pytest.mark.slow
def test_reach_is_the_radius_of_the_receptive_field():
    generator = make(width=0.05)
    structure = noise(1, 3, 2 * generator.reach + 64, 32)
    radius = receptive_radius(lambda image: generator(image, condition()), structure, generator.multiple)
    assert generator.reach - generator.multiple < radius <= generator.reach


@pytest.mark.slow
def test_four_pairs_are_fitted():
    """Adam has the published settings, but four times the learning rate, because the network is small."""
    generator, structure, values = make(), noise(4, 3, 32, 32), condition(4)
    colours = noise(4, 3, 1, 1, seed=5)
    target = (0.3 * structure + 0.7 * colours).clamp(0, 1)
    optimiser = torch.optim.Adam(generator.parameters(), lr=8e-3, betas=(0.0, 0.99))
    losses = []
    for _ in range(16):
        optimiser.zero_grad()
        loss = (generator(structure, values) - target).square().mean()
        loss.backward()
        optimiser.step()
        losses.append(loss.detach())
    assert losses[-1] < 0.3 * losses[0]


def test_output_of_mixed_precision_is_float32_and_close_to_that_of_float32():
    generator, structure, values = make(), noise(2, 3, 40, 33), condition(2)
    with torch.autocast("cpu", torch.bfloat16):
        output = generator(structure, values)
    torch.testing.assert_close(output, generator(structure, values), atol=0.02, rtol=0)
