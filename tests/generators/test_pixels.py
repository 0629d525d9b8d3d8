import pytest
import torch

from tests.conftest import noise
from vitsplice.generators import pixels
from vitsplice.rng import private_rng


def test_output_starts_as_the_start_image():
    start = 0.02 + 0.96 * noise(1, 3, 20, 24)
    torch.testing.assert_close(pixels.build(start, {"init": "start"})(None), start)


def test_black_and_white_pixels_have_gradients():
    generator = pixels.build(torch.tensor([0.0, 1.0]).view(1, 1, 1, 2).repeat(1, 3, 1, 1), {"init": "start"})
    generator(None).sum().backward()
    assert (generator.logits.grad > 0).all()


@pytest.mark.parametrize(("init", "std"), [("grey", 0.0), ("noise", 0.1)])
def test_grey_and_noise_do_not_depend_on_the_start_image(init, std):
    with private_rng(0):
        output = pixels.build(noise(1, 3, 64, 64), {"init": init})(None)
    assert output.mean().item() == pytest.approx(0.5, abs=0.01)
    assert output.std().item() == pytest.approx(std, abs=0.01)
