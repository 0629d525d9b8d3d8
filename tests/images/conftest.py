"""Images created with Pillow or byte by byte, and their expected pixels."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image, TiffImagePlugin

from vitsplice.errors import ImageError
from vitsplice.images import read

H, W = 20, 24
LOSSLESS = {"png": {}, "bmp": {}, "tif": {}, "webp": {"lossless": True}}
LOSSY = {"jpg": {"quality": 95, "subsampling": 0}}


def rgb8(seed=0, height=H, width=W, channels=3):
    return np.random.default_rng(seed).integers(0, 256, (height, width, channels), dtype=np.uint8)


def smooth8():
    y, x = np.mgrid[0:H, 0:W]
    return np.stack([x * 10, y * 12, 255 - x * 5], axis=2).astype(np.uint8)


def hwc(image):
    assert image.pixels.shape[:2] == (1, 3)
    assert image.pixels.dtype == torch.float32
    assert image.pixels.is_contiguous()
    return image.pixels[0].permute(1, 2, 0).numpy()


def grey3(values):
    return np.repeat(np.asarray(values, np.float32)[..., None], 3, axis=2)


def on_white(colour8, alpha8):
    colour, alpha = np.float64(colour8) / 255, np.float64(alpha8)[..., None] / 255
    return colour * alpha + 1 - alpha


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, bits, colour, rows, extra=b""):
    """A PNG by hand; colour 0 is grey, 2 RGB, 4 grey and alpha, 6 RGB and alpha."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    data = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def tiff(height, width, rows, bits, photometric):
    """An uncompressed little-endian grey TIFF by hand; ``rows`` are the bytes of the pixels."""
    entries = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, 1, bits),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, 8 + 2 + 8 * 12 + 4),
        (277, 3, 1, 1),
        (279, 4, 1, len(rows)),
    ]
    ifd = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *e) for e in entries)
    return b"II*\0" + struct.pack("<I", 8) + ifd + struct.pack("<I", 0) + rows


def tiff_of_planes(planes, compress=None):
    """A little-endian RGB TIFF with separate planes ``(3, H, W)``, compressed by Deflate if ``compress`` is given."""
    strips = [compress(plane.tobytes()) if compress else plane.tobytes() for plane in planes]
    offsets = tuple(sum(map(len, strips[:i])) for i in range(3))  # relative to the end of the directory
    _, height, width = planes.shape
    tags = TiffImagePlugin.ImageFileDirectory_v2(prefix=b"II")
    tags[256], tags[257], tags[258], tags[259] = width, height, (8 * planes.itemsize,) * 3, 8 if compress else 1
    tags[262], tags[273], tags[277], tags[279], tags[284] = 2, offsets, 3, tuple(map(len, strips)), 2
    return b"II*\0\x08\0\0\0" + tags.tobytes(8) + b"".join(strips)


def refused(source):
    """The message of the ImageError, which must be one line that a terminal can show."""
    with pytest.raises(ImageError) as caught:
        read(source)
    message = str(caught.value)
    assert message.isprintable()
    return message


def exif(orientation):
    data = Image.Exif()
    data[0x0112] = orientation
    return data
