"""EXIF orientation: how an image has to be turned to be upright."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from PIL import ExifTags, Image

from vitsplice.images.values import Values

UPRIGHT = 1

_TURNS: dict[int, Callable[[Values], Values]] = {
    UPRIGHT: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, -1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, 1),
}
"""What brings an EXIF orientation upright, on ``(H, W, C)``."""


def orientation(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; `UPRIGHT` also if it is absent or cannot be read."""
    try:
        value = image.getexif().get(ExifTags.Base.Orientation)
    except Exception:  # broken EXIF, of whatever kind, must not cost the image
        return UPRIGHT
    return value if isinstance(value, int) and value in _TURNS else UPRIGHT


def turned(values: Values, orientation: int) -> Values:
    """``(H, W, C)`` upright."""
    return _TURNS[orientation](values)
