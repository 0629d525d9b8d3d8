"""What an image may be: its shape, its size, the range of its values."""

from __future__ import annotations

import math
from typing import Any

from numpy.typing import NDArray
from torch import Tensor

from vitsplice.errors import ImageError

SMALLEST_SIDE = 16
"""Neither side may have fewer pixels."""

LARGEST_SIDE = 16384
"""Neither side may have more pixels."""

LARGEST_AREA = 64_000_000
"""Height times width may not be more."""

LARGEST_ASPECT = 32
"""The longer side may not be more than this many times the shorter one: networks scale images by the shorter side."""

LIMITS = (
    f"at most {LARGEST_SIDE} pixels a side and {LARGEST_AREA // 10**6} megapixels, "
    f"at least {SMALLEST_SIDE} pixels a side, the longer side at most {LARGEST_ASPECT} times the shorter one"
)


def is_one_rgb(tensor: Tensor) -> bool:
    """Whether the shape is ``(3, H, W)`` or ``(1, 3, H, W)``."""
    return tensor.ndim in (3, 4) and tensor.shape[-3] == 3 and tensor.shape[:-3].numel() == 1


def check_size(name: str, width: int, height: int) -> None:
    """Refuse what is outside of the limits."""
    if min(width, height) < SMALLEST_SIDE:
        raise ImageError(f"'{name}' is too small, {width} x {height} pixels: {LIMITS}")
    if max(width, height) > LARGEST_SIDE or width * height > LARGEST_AREA:
        raise ImageError(f"'{name}' is too large, {width} x {height} pixels: {LIMITS}")
    if max(width, height) > LARGEST_ASPECT * min(width, height):
        raise ImageError(f"'{name}' is too long for its width, {width} x {height} pixels: {LIMITS}")


def check_range(name: str, values: NDArray[Any] | Tensor, tolerance: float = 0.0) -> None:
    """Refuse NaN, infinity and values outside [0, 1] by more than a tolerance. Never empty, never a masked array."""
    low, high = float(values.min()), float(values.max())
    if math.isnan(low):
        raise ImageError(f"'{name}' holds NaN; values must be in [0, 1]")
    if low < -tolerance or high > 1 + tolerance:
        raise ImageError(f"'{name}' holds values from {low:.9g} to {high:.9g}; they must be in [0, 1]")
