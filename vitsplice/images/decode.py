"""Decoding: a PIL image of any mode to RGB pixels, upright."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from vitsplice.errors import ImageError
from vitsplice.images.formats import reason
from vitsplice.images.limits import check_range, check_size
from vitsplice.images.orientation import UPRIGHT, orientation, turned
from vitsplice.images.stored import Stored, stored
from vitsplice.images.values import Flatten, Values, divided, flatten, to_pixels, unit_values

_OTHER_MODES = ("1", "RGBX", "CMYK", "YCbCr", "HSV")
"""Pillow's modes that its ``convert("RGB")`` brings to RGB without loss that matters."""


def decode(image: Image.Image, name: str, flat: Flatten = flatten) -> tuple[Tensor, tuple[str, ...]]:
    """Pixels ``(1, 3, H, W)`` and notes of a PIL image, upright; its size is checked before it is decoded.

    Args:
        image: of any mode that can be read.
        name: for messages.
        flat: what becomes of an alpha channel.
    """
    check_size(name, *image.size)
    try:
        return _decode(image, name, flat)
    except ImageError:
        raise
    except Exception as error:  # Pillow's decoders let many kinds through on damaged data
        raise ImageError(f"'{name}' cannot be decoded: {reason(error)}; it may be damaged or cut short") from error


def _decode(image: Image.Image, name: str, flat: Flatten) -> tuple[Tensor, tuple[str, ...]]:
    notes = _frame_notes(image)
    turned_by_pillow = hasattr(image, "tag_v2") and orientation(image) != UPRIGHT  # a TIFF, while it loads
    header = stored(image)
    image.load()
    turn = orientation(image)
    values = _channels(image, header, name, notes)
    check_range(name, values)
    rgb = flat(values, notes, image.mode.endswith("a"))
    if turned_by_pillow or turn != UPRIGHT:
        notes.append("turned as EXIF says")
    return to_pixels(turned(rgb, turn)), tuple(notes)


def _frame_notes(image: Image.Image) -> list[str]:
    at = image.tell()
    if hasattr(image, "tag_v2"):
        return [f"{'first' if at == 0 else f'frame {at + 1}'} of several frames"] if at or _has_another(image) else []
    frames = getattr(image, "n_frames", 1)
    if frames == 1:
        return []
    return [f"first of {frames} frames" if at == 0 else f"frame {at + 1} of {frames}"]


def _has_another(image: Image.Image) -> bool:
    """Whether a TIFF has a second frame. To count them all takes as long as there are many."""
    try:
        image.seek(1)
    except EOFError:
        return False
    finally:
        image.seek(0)
    return True


def _channels(image: Image.Image, header: Stored, name: str, notes: list[str]) -> Values:
    """Values of a decoded image, ``(H, W, C)``: grey, grey and alpha, RGB, or RGB and alpha."""
    mode = image.mode
    if mode.startswith("I;16"):
        notes.append(f"{header.bits} bit kept")
        return _keyed(image, header, peak=2**header.bits - 1)
    if mode == "F":
        return _keyed(image, header, peak=1)
    if header.bits > 8:
        notes.append(f"{header.bits} bit reduced to 8")
    if mode in ("L", "RGB"):
        return _keyed(image, header, peak=255)
    return unit_values(np.asarray(_to_plain_mode(image, name, notes)))


def _to_plain_mode(image: Image.Image, name: str, notes: list[str]) -> Image.Image:
    """The image in a mode of RGB, RGBA, RGBa, LA or La."""
    mode = image.mode
    if mode in ("RGBA", "RGBa", "LA", "La"):
        return image
    if mode in ("P", "PA"):
        return image.convert("RGBA" if image.has_transparency_data else "RGB")
    if mode not in _OTHER_MODES:
        raise ImageError(f"'{name}' has colour mode {mode}, which cannot be read; save it as RGB or grey")
    if mode == "CMYK":
        notes.append("CMYK converted to RGB")
    return image.convert("RGBA" if "transparency" in image.info else "RGB")


def _keyed(image: Image.Image, header: Stored, peak: int) -> Values:
    """``(H, W, C)`` divided by the peak, with an alpha channel if one colour is transparent."""
    raw: NDArray[Any] = np.atleast_3d(np.asarray(image))
    values = divided(raw, peak)
    if header.inverted:
        values = 1 - values
    if header.key is None:
        return values
    alpha = (raw != np.array(header.key)).any(axis=2, keepdims=True)
    return np.concatenate((values, alpha.astype(np.float32)), axis=2)
