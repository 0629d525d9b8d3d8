"""Images of every format and mode, against known values."""

import hashlib
import struct
import time

import numpy as np
import pytest
from PIL import Image

from tests.images.conftest import LOSSLESS, LOSSY, H, W, exif, grey3, hwc, on_white, refused, rgb8, smooth8, tiff
from vitsplice.errors import ImageError
from vitsplice.images import read


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_rgb_is_exact(tmp_path, suffix):
    raw, path = rgb8(), tmp_path / f"a.{suffix}"
    Image.fromarray(raw).save(path, **LOSSLESS[suffix])
    image = read(path)
    assert np.array_equal(hwc(image), raw.astype(np.float32) / 255)
    assert image.notes == ()
    assert image.name == str(path)
    assert image.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_jpeg_is_what_pillow_decodes_and_close_to_the_source(tmp_path):
    raw, path = smooth8(), tmp_path / "a.jpg"
    Image.fromarray(raw).save(path, **LOSSY["jpg"])
    loaded = read(str(path))
    with Image.open(path) as image:
        assert np.array_equal(hwc(loaded), np.asarray(image, np.float32) / 255)
    assert np.abs(hwc(loaded) - raw / 255).max() < 0.04
    assert loaded.notes == ()


def test_the_suffix_does_not_matter(tmp_path):
    Image.fromarray(rgb8()).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert np.array_equal(hwc(read(tmp_path / "a.jpg")), rgb8().astype(np.float32) / 255)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_grey(tmp_path, suffix):
    raw = rgb8(channels=1)[..., 0]
    Image.fromarray(raw).save(tmp_path / f"a.{suffix}")
    assert np.array_equal(hwc(read(tmp_path / f"a.{suffix}")), grey3(raw.astype(np.float32) / 255))


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_one_bit(tmp_path, suffix):
    raw = rgb8(channels=1)[..., 0] > 127
    Image.fromarray(raw).save(tmp_path / f"a.{suffix}")
    assert np.array_equal(hwc(read(tmp_path / f"a.{suffix}")), grey3(raw))


def palette_image():
    image = Image.fromarray(np.arange(H * W, dtype=np.uint8).reshape(H, W) % 4).convert("P")
    image.putdata([i % 4 for i in range(H * W)])
    image.putpalette([255, 0, 0, 0, 255, 0, 0, 0, 255, 10, 20, 30])
    return image


PALETTE = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]], np.uint8)
INDEX = np.arange(H * W).reshape(H, W) % 4


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_palette(tmp_path, suffix):
    palette_image().save(tmp_path / f"a.{suffix}")
    image = read(tmp_path / f"a.{suffix}")
    assert np.array_equal(hwc(image), PALETTE[INDEX].astype(np.float32) / 255)
    assert image.notes == ()


@pytest.mark.parametrize(("transparency", "alpha"), [(2, [255, 255, 0, 255]), (b"\x00\x80\xff\x40", [0, 128, 255, 64])])
def test_palette_with_transparency(tmp_path, transparency, alpha):
    palette_image().save(tmp_path / "a.png", transparency=transparency)
    image = read(tmp_path / "a.png")
    expected = on_white(PALETTE[INDEX], np.array(alpha)[INDEX])
    np.testing.assert_allclose(hwc(image), expected, atol=1e-6)
    assert image.notes == ("alpha composited on white",)


def test_float_tiff(tmp_path):
    raw = np.random.default_rng(2).random((H, W), dtype=np.float32)
    raw[0, :2] = (0, 1)
    Image.fromarray(raw).save(tmp_path / "a.tif")
    assert np.array_equal(hwc(read(tmp_path / "a.tif")), grey3(raw))


@pytest.mark.parametrize(
    ("value", "said"),
    [(np.nan, "NaN"), (1.5, "from 0.5 to 1.5"), (-0.25, "from -0.25 to 0.5"), (np.inf, "to inf")],
)
def test_float_tiff_out_of_range(tmp_path, value, said):
    raw = np.full((H, W), 0.5, np.float32)
    raw[3, 4] = value
    Image.fromarray(raw).save(tmp_path / "odd.tif")
    message = refused(tmp_path / "odd.tif")
    assert "odd.tif" in message
    assert said in message


@pytest.mark.parametrize(("suffix", "tolerance"), [("tif", 1e-6), ("jpg", 0.04)])
def test_cmyk(tmp_path, suffix, tolerance):
    y, x = np.mgrid[0:H, 0:W]
    raw = np.stack([x * 10, y * 12, 200 - x, y * 3], axis=2).astype(np.uint8)
    options = LOSSY["jpg"] if suffix == "jpg" else {}
    Image.frombytes("CMYK", (W, H), raw.tobytes()).save(tmp_path / f"a.{suffix}", **options)
    image = read(tmp_path / f"a.{suffix}")
    ink = raw / 255
    expected = (1 - ink[..., :3]) * (1 - ink[..., 3:])
    assert np.abs(hwc(image) - expected).max() < tolerance + 1.5 / 255
    assert image.notes == ("CMYK converted to RGB",)


@pytest.mark.parametrize("mode", ["YCbCr", "HSV", "RGBX"])
def test_other_modes_of_pil(mode):
    raw = smooth8()
    image = read(Image.fromarray(raw).convert(mode))
    assert np.abs(hwc(image) - raw / 255).max() < 0.03


@pytest.mark.parametrize("mode", ["I", "LAB"])
def test_modes_without_a_known_range_are_refused(tmp_path, mode):
    Image.new(mode, (W, H)).save(tmp_path / "deep.tif")
    message = refused(tmp_path / "deep.tif")
    assert "deep.tif" in message
    assert f"mode {mode}" in message


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_first_frame_of_several(tmp_path, suffix):
    frames = [Image.fromarray(rgb8(seed)) for seed in range(3)]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **LOSSLESS[suffix])
    image = read(tmp_path / f"a.{suffix}")
    assert np.array_equal(hwc(image), rgb8(0).astype(np.float32) / 255)
    assert image.notes == ("first of several frames" if suffix == "tif" else "first of 3 frames",)


def test_pil_image_is_read_at_the_frame_it_stands_at(tmp_path):
    frames = [Image.fromarray(rgb8(seed)) for seed in range(3)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "a.tif") as image:
        image.seek(1)
        loaded = read(image)
    assert np.array_equal(hwc(loaded), rgb8(1).astype(np.float32) / 255)
    assert loaded.notes == ("frame 2 of several frames",)


@pytest.mark.parametrize("suffix", [*LOSSLESS, *LOSSY])
@pytest.mark.parametrize("share", [0.002, 0.3, 0.7])
def test_truncated_files(tmp_path, suffix, share):
    whole, cut = tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
    Image.fromarray(rgb8(height=96, width=128)).save(whole, **(LOSSLESS | LOSSY)[suffix])
    data = whole.read_bytes()
    read(whole)
    cut.write_bytes(data[: int(len(data) * share)])
    message = refused(cut)
    assert f"cut.{suffix}" in message
    assert "cut short" in message


@pytest.mark.parametrize("suffix", [*LOSSLESS, *LOSSY])
def test_damaged_files_give_a_image_or_a_image_error(tmp_path, suffix):
    """Whatever a damaged byte does to Pillow, nothing else comes out."""
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(rgb8()).save(path, exif=exif(6).tobytes(), **(LOSSLESS | LOSSY)[suffix])
    data, random = path.read_bytes(), np.random.default_rng(5)
    messages = []
    for _ in range(150):
        damaged = bytearray(data)
        for place in random.integers(0, min(len(data), 300), 3):
            damaged[place] = random.integers(256)
        path.write_bytes(damaged)
        try:
            read(path)
        except ImageError as error:
            messages.append(str(error))
    assert messages
    assert all(message.isprintable() and f"a.{suffix}" in message for message in messages)


def test_a_tiff_of_a_hundred_thousand_frames_is_read_at_once(tmp_path):
    """Frames that all show one strip: a walk over them would take half a minute."""
    first = bytearray(tiff((H, W, bytes(H * W)), 8, 1))
    begin, end = 8, 8 + 2 + 8 * 12
    entries = bytes(first[begin:end])
    struct.pack_into("<I", first, end, len(first))
    size = len(entries) + 4
    ends = [len(first) + size * number for number in range(1, 100_000)]
    chain = b"".join(entries + struct.pack("<I", following) for following in [*ends, 0])
    (tmp_path / "many.tif").write_bytes(bytes(first) + chain)
    began = time.perf_counter()
    image = read(tmp_path / "many.tif")
    assert time.perf_counter() - began < 2
    assert image.notes == ("first of several frames",)
    assert image.pixels.shape == (1, 3, H, W)
