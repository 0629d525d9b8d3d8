import torch

from tests.conftest import noise
from vitsplice.images.colour import to_lab, to_rgb


def test_white_black_and_red():
    colours = torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 0, 0]]).T.reshape(1, 3, 1, 3)
    lab = to_lab(colours)[0, :, 0].T * 100
    expected = torch.tensor([[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]])  # CIE, D65
    torch.testing.assert_close(lab, expected, atol=0.05, rtol=0)


def test_there_and_back():
    image = noise(1, 3, 8, 8)
    torch.testing.assert_close(to_rgb(to_lab(image)), image, atol=1e-4, rtol=0)
