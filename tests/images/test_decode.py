"""Decoding of every format, mode, bit depth and orientation, compared with known values."""

import hashlib
import io
import struct
import time
import zlib

import numpy as np
import pytest
from PIL import Image, ImageOps

from tests.images.conftest import (
    LOSSLESS,
    LOSSY,
    H,
    W,
    chunk,
    exif,
    grey3,
    hwc,
    on_white,
    png,
    refused,
    rgb8,
    smooth8,
    tiff,
    tiff_of_planes,
)
from vitsplice.errors import ImageError
from vitsplice.images import read


@pytest.mark.parametrize("suffix", LOSSLESS)
def test_lossless_rgb_is_read_exactly(tmp_path, suffix):
    raw, path = rgb8(), tmp_path / f"a.{suffix}"
    Image.fromarray(raw).save(path, **LOSSLESS[suffix])
    image = read(path)
    assert np.array_equal(hwc(image), raw.astype(np.float32) / 255)
    assert image.notes == ()
    assert image.name == str(path)
    assert image.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()


def test_jpeg_equals_pillow_and_approximates_the_source(tmp_path):
    raw, path = smooth8(), tmp_path / "a.jpg"
    Image.fromarray(raw).save(path, **LOSSY["jpg"])
    loaded = read(str(path))
    with Image.open(path) as image:
        assert np.array_equal(hwc(loaded), np.asarray(image, np.float32) / 255)
    assert np.abs(hwc(loaded) - raw / 255).max() < 0.04
    assert loaded.notes == ()


def test_format_is_detected_by_content_not_by_suffix(tmp_path):
    Image.fromarray(rgb8()).save(tmp_path / "a.png")
    (tmp_path / "a.png").rename(tmp_path / "a.jpg")
    assert np.array_equal(hwc(read(tmp_path / "a.jpg")), rgb8().astype(np.float32) / 255)


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_grey_is_repeated_over_three_channels(tmp_path, suffix):
    raw = rgb8(channels=1)[..., 0]
    Image.fromarray(raw).save(tmp_path / f"a.{suffix}")
    assert np.array_equal(hwc(read(tmp_path / f"a.{suffix}")), grey3(raw.astype(np.float32) / 255))


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_one_bit_image_is_read_as_black_and_white(tmp_path, suffix):
    raw = rgb8(channels=1)[..., 0] > 127
    Image.fromarray(raw).save(tmp_path / f"a.{suffix}")
    assert np.array_equal(hwc(read(tmp_path / f"a.{suffix}")), grey3(raw))


PALETTE = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [10, 20, 30]], np.uint8)
INDEX = np.arange(H * W).reshape(H, W) % 4


def palette_image():
    image = Image.fromarray(INDEX.astype(np.uint8))
    image.putpalette(PALETTE.flatten().tolist())
    return image


@pytest.mark.parametrize("suffix", ["png", "bmp", "tif"])
def test_palette_image_is_converted_to_rgb(tmp_path, suffix):
    palette_image().save(tmp_path / f"a.{suffix}")
    image = read(tmp_path / f"a.{suffix}")
    assert np.array_equal(hwc(image), PALETTE[INDEX].astype(np.float32) / 255)
    assert image.notes == ()


@pytest.mark.parametrize(("transparency", "alpha"), [(2, [255, 255, 0, 255]), (b"\x00\x80\xff\x40", [0, 128, 255, 64])])
def test_palette_transparency_is_composited_on_white(tmp_path, transparency, alpha):
    palette_image().save(tmp_path / "a.png", transparency=transparency)
    image = read(tmp_path / "a.png")
    expected = on_white(PALETTE[INDEX], np.array(alpha)[INDEX])
    np.testing.assert_allclose(hwc(image), expected, atol=1e-6)
    assert image.notes == ("alpha composited on white",)


def test_float_tiff_is_read_exactly(tmp_path):
    raw = np.random.default_rng(2).random((H, W), dtype=np.float32)
    raw[0, :2] = (0, 1)
    Image.fromarray(raw).save(tmp_path / "a.tif")
    assert np.array_equal(hwc(read(tmp_path / "a.tif")), grey3(raw))


@pytest.mark.parametrize(
    ("value", "expected"),
    [(np.nan, "NaN"), (1.5, "from 0.5 to 1.5"), (-0.25, "from -0.25 to 0.5"), (np.inf, "to inf")],
)
def test_float_tiff_with_values_outside_the_unit_range_is_refused(tmp_path, value, expected):
    raw = np.full((H, W), 0.5, np.float32)
    raw[3, 4] = value
    Image.fromarray(raw).save(tmp_path / "odd.tif")
    message = refused(tmp_path / "odd.tif")
    assert "odd.tif" in message
    assert expected in message


@pytest.mark.parametrize(("suffix", "tolerance"), [("tif", 1e-6), ("jpg", 0.04)])
def test_cmyk_is_converted_to_rgb(tmp_path, suffix, tolerance):
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
def test_other_pil_modes_are_converted_to_rgb(mode):
    raw = smooth8()
    image = read(Image.fromarray(raw).convert(mode))
    assert np.abs(hwc(image) - raw / 255).max() < 0.03


@pytest.mark.parametrize(
    ("mode", "problem"), [("I", "32-bit integer values, which are not supported; save it with"), ("LAB", "mode LAB")]
)
def test_modes_without_a_defined_range_are_refused(mode, problem):
    assert problem in refused(Image.new(mode, (W, H)))


def test_message_on_an_unsupported_mode_has_the_name_of_the_file(tmp_path):
    Image.new("LAB", (W, H)).save(tmp_path / "lab.tif")
    assert "lab.tif" in refused(tmp_path / "lab.tif")


@pytest.mark.parametrize("suffix", ["png", "webp", "tif"])
def test_first_frame_of_a_file_is_read(tmp_path, suffix):
    frames = [Image.fromarray(rgb8(seed)) for seed in range(3)]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:], **LOSSLESS[suffix])
    image = read(tmp_path / f"a.{suffix}")
    assert np.array_equal(hwc(image), rgb8(0).astype(np.float32) / 255)
    assert image.notes == ("first of several frames" if suffix == "tif" else "first of 3 frames",)


def test_current_frame_of_a_pil_image_is_read(tmp_path):
    frames = [Image.fromarray(rgb8(seed)) for seed in range(3)]
    frames[0].save(tmp_path / "a.tif", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / "a.tif") as image:
        image.seek(1)
        loaded = read(image)
    assert np.array_equal(hwc(loaded), rgb8(1).astype(np.float32) / 255)
    assert loaded.notes == ("frame 2 of several frames",)


@pytest.mark.parametrize("suffix", ["tif", "gif"])
@pytest.mark.parametrize("closed", [False, True])
def test_edited_pixels_of_an_image_with_several_frames_are_read(tmp_path, suffix, closed):
    frames = [Image.fromarray(rgb8(seed)).quantize(16) for seed in range(2)]
    frames[0].save(tmp_path / f"a.{suffix}", save_all=True, append_images=frames[1:])
    with Image.open(tmp_path / f"a.{suffix}") as image:
        image.paste(3, (0, 0, *image.size))
        colour = image.convert("RGB").getpixel((0, 0))
        loaded = None if closed else read(image)
    loaded = loaded or read(image)
    assert np.array_equal(hwc(loaded), np.broadcast_to(np.float32(colour) / 255, hwc(loaded).shape))
    assert loaded.notes == ()


@pytest.mark.parametrize("offset", [-3, 1000])
def test_tiff_with_a_corrupt_pointer_to_a_second_frame_is_read(tmp_path, offset):
    data = bytearray(tiff(H, W, bytes(range(W)) * H, 8, 1))
    pointer = 8 + 2 + 8 * 12  # after the header and a directory of 8 entries
    struct.pack_into("<I", data, pointer, len(data) + offset)
    (tmp_path / "a.tif").write_bytes(data)
    image = read(tmp_path / "a.tif")
    assert np.array_equal(hwc(image), grey3(np.tile(np.arange(W, dtype=np.float32), (H, 1)) / 255))
    assert image.notes == ()


@pytest.mark.parametrize("suffix", [*LOSSLESS, *LOSSY])
@pytest.mark.parametrize("share", [0.002, 0.3, 0.7])
def test_truncated_file_is_refused(tmp_path, suffix, share):
    whole, cut = tmp_path / f"whole.{suffix}", tmp_path / f"cut.{suffix}"
    Image.fromarray(rgb8(height=96, width=128)).save(whole, **(LOSSLESS | LOSSY)[suffix])
    data = whole.read_bytes()
    read(whole)
    cut.write_bytes(data[: int(len(data) * share)])
    message = refused(cut)
    assert f"cut.{suffix}" in message
    assert "truncated" in message


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [*LOSSLESS, *LOSSY])
def test_corrupt_file_gives_an_image_or_image_error(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(rgb8()).save(path, exif=exif(6).tobytes(), **(LOSSLESS | LOSSY)[suffix])
    data, random = path.read_bytes(), np.random.default_rng(5)
    messages = []
    for _ in range(150):
        damaged = bytearray(data)
        for position in random.integers(0, min(len(data), 300), 3):
            damaged[position] = random.integers(256)
        path.write_bytes(damaged)
        try:
            read(path)
        except ImageError as error:
            messages.append(str(error))
    assert messages
    assert all(message.isprintable() and f"a.{suffix}" in message for message in messages)


def test_tiff_of_100_000_frames_is_read_in_two_cpu_seconds(tmp_path):
    """All frames share one strip; reading every frame would take half a minute."""
    first = bytearray(tiff(H, W, bytes(H * W), 8, 1))
    begin, end = 8, 8 + 2 + 8 * 12  # of its directory of 8 entries; the pointer to the next follows
    entries = bytes(first[begin:end])
    struct.pack_into("<I", first, end, len(first))
    size = len(entries) + 4
    ends = [len(first) + size * number for number in range(1, 100_000)]
    chain = b"".join(entries + struct.pack("<I", following) for following in [*ends, 0])
    (tmp_path / "many.tif").write_bytes(bytes(first) + chain)
    began = time.process_time()
    image = read(tmp_path / "many.tif")
    assert time.process_time() - began < 2
    assert image.notes == ("first of several frames",)
    assert image.pixels.shape == (1, 3, H, W)


@pytest.mark.parametrize("suffix", ["png", "tif", "webp"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_equals_pillow_exif_transpose(tmp_path, suffix, orientation):
    raw, path = rgb8(), tmp_path / f"a.{suffix}"
    Image.fromarray(raw).save(path, exif=exif(orientation), **LOSSLESS[suffix])
    image = read(path)
    upright = Image.fromarray(raw)
    upright.getexif()[0x0112] = orientation
    expected = np.asarray(ImageOps.exif_transpose(upright), np.float32) / 255
    assert np.array_equal(hwc(image), expected)
    assert image.notes == (() if orientation == 1 else ("rotated by its EXIF orientation",))


def test_exif_orientation_6_rotates_a_jpeg_clockwise(tmp_path):
    raw = np.zeros((32, 48, 3), np.uint8)
    raw[:16, :16] = 255  # white at the upper left
    Image.fromarray(raw).save(tmp_path / "a.jpg", exif=exif(6))
    pixels = hwc(read(tmp_path / "a.jpg"))
    assert pixels.shape == (48, 32, 3)
    assert pixels[4, 28].min() > 0.9  # now at the upper right
    assert pixels[4, 4].max() < 0.1


def test_16_bit_grey_is_rotated_by_exif_orientation(tmp_path):
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
def test_corrupt_exif_is_ignored(tmp_path, data, suffix):
    path = tmp_path / f"a.{suffix}"
    Image.fromarray(smooth8()).save(path, exif=data)
    image = read(path)
    assert image.pixels.shape == (1, 3, H, W)
    assert image.notes == ()


def test_exception_from_exif_parsing_is_ignored(monkeypatch):
    def explode(_):
        raise RuntimeError("parsing")

    monkeypatch.setattr(Image.Image, "getexif", explode)
    assert read(Image.fromarray(rgb8())).notes == ()


@pytest.mark.parametrize(("bits", "peak"), [(1, 1), (2, 3), (4, 15), (8, 255), (16, 65535)])
def test_transparent_grey_value_of_a_png_becomes_white(tmp_path, bits, peak):
    """Pillow gives the transparent value as stored, unscaled; only the value 1 must become white."""
    values = np.arange(16 * 16).reshape(16, 16) % (peak + 1)
    rows = [np.packbits(np.unpackbits(r.astype(">u2").view(np.uint8)).reshape(-1, 16)[:, 16 - bits :]) for r in values]
    path = tmp_path / "a.png"
    path.write_bytes(png(16, 16, bits, 0, [r.tobytes() for r in rows], chunk(b"tRNS", struct.pack(">H", 1))))
    expected = np.where(values == 1, 1, values / peak)
    image = read(path)
    np.testing.assert_allclose(hwc(image), grey3(expected), atol=1e-6)
    assert "alpha composited on white" in image.notes


def test_transparent_colour_of_a_png_becomes_white(tmp_path):
    raw = rgb8()
    raw[3, 5] = (1, 2, 3)
    Image.fromarray(raw).save(tmp_path / "a.png", transparency=(1, 2, 3))
    expected = raw.astype(np.float32) / 255
    expected[3, 5] = 1
    assert np.array_equal(hwc(read(tmp_path / "a.png")), expected)


DEEP = struct.pack(">3H", 0x1234, 0x5678, 0x9ABC)
TRANSPARENT = {
    "2-bit grey": png(16, 16, 2, 0, [b"\x1b" * 4] * 16, chunk(b"tRNS", struct.pack(">H", 1))),
    "4-bit grey": png(16, 16, 4, 0, [b"\x15" * 8] * 16, chunk(b"tRNS", struct.pack(">H", 5))),
    "16-bit colour": png(16, 16, 16, 2, [DEEP * 8 + bytes(48)] * 16, chunk(b"tRNS", DEEP)),
}
"""PNG files whose pixels Pillow scales when it decodes them, but not their transparent colour."""


@pytest.mark.parametrize("data", TRANSPARENT.values(), ids=TRANSPARENT)
def test_png_with_a_transparent_colour_is_read_alike_twice_and_as_a_copy(data):
    image = Image.open(io.BytesIO(data))
    first = read(image)
    assert "alpha composited on white" in first.notes
    for again in (read(image), read(image.copy())):
        assert np.array_equal(hwc(again), hwc(first))
        assert again.notes == first.notes


def test_png_converted_to_another_mode_after_its_first_read_has_no_transparent_colour():
    image = Image.open(io.BytesIO(TRANSPARENT["4-bit grey"]))
    read(image)
    assert "alpha composited on white" not in read(image.convert("I;16")).notes


def test_transparent_colour_of_a_16_bit_png_that_was_decoded_before_becomes_white():
    image = Image.open(io.BytesIO(TRANSPARENT["16-bit colour"]))
    image.load()
    assert (hwc(read(image))[:, :8] == 1).all()
    assert (hwc(read(image))[:, 8:] == 0).all()


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_16_bit_grey_keeps_its_precision(tmp_path, suffix):
    raw = np.linspace(0, 65535, H * W).round().astype(np.uint16).reshape(H, W)
    Image.fromarray(raw).save(tmp_path / f"a.{suffix}")
    image = read(tmp_path / f"a.{suffix}")
    assert np.abs(hwc(image) - grey3(raw / 65535)).max() < 0.01 / 65535 + 1e-7
    assert len(np.unique(hwc(image))) == H * W
    assert image.notes == ("read with 16 bits a channel",)


def test_big_endian_16_bit_grey_is_read(tmp_path):
    raw = np.arange(H * W, dtype=np.uint16).reshape(H, W) * 100
    image = Image.frombytes("I;16B", (W, H), raw.astype(">u2").tobytes())
    np.testing.assert_allclose(hwc(read(image)), grey3(raw / 65535), atol=1e-7)
    image.save(tmp_path / "a.tif")
    np.testing.assert_allclose(hwc(read(tmp_path / "a.tif")), grey3(raw / 65535), atol=1e-7)


@pytest.mark.parametrize(("bits", "photometric"), [(12, 1), (16, 1), (16, 0), (8, 0)])
def test_tiff_bit_depth_and_white_is_zero_are_decoded(tmp_path, bits, photometric):
    values = (np.arange(16 * 16).reshape(16, 16) * 13) % 2**bits
    binary = np.unpackbits(values.astype(">u2").view(np.uint8)).reshape(16, 16, 16)[..., 16 - bits :]
    data = values.astype("<u2").tobytes() if bits == 16 else np.packbits(binary).tobytes()
    (tmp_path / "a.tif").write_bytes(tiff(16, 16, data, bits, photometric))
    expected = values / (2**bits - 1)
    image = read(tmp_path / "a.tif")
    np.testing.assert_allclose(hwc(image), grey3(expected if photometric else 1 - expected), atol=1e-6)
    assert image.notes == ((f"read with {bits} bits a channel",) if bits > 8 else ())


@pytest.mark.parametrize(("dtype", "compress"), [("u1", None), ("u1", zlib.compress), ("<u2", zlib.compress)])
def test_tiff_with_separate_planes_is_read(tmp_path, dtype, compress):
    values = np.random.default_rng(1).integers(0, 256, (3, H, W))
    planes = (values * (np.iinfo(dtype).max // 255)).astype(dtype)
    (tmp_path / "a.tif").write_bytes(tiff_of_planes(planes, compress))
    np.testing.assert_allclose(hwc(read(tmp_path / "a.tif")), values.transpose(1, 2, 0) / 255, atol=1e-6)


def test_16_bit_tiff_with_uncompressed_planes_which_pillow_misreads_is_refused(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff_of_planes(np.zeros((3, H, W), "<u2")))
    message = refused(tmp_path / "a.tif")
    assert "has channels of 16 bits in separate planes without compression, which is not supported; save it" in message


def test_tiff_with_signed_bytes_is_refused(tmp_path):
    Image.fromarray(np.arange(-128, 128).astype(np.uint8).reshape(16, 16)).save(tmp_path / "a.tif", tiffinfo={339: 2})
    assert "has signed values, which are not supported; save it with unsigned values" in refused(tmp_path / "a.tif")


def test_unreadable_tiff_is_refused_with_the_depth_that_grey_floating_point_must_have(tmp_path):
    (tmp_path / "a.tif").write_bytes(tiff(H, W, bytes(H * W * 8), 64, 1))
    assert "of floating-point TIFF files, only grey ones with 32 bits can be read" in refused(tmp_path / "a.tif")


@pytest.mark.parametrize("colour", [2, 4, 6])
def test_16_bit_colour_png_is_reduced_with_a_note(tmp_path, colour):
    channels = {2: 3, 4: 2, 6: 4}[colour]
    raw = np.random.default_rng(1).integers(0, 65536, (H, W, channels), dtype=np.uint16)
    if colour != 2:
        raw[..., -1] = 65535
    (tmp_path / "a.png").write_bytes(png(W, H, 16, colour, [row.astype(">u2").tobytes() for row in raw]))
    image = read(tmp_path / "a.png")
    expected = np.broadcast_to(raw[..., : 1 if colour == 4 else 3], (H, W, 3)) / 65535
    assert np.abs(hwc(image) - expected).max() < 1 / 255
    assert image.notes == ("16-bit values reduced to 8 bits",)


def test_transparent_colour_of_a_16_bit_png_becomes_white(tmp_path):
    raw = np.full((H, W, 3), 0x4000, np.uint16)
    raw[2, 3] = (0x1234, 0x5678, 0x9ABC)
    key = chunk(b"tRNS", struct.pack(">3H", 0x1234, 0x5678, 0x9ABC))
    (tmp_path / "a.png").write_bytes(png(W, H, 16, 2, [row.astype(">u2").tobytes() for row in raw], key))
    image = read(tmp_path / "a.png")
    assert (hwc(image)[2, 3] == 1).all()
    assert (hwc(image)[2, 4] == np.float32(0x40 / 255)).all()
    assert image.notes == ("16-bit values reduced to 8 bits", "alpha composited on white")
