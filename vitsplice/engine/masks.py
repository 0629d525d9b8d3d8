"""Masks of a run: soft edges for the structure mask, and an appearance image without what lies outside of its mask.

What lies outside of the appearance mask is replaced by the mean colour of what lies inside, before anything looks at
the image. A [CLS] token, a pooled feature, and attention from inside to outside then carry nothing of what was
excluded, whatever the loss term: a flat field has no texture, and this colour leaves the mean as it is. Ours.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import kornia
import torch
from torch import Tensor

from vitsplice.config import MaskConfig
from vitsplice.contracts import ImageName
from vitsplice.engine.targets import RunImages
from vitsplice.errors import UserError
from vitsplice.images import LoadedImage, is_black, read_mask

WHITE = 0.999
"""A mask that is nowhere darker than this excludes nothing."""


def read_masks(images: Mapping[ImageName, LoadedImage], given: Mapping[ImageName, Any]) -> dict[ImageName, LoadedImage]:
    """The masks that were given, read and checked against the images they belong to.

    Raises:
        UserError: if one cannot be read, has another size than its image, or is black everywhere.
    """
    masks = {image: read_mask(mask) for image, mask in given.items() if mask is not None}
    for image, mask in masks.items():
        height, width = images[image].pixels.shape[-2:]
        if tuple(mask.pixels.shape[-2:]) != (height, width):
            raise UserError(
                f"{image} mask {mask.name} is {mask.pixels.shape[-1]}x{mask.pixels.shape[-2]} px (width x height); "
                f"it must be as large as the {image} image, {width}x{height}"
            )
        if is_black(mask.pixels):
            raise UserError(f"{image} mask {mask.name} is black everywhere; white is where it takes part")
    return masks


def masked(images: RunImages, config: MaskConfig) -> RunImages:
    """The images as a run sees them: structure mask feathered, appearance image neutralised outside of its mask.

    A mask that is white everywhere is the same as none.
    """
    pixels = dict(images.pixels)
    masks = {role: mask for role, mask in images.masks.items() if bool((mask < WHITE).any())}
    if "structure" in masks:
        masks["structure"] = feathered(masks["structure"], config.feather)
    if "appearance" in masks:
        pixels["appearance"] = neutralised(pixels["appearance"], masks["appearance"])
    return RunImages(pixels, masks)


def neutralised(image: Tensor, mask: Tensor) -> Tensor:
    """An image ``(1, 3, H, W)`` with the mean colour of the inside outside of a mask ``(1, 1, H, W)``, grey partly."""
    mean = (image * mask).mean((2, 3), keepdim=True) / mask.mean((2, 3), keepdim=True)
    return torch.lerp(mean, image, mask)


def feathered(mask: Tensor, share: float) -> Tensor:
    """A mask ``(1, 1, H, W)`` with soft edges: blurred by a Gaussian.

    What was inside keeps at least half of its value, so that a mask narrower than the blur does not vanish.

    Args:
        mask: in [0, 1].
        share: the standard deviation as a part of the shorter side; 0 leaves the mask as it is.
    """
    sigma = share * min(mask.shape[-2:])
    radius = min(round(3 * sigma), min(mask.shape[-2:]) - 1)
    if radius < 1:
        return mask
    soft = kornia.filters.gaussian_blur2d(mask, (2 * radius + 1,) * 2, (sigma, sigma))
    return torch.maximum(soft.clamp(0, 1), mask / 2)
