"""Files: which can be opened, and which format each has."""

from __future__ import annotations

import io
import os
import stat
from typing import BinaryIO

from PIL import Image

from vitsplice.errors import ImageError
from vitsplice.images.limits import LIMITS
from vitsplice.text import printable

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")
"""The formats that can be read, as Pillow calls them."""

_MAGIC = (
    (0, b"\x89PNG", "PNG"),
    (0, b"\xff\xd8\xff", "JPEG"),
    (8, b"WEBP", "WEBP"),
    (0, b"II*\0", "TIFF"),
    (0, b"MM\0*", "TIFF"),
    (0, b"BM", "BMP"),
    (0, b"GIF8", "GIF"),
    (4, b"ftypavi", "AVIF"),
    (4, b"ftyphei", "HEIC"),
    (4, b"ftypmif1", "HEIF"),
    (4, b"jP  ", "JPEG 2000"),
    (4, b"JXL ", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"8BPS", "Photoshop"),
    (0, b"v/1\x01", "OpenEXR"),
    (0, b"\0\0\x01\0", "ICO"),
    (0, b"%PDF", "PDF"),
    (0, b"<svg", "SVG"),
)
"""How files begin (offset, bytes, format), to name a format in a message."""


def open_file(path: str, name: str) -> io.BufferedReader:
    """Open a regular, non-empty file (a pipe would block)."""
    try:
        status = os.stat(path)
        if stat.S_ISDIR(status.st_mode):
            raise ImageError(f"'{name}' is a folder, not an image")
        if not stat.S_ISREG(status.st_mode):
            raise ImageError(f"'{name}' is not a regular file")
        if status.st_size == 0:
            raise ImageError(f"'{name}' is empty")
        return open(path, "rb")
    except FileNotFoundError:
        raise ImageError(f"'{name}' does not exist") from None
    except PermissionError:
        raise ImageError(f"'{name}' may not be read (permission denied)") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"'{name}' cannot be opened: {reason(error)}") from error


def identify(file: BinaryIO, name: str) -> Image.Image:
    """Read the header; Pillow decodes nothing yet."""
    try:
        return Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError:
        raise ImageError(f"'{name}' is too large: {LIMITS}") from None
    except Exception as error:  # Pillow's readers let many kinds through on damaged headers
        file.seek(0)
        raise ImageError(_not_identified(name, file.read(16))) from error


def _not_identified(name: str, start: bytes) -> str:
    seen = next((label for offset, magic, label in _MAGIC if start[offset:].startswith(magic)), None)
    if seen in FORMATS:
        return f"'{name}' begins as {seen} but is damaged, cut short or of a kind that cannot be read"
    what = f"is {seen}, which cannot be read" if seen else "is not an image that can be read"
    return f"'{name}' {what}; accepted are {', '.join(FORMATS)}"


def reason(error: Exception) -> str:
    """What the system or Pillow says, on one line."""
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return printable(text.strip() or type(error).__name__)
