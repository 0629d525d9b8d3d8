import pytest
import torch

from tests.conftest import noise
from vitsplice.generators.residual import ResidualUNet
from vitsplice.rng import private_rng


@pytest.mark.slow
def test_output_starts_as_the_input_and_can_be_optimised():
    with private_rng(0):
        generator = ResidualUNet(channels=[4, 8])
    image = 0.1 + 0.8 * noise(1, 3, 32, 40)
    torch.testing.assert_close(generator(image), image)
    optimiser = torch.optim.Adam(generator.parameters(), lr=0.03)
    for _ in range(40):
        optimiser.zero_grad()
        loss = (generator(image) - 0.5).square().mean()
        loss.backward()
        optimiser.step()
    assert loss < 0.5 * (image - 0.5).square().mean()


def test_output_for_a_crop_does_not_depend_on_its_memory_layout():
    generator = ResidualUNet(channels=[4, 8])
    crop = noise(1, 3, 64, 75)[..., 3:60, 5:70]
    assert torch.equal(generator(crop), generator(crop.contiguous()))
