"""Conversion of arrays ``(H, W, C)`` with grey, colour and alpha channels to RGB pixels ``(1, 3, H, W)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitsplice.errors import ImageError

Values = NDArray[np.float32]

AlphaHandler = Callable[[Values, list[str], bool], Values]
"""``handler(values, notes, premultiplied)`` composites an alpha channel or returns it as a mask, and adds a note."""

_PEAKS = {("u", 1): 255, ("u", 2): 65535, ("f", 2): 1, ("f", 4): 1, ("f", 8): 1, ("f", 16): 1}
"""The value that maps to 1, by kind and size in bytes of the dtype."""


def unit_values(raw: NDArray[Any]) -> Values:
    """Convert an array to float32: uint8 and uint16 are divided by their maximum, floating point is not scaled.

    Raises:
        ImageError: if the array has another dtype.
    """
    peak = _PEAKS.get((raw.dtype.kind, raw.dtype.itemsize))
    if peak is None:
        raise ImageError(f"an array must be uint8, uint16 or floating point; this one is {raw.dtype}")
    return scaled(raw, peak)


def scaled(raw: NDArray[Any], peak: int) -> Values:
    """Return a float32 copy divided by ``peak``; values beyond the range of float32 become infinite."""
    with np.errstate(over="ignore"):
        values = raw.astype(np.float32)
    values /= peak
    return values


def composite_on_white(values: Values, notes: list[str], premultiplied: bool = False) -> Values:
    """Composite an alpha channel on white: out = colour * alpha + 1 - alpha.

    Args:
        values: ``(H, W, C)`` in [0, 1]; the last of 2 or 4 channels is alpha, 1 or 3 channels are returned unchanged.
        notes: a note is appended if the image is not opaque.
        premultiplied: the colours are already multiplied by alpha.

    Returns:
        ``(H, W, 1)`` or ``(H, W, 3)`` in [0, 1].
    """
    if values.shape[2] % 2:
        return values
    colour, alpha = values[..., :-1], values[..., -1:]
    if alpha.min() == 1:
        return colour
    notes.append("alpha composited on white")
    out = colour.copy() if premultiplied else colour * alpha
    out += 1 - alpha
    return np.clip(out, 0, 1, out=out)


def alpha_as_mask(values: Values, notes: list[str], premultiplied: bool = False) -> Values:
    """Return the alpha channel ``(H, W, 1)`` as a mask if it varies or is all 0; else apply `composite_on_white`."""
    alpha = values[..., -1:]
    if values.shape[2] % 2 or alpha.min() == alpha.max() > 0:
        return composite_on_white(values, notes, premultiplied)
    notes.append("alpha used as the mask")
    return alpha


def to_pixels(values: Values) -> Tensor:
    """Copy ``(H, W, 1)`` or ``(H, W, 3)`` to a tensor ``(1, 3, H, W)``."""
    planes = np.broadcast_to(values.transpose(2, 0, 1), (3, *values.shape[:2]))
    return torch.from_numpy(np.array(planes, order="C"))[None]
