"""Resizing, sampling, and conversion between RGB and CIE Lab, where distances approximate perceived differences."""

from __future__ import annotations

import kornia
import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.images.checks import check_size

LAB_SCALE = 100.0


def to_lab(images: Tensor) -> Tensor:
    """Convert images ``(B, 3, H, W)`` in [0, 1] to Lab / 100. Differentiable.

    Returns:
        ``(B, 3, H, W)``: L in [0, 1], a and b in about [-1, 1].
    """
    return torch.as_tensor(kornia.color.rgb_to_lab(images)) / LAB_SCALE


def to_rgb(lab: Tensor) -> Tensor:
    """Convert Lab / 100 to RGB ``(B, 3, H, W)``, clamped to [0, 1]."""
    return torch.as_tensor(kornia.color.lab_to_rgb(lab * LAB_SCALE)).clamp(0, 1)


def sample_bilinear(maps: Tensor, points: Tensor) -> Tensor:
    """Interpolate maps ``(B, D, h, w)`` bilinearly at points ``(B, N, 2)``: ``(B, N, D)``. Differentiable.

    A point is (y, x) as fractions of the sides, in [0, 1]. There is no extrapolation: a point outside the rectangle
    spanned by the centres of the outermost pixels has the value at the nearest point of that rectangle.
    """
    grid = points.flip(-1).to(maps)[:, None] * 2 - 1
    return F.grid_sample(maps, grid, padding_mode="border", align_corners=False)[:, :, 0].transpose(1, 2)


def shrink_to(pixels: Tensor, side: int | None) -> Tensor:
    """Resize images ``(B, 3, H, W)`` by `resize_to` so that the shorter side is at most ``side``.

    ``side`` is in pixels; None: no limit.
    """
    return pixels if side is None else resize_to(pixels, min(side, *pixels.shape[-2:]))


def resize_to(pixels: Tensor, size: int) -> Tensor:
    """Resize images so that the shorter side is ``size``, with antialiased bicubic interpolation.

    The aspect ratio is preserved up to rounding. Images whose shorter side is ``size`` are returned unchanged.

    Args:
        pixels: images or masks, ``(B, C, H, W)`` in [0, 1].
        size: shorter side of the result in pixels.

    Returns:
        ``(B, C, H', W')``, clamped to [0, 1] if resized.

    Raises:
        ImageError: if resizing is needed, and the result would be outside the size limits.

    Example:
        >>> resize_to(torch.rand(1, 3, 60, 90), 40).shape
        torch.Size([1, 3, 40, 60])
    """
    height, width = pixels.shape[-2:]
    short = min(height, width)
    if short == size:
        return pixels
    new_height, new_width = (round(length * size / short) for length in (height, width))
    advice = f"the requested shorter side is {size}; choose another one"
    check_size("resized image", new_width, new_height, advice=advice)
    return resized(pixels, (new_height, new_width))


def resized(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize images or masks ``(B, C, H, W)`` in [0, 1] to a size (height, width), bicubic with antialiasing."""
    if tuple(maps.shape[-2:]) == size:
        return maps
    return F.interpolate(maps, size=size, mode="bicubic", align_corners=False, antialias=True).clamp(0, 1)
