"""Conversion to 8-bit images and PNG."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from tests.images.conftest import H, W, rgb8
from vitsplice.errors import ImageError
from vitsplice.images import encode_labels, encode_png, from_pil, read, to_pil


@pytest.mark.parametrize("shape", [(3, H, W), (1, 3, H, W)])
def test_png_round_trip_is_exact(tmp_path, shape):
    raw = rgb8()
    pixels = (torch.from_numpy(raw).permute(2, 0, 1).float() / 255).reshape(shape)
    (tmp_path / "a.png").write_bytes(encode_png(pixels))
    assert torch.equal(read(tmp_path / "a.png").pixels, pixels.reshape(1, 3, H, W))


def test_to_pil_rounds_to_nearest_and_clamps():
    values = torch.tensor([-3.0, 0.0, 0.49 / 255, 0.51 / 255, 254.4 / 255, 254.6 / 255, 1.0, 7.0, torch.inf])
    written = to_pil(values.expand(3, 16, -1))
    assert np.asarray(written)[5, :, 1].tolist() == [0, 0, 0, 1, 254, 255, 255, 255, 255]


def test_png_is_deterministic_8_bit_and_without_metadata():
    pixels = torch.rand(1, 3, H, W, generator=torch.Generator().manual_seed(6))
    data = encode_png(pixels)
    assert data == encode_png(pixels[0].clone().double())
    assert data != encode_png(1 - pixels)
    with Image.open(io.BytesIO(data)) as image:
        assert (image.format, image.mode, image.size, image.info) == ("PNG", "RGB", (W, H), {})


def test_to_pil_accepts_gradients_and_any_strides():
    pixels = torch.rand(1, 3, W, H, generator=torch.Generator().manual_seed(7), requires_grad=True)
    assert np.array_equal(np.asarray(to_pil(pixels.mT)), np.asarray(to_pil(pixels)).swapaxes(0, 1))


@pytest.mark.parametrize("shape", [(H, W), (1, H, W), (2, 3, H, W), (H, W, 3)])
def test_invalid_shape_is_refused(shape):
    with pytest.raises(ImageError, match=r"\(1, 3, H, W\)") as caught:
        encode_png(torch.zeros(shape))
    assert str(tuple(shape)) in str(caught.value)


def test_nan_is_refused():
    with pytest.raises(ImageError, match="NaN"):
        encode_png(torch.full((3, H, W), torch.nan))


def test_to_pil_inverts_from_pil():
    image = Image.new("RGB", (3, 2))
    image.putpixel((2, 0), (255, 0, 51))
    pixels = from_pil(image)
    assert (pixels.dtype, pixels.shape, pixels.count_nonzero()) == (torch.float32, (3, 2, 3), 2)
    torch.testing.assert_close(pixels[:, 0, 2], torch.tensor([1, 0, 0.2]))
    assert to_pil(pixels).tobytes() == image.tobytes()


def test_labels_are_read_as_the_colours_of_their_palette(tmp_path):
    labels = torch.arange(3)[:, None].repeat_interleave(8, 0).expand(24, 20)
    colours = [(0, 0, 0), (31, 119, 180), (255, 127, 14)]
    (tmp_path / "labels.png").write_bytes(encode_labels(labels, colours))
    pixels = (read(tmp_path / "labels.png").pixels[0] * 255).round().long()
    assert torch.equal(pixels, torch.tensor(colours)[labels].permute(2, 0, 1))
