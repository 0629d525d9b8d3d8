"""Images made with Pillow or by hand, and what they should look like."""

import struct
import zlib

import numpy as np
import pytest
import torch
from PIL import Image

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


def tiff(values, bits, photometric, samples=1):
    """An uncompressed little-endian TIFF by hand, from the packed rows."""
    height, width, data = values
    entries = [
        (256, 3, 1, width),
        (257, 3, 1, height),
        (258, 3, 1, bits),
        (259, 3, 1, 1),
        (262, 3, 1, photometric),
        (273, 4, 1, 8 + 2 + 8 * 12 + 4),
        (277, 3, 1, samples),
        (279, 4, 1, len(data)),
    ]
    ifd = struct.pack("<H", len(entries)) + b"".join(struct.pack("<HHII", *e) for e in entries)
    return b"II*\0" + struct.pack("<I", 8) + ifd + struct.pack("<I", 0) + data


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
