import pytest
import torch

from tests.conftest import noise
from vitsplice.generators import pixels
from vitsplice.rng import private_rng


def test_output_starts_as_the_structure_image():
    structure = 0.02 + 0.96 * noise(1, 3, 20, 24)
    torch.testing.assert_close(pixels.build(structure, {"init": "start"})(structure), structure)


def test_black_and_white_pixels_have_gradients():
    generator = pixels.build(torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).repeat(1, 3, 1, 1), {"init": "start"})
    generator(None).sum().backward()
    assert (generator.logits.grad > 0).all()


@pytest.mark.parametrize(("start", "spread"), [("grey", 0.0), ("noise", 0.1)])
def test_grey_and_noise_starts_are_independent_of_the_structure_image(start, spread):
    with private_rng(0):
        output = pixels.build(noise(1, 3, 64, 64), {"init": start})(None)
    assert output.mean().item() == pytest.approx(0.5, abs=0.01)
    assert output.std().item() == pytest.approx(spread, abs=0.01)
