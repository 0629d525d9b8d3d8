"""Images that are too small or too large."""

import struct
import time

import numpy as np
import pytest
import torch
from PIL import Image

from tests.images.conftest import H, W, png, refused, tiff
from vitsplice.errors import ImageError
from vitsplice.images import SMALLEST_SIDE, limits, read


@pytest.mark.parametrize(("width", "height"), [(1, 1), (15, 64), (64, 15)])
def test_too_small(tmp_path, width, height):
    Image.new("RGB", (width, height)).save(tmp_path / "small.png")
    message = refused(tmp_path / "small.png")
    assert "small.png" in message
    assert f"{width} x {height}" in message
    assert f"at least {SMALLEST_SIDE} pixels" in message


def test_smallest_that_is_allowed(tmp_path):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png").pixels.shape == (1, 3, 16, 16)


def test_largest_side(tmp_path):
    Image.new("L", (16384, 512)).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png").pixels.shape == (1, 3, 512, 16384)
    Image.new("L", (16, 16385)).save(tmp_path / "long.png")
    message = refused(tmp_path / "long.png")
    assert "long.png" in message
    assert "16 x 16385" in message
    assert "at most 16384 pixels" in message


@pytest.mark.parametrize("size", [(16, 513), (513, 16), (16, 16384), (100, 3201)])
def test_an_image_that_is_too_long_for_its_width_is_refused_from_any_source(tmp_path, size):
    Image.new("RGB", size).save(tmp_path / "long.png")
    array = np.zeros((size[1], size[0], 3), np.uint8)
    sources = (tmp_path / "long.png", Image.new("RGB", size), array, torch.zeros(3, size[1], size[0]))
    for source in sources:
        with pytest.raises(ImageError, match=rf"{size[0]} x {size[1]} pixels.*at most 32 times the shorter"):
            read(source)
    Image.new("RGB", (16, 512)).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png").pixels.shape == (1, 3, 512, 16)


def huge_bmp(width, height):
    return struct.pack("<2sIHHI", b"BM", 100, 0, 0, 54) + struct.pack(
        "<IiiHHIIiiII", 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0
    )


@pytest.mark.parametrize(
    ("suffix", "data"),
    [
        ("png", png(50000, 50000, 8, 2, [b""])),
        ("png", png(13000, 13000, 8, 2, [b""])),  # Pillow would warn
        ("png", png(8001, 8000, 8, 2, [b""])),  # Pillow would say nothing
        ("bmp", huge_bmp(50000, 50000)),
        ("tif", tiff((50000, 50000, b""), 8, 1)),
    ],
)
def test_huge_header_is_refused_without_decoding(tmp_path, monkeypatch, suffix, data):
    path = tmp_path / f"huge.{suffix}"
    path.write_bytes(data)

    def decode(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    limit, start = Image.MAX_IMAGE_PIXELS, time.perf_counter()
    message = refused(path)
    assert time.perf_counter() - start < 1
    assert f"huge.{suffix}" in message
    assert "64 megapixels" in message
    assert limit == Image.MAX_IMAGE_PIXELS


def test_largest_area_is_allowed(tmp_path, monkeypatch):
    monkeypatch.setattr(limits, "LARGEST_AREA", H * W)
    assert read(np.zeros((H, W), np.uint8)).pixels.shape == (1, 3, H, W)
    assert "too large" in refused(np.zeros((H, W + 1), np.uint8))
