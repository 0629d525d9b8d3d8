"""Limits of size, and checks of batches of images."""

import struct
import time

import numpy as np
import pytest
import torch
from PIL import Image

from tests.images.conftest import H, W, png, refused, tiff
from vitsplice.errors import ImageError
from vitsplice.images import SMALLEST_SIDE, checks, read
from vitsplice.images.checks import OVERSHOOT, image_batch


@pytest.mark.parametrize(("width", "height"), [(1, 1), (15, 64), (64, 15)])
def test_image_below_the_smallest_side_is_refused(tmp_path, width, height):
    Image.new("RGB", (width, height)).save(tmp_path / "small.png")
    message = refused(tmp_path / "small.png")
    assert "small.png" in message
    assert f"{width} x {height}" in message
    assert f"at least {SMALLEST_SIDE} a side" in message


def test_image_of_the_smallest_side_is_read(tmp_path):
    Image.new("RGB", (16, 16)).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png").pixels.shape == (1, 3, 16, 16)


@pytest.mark.slow
def test_image_above_the_largest_side_is_refused(tmp_path):
    Image.new("L", (16384, 512)).save(tmp_path / "a.png")
    assert read(tmp_path / "a.png").pixels.shape == (1, 3, 512, 16384)
    Image.new("L", (16, 16385)).save(tmp_path / "long.png")
    message = refused(tmp_path / "long.png")
    assert "long.png" in message
    assert "16 x 16385" in message
    assert "at most 16384 pixels" in message


@pytest.mark.parametrize("size", [(16, 513), (513, 16), (16, 16384), (100, 3201)])
def test_image_above_the_largest_aspect_ratio_is_refused_from_every_source(tmp_path, size):
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
        ("tif", tiff(50000, 50000, b"", 8, 1)),
    ],
)
def test_huge_image_is_refused_by_its_header_without_decoding(tmp_path, monkeypatch, suffix, data):
    path = tmp_path / f"huge.{suffix}"
    path.write_bytes(data)

    def decode(*_):
        raise AssertionError("decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", decode)
    limit, start = Image.MAX_IMAGE_PIXELS, time.process_time()
    message = refused(path)
    assert time.process_time() - start < 1
    assert f"huge.{suffix}" in message
    assert "64 megapixels" in message
    assert limit == Image.MAX_IMAGE_PIXELS


def test_image_of_the_largest_area_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(checks, "LARGEST_AREA", H * W)
    assert read(np.zeros((H, W), np.uint8)).pixels.shape == (1, 3, H, W)
    assert "too large" in refused(np.zeros((H, W + 1), np.uint8))


@pytest.mark.parametrize("shape", [(3, H, W), (1, 3, H, W), (4, 3, H, W)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_batch_is_float32_and_gradients_have_the_dtype_and_shape_of_the_input(shape, dtype):
    pixels = torch.rand(shape).to(dtype).requires_grad_()
    batch = image_batch(pixels, "output")
    assert batch.dtype == torch.float32
    assert batch.shape == (pixels.numel() // (3 * H * W), 3, H, W)
    batch.sum().backward()
    assert (pixels.grad.dtype, pixels.grad.shape) == (dtype, pixels.shape)


def test_uint8_batch_is_divided_by_255():
    assert (image_batch(torch.full((3, H, W), 255, dtype=torch.uint8), "target") == 1).all()


@pytest.mark.parametrize(
    ("pixels", "expected"),
    [
        (torch.zeros(1, H, W, 3), r"\(1, 20, 24, 3\).*movedim\(-1, -3\)"),
        (torch.zeros(H, W, 3), "movedim"),
        (torch.zeros(1, 1, H, W), "repeat_interleave"),
        (torch.zeros(1, 4, H, W), "RGB has 3 channels"),
        (torch.zeros(H, W), r"\(3, H, W\) or \(B, 3, H, W\)"),
        (torch.zeros(0, 3, H, W), r"\(0, 3, 20, 24\)"),
        (torch.zeros(3, 8, W), "too small, 24 x 8"),
        (torch.zeros(3, H, W, dtype=torch.int64), "'output' is torch.int64"),
        (torch.zeros(3, H, W, dtype=torch.bool), "torch.bool"),
        (torch.full((3, H, W), 255.0), "from 255 to 255"),
        (torch.full((3, H, W), -1.0), "from -1 to -1"),
        (torch.full((3, H, W), torch.nan), "NaN"),
        ("image.png", "not a str"),
    ],
)
def test_invalid_batch_is_refused_with_a_hint(pixels, expected):
    with pytest.raises(ImageError, match=expected):
        image_batch(pixels, "output")


def test_tolerance_allows_overshoot_and_check_false_allows_any_value():
    image_batch(torch.full((3, H, W), 1.04), "output", tolerance=0.05)
    with pytest.raises(ImageError, match=r"to 1\.0(6|59)"):
        image_batch(torch.full((3, H, W), 1.06), "output", tolerance=0.05)
    image_batch(torch.full((3, H, W), 255.0), "output", check=False)


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.float16, torch.bfloat16])
def test_bounds_of_the_tolerance_are_allowed_in_every_dtype(dtype):
    for bound in (-OVERSHOOT, 1 + OVERSHOOT):
        image_batch(torch.full((3, H, W), bound, dtype=dtype), "output", tolerance=OVERSHOOT)
    with pytest.raises(ImageError, match="from -1e-30"):
        image_batch(torch.full((3, H, W), -1e-30), "output")


def test_layout_is_checked_before_anything_is_computed():
    huge = torch.zeros(1).expand(1, 10**6, 10**6, 3)
    with pytest.raises(ImageError, match="movedim"):
        image_batch(huge, "output")
