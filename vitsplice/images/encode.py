"""Conversion of pixels to and from 8-bit PIL images, and to PNG bytes, JPEG bytes and contact sheets."""

from __future__ import annotations

import io
from collections.abc import Sequence
from math import ceil

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

from vitsplice.errors import ImageError
from vitsplice.images.checks import is_single_rgb
from vitsplice.text import printable

GAP, CAPTION_HEIGHT = 6, 18
"""Gap between the images of a contact sheet, and height of the caption line, in pixels."""


def to_pil(pixels: Tensor) -> Image.Image:
    """Convert one image to an 8-bit RGB PIL image: clamped to [0, 1], rounded to the nearest value.

    Args:
        pixels: ``(3, H, W)`` or ``(1, 3, H, W)``.

    Raises:
        ImageError: if the shape is another one, or a value is NaN.
    """
    if not is_single_rgb(pixels):
        raise ImageError(f"pixels must be (3, H, W) or (1, 3, H, W); these are {tuple(pixels.shape)}")
    values = pixels.detach().to("cpu", torch.float32).reshape(3, *pixels.shape[-2:])
    if values.isnan().any():
        raise ImageError("pixels contain NaN and cannot be written as an image")
    return Image.fromarray(to_uint8(values).permute(1, 2, 0).numpy())


def to_uint8(values: Tensor) -> Tensor:
    """Convert values in [0, 1] to 0 to 255: clamped and rounded to the nearest."""
    return (values.clamp(0, 1) * 255).round().to(torch.uint8)


def from_pil(image: Image.Image) -> Tensor:
    """Convert an 8-bit RGB PIL image to ``(3, H, W)`` in [0, 1]; the inverse of `to_pil`. For files, use `read`."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1).float() / 255


def encode_png(pixels: Tensor) -> bytes:
    """Encode one image as an 8-bit RGB PNG without metadata. Equal pixels give equal bytes. See `to_pil`."""
    return _encoded(to_pil(pixels), "PNG", compress_level=6)


def encode_jpeg(pixels: Tensor, max_side: int, quality: int) -> bytes:
    """Encode one image as a JPEG for display, scaled down so that no side exceeds ``max_side`` pixels. See `to_pil`."""
    image = to_pil(pixels)
    image.thumbnail((max_side, max_side), Image.Resampling.LANCZOS, reducing_gap=None)
    return _encoded(image, "JPEG", quality=quality)


def encode_labels(labels: Tensor, colours: Sequence[tuple[int, int, int]]) -> bytes:
    """Encode labels ``(H, W)`` as a PNG with a palette: label i, at most 255, has the 8-bit colour ``colours[i]``."""
    image = Image.fromarray(labels.to(torch.uint8).numpy())
    image.putpalette([channel for colour in colours for channel in colour])
    return _encoded(image, "PNG", compress_level=6)


def _encoded(image: Image.Image, file_format: str, **options: int) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, format=file_format, **options)
    return buffer.getvalue()


def contact_sheet(rows: Sequence[Sequence[tuple[str, Tensor]]], height: int = 180) -> Tensor:
    """Draw rows of images on white, with a caption below each image.

    Args:
        rows: rows of images; each image is given by its caption and its pixels ``(3, H, W)`` in [0, 1].
        height: height in pixels to which the images are resized.

    Returns:
        ``(3, H', W')`` in [0, 1].
    """
    font = ImageFont.load_default(12)
    cells = [[(printable(caption), _resized(image, height)) for caption, image in row] for row in rows]
    widths = [[GAP + max(image.width, ceil(font.getlength(caption)) + 2) for caption, image in row] for row in cells]
    row_height = height + CAPTION_HEIGHT + GAP
    canvas = Image.new("RGB", (max(map(sum, widths)), len(cells) * row_height), "white")
    draw = ImageDraw.Draw(canvas)
    for number, row in enumerate(cells):
        left, top = 0, number * row_height
        for (caption, image), width in zip(row, widths[number], strict=True):
            canvas.paste(image, (left, top))
            draw.text((left + 2, top + height + 1), caption, fill="black", font=font)
            left += width
    return from_pil(canvas)


def _resized(pixels: Tensor, height: int) -> Image.Image:
    image = to_pil(pixels)
    return image.resize((max(1, round(image.width * height / image.height)), height), Image.Resampling.LANCZOS)
