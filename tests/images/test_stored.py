"""Transparent colours and depths of more or less than 8 bits, in files made by hand."""

import struct

import numpy as np
import pytest
from PIL import Image

from tests.images.conftest import H, W, chunk, grey3, hwc, png, rgb8, tiff
from vitsplice.images import read


@pytest.mark.parametrize(("bits", "peak"), [(1, 1), (2, 3), (4, 15), (8, 255), (16, 65535)])
def test_transparent_grey_value_of_a_png(tmp_path, bits, peak):
    """Pillow gives the key as stored, unscaled; the value 1 must vanish and no other."""
    values = np.arange(16 * 16).reshape(16, 16) % (peak + 1)
    rows = [np.packbits(np.unpackbits(r.astype(">u2").view(np.uint8)).reshape(-1, 16)[:, 16 - bits :]) for r in values]
    path = tmp_path / "a.png"
    path.write_bytes(png(16, 16, bits, 0, [r.tobytes() for r in rows], chunk(b"tRNS", struct.pack(">H", 1))))
    expected = np.where(values == 1, 1, values / peak)
    image = read(path)
    np.testing.assert_allclose(hwc(image), grey3(expected), atol=1e-6)
    assert "alpha composited on white" in image.notes


def test_transparent_colour_of_a_png(tmp_path):
    raw = rgb8()
    raw[3, 5] = (1, 2, 3)
    Image.fromarray(raw).save(tmp_path / "a.png", transparency=(1, 2, 3))
    expected = raw.astype(np.float32) / 255
    expected[3, 5] = 1
    assert np.array_equal(hwc(read(tmp_path / "a.png")), expected)


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_is_kept(tmp_path, suffix):
    raw = np.linspace(0, 65535, H * W).round().astype(np.uint16).reshape(H, W)
    Image.fromarray(raw).save(tmp_path / f"a.{suffix}")
    image = read(tmp_path / f"a.{suffix}")
    assert np.abs(hwc(image) - grey3(raw / 65535)).max() < 0.01 / 65535 + 1e-7
    assert len(np.unique(hwc(image))) == H * W
    assert image.notes == ("16 bit kept",)


def test_big_endian_16_bit_grey(tmp_path):
    raw = np.arange(H * W, dtype=np.uint16).reshape(H, W) * 100
    image = Image.frombytes("I;16B", (W, H), raw.astype(">u2").tobytes())
    np.testing.assert_allclose(hwc(read(image)), grey3(raw / 65535), atol=1e-7)
    image.save(tmp_path / "a.tif")
    np.testing.assert_allclose(hwc(read(tmp_path / "a.tif")), grey3(raw / 65535), atol=1e-7)


@pytest.mark.parametrize(("bits", "photometric"), [(12, 1), (16, 1), (16, 0), (8, 0)])
def test_tiff_of_12_bits_and_white_is_zero(tmp_path, bits, photometric):
    values = (np.arange(16 * 16).reshape(16, 16) * 13) % 2**bits
    bytewise = np.unpackbits(values.astype(">u2").view(np.uint8)).reshape(16, 16, 16)[..., 16 - bits :]
    data = values.astype("<u2").tobytes() if bits == 16 else np.packbits(bytewise).tobytes()
    (tmp_path / "a.tif").write_bytes(tiff((16, 16, data), bits, photometric))
    expected = values / (2**bits - 1)
    image = read(tmp_path / "a.tif")
    np.testing.assert_allclose(hwc(image), grey3(expected if photometric else 1 - expected), atol=1e-6)
    assert image.notes == ((f"{bits} bit kept",) if bits > 8 else ())


@pytest.mark.parametrize("colour", [2, 4, 6])
def test_16_bit_colour_png_is_reduced_and_says_so(tmp_path, colour):
    channels = {2: 3, 4: 2, 6: 4}[colour]
    raw = np.random.default_rng(1).integers(0, 65536, (H, W, channels), dtype=np.uint16)
    if colour != 2:
        raw[..., -1] = 65535
    (tmp_path / "a.png").write_bytes(png(W, H, 16, colour, [row.astype(">u2").tobytes() for row in raw]))
    image = read(tmp_path / "a.png")
    expected = np.broadcast_to(raw[..., : 1 if colour == 4 else 3], (H, W, 3)) / 65535
    assert np.abs(hwc(image) - expected).max() < 1 / 255
    assert image.notes == ("16 bit reduced to 8",)


def test_transparent_colour_of_a_16_bit_png(tmp_path):
    raw = np.full((H, W, 3), 0x4000, np.uint16)
    raw[2, 3] = (0x1234, 0x5678, 0x9ABC)
    key = chunk(b"tRNS", struct.pack(">3H", 0x1234, 0x5678, 0x9ABC))
    (tmp_path / "a.png").write_bytes(png(W, H, 16, 2, [row.astype(">u2").tobytes() for row in raw], key))
    image = read(tmp_path / "a.png")
    assert (hwc(image)[2, 3] == 1).all()
    assert (hwc(image)[2, 4] == np.float32(0x40 / 255)).all()
    assert image.notes == ("16 bit reduced to 8", "alpha composited on white")
