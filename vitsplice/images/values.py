"""Arrays of values ``(H, W, C)``, brought to RGB pixels ``(1, 3, H, W)``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitsplice.errors import ImageError

Values = NDArray[np.float32]

Flatten = Callable[[Values, list[str], bool], Values]
"""``flatten(values, notes, premultiplied)``: what becomes of an alpha channel."""

_PEAKS = {("u", 1): 255, ("u", 2): 65535, ("f", 2): 1, ("f", 4): 1, ("f", 8): 1}
"""By kind and size of the number: the value that is 1."""


def unit_values(raw: NDArray[Any]) -> Values:
    """uint8 and uint16 divided by their peak, floats as they are."""
    peak = _PEAKS.get((raw.dtype.kind, raw.dtype.itemsize))
    if peak is None:
        raise ImageError(f"an array must be uint8, uint16 or float; this one is {raw.dtype}")
    return divided(raw, peak)


def divided(raw: NDArray[Any], peak: int) -> Values:
    """A float32 copy, divided."""
    values = raw.astype(np.float32)
    values /= peak
    return values


def flatten(values: Values, notes: list[str], premultiplied: bool = False) -> Values:
    """``(H, W, C)`` of 1 to 4 channels to 1 or 3: an even count has alpha last, which goes on white.

    out = colour * alpha + 1 - alpha, without the product if it is in the colour already.
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


def mask_values(values: Values, notes: list[str], premultiplied: bool = False) -> Values:
    """As `flatten`, for a mask: alpha that is not the same everywhere is the mask itself (a cut-out), as is alpha 0."""
    alpha = values[..., -1:]
    if values.shape[2] % 2 or alpha.min() == alpha.max() > 0:
        return flatten(values, notes, premultiplied)
    notes.append("alpha taken as the mask")
    return alpha


def to_pixels(values: Values) -> Tensor:
    """``(H, W, 1)`` or ``(H, W, 3)`` to ``(1, 3, H, W)``, in memory of its own."""
    planes = np.broadcast_to(values.transpose(2, 0, 1), (3, *values.shape[:2]))
    return torch.from_numpy(np.array(planes, order="C"))[None]
