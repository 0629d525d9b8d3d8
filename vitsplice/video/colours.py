"""Colour spaces of video frames, and their conversion to and from RGB.

Frames store luma and chroma, which a matrix (such as BT.601 or BT.709) computes from RGB. Their values have the limited
range (16 to 235) or the full range (0 to 255). If a file does not state its matrix, BT.709 is assumed for frames higher
than standard definition and BT.601 for others, as players do. Grey frames that state no range have the full range, as
in FFmpeg. The numbers of matrices, primaries and transfer functions are those of ITU-T H.273, the numbers of ranges
those of FFmpeg.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from vitsplice.images import to_pil
from vitsplice.video.packages import pyav

UNSPECIFIED = 2
FULL_RANGE, LIMITED_RANGE = 2, 1

RGB = 0
"""Matrix number of frames that store RGB, which need no matrix."""

STANDARD_DEFINITION = 576
"""Maximum height in pixels of standard definition."""

MATRIX_NAMES = {1: "ITU709", 4: "FCC", 5: "ITU601", 6: "ITU601", 7: "SMPTE240M", 9: "BT2020", 10: "BT2020"}
"""Number of a supported matrix -> its name in PyAV."""

GREY = re.compile(r"(gray|ya)\d*(le|be)?")
"""Names in PyAV of the pixel formats without chroma. FFmpeg converts all of them as if they had the full range."""

FULL_FROM_LIMITED = ((np.arange(256) - 16) * (255 / 219)).round().clip(0, 255).astype(np.uint8)
"""Value in the limited range -> value in the full range."""

Pixels = NDArray[np.uint8]
"""RGB, ``(H, W, 3)``."""


@dataclass(frozen=True)
class ColourSpace:
    """How the colours of a video are stored.

    Args:
        matrix, primaries, transfer: numbers of ITU-T H.273 as stated by the file; 2: not stated, or a matrix that is
            not in `MATRIX_NAMES`.
        is_full_range: whether the file states the full range. False also for RGB, and for grey without a stated range,
            although their values have the full range.
    """

    matrix: int = UNSPECIFIED
    is_full_range: bool = False
    primaries: int = UNSPECIFIED
    transfer: int = UNSPECIFIED

    @classmethod
    def of(cls, frame: Any) -> ColourSpace:
        """Return the colour space of a decoded frame. RGB frames get default matrix and range: the output is YUV."""
        if frame.colorspace == RGB:
            return cls(primaries=frame.color_primaries, transfer=frame.color_trc)
        matrix = frame.colorspace if frame.colorspace in MATRIX_NAMES else UNSPECIFIED
        is_full_range = frame.color_range == FULL_RANGE or frame.format.name.startswith("yuvj")
        return cls(matrix, is_full_range, frame.color_primaries, frame.color_trc)

    def matrix_name(self, height: int) -> str:
        """Return the name of the matrix in PyAV for frames of this height in pixels."""
        return MATRIX_NAMES.get(self.matrix, "ITU709" if height > STANDARD_DEFINITION else "ITU601")

    @property
    def range_number(self) -> int:
        """The number of the range in PyAV."""
        return FULL_RANGE if self.is_full_range else LIMITED_RANGE


def as_tensor(pixels: Pixels) -> Tensor:
    """Convert 8-bit RGB ``(H, W, 3)`` to ``(1, 3, H, W)`` in [0, 1]."""
    return torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255


def as_pixels(image: Tensor) -> Pixels:
    """Convert ``(1, 3, H, W)`` in [0, 1] to 8-bit RGB ``(H, W, 3)``, rounded."""
    return np.array(to_pil(image))


def to_rgb(frame: Any, space: ColourSpace) -> Pixels:
    """Convert a decoded frame to RGB."""
    converted = frame.reformat(
        format="rgb24",
        src_colorspace=space.matrix_name(frame.height),
        src_color_range=space.range_number,
        dst_color_range=FULL_RANGE,
        interpolation=_interpolation(),
        threads=1,
    )
    pixels = np.ascontiguousarray(converted.to_ndarray())
    limited_grey = frame.color_range == LIMITED_RANGE and GREY.fullmatch(frame.format.name)
    return FULL_FROM_LIMITED[pixels] if limited_grey else pixels


def from_rgb(pixels: Pixels, space: ColourSpace, pixel_format: str) -> Any:
    """Convert RGB to a frame of a pixel format, such as ``yuv420p``."""
    frame = pyav().VideoFrame.from_ndarray(pixels, format="rgb24")
    frame.colorspace, frame.color_range = RGB, FULL_RANGE
    return frame.reformat(
        format=pixel_format,
        dst_colorspace=space.matrix_name(len(pixels)),
        src_color_range=FULL_RANGE,
        dst_color_range=space.range_number,
        interpolation=_interpolation(),
        threads=1,
    )


def _interpolation() -> int:
    """Return the flags of accurate chroma scaling, which has the same result on every machine."""
    kinds = pyav().video.reformatter.Interpolation
    return int(kinds.BICUBIC | kinds.ACCURATE_RND | kinds.FULL_CHR_H_INT | kinds.FULL_CHR_H_INP | kinds.BITEXACT)
