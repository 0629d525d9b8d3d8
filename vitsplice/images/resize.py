"""Resizing an image by its shorter side."""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor

from vitsplice.images.limits import check_size


def resize_to(pixels: Tensor, size: int) -> Tensor:
    """Resize so that the shorter side is ``size``; the longer one keeps the aspect, rounded.

    Antialiased bicubic, clamped to [0, 1]. Pixels that have that size are returned as they are.

    Args:
        pixels: ``(B, 3, H, W)`` in [0, 1].
        size: of the shorter side, in pixels.

    Raises:
        ImageError: the result would be outside of the limits.
    """
    height, width = pixels.shape[-2:]
    short = min(height, width)
    if short == size:
        return pixels
    new_height, new_width = (round(side * size / short) for side in (height, width))
    check_size("resized image", new_width, new_height)
    resized = F.interpolate(pixels, (new_height, new_width), mode="bicubic", align_corners=False, antialias=True)
    return resized.clamp(0, 1)
