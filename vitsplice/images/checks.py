"""Checks of the shape, size and value range of images; checks and conversion of tensors of images."""

from __future__ import annotations

import math
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from vitsplice.errors import ImageError
from vitsplice.text import type_with_article

SMALLEST_SIDE = 16
"""Minimum height and width in pixels."""

LARGEST_SIDE = 16384
"""Maximum height and width in pixels."""

LARGEST_AREA = 64_000_000
"""Maximum of height times width in pixels."""

LARGEST_ASPECT = 32
"""Maximum of longer side / shorter side: images are resized to a given shorter side, which also sets the longer one."""

LARGEST = f"at most {LARGEST_SIDE} pixels a side and {LARGEST_AREA // 10**6} megapixels are allowed"
"""The limits of side and area, as text for messages."""

LAYOUT = "(3, H, W) or (B, 3, H, W)"
"""The allowed shapes, as text for messages."""

OVERSHOOT = 0.05
"""Tolerance outside [0, 1] for images from a training loop, where resizing and optimisation overshoot."""

ROUNDING = 1 + 2**-8
"""Factor on tolerances, so that values at the limit are still allowed after rounding, even to bfloat16."""


def is_single_rgb(tensor: Tensor) -> bool:
    """Return True for the shapes ``(3, H, W)`` and ``(1, 3, H, W)``."""
    return tensor.ndim in (3, 4) and tensor.shape[-3] == 3 and tensor.shape[:-3].numel() == 1


def check_size(name: str, width: int, height: int, *, advice: str = "") -> None:
    """Raise ImageError unless a size is within the limits of this module.

    Args:
        name: name of the image, for messages.
        width, height: size in pixels.
        advice: end of the message about an image that is too small or too large, instead of that for a given image.
    """
    if min(width, height) < SMALLEST_SIDE:
        raise ImageError(
            f"'{name}' is too small, {width} x {height} pixels: at least {SMALLEST_SIDE} a side are required; "
            f"{advice or 'enlarge it'}"
        )
    if max(width, height) > LARGEST_SIDE or width * height > LARGEST_AREA:
        raise ImageError(f"'{name}' is too large, {width} x {height} pixels: {LARGEST}{advice and f'; {advice}'}")
    if max(width, height) > LARGEST_ASPECT * min(width, height):
        raise ImageError(
            f"'{name}' is too long, {width} x {height} pixels: the longer side may be at most {LARGEST_ASPECT} times "
            "the shorter one; crop it"
        )


def check_range(name: str, values: NDArray[Any] | Tensor, tolerance: float = 0.0) -> None:
    """Raise ImageError for NaN, infinity, or values outside [0, 1] by more than a tolerance.

    Args:
        name: name of the image, for messages.
        values: array or tensor of any shape, not empty, not masked.
        tolerance: allowed distance from [0, 1].
    """
    low, high = float(values.min()), float(values.max())
    if math.isnan(low):
        raise ImageError(f"'{name}' contains NaN; values must be in [0, 1]")
    limit = tolerance * ROUNDING
    if low < -limit or high > 1 + limit:
        advice = "; divide by 255, or give uint8" if low >= 0 and 2 < high <= 255 else ""
        raise ImageError(
            f"'{name}' contains values from {low:.9g} to {high:.9g}; they must be in "
            f"[{0 - tolerance:g}, {1 + tolerance:g}]{advice}"
        )


def check_dense(tensor: Tensor, name: str) -> None:
    """Raise ImageError for a masked, nested, sparse, quantised or meta tensor."""
    kinds = {
        "MaskedTensor": type(tensor).__name__ == "MaskedTensor",
        "nested": tensor.is_nested,
        "quantised": tensor.is_quantized,
        "on the meta device": tensor.is_meta,
        str(tensor.layout): tensor.layout != torch.strided,
    }
    for kind, applies in kinds.items():
        if applies:
            raise ImageError(f"'{name}' must be a dense tensor; this one is {kind}")


def image_batch(pixels: Tensor, name: str, *, tolerance: float = 0.0, check: bool = True) -> Tensor:
    """Check images and convert them to float32 ``(B, 3, H, W)`` on the same device; values are not clamped.

    The conversion is differentiable; gradients have the dtype of the input. Type, shape and size are always checked,
    before anything is computed.

    Args:
        pixels: ``(3, H, W)`` or ``(B, 3, H, W)``, uint8 (divided by 255) or floating point in [0, 1].
        name: name of the argument, for messages.
        tolerance: allowed distance of values from [0, 1].
        check: whether the value range is checked, which synchronises a GPU.

    Raises:
        ImageError: if type, shape, size or values are not allowed.

    Example:
        >>> image_batch(torch.ones(3, 32, 48, dtype=torch.uint8), "output").shape
        torch.Size([1, 3, 32, 48])
    """
    if not isinstance(pixels, Tensor):
        raise ImageError(f"'{name}' must be a tensor {LAYOUT} in [0, 1], not {type_with_article(pixels)}")
    check_dense(pixels, name)
    shape = tuple(pixels.shape)
    if len(shape) not in (3, 4) or shape[-3] != 3 or not all(shape):
        raise ImageError(f"'{name}' must be {LAYOUT}; this one is {shape}{_layout_hint(shape)}")
    check_size(name, shape[-1], shape[-2])
    if pixels.dtype != torch.uint8 and not pixels.is_floating_point():
        raise ImageError(f"a tensor must be uint8 or floating point; '{name}' is {pixels.dtype}")
    values = pixels.as_subclass(Tensor).to(torch.float32)
    values = values / 255 if pixels.dtype == torch.uint8 else values
    if check and pixels.is_floating_point():
        check_range(name, values.detach(), tolerance)
    return values.reshape(-1, *shape[-3:])


def single_image(pixels: Tensor, name: str, *, tolerance: float = 0.0) -> Tensor:
    """Convert an image ``(3, H, W)`` or ``(1, 3, H, W)`` to a batch of one; see `image_batch`.

    Raises:
        ImageError: as `image_batch`, and for a batch of several images.
    """
    batch = image_batch(pixels, name, tolerance=tolerance)
    if len(batch) != 1:
        raise ImageError(f"'{name}' must be one image, (3, H, W) or (1, 3, H, W); this is a batch of {len(batch)}")
    return batch


def _layout_hint(shape: tuple[int, ...]) -> str:
    if len(shape) in (3, 4) and shape[-1] == 3:
        return ": channels come first, .movedim(-1, -3) moves them"
    if len(shape) in (3, 4) and shape[-3] in (1, 4):
        return ": RGB has 3 channels" + (", .repeat_interleave(3, -3) repeats a grey one" if shape[-3] == 1 else "")
    return ""
