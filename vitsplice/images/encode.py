"""Encoding: pixels to an 8-bit image."""

from __future__ import annotations

import io

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from vitsplice.errors import ImageError
from vitsplice.images.limits import is_one_rgb


def to_pil(pixels: Tensor) -> Image.Image:
    """An 8-bit RGB image of ``(3, H, W)`` or ``(1, 3, H, W)``: clamped to [0, 1], rounded to nearest.

    Raises:
        ImageError: another shape, or NaN.
    """
    if not is_one_rgb(pixels):
        raise ImageError(f"pixels must be (3, H, W) or (1, 3, H, W); these are {tuple(pixels.shape)}")
    values = pixels.detach().to("cpu", torch.float32).reshape(3, *pixels.shape[-2:])
    if values.isnan().any():
        raise ImageError("pixels hold NaN and cannot be written as an image")
    rounded = (values.clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(np.ascontiguousarray(rounded.permute(1, 2, 0).numpy()))


def from_pil(image: Image.Image) -> Tensor:
    """``(3, H, W)`` in [0, 1] of an 8-bit RGB image: `to_pil` turned round. Files go through `read`."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1) / 255


def encode_png(pixels: Tensor) -> bytes:
    """The bytes of an 8-bit RGB PNG without metadata; the same pixels give the same bytes. See ``to_pil``."""
    buffer = io.BytesIO()
    to_pil(pixels).save(buffer, format="PNG", compress_level=6)
    return buffer.getvalue()
