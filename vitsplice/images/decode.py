"""Opening image files, and decoding PIL images of any supported mode to upright RGB pixels."""

from __future__ import annotations

import errno
import io
import os
import stat
from collections.abc import Callable
from typing import Any, BinaryIO, NamedTuple

import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image
from torch import Tensor

from vitsplice.errors import ImageError, ImageNotFound
from vitsplice.images.channels import AlphaHandler, Values, scaled, to_pixels, unit_values
from vitsplice.images.checks import LARGEST, check_range, check_size
from vitsplice.text import printable

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP")
"""The supported formats, by Pillow's names."""

_SIGNATURES = (
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
"""First bytes of files (offset, bytes, format), to name the format in error messages."""

_CONVERTIBLE_MODES = ("1", "RGBX", "CMYK", "YCbCr", "HSV")
"""Pillow's modes that its ``convert("RGB")`` handles without a relevant loss."""

_SIGNED, _SEPARATE_PLANES = 2, 2
"""Values of the TIFF tags SampleFormat and PlanarConfiguration."""

_SAVE_UNSIGNED = "save it with unsigned values of 8 or 16 bits"

_CANNOT_EXIST = (errno.ENOTDIR, errno.ENAMETOOLONG)
"""Error numbers of paths that no file can have."""

_RAW_MODE = "vitsplice_raw_mode"
"""Key of `PIL.Image.Image.info` under which `_raw_mode` stores mode and raw mode of a PNG.

Pillow copies ``info`` to derived images, but drops the raw mode when it decodes the pixels."""

_UPRIGHT = 1
_ORIENTATIONS: dict[int, Callable[[Values], Values]] = {
    _UPRIGHT: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}
"""Transform of ``(H, W, C)`` for each EXIF orientation. Not `PIL.ImageOps.exif_transpose`: it also rewrites the EXIF
data, and fails where they are corrupt."""


def open_file(path: str, name: str) -> io.BufferedReader:
    """Open a regular, non-empty file. Others are refused: opening a pipe, for example, would block.

    Raises:
        ImageNotFound: if there is no such file.
        ImageError: if it is not a regular file, is empty, or cannot be opened.
    """
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
        raise ImageNotFound(f"'{name}' does not exist") from None
    except PermissionError:
        raise ImageError(f"'{name}' cannot be read (permission denied)") from None
    except (OSError, ValueError) as error:
        kind = ImageNotFound if getattr(error, "errno", None) in _CANNOT_EXIST else ImageError
        raise kind(f"'{name}' cannot be opened: {_reason(error)}") from error


def read_header(file: BinaryIO, name: str) -> Image.Image:
    """Open an image without decoding its pixels.

    Raises:
        ImageError: if the format is not supported, the header is corrupt, or the image is too large.
    """
    try:
        return Image.open(file, formats=FORMATS)
    except Image.DecompressionBombError:
        raise ImageError(f"'{name}' is too large: {LARGEST}") from None
    except Exception as error:  # Pillow raises many kinds of exceptions for corrupt headers
        file.seek(0)
        raise ImageError(_format_problem(name, file.read(16))) from error


def _format_problem(name: str, start: bytes) -> str:
    detected = next((label for offset, magic, label in _SIGNATURES if start[offset:].startswith(magic)), None)
    if detected in FORMATS:
        hint = "; of floating-point TIFF files, only grey ones with 32 bits can be read" if detected == "TIFF" else ""
        return f"'{name}' starts like {detected} but is corrupt, truncated or of an unsupported variant{hint}"
    problem = f"is {detected}, which is not supported" if detected else "is not an image of a supported format"
    return f"'{name}' {problem}; supported are {', '.join(FORMATS)}"


def _reason(error: Exception) -> str:
    text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return printable(text.strip() or type(error).__name__)


def decode(image: Image.Image, name: str, handle_alpha: AlphaHandler) -> tuple[Tensor, tuple[str, ...]]:
    """Decode a PIL image to upright pixels. The size is checked first.

    Args:
        image: of any supported mode.
        name: name of the image, for messages.
        handle_alpha: composites an alpha channel, or returns it as a mask.

    Returns:
        ``(1, 3, H, W)`` in [0, 1], and notes on conversions and on the choice of a frame.

    Raises:
        ImageError: if the size or the mode is not supported, the data are corrupt, or values are outside [0, 1].
    """
    check_size(name, *image.size)
    try:
        return _decode(image, name, handle_alpha)
    except ImageError:
        raise
    except Exception as error:  # Pillow raises many kinds of exceptions for corrupt data
        raise ImageError(f"'{name}' cannot be decoded: {_reason(error)}; it may be corrupt or truncated") from error


def _decode(image: Image.Image, name: str, handle_alpha: AlphaHandler) -> tuple[Tensor, tuple[str, ...]]:
    notes = _frame_notes(image)
    is_tiff = hasattr(image, "tag_v2")
    rotated_on_load = is_tiff and _orientation(image) != _UPRIGHT  # Pillow rotates TIFF images only
    if is_tiff:
        _check_tiff_samples(image, name)
    samples = _sample_format(image)
    image.load()
    orientation = _orientation(image)
    values = _channels(image, samples, name, notes)
    check_range(name, values)
    rgb = handle_alpha(values, notes, image.mode.endswith("a"))
    if rotated_on_load or orientation != _UPRIGHT:
        notes.append("rotated by its EXIF orientation")
    return to_pixels(_ORIENTATIONS[orientation](rgb)), tuple(notes)


def _check_tiff_samples(image: Any, name: str) -> None:
    """Raise ImageError for a TIFF whose samples (values of a channel) Pillow would decode wrongly."""
    tags = image.tag_v2
    bits = max(tags.get(ExifTags.Base.BitsPerSample, (1,)))
    if _SIGNED in tags.get(ExifTags.Base.SampleFormat, (1,)):
        raise ImageError(f"'{name}' has signed values, which are not supported; {_SAVE_UNSIGNED}")
    separate_planes = tags.get(ExifTags.Base.PlanarConfiguration) == _SEPARATE_PLANES and len(image.getbands()) > 1
    if separate_planes and bits > 8 and image.info.get("compression") == "raw":
        raise ImageError(
            f"'{name}' has channels of {bits} bits in separate planes without compression, which is not supported; "
            "save it with interleaved channels, or with compression"
        )


def _orientation(image: Image.Image) -> int:
    """Return the EXIF orientation, 1 to 8; upright if it is absent or invalid."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # an image with corrupt EXIF data is still an image
        return _UPRIGHT
    return value if isinstance(value, int) and value in _ORIENTATIONS else _UPRIGHT


def _frame_notes(image: Image.Image) -> list[str]:
    """Return a note if an image has several frames, of which one is read; otherwise no note.

    The frames of a decoded TIFF or GIF are not counted: counting would replace its pixels, which may have been edited,
    and would fail if the file is closed.
    """
    index = image.tell()
    decoded = image.format in ("TIFF", "GIF") and not getattr(image, "tile", None)
    if decoded or image.format == "TIFF":  # Pillow counts the frames of a TIFF by reading all, which can be very slow
        several = index > 0 or (not decoded and _has_second_frame(image))
        return [f"{'first' if index == 0 else f'frame {index + 1}'} of several frames"] if several else []
    frames = getattr(image, "n_frames", 1)
    if frames == 1:
        return []
    return [f"first of {frames} frames" if index == 0 else f"frame {index + 1} of {frames}"]


def _has_second_frame(image: Image.Image) -> bool:
    try:
        image.seek(1)
    except Exception:  # EOFError at the end of the file; others if what follows the first frame is corrupt
        return False
    finally:
        image.seek(0)
    return True


class _SampleFormat(NamedTuple):
    """Storage format of the values in a file.

    Args:
        bits: bits per channel.
        transparent: the one colour that is transparent (tRNS in PNG), in decoded values; None: there is none.
        inverted: True if 0 is white in the file, and Pillow does not invert the values.
    """

    bits: int
    transparent: tuple[int, ...] | None = None
    inverted: bool = False


def _sample_format(image: Image.Image) -> _SampleFormat:
    """Read the storage format from the header; Pillow no longer has it once the image is decoded."""
    if hasattr(image, "tag_v2"):
        tags = image.tag_v2
        deep = image.mode == "F" or image.mode.startswith("I;16")  # Pillow inverts up to 8 bits only
        inverted = deep and tags.get(ExifTags.Base.PhotometricInterpretation) == 0
        return _SampleFormat(max(tags.get(ExifTags.Base.BitsPerSample, (1,))), None, inverted)
    raw_mode = _raw_mode(image)
    return _SampleFormat(16 if ";16" in raw_mode else 8, _transparent_colour(image, raw_mode))


def _raw_mode(image: Image.Image) -> str:
    """Return the raw mode of a PNG, in which its file stores pixels, such as ``L;4``; else the mode of the image.

    Before the pixels are decoded, the raw mode is stored in the image (`_RAW_MODE`).
    """
    tiles = getattr(image, "tile", None)
    if image.format == "PNG" and tiles and tiles[0].args != image.mode:
        image.info[_RAW_MODE] = image.mode, str(tiles[0].args)
    mode, raw_mode = image.info.get(_RAW_MODE, (None, None))
    return raw_mode if mode == image.mode else image.mode


def _transparent_colour(image: Image.Image, raw_mode: str) -> tuple[int, ...] | None:
    """Return the transparent colour in decoded values; None if there is none.

    Pillow gives the colour as stored: below 8 bits it must be scaled up, and for 16-bit RGB reduced to the high byte,
    as Pillow does with the pixels. If an image was decoded before vitsplice first read it, its raw mode is unknown, and
    only values above 255 show that it had 16 bits.
    """
    colour = image.info.get("transparency")
    if image.mode not in ("L", "RGB", "I;16") or not isinstance(colour, int | tuple):
        return None
    values = colour if isinstance(colour, tuple) else (colour,)
    if raw_mode.startswith("RGB;16") or (image.mode == "RGB" and max(values) > 255):
        return tuple(value >> 8 for value in values)
    scale = {"L;2": 85, "L;4": 17}.get(raw_mode, 1)
    return tuple(value * scale for value in values)


def _channels(image: Image.Image, samples: _SampleFormat, name: str, notes: list[str]) -> Values:
    """Convert a decoded image to ``(H, W, C)``: grey, grey and alpha, RGB, or RGB and alpha."""
    mode = image.mode
    if mode.startswith("I;16"):
        notes.append(f"read with {samples.bits} bits a channel")
        return _with_transparency(image, samples, peak=2**samples.bits - 1)
    if mode == "F":
        return _with_transparency(image, samples, peak=1)
    if samples.bits > 8:
        notes.append(f"{samples.bits}-bit values reduced to 8 bits")
    if mode in ("L", "RGB"):
        return _with_transparency(image, samples, peak=255)
    return unit_values(np.asarray(_to_rgb_or_alpha_mode(image, name, notes)))


def _to_rgb_or_alpha_mode(image: Image.Image, name: str, notes: list[str]) -> Image.Image:
    """Convert an image to RGB or RGBA; grey or RGB with an alpha channel is returned unchanged."""
    mode = image.mode
    if mode in ("RGBA", "RGBa", "LA", "La"):
        return image
    if mode in ("P", "PA"):
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    if mode == "I":
        raise ImageError(f"'{name}' has 32-bit integer values, which are not supported; {_SAVE_UNSIGNED}")
    if mode not in _CONVERTIBLE_MODES:
        raise ImageError(f"'{name}' has colour mode {mode}, which is not supported; save it as RGB or grey")
    if mode == "CMYK":
        notes.append("CMYK converted to RGB")
    return image.convert("RGBA" if "transparency" in image.info else "RGB")


def _with_transparency(image: Image.Image, samples: _SampleFormat, peak: int) -> Values:
    """Return the pixels ``(H, W, C)`` divided by the peak, with an alpha channel if one colour is transparent."""
    raw: NDArray[Any] = np.atleast_3d(np.asarray(image))
    values = scaled(raw, peak)
    if samples.inverted:
        values = 1 - values
    if samples.transparent is None:
        return values
    alpha = (raw != np.array(samples.transparent)).any(axis=2, keepdims=True)
    return np.concatenate((values, alpha.astype(np.float32)), axis=2)
