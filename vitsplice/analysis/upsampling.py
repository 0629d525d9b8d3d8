"""Upsampling of maps on a patch grid to the size of their image."""

from __future__ import annotations

from typing import Literal, get_args

import kornia
import torch
import torch.nn.functional as F
from torch import Tensor

from vitsplice.errors import UserError

Upsampling = Literal["edges", "blocks"]

SHARPNESS = 2.5
"""Factor by which `sharpened` steepens edges, which upsampling makes about as wide as a patch."""

EPSILON = 1e-3
"""Regularisation of the guided filter, which smooths edges that are weaker than the square root of this value."""


def upsample(maps: Tensor, image: Tensor, mode: Upsampling = "edges") -> Tensor:
    """Upsample maps ``(C, h, w)`` to the size of an image ``(1, 3, H, W)``.

    The mode ``blocks`` repeats values; ``edges`` interpolates values in [0, 1] along the edges of the image (guided
    filter).

    Raises:
        UserError: if the mode is unknown.
    """
    if mode not in get_args(Upsampling):
        raise UserError(f"upsampling={mode!r} is not allowed; choose {' or '.join(get_args(Upsampling))}")
    size = (image.shape[-2], image.shape[-1])
    if mode == "blocks":
        return F.interpolate(maps[None], size=size, mode="nearest")[0]
    smooth = F.interpolate(maps[None].to(image), size=size, mode="bilinear", align_corners=False)
    radius = min(max(2, round(0.6 * size[0] / maps.shape[-2])), (min(size) - 1) // 2)
    window, subsample = 2 * radius + 1, max(1, radius // 4)
    guided = torch.as_tensor(kornia.filters.guided_blur(image, smooth, (window, window), EPSILON, subsample=subsample))
    return guided[0].clamp(0, 1)


def sharpened(mask: Tensor) -> Tensor:
    """Make the soft edges of an upsampled mask narrower; values stay in [0, 1], and 0.5 is unchanged."""
    return ((mask - 0.5) * SHARPNESS + 0.5).clamp(0, 1)
