"""Resizing by the shorter side, conversion to Lab, bilinear sampling."""

import numpy as np
import pytest
import torch
from PIL import Image

from tests.conftest import noise
from tests.images.conftest import grey3, rgb8
from vitsplice.errors import ImageError
from vitsplice.images import resize_to
from vitsplice.images.transforms import sample_bilinear, to_lab, to_rgb


@pytest.mark.parametrize(
    ("height", "width", "size", "expected"),
    [
        (40, 60, 20, (20, 30)),
        (60, 40, 20, (30, 20)),
        (300, 451, 224, (224, 337)),
        (20, 24, 40, (40, 48)),
        (33, 33, 17, (17, 17)),
    ],
)
def test_resize_to_sets_the_shorter_side(height, width, size, expected):
    pixels = torch.rand(1, 3, height, width, generator=torch.Generator().manual_seed(8))
    assert resize_to(pixels, size).shape == (1, 3, *expected)


def test_resize_to_the_same_size_returns_the_input():
    pixels = torch.rand(1, 3, 20, 24)
    assert resize_to(pixels, 20) is pixels


def test_resize_equals_pillow_antialiased_bicubic():
    raw = rgb8(height=96, width=120, channels=1)[..., 0].astype(np.float32) / 255
    ours = resize_to(torch.from_numpy(grey3(raw)).permute(2, 0, 1)[None], 24)[0, 0].numpy()
    theirs = np.asarray(Image.fromarray(raw).resize((30, 24), Image.Resampling.BICUBIC))
    np.testing.assert_allclose(ours, theirs.clip(0, 1), atol=1e-5)


def test_resize_clamps_to_the_unit_range():
    edge = torch.zeros(1, 3, 20, 20)
    edge[..., 10:] = 1
    larger = resize_to(edge, 60)
    assert larger.min() == 0
    assert larger.max() == 1


@pytest.mark.parametrize(("shape", "size"), [((16, 16384), 512), ((64, 64), 8), ((64, 64), 0)])
def test_resize_outside_the_size_limits_is_refused(shape, size):
    limits = "(at most 16384 pixels a side|at least 16 a side)"
    with pytest.raises(ImageError, match=rf"{limits} .*; the requested shorter side is {size}; choose another one$"):
        resize_to(torch.zeros(1, 3, *shape), size)


def test_lab_of_white_black_and_red_equals_cie_d65():
    colours = torch.tensor([[1.0, 1, 1], [0, 0, 0], [1, 0, 0]]).T.reshape(1, 3, 1, 3)
    lab = to_lab(colours)[0, :, 0].T * 100
    expected = torch.tensor([[100, 0, 0], [0, 0, 0], [53.24, 80.09, 67.20]])  # CIE, D65
    torch.testing.assert_close(lab, expected, atol=0.05, rtol=0)


def test_lab_round_trip():
    image = noise(1, 3, 8, 8)
    torch.testing.assert_close(to_rgb(to_lab(image)), image, atol=1e-4, rtol=0)


def test_bilinear_samples_at_centres_between_them_and_beyond_the_border():
    maps = torch.arange(6.0).reshape(1, 1, 2, 3)
    points = torch.tensor([[0.25, 1 / 6], [0.75, 5 / 6], [0.25, 1 / 3], [0.02, 0.02], [-1.0, -1.0]])
    samples = sample_bilinear(torch.cat([maps, 2 * maps]), torch.stack([points, points]))
    torch.testing.assert_close(samples[0, :, 0], torch.tensor([0.0, 5, 0.5, 0, 0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(samples[1], 2 * samples[0], atol=1e-6, rtol=0)
