"""Images come out upright."""

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.images.conftest import LOSSLESS, H, W, exif, grey3, hwc, rgb8, smooth8
from vitsplice.images import read


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation(tmp_path, suffix, orientation):
    raw, path = rgb8(), tmp_path / f"a.{suffix}"
    Image.fromarray(raw).save(path, exif=exif(orientation), **LOSSLESS[suffix])
    image = read(path)
    upright = Image.fromarray(raw)
    upright.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(upright), np.float32) / 255
    assert np.array_equal(hwc(image), expected)
    assert image.notes == (() if orientation == 1 else ("turned as EXIF says",))


def test_exif_orientation_6_turns_a_jpeg_clockwise(tmp_path):
    raw = np.zeros((32, 48, 3), np.uint8)
    raw[:16, :16] = 255  # white at the upper left
    Image.fromarray(raw).save(tmp_path / "a.jpg", exif=exif(6))
    pixels = hwc(read(tmp_path / "a.jpg"))
    assert pixels.shape == (48, 32, 3)
    assert pixels[4, 28].min() > 0.9  # now at the upper right
    assert pixels[4, 4].max() < 0.1


def test_16_bit_grey_is_turned_too(tmp_path):
    raw = np.arange(H * W, dtype=np.uint16).reshape(H, W)
    Image.fromarray(raw).save(tmp_path / "a.png", exif=exif(6))
    np.testing.assert_allclose(hwc(read(tmp_path / "a.png")), grey3(np.rot90(raw, -1) / 65535), atol=1e-7)


@pytest.mark.parametrize(
    "data",
    [
        b"Exif\0\0" + b"\xff" * 40,
        b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01",
        b"Exif\0\0MM\0*\xff\xff\xff\xff",
        b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x63\0\0\0\0\0\0\0",  # orientation 99
        b"Exif\0\0",
    ],
)
@pytest.mark.parametrize("suffix", ["jpg", "png", "webp"])
def test_broken_exif_does_not_cost_the_image(tmp_path, data, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(smooth8()).save(path, exif=data)
    image = read(path)
    assert image.pixels.shape == (1, 3, H, W)
    assert image.notes == ()


def test_exif_that_cannot_be_parsed_is_ignored(monkeypatch):
    def explode(_):
        raise RuntimeError("parsing")

    monkeypatch.setattr(Image.Image, "getexif", explode)
    assert read(Image.fromarray(rgb8())).notes == ()
